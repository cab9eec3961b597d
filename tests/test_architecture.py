"""Stages import only what the data flow allows: the table is walked over the AST of every file."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "vadose"

# Stage -> stages it may import; its own stage always.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "memory": {"errors"},
    "workers": {"errors"},
    "processes": {"errors"},
    "variables": set(),
    "artefact": {"errors"},
    "grid": {"errors"},
    "days": {"errors"},
    "place": {"errors", "days"},
    "values": {"errors", "variables"},
    "door": {"errors", "days", "grid", "place", "values"},
    "products": {"errors", "variables", "grid", "memory"},
    "features": {"errors"},
    "checkpoint": {"errors"},
    "gapfill": {"errors", "artefact", "checkpoint"},
    "fetch": {"errors", "grid", "products"},
    "inspection": {"errors", "grid", "products"},
    "resample": {"errors", "grid"},
    "cube": {
        "errors", "artefact", "days", "door", "place", "products", "grid", "features", "gapfill", "resample",
        "values", "variables", "workers",
    },
    "doctor": {"errors", "artefact", "variables"},
    "screening": {"errors"},
    "stations": {"errors", "artefact", "products", "screening", "variables"},
    "matchups": {"errors", "artefact", "door", "grid", "features", "values"},
    "learnt": {"errors", "days", "place"},
    "models": set(),
    "losses": set(),
    "normals": {"errors", "days", "values"},
    "samples": {"errors", "artefact", "days", "door", "learnt", "memory", "models", "normals", "place", "values"},
    "train": {"errors", "artefact", "checkpoint", "days", "models", "losses", "place", "processes", "samples"},
    "forecast": {
        "errors", "artefact", "checkpoint", "days", "door", "learnt", "models", "normals", "place", "samples", "values",
        "variables", "workers",
    },
    "downscale": {
        "errors", "artefact", "checkpoint", "cube", "days", "door", "features", "gapfill", "grid", "products", "values",
        "variables", "models", "losses", "normals", "workers",
    },
    "evaluate": {
        "errors", "artefact", "days", "door", "features", "learnt", "variables", "grid", "place", "values", "workers",
    },
    "outlook": {"errors", "artefact", "days", "door", "place", "values"},
    "report": {"errors", "artefact", "evaluate"},
    "twin": {"errors", "artefact", "variables", "grid", "features", "gapfill"},
    "configs": set(),
    "config": {"errors", "cube", "days", "downscale", "gapfill", "models", "samples", "train"},
    "study": {
        "errors", "artefact", "config", "cube", "days", "door", "downscale", "gapfill", "learnt", "matchups", "memory",
        "models", "normals", "place", "processes", "samples", "train", "forecast", "evaluate", "report", "twin",
    },
    "cli": {
        "errors", "artefact", "config", "cube", "doctor", "door", "downscale", "evaluate", "fetch", "forecast",
        "inspection", "matchups", "outlook", "report", "stations", "study", "train", "twin",
    },
}  # fmt: skip
# Libraries that only these stages may know.
ONLY_IN = {
    "torch": {"checkpoint", "gapfill", "models", "processes", "losses", "samples", "train", "forecast", "downscale"},
    "pydantic": {"config"},
    "typer": {"cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def stage_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: import by the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(path: Path) -> list[str]:
    stage, wrong = stage_of(path), []
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "vadose" and len(parts) > 1 and parts[1] not in MAY_IMPORT[stage] | {stage}:
            wrong.append(name)
        if parts[0] in ONLY_IN and stage not in ONLY_IN[parts[0]]:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_data_flow(path: Path) -> None:
    assert violations(path) == []


def test_the_table_holds_exactly_the_stages_there_are() -> None:
    assert {stage_of(path) for path in FILES} == set(MAY_IMPORT)


def test_stages_form_no_cycle() -> None:
    done: set[str] = set()
    while rest := {stage for stage in MAY_IMPORT if stage not in done}:
        free = {stage for stage in rest if not (MAY_IMPORT[stage] & rest)}
        assert free, f"cycle among {sorted(rest)}"
        done |= free


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_architecture.PACKAGE", tmp_path)
    wrong = tmp_path / "evaluate" / "bad.py"
    wrong.parent.mkdir()
    wrong.write_text("import torch\nfrom vadose.models import MODELS\n")
    assert sorted(violations(wrong)) == ["torch", "vadose.models.MODELS"]
