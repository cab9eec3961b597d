import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from vadose.artefact import checkpoint
from vadose.errors import VadoseError
from vadose.models import MODELS, from_checkpoint, to_checkpoint
from vadose.models.inputs import Channels

MODEL = {"name": "a", "state": {"weight": torch.rand(64, 64)}, "window": None}


def read(path: Path, **changes: Any) -> dict[str, Any]:
    return checkpoint.load(path, **{"needs": ("name", "state"), "made_by": "vadose train"} | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.save(MODEL, tmp_path / "x.pt")
    return tmp_path / "x.pt"


def test_a_whole_checkpoint_comes_back_and_those_written_by_torch_too(path: Path) -> None:
    assert torch.equal(read(path)["state"]["weight"], MODEL["state"]["weight"])  # type: ignore[index]
    torch.save(MODEL, path)
    assert read(path).keys() == MODEL.keys()


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_fifty_bytes_that_are_zero_are_noticed(path: Path, place: float) -> None:
    whole = path.read_bytes()
    start = int(place * len(whole))
    path.write_bytes(whole[:start] + bytes(50) + whole[start + 50 :])
    with pytest.raises(VadoseError, match=r"x.pt: not a checkpoint of vadose \(damaged.*make it with: vadose train"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        ("épreuve\n".encode(), "a text file"),
        (pickle.dumps({"a": 1}), "a file of another format"),
        (b"\x89HDF\r\n\x1a\n\0\0", "a file of another format"),
        (b"PK\x03\x04 and no more", "damaged or cut short"),
    ],
)
def test_other_files_are_called_what_they_are(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=rf"x.pt: not a checkpoint of vadose \({message}"):
        read(path)


def test_a_checkpoint_cut_short_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VadoseError, match="damaged or cut short"):
        read(path)


def test_checkpoints_of_something_else_or_of_another_version_are_refused(path: Path) -> None:
    with pytest.raises(VadoseError, match=r"it lacks channels, it holds .*'name', 'state', 'window'"):
        read(path, needs=("name", "channels"))
    torch.save([1, 2], path)
    with pytest.raises(VadoseError, match="it lacks name, state, it holds a list"):
        read(path)
    torch.save(Path("code"), path)
    with pytest.raises(VadoseError, match="not a checkpoint of vadose"):
        read(path)
    with pytest.raises(VadoseError, match="no such checkpoint; make one with: vadose train"):
        read(path.with_name("absent.pt"))
    channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    good = to_checkpoint("climatology", {"grid": (2, 2)}, MODELS["climatology"](channels, grid=(2, 2)))
    checkpoint.save({"name": "blend", "state": None, "members": [good]}, path)
    assert read(path, build=from_checkpoint)["members"][0]["name"] == "climatology"
    for wrong in ({"name": "oracle"}, {"hyper": {"grid": (3, 3)}}, {"hyper": {"rows": 2}}, {"inputs": {}}):
        checkpoint.save({"name": "blend", "state": None, "members": [good | wrong]}, path)
        with pytest.raises(VadoseError, match="is unknown to this version of vadose"):
            read(path, build=from_checkpoint)
