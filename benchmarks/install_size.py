"""Megabytes that vadose and each of its extras take once installed: ``python -m benchmarks.install_size``.

Counted are the files, without byte code, of the packages that the requirements lead to, as installed where it runs.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads(Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text())["project"]


def needed(asked: list[str], extra: str = "", known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of all packages that requirements lead to, with those already known; what is not installed is left out."""
    for one in map(Requirement, asked):
        name = canonicalize_name(one.name)
        if (one.marker and not one.marker.evaluate({"extra": extra})) or (name in known and not one.extras):
            continue
        try:
            further = requires(name) or []
        except PackageNotFoundError:
            continue
        for wanted in one.extras or {""}:
            known = needed(further, wanted, known | {name})
    return known


def megabytes(packages: frozenset[str]) -> float:
    """Size of the packages' files, without byte code."""
    files = [file for name in packages for file in distribution(name).files or () if file.suffix != ".pyc"]
    return sum(place.stat().st_size for file in files if (place := file.locate()).is_file()) / 1e6


def main() -> None:
    """Print the table of docs/install.md."""
    core = needed(PROJECT["dependencies"])
    print(f"| part | packages | MB |\n|---|---|---|\n| core | {len(core)} | {megabytes(core):,.0f} |")
    for extra, asked in PROJECT["optional-dependencies"].items():
        more = needed(asked, known=core) - core
        print(f"| `[{extra}]` | {len(more)} more | {megabytes(more):,.0f} |")


if __name__ == "__main__":
    main()
