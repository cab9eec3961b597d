"""What an installation holds: extras, a wheel, what runs without the libraries of extras."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

from vadose.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Without what the extras bring: as if not installed.
CORE = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: None if name in {missing!r} else find(name, path, target)
import vadose as vd
import vadose.reports.page
from vadose.cli import main

products = {{"smap_l3": dict(variables=["soil_moisture"], resampling="nearest")}}
recipe = dict(resolution="9km", bbox=[-100.2, 39.8, -99.6, 40.2], first="2019-04-01", last="2019-04-12")
cube = vd.build({world!r} + "/granules", recipe | dict(products=products), out="cube.zarr", workers=1)
moisture = cube.soil_moisture.load()
(moisture + 0.01).where(moisture.notnull(), 0.2).to_netcdf("mine.nc")
Path("mine.yaml").write_text("path: mine.nc\\nlayer: [0, 5]")
vd.evaluate(["mine.yaml"], "cube.zarr", min_pairs=3)
assert Path("evaluation", "scores.csv").read_text().count("mine")
for words in (["--help"], ["train", "--help"], ["train", "cube.zarr"]):
    sys.argv = ["vadose", *words]
    try:
        main()
    except SystemExit as end:
        print(words, end.code)
try:
    vd.MODELS
except vd.VadoseError as error:
    print(error)
"""


def name_of(library: str) -> str:
    """Name of the distribution that brings a library."""
    return {"sklearn": "scikit-learn"}.get(library, library.replace("_", "-"))


def test_reading_building_and_scoring_need_no_extra(world: Path, tmp_path: Path) -> None:
    # xarray would warn of an entry point without its package, which is there.
    missing = {library for libraries in EXTRAS.values() for library in libraries} - {"cfgrib"}
    code = CORE.format(missing=missing, world=str(world))
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-2:] == ["['train', 'cube.zarr'] 2", 'this needs torch; pip install "vadose[learn]"']
    assert 'error: this needs torch; pip install "vadose[learn]"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_extras_that_errors_name_bring_what_is_missing() -> None:
    extras = PROJECT["optional-dependencies"]
    for extra, libraries in EXTRAS.items():
        brought = {text.split(">")[0].split("[")[0] for text in extras[extra]}
        assert {name_of(library) for library in libraries} - {"lightning-utilities"} <= brought, extra
    everything = {text for extra in EXTRAS for text in extras[extra]}
    assert everything == set(extras["all"])
    assert not everything & set(PROJECT["dependencies"])


def test_a_wheel_installs_into_a_bare_environment(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    code = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    built = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, check=True)
    wheel = ZipFile(tmp_path / built.stdout.decode().split()[-1])
    held = {name.removeprefix("vadose/") for name in wheel.namelist() if name.startswith("vadose/")}
    package = tmp_path / "src" / "vadose"
    assert held == {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    (site,) = (tmp_path / "bare" / "lib").glob("*/site-packages")
    wheel.extractall(site)
    # The packages it requires are those of this environment; of vadose there only the wheel's is found.
    (site / "beside.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    code = (
        "import vadose, sys; from vadose.cli import main; from vadose.experiments import built_in; "
        "assert built_in() and built_in('cubes'); print(vadose.__file__); sys.argv[1:] = ['demo', '--help']; main()"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run([python, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(str(site))
    assert "--county" in ran.stdout
    assert "vadose.cli:main" in wheel.read("vadose-0.1.0.dist-info/entry_points.txt").decode()
