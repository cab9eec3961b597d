"""Download the files of a plan: in parallel, resumable, verified, and never half a file under its final name.

What is under way lies in the folder ``.fetch`` beside the files: ``NAME.part`` and what is needed to resume it, and a
note of every finished file, by which it is known again.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from vadose.download.check import check_container
from vadose.download.client import HOW_TO_LOG_IN, Client, LoginError, MissingError
from vadose.download.note import HIDDEN, hidden, is_current, note_of, with_former, write_note
from vadose.download.opendap import address
from vadose.download.plan import Plan, RemoteFile, size_text
from vadose.download.transfer import download, unpack
from vadose.download.window import read_window
from vadose.errors import VadoseError

MOST_REPORTED = 10


def fetch(
    plan: Plan,
    folder: Path,
    progress: Callable[[str, float], None] | None = None,
    workers: int = 4,
    *,
    verify: bool = False,
    client: Client | None = None,
) -> list[Path]:
    """Fetch the files of a plan that are not there yet, or no longer current.

    Every file is checked (size, checksum where one is published, container) before it takes its name. A fetch that
    was stopped or failed goes on where it was when it is called again.

    Parameters
    ----------
    plan
        From `plan_fetch`.
    folder
        Where to; made if missing.
    progress
        Told what is done and the share of it, 0..1.
    workers
        Connections at a time. Data centres ask for few.
    verify
        Read files that are there already and compare their checksums, instead of trusting their size and time of
        change.
    client
        With another login, patience or time limits than usual.

    Returns
    -------
    list of Path
        The files, in the order of the plan; those the server does not have and need not have are left out.

    Raises
    ------
    VadoseError
        One line for every file that could not be fetched. The others are there.
    """
    client = client or Client()
    if any(file.login == "earthdata" for file in plan.files) and not client.login:
        raise VadoseError(f"{plan.product}: needs an Earthdata login; {HOW_TO_LOG_IN}")
    _refuse_unsafe_names(plan)
    with _alone(folder), ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        pending = {pool.submit(_fetch_file, client, file, folder, verify): file for file in plan.files}
        try:
            found, failures = _gather(client, pending, plan, progress)
        except BaseException:
            # Ctrl-C among others: threads leave off at their next block, the parts stay.
            client.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        more = [f"and {len(failures) - MOST_REPORTED} more"] if len(failures) > MOST_REPORTED else []
        raise VadoseError("\n".join(failures[:MOST_REPORTED] + more))
    return [found[file.name] for file in plan.files if file.name in found]


def _gather(
    client: Client,
    pending: Mapping["Future[Path | None]", RemoteFile],
    plan: Plan,
    progress: Callable[[str, float], None] | None,
) -> tuple[dict[str, Path], list[str]]:
    found: dict[str, Path] = {}
    failures: list[str] = []
    waiting = set(pending)
    refused = False
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            if future.cancelled():
                continue
            try:
                if path := future.result():
                    found[pending[future].name] = path
            except LoginError as error:
                # Every further file would be refused alike.
                if not refused:
                    failures.append(str(error))
                refused = True
                for other in waiting:
                    other.cancel()
            except VadoseError as error:
                failures.append(str(error))
        if progress:
            finished = len(pending) - len(waiting)
            progress(
                f"fetching {plan.product}: {finished} of {len(pending)} files, {size_text(client.received)} received",
                finished / len(pending),
            )
    return found, failures


def _fetch_file(client: Client, file: RemoteFile, folder: Path, verify: bool) -> Path | None:
    path = folder / file.name
    note = hidden(folder, file, ".json")
    client.check()
    try:
        file = with_former(file, path, note)
        if is_current(file, path, note, verify):
            return path
        part = hidden(folder, file, ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        _get(client, file, part)
        # The note goes first: should the work be cut off between the two, the file is found not to fit it.
        write_note(note, note_of(file, part, datetime.now(UTC)))
        os.replace(part, path)
        hidden(folder, file, ".part.json").unlink(missing_ok=True)
        return path
    except MissingError:
        if file.optional:
            return None
        raise
    except OSError as error:
        raise VadoseError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from error


def _get(client: Client, file: RemoteFile, part: Path) -> None:
    """Bring the file into being at ``part``, and check it."""
    if file.write:
        file.write(client, part)
    elif file.cut:
        download(client, replace(file, url=address(client, file.cut, file.name)), part)
        file.cut.say_where(part, file.name)
    elif file.crop and not file.member:
        read_window(client, file, part)
    else:
        download(client, file, part)
    try:
        if file.member:
            unpack(file, part)
        check_container(file, part)
    except VadoseError:
        part.unlink(missing_ok=True)  # what came is of no use, also not to go on from
        raise
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())


def _refuse_unsafe_names(plan: Plan) -> None:
    for file in plan.files:
        steps = PurePosixPath(file.name).parts
        if not steps or file.name.startswith("/") or ".." in steps or steps[0] == HIDDEN or "\\" in file.name:
            raise VadoseError(f"{plan.product}: the service names a file {file.name!r}, which is not safe to write")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two fetches into one folder would write the same parts."""
    try:
        (folder / HIDDEN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VadoseError(f"{folder}: cannot be made ({error.strerror}); give another folder") from error
    try:
        with FileLock(folder / HIDDEN / "lock", timeout=0):
            yield
    except Timeout:
        raise VadoseError(f"{folder}: another fetch is writing there; wait for it or give another") from None
