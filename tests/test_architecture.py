"""Stages import only what the data flow allows: the table is walked over the AST of every file."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "vadose"

# What people call: it may import every stage, and no stage imports it.
FACE = {
    "__init__",
    "__main__",
    "api",
    "cli",
    "exporting",
    "fetching",
    "operation",
    "outlooking",
    "stationing",
    "viewing",
}
# Free to import from everywhere.
GROUND = {"errors", "variables", "grid", "door", "artefact", "parallel", "compiled", "areas"}
# Stage -> stages above it that it may import, in the order of the data flow: no arrow runs up.
MAY_IMPORT: dict[str, set[str]] = {
    "products": set(),
    "download": {"products"},
    "features": set(),
    "gapfill": set(),
    "resample": set(),
    "twin": {"products", "features", "gapfill"},
    "insitu": {"products", "features"},
    "cube": {"products", "features", "gapfill", "resample"},
    "models": set(),
    "samples": {"features", "models"},
    "training": {"models", "samples"},
    "predict": {"features", "gapfill", "models", "samples", "training"},
    "evaluation": {"features", "predict"},
    "reports": {"features", "evaluation"},
    "publish": {"features", "predict"},
    "experiments": {
        "features",
        "gapfill",
        "twin",
        "insitu",
        "cube",
        "models",
        "samples",
        "training",
        "predict",
        "evaluation",
        "reports",
    },
}
# Models know torch and numpy, and nothing of the package but how loops are compiled.
KNOW_NOTHING_OF_US = {"models"}
# Libraries that only these stages, or files, may know.
ONLY_IN = {
    "torch": {
        "artefact/checkpoint",
        "parallel/running",
        "gapfill",
        "models",
        "samples",
        "training",
        "predict",
        "experiments",
    },
    "pydantic": {"experiments", "insitu", "door"},
    "matplotlib": {"insitu", "cube", "predict", "reports"},
    "typer": {"cli"},
    "numba": {"compiled"},
    "optuna": {"experiments/space", "experiments/studies/tuning"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def stage_of(path: Path) -> str:
    return name_of(path).split("/")[0]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: import by the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def violations(path: Path) -> list[str]:
    stage, wrong = stage_of(path), []
    free = {"compiled"} if stage in KNOW_NOTHING_OF_US else GROUND
    allowed = free | MAY_IMPORT.get(stage, set()) | {stage}
    if stage in FACE:
        allowed = FACE | GROUND | set(MAY_IMPORT)
    for name in imports(path):
        library, *rest = name.split(".")
        if library == "vadose" and rest and rest[0] not in allowed:
            wrong.append(name)
        if library in ONLY_IN and not ONLY_IN[library] & {stage, name_of(path)}:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_data_flow(path: Path) -> None:
    assert violations(path) == []


def test_the_table_holds_exactly_the_stages_there_are() -> None:
    assert {stage_of(path) for path in FILES} == set(MAY_IMPORT) | GROUND | FACE
    assert not GROUND & set(MAY_IMPORT)


def test_no_stage_imports_one_that_comes_after_it() -> None:
    before: set[str] = set()
    for stage, allowed in MAY_IMPORT.items():
        assert allowed <= before, f"{stage} imports {sorted(allowed - before)}, which come after it"
        before.add(stage)


def test_the_stages_and_their_arrows_stay_few() -> None:
    assert len(MAY_IMPORT) + len(GROUND) <= 24
    assert sum(map(len, MAY_IMPORT.values())) <= 40


def test_every_permission_is_needed() -> None:
    used = {(stage_of(path), name.split(".")[1]) for path in FILES for name in imports(path) if name.count(".")}
    assert {(stage, other) for stage, allowed in MAY_IMPORT.items() for other in allowed} <= used


def test_files_form_no_circle() -> None:
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}

    def module_of(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    waits = {
        name: {module_of(other) for other in imports(path) if other.startswith("vadose.")} - {name}
        for name, path in modules.items()
    }
    while free := [name for name, others in waits.items() if not others & waits.keys()]:
        for name in free:
            del waits[name]
    assert not waits, f"circles among {sorted(waits)}"


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_architecture.PACKAGE", tmp_path)
    for stage, expected in (
        ("evaluation", ["torch", "vadose.models.MODELS"]),
        ("models", ["vadose.errors.VadoseError"]),
    ):
        wrong = tmp_path / stage / "bad.py"
        wrong.parent.mkdir()
        wrong.write_text("import torch\nfrom vadose.errors import VadoseError\nfrom vadose.models import MODELS\n")
        assert sorted(violations(wrong)) == expected


# Longer than they should be; each that is shortened leaves the list, and none is added.
LONG_FUNCTIONS = {
    "cli/downscaling:downscale",
    "cli/forecasting:forecast",
    "predict/forecast:forecast",
    "predict/maps:downscale_maps",
    "predict/past_years:outlook_of_past_years",
}
LINES_OF_A_FUNCTION, LINES_OF_A_FILE = 60, 400


def lines_of(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    documented = ast.get_docstring(function, clean=False)
    return (function.end_lineno or 0) - function.lineno + 1 - (documented.count("\n") + 1 if documented else 0)


def test_functions_and_files_fit_a_screen_or_are_known_not_to() -> None:
    trees = {name_of(path): ast.parse(path.read_text()) for path in FILES}
    functions = {
        f"{name}:{node.name}": lines_of(node)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for name, lines in functions.items() if lines > LINES_OF_A_FUNCTION} == LONG_FUNCTIONS
    assert not [path for path in FILES if path.read_text().count("\n") > LINES_OF_A_FILE]
    assert not [path for path in FILES if "fmt: skip" in path.read_text()]
