"""Downloads from a server that misbehaves: the right file or one clear error, and never half a file."""

import base64
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from data_centre import SECRETS, Centre, Handler, drop, serve, status

from vadose.download import Plan, RemoteFile, fetch
from vadose.download.client import Client, Login
from vadose.errors import VadoseError

# Longer than one block, so that a connection can be lost between blocks.
DATA = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 10_000
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Earthdata Login</title></html>"


def one(url: str, name: str = "SMAP.h5", **more: object) -> Plan:
    return Plan("SPL3SMP_E", (RemoteFile(name, url, **more),))  # type: ignore[arg-type]


def files(folder: Path) -> list[str]:
    """Everything that a reader of the folder could take for data."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".fetch" not in p.parts)


def test_a_file_is_fetched_once_and_then_known(centre: Centre, client: Client, tmp_path: Path) -> None:
    plan = one(centre.on("/a", serve(DATA)), bytes=len(DATA), checksum=MD5)
    assert fetch(plan, tmp_path, client=client) == [tmp_path / "SMAP.h5"]
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA
    fetch(plan, tmp_path, client=client)
    assert len(centre.asked("/a")) == 1
    assert [p.name for p in (tmp_path / ".fetch").iterdir() if "part" in p.name] == []


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: [drop(DATA, 0)],
        lambda: [drop(DATA, 1_500_000), drop(DATA, 100)],
        lambda: [status(500), status(503)],
        lambda: [status(429, Retry_After=7)],
        lambda: [serve(DATA, Content_Length=len(DATA) + 5)],
        lambda: [serve(DATA[:-9] + b"corrupted", Content_MD5=base64.b64encode(hashlib.md5(DATA).digest()).decode())],
        lambda: [drop(DATA, 1_500_000), serve(DATA, etag='"v1"', ranges=False)],
    ],
    ids=["dropped", "dropped twice", "500", "429", "cut short", "corrupted", "ignores ranges"],
)
def test_trouble_that_passes_is_overcome(
    centre: Centre, client: Client, tmp_path: Path, waits: list[float], trouble: object
) -> None:
    answers = [*trouble(), serve(DATA)]  # type: ignore[operator]
    plan = one(centre.on("/a", *answers))
    fetch(plan, tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA
    assert waits


def test_a_server_that_hangs_is_left_after_the_time_limit(centre: Centre, client: Client, tmp_path: Path) -> None:
    hung = threading.Event()
    url = centre.on("/a", lambda to: hung.wait(5) and None, serve(DATA))
    began = time.monotonic()
    fetch(one(url), tmp_path, client=client)
    hung.set()
    assert time.monotonic() - began < 3
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_waits_grow_and_heed_the_server(centre: Centre, tmp_path: Path, waits: list[float]) -> None:
    patient = Client(Login(), tries=5, wait=waits.append)
    later = (datetime.now(UTC) + timedelta(seconds=100)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    troubles = [status(500), status(500), status(429, Retry_After=30), status(503, Retry_After=later)]
    fetch(one(centre.on("/a", *troubles, serve(DATA))), tmp_path, client=patient)
    assert waits[:3] == [1, 2, 30]
    assert 90 < waits[3] <= 100


@pytest.mark.parametrize(
    ("answer", "more", "message"),
    [
        (status(500), {}, "127.0.0.1:.* answered 500 .*gave up after 3 tries"),
        (status(404), {}, "does not exist .404.; check the product"),
        (status(401), {"login": "earthdata"}, "refuses the login in EARTHDATA_TOKEN .401.; set EARTHDATA_TOKEN"),
        (status(403), {"login": "earthdata"}, "accept its licence"),
        (status(401), {}, "refuses access without login"),
        (serve(LOGIN_PAGE), {"login": "earthdata"}, "sent a web page, not data: the login failed; set EARTHDATA_TOKEN"),
        (serve(b""), {}, "the file is empty"),
        (serve(b"PK\x03\x04" + DATA), {}, "sent a zip file, expected is hdf5"),
        (serve(DATA), {"checksum": "md5:" + "0" * 32}, f"its md5 is {MD5[4:]}, published is 000"),
        (serve(DATA), {"checksum": "sha256:" + "0" * 64}, "its sha256 is .*, published is 000"),
        (serve(DATA), {"bytes": 17}, f"{len(DATA)} bytes received, the catalogue says 17"),
        (drop(DATA, 10), {}, "connection to 127.0.0.1:.* failed"),
        (status(302, Location="/a"), {}, "redirects in circles"),
        (status(302, Location="ftp://there/a"), {}, "is not a valid address"),
        (status(418), {}, "answered 418"),
    ],
)
def test_trouble_that_stays_is_one_clear_line(
    centre: Centre, client: Client, tmp_path: Path, answer: object, more: dict[str, object], message: str
) -> None:
    plan = one(centre.on("/a", answer), **more)  # type: ignore[arg-type]
    with pytest.raises(VadoseError, match=message) as error:
        fetch(plan, tmp_path, client=client)
    text = str(error.value)
    assert text.startswith("SMAP.h5: ")
    assert "\n" not in text
    assert not any(secret in text for secret in SECRETS)
    assert files(tmp_path) == []


def test_an_unreachable_server_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"SMAP.h5: the connection to 127.0.0.1:9 failed \(ConnectionError\)"):
        fetch(one("http://127.0.0.1:9/a?token=hidden"), tmp_path, client=client)


def test_only_the_missing_bytes_are_asked_for(centre: Centre, tmp_path: Path) -> None:
    url = centre.on("/a", drop(DATA, 2_000_000), status(500))
    with pytest.raises(VadoseError, match="run the same command again"):
        fetch(one(url), tmp_path, client=Client(Login(), tries=2, wait=lambda _: None))
    have = (tmp_path / ".fetch/SMAP.h5.part").stat().st_size
    assert 1_000_000 <= have <= 2_000_000
    centre.log.clear()
    centre.on("/a", serve(DATA))
    fetch(one(url), tmp_path, client=Client(Login()))
    (asked,) = centre.asked("/a")
    assert asked["Range"] == f"bytes={have}-"
    assert asked["If-Range"] == '"v1"'
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_a_file_that_changes_meanwhile_is_begun_anew(centre: Centre, client: Client, tmp_path: Path) -> None:
    new = DATA[:-4] + b"new!"
    fetch(one(centre.on("/a", drop(DATA, 2_000_000), serve(new, etag='"v2"'))), tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == new


def test_a_part_of_another_state_is_not_gone_on_with(centre: Centre, client: Client, tmp_path: Path) -> None:
    """A server that gives the rest although its file is another one by now."""
    new = DATA[:8] + b"new!" + DATA[12:]
    answers = [drop(DATA, 2_000_000), drop(new, len(new), etag='"v2"'), serve(new, etag='"v2"')]
    fetch(one(centre.on("/a", *answers)), tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == new


def test_a_whole_part_needs_no_further_request(
    centre: Centre, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the last byte, and before the file took its name."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    plan = one(centre.on("/a", serve(DATA), status(500)))
    with monkeypatch.context() as patched:
        patched.setattr("vadose.download.download.check_container", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(plan, tmp_path, client=client)
    assert files(tmp_path) == []
    fetch(plan, tmp_path, client=Client(Login(), tries=1))
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA
    assert len(centre.log) == 1


def test_without_validator_and_checksum_nothing_is_resumed(centre: Centre, client: Client, tmp_path: Path) -> None:
    fetch(one(centre.on("/a", drop(DATA, 2_000_000, etag=None), serve(DATA, etag=None))), tmp_path, client=client)
    assert "Range" not in centre.asked("/a")[1]
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_a_part_longer_than_the_file_is_begun_anew(centre: Centre, client: Client, tmp_path: Path) -> None:
    url = centre.on("/a", drop(DATA, 2_000_000), status(416), serve(DATA))
    fetch(one(url), tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_tries_are_counted_without_progress_only(centre: Centre, client: Client, tmp_path: Path) -> None:
    pieces = [drop(DATA, 1_100_000), drop(DATA, 400_000), drop(DATA, 400_000), drop(DATA, 400_000)]
    assert len(pieces) > client.tries
    fetch(one(centre.on("/a", *pieces, serve(DATA))), tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_fetch_goes_on_where_it_was(centre: Centre, tmp_path: Path, ending: signal.Signals) -> None:
    killed = threading.Event()

    def slow(to: Handler) -> None:
        to.send_response(200)
        to.send_header("Content-Length", str(len(DATA)))
        to.send_header("ETag", '"v1"')
        to.end_headers()
        to.wfile.write(DATA[:2_200_000])
        to.wfile.flush()
        to.wfile.write(DATA[2_200_000:2_300_000])
        killed.wait()  # the rest never comes

    url = centre.on("/a", slow, serve(DATA))
    code = (
        # What is started in the background of a script would not hear SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, pathlib; from vadose.download import *; from vadose.download.client import Client, Login\n"
        "plan = Plan('SPL3SMP_E', (RemoteFile('SMAP.h5', sys.argv[1]),))\n"
        "fetch(plan, pathlib.Path(sys.argv[2]), client=Client(Login(), timeout=(600, 600)))"
    )
    part = tmp_path / ".fetch/SMAP.h5.part"
    process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.02)
        process.send_signal(ending)
        said = process.communicate()[1]
    finally:
        killed.set()
    assert process.returncode != 0, said
    assert part.exists(), said
    assert files(tmp_path) == []
    have = part.stat().st_size
    assert have > 0
    fetch(one(url), tmp_path, client=Client(Login()))
    assert centre.asked("/a")[-1]["Range"] == f"bytes={have}-"
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_two_fetches_do_not_write_one_folder(centre: Centre, client: Client, tmp_path: Path) -> None:
    inner: list[str] = []

    def answer(to: Handler) -> None:
        try:
            fetch(one(centre.url("/b")), tmp_path, client=Client(Login()))
        except VadoseError as error:
            inner.append(str(error))
        serve(DATA)(to)

    fetch(one(centre.on("/a", answer)), tmp_path, client=client)
    assert "another fetch is writing there" in inner[0]


def test_what_is_there_is_verified(centre: Centre, client: Client, tmp_path: Path) -> None:
    plan, path = one(centre.on("/a", serve(DATA))), tmp_path / "SMAP.h5"
    fetch(plan, tmp_path, client=client)
    path.write_bytes(DATA[:1000])
    fetch(plan, tmp_path, client=client)
    assert path.read_bytes() == DATA
    same_size = DATA[:-4] + b"evil"
    path.write_bytes(same_size)  # the time of change is another: it is read
    fetch(plan, tmp_path, client=client)
    assert path.read_bytes() == DATA
    status = path.stat()
    path.write_bytes(same_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    fetch(plan, tmp_path, client=client)
    assert path.read_bytes() == same_size
    fetch(plan, tmp_path, client=client, verify=True)
    assert path.read_bytes() == DATA


def test_a_file_brought_by_other_means_is_compared(centre: Centre, client: Client, tmp_path: Path) -> None:
    plan, path = one(centre.on("/a", serve(DATA)), checksum=MD5), tmp_path / "SMAP.h5"
    path.write_bytes(DATA)
    fetch(plan, tmp_path, client=client)
    assert centre.log == []
    (tmp_path / ".fetch/SMAP.h5.json").unlink()
    path.write_bytes(DATA[:500])
    fetch(plan, tmp_path, client=client)
    assert path.read_bytes() == DATA


def test_a_file_replaced_by_the_centre_is_fetched_again(centre: Centre, client: Client, tmp_path: Path) -> None:
    fetch(one(centre.on("/a", serve(DATA)), checksum=MD5), tmp_path, client=client)
    new = DATA[:-4] + b"new!"
    plan = one(centre.on("/a", serve(new)), checksum=f"md5:{hashlib.md5(new).hexdigest()}")
    fetch(plan, tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == new


def test_an_older_file_stays_until_the_new_one_is_whole(centre: Centre, client: Client, tmp_path: Path) -> None:
    fetch(one(centre.on("/a", serve(DATA)), checksum=MD5), tmp_path, client=client)
    centre.on("/a", drop(DATA, 2_000_000, etag='"v2"'), status(500))
    with pytest.raises(VadoseError):
        fetch(one(centre.url("/a"), checksum="md5:" + "1" * 32), tmp_path, client=client)
    assert (tmp_path / "SMAP.h5").read_bytes() == DATA


def test_a_provisional_file_is_fetched_again(
    centre: Centre, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    plan = one(centre.on("/a", serve(DATA)), settled=today + timedelta(days=5))
    for later, requests in ((0, 1), (0, 1), (1, 2)):
        monkeypatch.setattr("vadose.download.note._today", lambda later=later: today + timedelta(days=later))
        fetch(plan, tmp_path, client=client)
        assert len(centre.asked("/a")) == requests
    monkeypatch.setattr("vadose.download.note._today", lambda: today + timedelta(days=9))
    fetch(one(centre.url("/a"), settled=today), tmp_path, client=client)
    assert len(centre.asked("/a")) == 2


def test_a_part_never_replaces_another_part(centre: Centre, client: Client, tmp_path: Path) -> None:
    url = centre.on("/a", serve(DATA))

    def of(*bbox: float) -> Plan:
        return one(url, part={"bbox": list(bbox)})

    fetch(of(-100, 30, -99, 31), tmp_path, client=client)
    fetch(of(-99.8, 30.2, -99.2, 30.8), tmp_path, client=client)
    assert len(centre.log) == 1
    with pytest.raises(VadoseError, match=r"other days, area or variables \(bbox -100 30 -99 31; asked for"):
        fetch(of(-90, 30, -89, 31), tmp_path, client=client)
    fetch(of(-101, 29, -98, 32), tmp_path, client=client)
    assert len(centre.log) == 2
    (tmp_path / ".fetch/SMAP.h5.json").unlink()
    with pytest.raises(VadoseError, match="not fetched by this command"):
        fetch(of(-101, 29, -98, 32), tmp_path, client=client)


def test_parts_of_different_areas_are_not_joined(centre: Centre, client: Client, tmp_path: Path) -> None:
    centre.on("/a", drop(DATA, 2_000_000), status(500), status(500), status(500), serve(DATA))
    with pytest.raises(VadoseError):
        fetch(one(centre.url("/a?north=31")), tmp_path, client=client)
    fetch(one(centre.url("/a?north=32")), tmp_path, client=client)
    assert "Range" not in centre.asked("/a")[-1]


def test_one_failure_does_not_hold_up_the_others(centre: Centre, client: Client, tmp_path: Path) -> None:
    names = [f"f{k}.h5" for k in range(8)]
    for k, name in enumerate(names):
        centre.on(f"/{name}", status(404) if k % 4 == 1 else serve(DATA))
    plan = Plan(
        "SPL3SMP_E", tuple(RemoteFile(name, centre.url(f"/{name}"), optional=name == "f5.h5") for name in names)
    )
    told: list[tuple[str, float]] = []
    with pytest.raises(VadoseError, match=r"^f1.h5: .* does not exist") as error:
        fetch(plan, tmp_path, lambda what, share: told.append((what, share)), client=client)
    assert str(error.value).count("\n") == 0
    assert files(tmp_path) == [name for name in names if name not in ("f1.h5", "f5.h5")]
    assert told[-1][1] == 1.0
    assert "8 of 8 files" in told[-1][0]


def test_a_refused_login_is_tried_once(centre: Centre, client: Client, tmp_path: Path) -> None:
    for k in range(30):
        centre.on(f"/{k}", status(401))
    plan = Plan("SPL3SMP_E", tuple(RemoteFile(f"{k}.h5", centre.url(f"/{k}"), login="earthdata") for k in range(30)))
    with pytest.raises(VadoseError) as error:
        fetch(plan, tmp_path, workers=2, client=client)
    assert str(error.value).count("\n") == 0
    assert len(centre.log) < 15


@pytest.mark.parametrize("name", ["../out.h5", "/tmp/out.h5", ".fetch/x.h5", "a/../../x.h5"])
def test_names_that_lead_elsewhere_are_refused(client: Client, tmp_path: Path, name: str) -> None:
    with pytest.raises(VadoseError, match="not safe to write"):
        fetch(one("http://127.0.0.1:9/a", name), tmp_path, client=client)


# ---- GRIB messages


def grib(text: bytes) -> bytes:
    return b"GRIB\x00\x00\x00\x02" + (20 + len(text)).to_bytes(8, "big") + text + b"7777"


MESSAGES = [grib(bytes([65 + k]) * 400_000 * (k + 1)) for k in range(4)]
NAMES = ("PRMSL:mean sea level", "TMP:2 m above ground", "RH:2 m above ground", "APCP:surface")
STARTS = [sum(map(len, MESSAGES[:k])) for k in range(4)]
INDEX = "".join(f"{k + 1}:{STARTS[k]}:d=2024010100:{NAMES[k]}:3 hour fcst:\n" for k in range(4)).encode()


def forecast(url: str, *patterns: str) -> Plan:
    return Plan("gefs", (RemoteFile("gefs.20240101/geavg.f003", url, messages=patterns),))


def test_only_the_wanted_messages_come(centre: Centre, client: Client, tmp_path: Path) -> None:
    url = centre.on("/f", serve(b"".join(MESSAGES)))
    centre.on("/f.idx", serve(INDEX))
    (path,) = fetch(forecast(url, ":TMP:2 m", ":APCP:"), tmp_path, client=client)
    assert path.read_bytes() == MESSAGES[1] + MESSAGES[3]
    assert [h["Range"] for h in centre.asked("/f")] == [f"bytes={STARTS[1]}-{STARTS[2] - 1}", f"bytes={STARTS[3]}-"]


def test_messages_are_resumed_within_one(centre: Centre, client: Client, tmp_path: Path) -> None:
    everything = b"".join(MESSAGES)

    def hang_up(to: Handler) -> None:
        first, last = map(int, to.headers["Range"].removeprefix("bytes=").split("-"))
        to.send_response(206)
        to.send_header("Content-Length", str(last - first + 1))
        to.send_header("Content-Range", f"bytes {first}-{last}/{len(everything)}")
        to.end_headers()
        to.wfile.write(everything[first : first + 1_100_000])
        to.close_connection = True

    url = centre.on("/f", serve(everything), hang_up, serve(everything))
    centre.on("/f.idx", serve(INDEX))
    (path,) = fetch(forecast(url, ":PRMSL:", ":RH:"), tmp_path, client=client)
    assert path.read_bytes() == MESSAGES[0] + MESSAGES[2]
    begin = int(centre.asked("/f")[2]["Range"].removeprefix("bytes=").split("-")[0])
    assert STARTS[2] < begin < STARTS[3]


@pytest.mark.parametrize(
    ("index", "answer", "message"),
    [
        (INDEX, serve(b"".join(MESSAGES), ranges=False), "does not serve parts of files"),
        (INDEX, serve(b"x" + b"".join(MESSAGES)), "no whole GRIB message at byte 0"),
        (INDEX.replace(b":TMP:", b":TSOIL:"), serve(b""), "its index holds no message :TMP:"),
        (b"<html>busy</html>", serve(b""), "not one of wgrib2"),
    ],
)
def test_messages_that_cannot_be_had(
    centre: Centre, client: Client, tmp_path: Path, index: bytes, answer: object, message: str
) -> None:
    url = centre.on("/f", answer)  # type: ignore[arg-type]
    centre.on("/f.idx", serve(index))
    with pytest.raises(VadoseError, match=message):
        fetch(forecast(url, ":TMP:"), tmp_path, client=client)
    assert files(tmp_path) == []


# ---- archives


def test_the_member_of_an_archive_is_taken_out(centre: Centre, client: Client, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "read me")
        archive.writestr("inner/a.h5", DATA)
    body = packed.getvalue()
    plan = one(centre.on("/a.zip", serve(body)), "a.h5", member="a.h5")
    assert fetch(plan, tmp_path, client=client)[0].read_bytes() == DATA
    fetch(plan, tmp_path, client=client)
    assert len(centre.log) == 1
    with pytest.raises(VadoseError, match=r"b.h5: no b.h5 in the archive \(found: \['readme.txt'"):
        fetch(one(centre.url("/a.zip"), "b.h5", member="b.h5"), tmp_path, client=client)
    at = body.index(b"inner/a.h5") + 40
    centre.on("/a.zip", serve(body[:at] + bytes(200) + body[at + 200 :]))
    with pytest.raises(VadoseError, match=r"c.h5: the archive is damaged"):
        fetch(one(centre.url("/a.zip"), "c.h5", member="a.h5"), tmp_path, client=client)
    assert files(tmp_path) == ["a.h5"]
