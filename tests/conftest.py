"""Where the optional real data lie, and a small made-up cube."""

import base64
import io
import itertools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

# Several test processes share few cores: one thread each, set before any library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed.utils import get_mp_context
from filelock import FileLock
from hypothesis import settings

from vadose.cube import with_antecedents
from vadose.grid import ease_grid
from vadose.twin.world import build_database_world, build_granule_world

# A slow machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> Iterator[None]:
    """Dask's workers are forked off one process that has imported the package, for each to import it takes seconds."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        preloaded = ["distributed", "vadose.experiments.studies", "vadose.predict.maps", "vadose.twin.world"]
        get_mp_context().set_forkserver_preload(preloaded)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("VADOSE_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VADOSE_DATA to the folder that holds them")
    return folder


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Folder of a name for all test processes: the first one makes it within the block, others wait."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    with FileLock(root / f"{name}.lock"):
        yield root / name


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months of a block of 9 km cells, as granules: made once for all test processes, to be read alone."""
    with made_once(tmp_path_factory, "granules") as folder:
        made, box = folder / "world", (-100.3, 39.6, -99.4, 40.4)
        return made if made.exists() else build_granule_world(made, "2019-04-01", "2019-06-30", bbox=box, stations=3)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A simulated file or folder of every product: made once for all test processes, to be read alone."""
    with made_once(tmp_path_factory, "of_each_product") as folder:
        world, database, box = folder / "world", folder / "database", (-100.4, 39.7, -99.6, 40.3)
        if not database.exists():
            build_granule_world(world, "2019-04-28", "2019-05-13", bbox=box, stations=2, everything=True)
            build_database_world(database, years=1, stations=1)
    found = {
        # The largest: an overpass where there are days without, a band and not its metadata.
        path.name: max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        for path in (world / "granules").iterdir()
    }
    stations = world / "stations"
    return found | {
        "conusv4f1": database / "conusv4f1",
        "uscrn": next((stations / "uscrn").rglob("CRND*.txt")),
        "scan": next((stations / "scan").glob("9*.csv")),
        "ismn": stations / "ismn",
        "uscrn_hourly": next((stations / "uscrn_hourly").rglob("CRNH*.txt")),
    }


_ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQMAAAAl21bKAAAAA1BMVEUAAACnej3aAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


# Of a module: while playwright runs, no other test of the process can have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, that of Debian's package."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium to test pages in; install it (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-background-networking"]
        opened = started.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def blank_figures() -> Callable[..., AbstractContextManager[None]]:
    """Context in which the first ``drawn`` figures are drawn, and the others saved as a pixel: most of a report."""

    @contextmanager
    def blank(drawn: int = 0) -> Iterator[None]:
        from matplotlib.figure import Figure

        draw, number = Figure.savefig, itertools.count()

        def save(figure: Figure, file: Any, **options: Any) -> None:
            if next(number) < drawn:
                draw(figure, file, **options)
            else:
                (file.write_bytes if isinstance(file, Path) else file.write)(_ONE_PIXEL)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", save)
            yield

    return blank


@pytest.fixture(scope="session")
def small_cube() -> xr.Dataset:
    """Made-up moisture that follows made-up rain, 8 x 9 cells, 150 days, 45 % observed."""
    rng = np.random.default_rng(0)
    n, rows, columns = 150, 8, 9
    dataset = ease_grid("36km").part(slice(47, 79, 4), slice(151, 187, 4)).coordinates()
    dataset = dataset.assign_coords(time=pd.date_range("2015-04-01", periods=n))
    rain = rng.gamma(0.3, 12.0, (n, rows, columns)).astype(np.float32)
    moisture = np.full((n, rows, columns), 0.2, np.float32)
    for t in range(1, n):
        moisture[t] = 0.06 + 0.9 * (moisture[t - 1] - 0.06) + 0.002 * rain[t] + rng.normal(0, 0.003, (rows, columns))
    mask = np.ones((rows, columns), bool)
    mask[0, :2] = False
    seen = rng.random(moisture.shape) < 0.45
    daily = ("time", "y", "x")
    dataset["soil_moisture"] = daily, np.where(seen & mask, moisture, np.nan).astype(np.float32)
    dataset["precipitation"] = daily, np.where(mask, rain, np.nan)
    angle = 2 * np.pi * np.arange(n) / 365
    for name, mean, amplitude in (
        ("air_temperature", 285, 10),
        ("specific_humidity", 0.008, 0.003),
        ("shortwave_radiation", 200, 80),
        ("longwave_radiation", 300, 40),
        ("eastward_wind", 0, 2),
        ("northward_wind", 0, 2),
    ):
        values = mean + amplitude * (np.sin(angle)[:, None, None] + 0.3 * rng.normal(size=moisture.shape))
        dataset[name] = daily, np.where(mask, values, np.nan).astype(np.float32)
    for name in (
        "clay_fraction",
        "sand_fraction",
        "silt_fraction",
        "bulk_density",
        "soil_water_capacity",
        "ndvi",
        "albedo",
        "roughness_coefficient",
        "water_fraction",
    ):
        dataset[name] = ("y", "x"), np.where(mask, rng.random((rows, columns)), np.nan).astype(np.float32)
    dataset["mask"] = ("y", "x"), mask
    dataset.attrs |= {"dataset": "made up", "layer": "0-10 cm", "simulated": "true"}
    return with_antecedents(dataset)


@pytest.fixture(scope="session")
def checker() -> Callable[..., tuple[int, str]]:
    """What the checker of the CF conventions says of a file, but for the checks to skip: failures and words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compliance_checker.cf.appendix_f import grid_mapping_dict17 as grid_mappings
        from compliance_checker.runner import CheckSuite, ComplianceChecker

        # The checker's table has a word where a tuple of one belongs, and asks for an attribute of each letter.
        entry = grid_mappings["lambert_cylindrical_equal_area"]
        entry[0] = (entry[0],) if isinstance(entry[0], str) else entry[0]
        CheckSuite.load_all_available_checkers()

    def check(path: Path, *skipped: str) -> tuple[int, str]:
        said = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(said):
            warnings.simplefilter("ignore")
            passed, errors = ComplianceChecker.run_checker(
                str(path), ["cf:1.11"], 1, "strict", skip_checks=list(skipped)
            )
        return int(not passed or errors), said.getvalue()

    return check


@pytest.fixture
def compliance(tmp_path: Path, checker: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """The same of a data set."""

    def check(data: xr.Dataset, *skipped: str) -> tuple[int, str]:
        data.to_netcdf(tmp_path / "checked.nc")
        return checker(tmp_path / "checked.nc", *skipped)

    return check
