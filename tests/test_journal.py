"""Changes of a store are seen all at once, whenever the writer is killed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from vadose.artefact import CHUNKS, check_chunks, complete, identity, note_chunks
from vadose.cube import journal, open_identified
from vadose.errors import VadoseError


def write(files: LocalStore, **arrays: float) -> None:
    root = zarr.open_group(files, mode="a")
    for name, value in arrays.items():
        array = root.require_array(name, shape=(3, 2), chunks=(1, 2), dtype="f4", fill_value=np.float32(np.nan))
        array[:] = value
    root.attrs["state"] = json.dumps(arrays)


def read(path: Path) -> dict[str, list[float]]:
    top = complete(path) if journal.pending(path) else path
    root = zarr.open_group(journal.Layered(top, path, read_only=True), mode="r")
    assert list(json.loads(str(root.attrs["state"]))) == sorted(name for name, _ in root.arrays())
    return {name: np.asarray(array[:, 0]).tolist() for name, array in root.arrays()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "c.zarr"
    write(LocalStore(path), a=1.0, b=2.0)
    return path


def changed(path: Path) -> dict[str, list[float]]:
    """Changes begun: a day of ``a`` is another, one is missing now, ``b`` is gone, ``c`` is new."""
    journal.begin(path, cut=False)
    files = journal.Layered(journal.building(path), path)
    root = zarr.open_group(files, mode="r+")
    root["a"][0] = 7.0
    root["a"][2] = np.nan
    del root["b"]
    write(files, c=3.0)
    root.attrs["state"] = json.dumps({"a": 0, "c": 0})
    seen = zarr.open_group(files, mode="r")
    return {name: np.asarray(array[:, 0]).tolist() for name, array in seen.arrays()}


def test_changes_are_seen_when_they_are_complete(store: Path) -> None:
    before = read(store)
    after = changed(store)
    np.testing.assert_equal(after, {"a": [7.0, 1.0, np.nan], "c": [3.0, 3.0, 3.0]})
    assert read(store) == before
    journal.commit(store)
    np.testing.assert_equal(read(store), after)
    assert not complete(store).exists()
    assert not journal.building(store).exists()
    plain = zarr.open_group(store, mode="r")
    assert sorted(name for name, _ in plain.arrays()) == ["a", "c"]
    assert not [p for p in store.rglob("*") if p.name.endswith((".gone", ".about.json"))]


class Killed(BaseException):
    """What no handler of errors catches."""


def test_a_process_killed_at_any_step_leaves_one_state_or_the_other(tmp_path: Path) -> None:
    seen = set()
    for step in range(50):
        path = tmp_path / str(step) / "c.zarr"
        write(LocalStore(path), a=1.0, b=2.0)
        before, after, left = read(path), changed(path), [step]

        def counted(act: Callable[..., object], left: list[int] = left) -> Callable[..., object]:
            def step_of(*arguments: object, **options: object) -> object:
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return act(*arguments, **options)

            return step_of

        with pytest.MonkeyPatch.context() as patched:
            for name in ("rename", "replace", "unlink"):
                patched.setattr(Path, name, counted(getattr(Path, name)))
            try:
                journal.commit(path)
            except Killed:
                seen.add(journal.pending(path))
        expected = before if journal.building(path).exists() else after
        np.testing.assert_equal(read(path), expected)
        journal.settle(path)
        np.testing.assert_equal(read(path), expected)
        if left[0]:
            break
    assert seen == {True, False}
    assert step > 5


def test_chunks_are_noted_so_that_a_missing_one_is_found(store: Path) -> None:
    note_chunks(store)
    changed(store)
    journal.commit(store)
    check_chunks(store)
    noted = json.loads((store / "a" / CHUNKS).read_text())
    assert noted == {f"c/{day}/0": (store / "a" / "c" / str(day) / "0").stat().st_size for day in (0, 1)}
    (store / "c" / "c" / "1" / "0").unlink()
    with pytest.raises(VadoseError, match="1 of 3 chunks of c are missing"):
        check_chunks(store)


def test_a_first_state_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "c.zarr"
    journal.begin(path, cut=False)
    write(journal.Layered(journal.building(path), path), a=1.0)
    assert not path.exists()
    journal.commit(path)
    assert read(path) == {"a": [1.0, 1.0, 1.0]}
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]


def test_changes_of_another_state_do_not_go_on(store: Path) -> None:
    changed(store)
    assert journal.resumable(store)
    write(LocalStore(store), a=5.0, b=5.0)
    assert journal.resumable(store) is None
    # Nor are complete ones moved into another store.
    journal.building(store).rename(complete(store))
    assert not journal.pending(store)
    journal.settle(store)
    assert read(store)["a"] == [5.0, 5.0, 5.0]


def test_complete_changes_belong_to_the_identity_before_they_are_moved_in(store: Path) -> None:
    old = identity(store)
    changed(store)
    assert identity(store) == old
    journal.building(store).rename(complete(store))
    assert identity(store) != old
    journal.settle(store)
    assert identity(store) != old


def test_what_is_opened_and_identified_is_one_state(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_while_a_build_ends(path: Path, *_: object) -> dict[str, list[float]]:
        opened.append(read(path))
        if len(opened) == 1:
            changed(path)
            journal.commit(path)
        return opened[-1]

    monkeypatch.setattr("vadose.cube.store._opened", open_while_a_build_ends)
    found, of_state = open_identified(store)
    np.testing.assert_equal(found, read(store))
    assert len(opened) == 2
    assert of_state == identity(store)
