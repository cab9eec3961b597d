import json
from pathlib import Path

import pytest
import xarray as xr

from vadose.artefact import fingerprint, is_current, made_from, provenance, writing
from vadose.errors import VadoseError


def test_after_an_error_nothing_is_left_and_the_old_stays(tmp_path: Path) -> None:
    old = tmp_path / "a"
    old.write_text("old")

    def stopped() -> None:
        with writing(old) as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert old.read_text() == "old"


def test_a_whole_folder_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with writing(tmp_path / "run") as scratch:
            scratch.mkdir()
            (scratch / content).touch()
            (scratch / "provenance.json").write_text(json.dumps(provenance(content=content)))
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"two", "provenance.json"}


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(VadoseError, match="something else is there"), writing(tmp_path / "thesis"):
        pass
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_what_an_earlier_crash_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".run.partial"
    left.mkdir()
    (left / "old").touch()
    with writing(tmp_path / "run") as scratch:
        assert not scratch.exists()
        scratch.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_fingerprint_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = fingerprint([tmp_path])
    (tmp_path / "a").write_text("2")
    second = fingerprint([tmp_path])
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint([tmp_path])}) == 3


def test_inputs_are_read_back_from_a_store_and_a_folder(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    xr.Dataset(attrs=provenance(leads=(1, 3))).to_zarr(store, zarr_format=3, consolidated=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "provenance.json").write_text(json.dumps(provenance(leads=(1, 3))))
    for path in (store, tmp_path / "run"):
        assert made_from(path) == {"leads": [1, 3]}
        assert is_current(path, leads=(1, 3))
        assert not is_current(path, leads=(1,))
    assert made_from(tmp_path / "nothing") is None
