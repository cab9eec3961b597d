"""Logins: where they are found, whom they are sent to, and that no text ever shows them."""

import base64
from pathlib import Path

import pytest
from data_centre import SECRETS, Centre, Handler, serve, status

from vadose.download import Plan, RemoteFile, fetch
from vadose.download.client import Client, Login, find_login
from vadose.errors import VadoseError

TOKEN, PASSWORD = SECRETS
DATA = b"\x89HDF\r\n\x1a\n" + bytes(1000)
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def plan(url: str) -> Plan:
    return Plan("SPL3SMP_E", (RemoteFile("a.h5", url, login="earthdata"),))


def test_where_a_login_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not find_login()
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine urs.earthdata.nasa.gov login me password {PASSWORD}\nmachine other login x password y\n")
    assert find_login() == Login(username="me", password=PASSWORD, found_in=str(netrc))
    monkeypatch.setenv("EARTHDATA_USERNAME", "you")
    with pytest.raises(VadoseError, match="only one of EARTHDATA_USERNAME and EARTHDATA_PASSWORD"):
        find_login()
    monkeypatch.setenv("EARTHDATA_PASSWORD", PASSWORD)
    assert find_login().username == "you"
    monkeypatch.setenv("EARTHDATA_TOKEN", f" {TOKEN}\n")
    assert find_login().token == TOKEN
    assert not any(secret in repr(find_login()) for secret in SECRETS)


def test_a_netrc_file_that_cannot_be_understood_is_named_but_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine urs.earthdata.nasa.gov login me\n{PASSWORD}\n")
    with pytest.raises(VadoseError, match=r"netrc: line \d+ cannot be understood") as error:
        find_login()
    assert PASSWORD not in str(error.value)
    assert error.value.__suppress_context__


def test_without_login_nothing_is_asked(centre: Centre, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="needs an Earthdata login; set EARTHDATA_TOKEN, or EARTHDATA_USERNAME"):
        fetch(plan(centre.on("/a", serve(DATA))), tmp_path / "data")
    assert centre.log == []
    assert not (tmp_path / "data").exists()


def test_a_token_goes_to_the_data_centre_and_no_further(centre: Centre, client: Client, tmp_path: Path) -> None:
    centre.on("/signed", serve(DATA))
    url = centre.on("/a", status(303, Location=centre.url("/signed?sig=abc", host="localhost")))
    fetch(plan(url), tmp_path, client=client)
    assert centre.asked("/a")[0]["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in centre.asked("/signed")[0]
    assert (tmp_path / "a.h5").read_bytes() == DATA


def test_another_port_is_another_server(client: Client, centre: Centre, tmp_path: Path) -> None:
    with Centre() as other:
        import threading

        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        other.on("/b", serve(DATA))
        fetch(plan(centre.on("/a", status(302, Location=other.url("/b")))), tmp_path, client=client)
        assert "Authorization" not in other.asked("/b")[0]
        other.shutdown()
        thread.join()


def test_name_and_password_go_to_the_login_server_alone(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data centre sends to the login server, that one back with a code, for which there is a cookie."""
    monkeypatch.setenv("VADOSE_URL_EARTHDATA_LOGIN", centre.url(host="localhost"))

    def data(to: Handler) -> None:
        if "session=ok" in to.headers.get("Cookie", ""):
            serve(DATA)(to)
        else:
            to.send(302, Location=centre.url("/oauth", host="localhost"))

    centre.on("/oauth", status(302, Location=centre.url("/back?code=1")))
    centre.on("/back", status(302, Location="/a", Set_Cookie="session=ok"))
    client = Client(Login(username="me", password=PASSWORD), tries=1)
    fetch(plan(centre.on("/a", data)), tmp_path, client=client)
    assert centre.asked("/oauth")[0]["Authorization"] == BASIC
    for path in ("/a", "/back"):
        assert all("Authorization" not in headers for headers in centre.asked(path))


def test_a_netrc_entry_of_the_host_does_not_replace_the_token(centre: Centre, client: Client, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    fetch(plan(centre.on("/a", serve(DATA))), tmp_path, client=client)
    assert centre.asked("/a")[0]["Authorization"] == f"Bearer {TOKEN}"


def test_files_that_need_no_login_get_none(centre: Centre, client: Client, tmp_path: Path) -> None:
    fetch(Plan("gridmet", (RemoteFile("a.h5", centre.on("/a", serve(DATA))),)), tmp_path, client=client)
    assert "Authorization" not in centre.asked("/a")[0]


def test_no_login_over_a_line_that_can_be_overheard(client: Client) -> None:
    origin = ("http", "data.example.org", None)
    assert client._authorization("http://data.example.org/a", origin, "earthdata") == {}
    origin = ("https", "data.example.org", None)
    assert client._authorization("https://data.example.org/a", origin, "earthdata") != {}


def test_nothing_written_holds_a_secret(centre: Centre, client: Client, tmp_path: Path) -> None:
    url = centre.on("/a", serve(DATA)) + f"?key={PASSWORD}"
    fetch(plan(url), tmp_path / "data", client=client)
    assert PASSWORD not in plan(url).table()
    texts = [p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert len(texts) >= 2
    assert not any(secret.encode() in text for secret in SECRETS for text in texts)
