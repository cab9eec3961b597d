import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from vadose.artefact import check_chunks, identity, is_current, locked, made_from, note_inputs, provenance, writing
from vadose.errors import VadoseError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_run(path: Path, content: str) -> None:
    with writing(path) as scratch:
        scratch.mkdir()
        (scratch / content).write_text(content)
        note_inputs(scratch, content=content)


def write_store(path: Path, values: np.ndarray) -> Path:
    data = xr.Dataset({"a": (("time", "y"), values)}, attrs=provenance(seed=0))
    with writing(path) as scratch:
        data.chunk(time=1).to_zarr(scratch, zarr_format=3, consolidated=False)
    return path


def test_after_an_error_nothing_is_left_and_the_old_stays(tmp_path: Path) -> None:
    old = tmp_path / "a"
    old.write_text("old")

    def stopped() -> None:
        with writing(old) as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert names(tmp_path) == ["a"]
    assert old.read_text() == "old"


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two steps"])
def test_a_whole_folder_takes_the_place_of_an_old_one(
    tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr("vadose.artefact.atomic._exchange", lambda one, other: False)
    for content in ("one", "two"):
        write_run(tmp_path / "run", content)
    assert names(tmp_path / "run") == ["provenance.json", "two"]
    assert names(tmp_path) == ["run"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(VadoseError, match="holds something else"), writing(tmp_path / "thesis"):
        pass
    assert names(tmp_path / "thesis") == ["chapter.txt"]
    with pytest.raises(VadoseError, match="a file of this name exists"):
        write_run(tmp_path / "thesis" / "chapter.txt", "run")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_a_link_to_an_artefact_stays_one(tmp_path: Path) -> None:
    write_run(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    write_run(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["provenance.json", "two"]


def killed(body: str, *arguments: object) -> None:
    """Run statements in a process that kills itself among them."""
    start = "import os, signal, sys\nfrom pathlib import Path\nfrom vadose.artefact import atomic\n"
    start += "from vadose.artefact import note_inputs, writing\ndef die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", start + body, *map(str, arguments)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "old")
    killed("with writing(Path(sys.argv[1])) as scratch:\n    scratch.mkdir()\n    die()", tmp_path / "run")
    assert names(tmp_path / "run") == ["old", "provenance.json"]
    assert len(names(tmp_path)) == 3  # the lock and the scratch
    write_run(tmp_path / "run.b", "another")
    write_run(tmp_path / "run", "new")
    assert names(tmp_path) == ["run", "run.b"]


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path, renames: int) -> None:
    write_run(tmp_path / "run", "old")
    body = f"""
rename, done = Path.rename, []
def step(one, other):
    if len(done) == {renames}: die()
    done.append(one)
    return rename(one, other)
Path.rename = step
atomic._exchange = lambda one, other: False
remove = atomic.remove
atomic.remove = lambda path: die() if len(done) == 2 else remove(path)
with writing(Path(sys.argv[1])) as scratch:
    scratch.mkdir()
    note_inputs(scratch, content="new")
"""
    killed(body, tmp_path / "run")
    with contextlib.suppress(KeyError), writing(tmp_path / "run"):
        assert made_from(tmp_path / "run") == {"content": "new" if renames == 2 else "old"}
        raise KeyError
    assert names(tmp_path) == ["run"]


def _write_slowly(path: Path, name: str, ready: Callable[[], object], answers: "multiprocessing.Queue[str]") -> None:
    ready()
    try:
        with writing(path) as scratch:
            scratch.mkdir()
            for number in range(20):
                (scratch / f"{name}{number}").touch()
            note_inputs(scratch, name=name)
            ready()
        answers.put("")
    except VadoseError as error:
        ready()
        answers.put(str(error))


def test_of_two_processes_one_writes_and_one_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    both = [
        context.Process(target=_write_slowly, args=(tmp_path / "run", name, barrier.wait, answers)) for name in "ab"
    ]
    for process in both:
        process.start()
    found = sorted(answers.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    assert found == ["", f"{tmp_path / 'run'}: another process is writing it; wait until it ends"]
    assert names(tmp_path) == ["run"]
    name = dict(made_from(tmp_path / "run") or {})["name"]
    assert len([file for file in names(tmp_path / "run") if file.startswith(name)]) == 20


def test_a_lock_keeps_others_out_and_leaves_no_file(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        with pytest.raises(VadoseError, match="another process is writing it"), locked(tmp_path / "run"):
            pass
        with locked(tmp_path / "other"):
            pass
    assert names(tmp_path) == []


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", "old")

    def full() -> None:
        with writing(tmp_path / "run") as scratch:
            scratch.write_bytes(b"0" * 1_500_000)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(VadoseError, match=r"run: the disk is full after 1.5 MB were written \(.* MB more are free\)"):
        full()
    assert names(tmp_path) == ["run"]
    assert made_from(tmp_path / "run") == {"content": "old"}
    with (
        pytest.raises(VadoseError, match=r"cube.zarr: the disk is full \(.* MB more are free\)"),
        locked(tmp_path / ".scratch", tmp_path / "cube.zarr"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(VadoseError, match=r"new: the disk is full after 0.0 MB"), writing(tmp_path / "new"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # as NetCDF says it
    assert names(tmp_path) == ["run"]


def test_identity_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "a").write_text("1")
    found = [identity(folder)]
    (folder / "a").write_text("2")
    found.append(identity(folder))
    (folder / "a").rename(folder / "b")
    found.append(identity(folder))
    (folder / "again").symlink_to(folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c").write_text("3")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    found.append(identity(folder))
    assert len(set(found)) == 4
    (tmp_path / "b").write_text("2")
    assert identity(folder / "b") == identity(tmp_path / "b") != identity(tmp_path / "b", folder)
    with pytest.raises(VadoseError, match="no such file"):
        identity(tmp_path / "absent")


def test_identity_of_a_folder_is_remembered_until_a_value_is_swapped_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "cube", tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    folder.mkdir()
    (folder / "chunk").write_bytes(b"1")
    plain = identity(folder)  # small
    monkeypatch.setattr("vadose.artefact.remembered.SMALL", 0)
    assert identity(folder) == plain
    assert not cache.exists()  # it has only just been written
    monkeypatch.setattr("vadose.artefact.remembered.SETTLED", -(10**18))
    assert identity(folder) == plain
    (kept,) = (cache / "vadose" / "identities").iterdir()
    assert kept.read_text() == plain
    unused = kept.with_name("unused")
    for entry in (kept, unused):
        entry.write_text(plain)
        os.utime(entry, (0, 0))
    assert identity(folder) == plain  # asked for, it is kept
    (folder / "more").write_bytes(b"")
    assert identity(folder) != plain
    assert kept.exists()
    assert not unused.exists()
    (folder / "more").unlink()
    kept.write_text("remembered")
    assert identity(folder) == "remembered"
    before = (folder / "chunk").stat()
    while (folder / "chunk").stat().st_ctime_ns == before.st_ctime_ns:
        (folder / "chunk").write_bytes(b"2")
        os.utime(folder / "chunk", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (folder / "chunk").stat().st_mtime_ns == before.st_mtime_ns
    assert identity(folder) not in ("remembered", plain)
    cache.rename(tmp_path / "gone")
    cache.write_text("no folder")
    assert identity(folder) not in ("remembered", plain)


def test_identity_of_a_large_folder_is_of_sizes_and_times_and_of_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vadose.artefact.contents.LARGE", 0)
    chunk, note = tmp_path / "chunk", tmp_path / "zarr.json"
    chunk.write_bytes(b"1")
    note.write_text("{}")
    first = identity(tmp_path)
    os.utime(note)
    assert identity(tmp_path) == first
    os.utime(chunk, ns=(0, 1))
    second = identity(tmp_path)
    note.write_text("[]")
    assert len({first, second, identity(tmp_path)}) == 3


def test_identity_of_data_is_of_values_names_and_attributes_however_they_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vadose.artefact.contents._COPIED", 16)
    time = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")
    data = xr.Dataset({"a": (("time", "y"), np.arange(6.0).reshape(2, 3))}, {"time": time, "s": ("y", ["a", "b", "c"])})
    data["s"] = data.s.astype(object)
    same = [data, data.copy(deep=True), data.chunk(time=1), data.transpose("y", "time").transpose("time", "y")]
    assert len({identity(one) for one in same}) == 1
    other = [
        data + 0.1,
        data.rename(a="b"),
        data.assign_attrs(a=1),
        data.astype(np.float32),
        data.isel(y=[0, 2, 1]),
        data.assign_coords(time=time + 1),
        data.assign_coords(s=("y", np.array(["a", "b", "d"], object))),
        data.a,
    ]
    assert len({identity(one) for one in (data, *other)}) == 9


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
    (tmp_path / "run" / "provenance.json").write_text("{")
    assert made_from(tmp_path / "run") is None


def test_a_missing_chunk_is_found_and_one_that_was_never_there_is_none(tmp_path: Path) -> None:
    values = np.full((4, 3), np.nan)
    values[:3] = 1.0
    store = write_store(tmp_path / "a.zarr", values)
    check_chunks(store)
    assert is_current(store, seed=0)
    assert xr.open_zarr(store, consolidated=False).a.notnull().sum() == 9
    (store / "a" / "c" / "1" / "0").unlink()
    with pytest.raises(VadoseError, match=r"a.zarr: 1 of 3 chunks of a are missing, the first c/1/0; copy or make"):
        check_chunks(store)
    assert not is_current(store, seed=0)


def test_an_edited_store_is_not_the_one_that_was_made_but_can_be_opened(tmp_path: Path) -> None:
    store = write_store(tmp_path / "a.zarr", np.ones((4, 3)))
    noise = np.random.default_rng(0).random((4, 3))
    xr.Dataset({"a": (("time", "y"), noise)}).to_zarr(
        store, mode="r+", consolidated=False, region={"time": slice(0, 4)}
    )
    check_chunks(store)
    assert not is_current(store, seed=0)
