"""HTTP as data services need it: logins that stay with their host, retries with back-off, errors of one line."""

import base64
import json
import netrc
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from vadose.download.plan import bare
from vadose.errors import VadoseError

T = TypeVar("T")

# Where each service is; VADOSE_URL_NAME in the environment, name in capitals, sets another address.
SERVICES = {
    "cmr": "https://cmr.earthdata.nasa.gov",
    "earthdata_login": "https://urs.earthdata.nasa.gov",
    "gridmet": "https://www.northwestknowledge.net/metdata/data",
    "gridmet_subset": "https://thredds.northwestknowledge.net/thredds/ncss/MET",
    "gridmet_all": "https://thredds.northwestknowledge.net/thredds/ncss",
    "nclimgrid": "https://www.ncei.noaa.gov/data/nclimgrid-daily/access/averages",
    "uscrn": "https://www.ncei.noaa.gov/pub/data/uscrn/products",
    "awdb": "https://wcc.sc.egov.usda.gov/awdbRestApi/services/v1",
    "solus": "https://storage.googleapis.com/solus100pub",
    "soilgrids": "https://maps.isric.org/mapserv",
    "glo30": "https://copernicus-dem-30m.s3.amazonaws.com",
    "polaris": "http://hydrology.cee.duke.edu/POLARIS/PROPERTIES/v1.0",
    "srtm": "https://srtm.csi.cgiar.org/wp-content/uploads/files/srtm_5x5/TIFF",
    "3dep": "https://prd-tnm.s3.amazonaws.com/StagedProducts/Elevation",
    "nlcd": "https://www.mrlc.gov/downloads/sciweb1/shared/mrlc/data-bundles",
    "nlcd_window": "https://dmsdata.cr.usgs.gov/geoserver/mrlc_Land-Cover-Native_conus_year_data/wcs",
    "drought_monitor": "https://usdmdataservices.unl.edu/api",
    "crop_casma": "https://cloud.csiss.gmu.edu/smap_server/cgi-bin",
    "national_water_model": "https://noaa-nwm-pds.s3.amazonaws.com",
    "gefs": "https://noaa-gefs-pds.s3.amazonaws.com",
    "gefs_google": "https://storage.googleapis.com/gfs-ensemble-forecast-system",
    "nomads": "https://nomads.ncep.noaa.gov",
    "gfs": "https://noaa-gfs-bdp-pds.s3.amazonaws.com",
    "zenodo": "https://zenodo.org/api",
    "stac": "https://planetarycomputer.microsoft.com/api/stac/v1",
    "stac_sign": "https://planetarycomputer.microsoft.com/api/sas/v1",
}
RETRIED = {408, 425, 429, 500, 502, 503, 504, 509}
LONGEST_WAIT = 600.0  # [s]
MOST_REDIRECTS = 12
HOW_TO_LOG_IN = (
    "set EARTHDATA_TOKEN, or EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or an entry "
    "'machine urs.earthdata.nasa.gov login NAME password WORD' in ~/.netrc (free account: urs.earthdata.nasa.gov)"
)


def service(name: str) -> str:
    """Address of a service, without a slash at its end."""
    return os.environ.get(f"VADOSE_URL_{name.upper()}", SERVICES[name]).rstrip("/")


class AgainError(Exception):
    """A failure that may pass, and how many seconds the server asks to wait."""

    def __init__(self, reason: str, delay: float = 0.0):
        super().__init__(reason)
        self.reason, self.delay = reason, delay


class StoppedError(Exception):
    """The work was stopped from outside; what has come stays."""


class LoginError(VadoseError):
    """The server refuses the login: further files of it would be refused too."""


class MissingError(VadoseError):
    """The server has no such file."""


@dataclass(frozen=True)
class Login:
    """An Earthdata login; its secrets are in no text made of it."""

    token: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    found_in: str = ""

    def __bool__(self) -> bool:
        return bool(self.token or self.username)


def find_login() -> Login:
    """The Earthdata login of the environment, else that of the netrc file, else an empty one.

    Raises
    ------
    VadoseError
        When the netrc file cannot be understood, or only half a login is set.
    """
    if token := os.environ.get("EARTHDATA_TOKEN", "").strip():
        return Login(token=token, found_in="EARTHDATA_TOKEN")
    username, password = os.environ.get("EARTHDATA_USERNAME", ""), os.environ.get("EARTHDATA_PASSWORD", "")
    if username and password:
        return Login(username=username, password=password, found_in="EARTHDATA_USERNAME and EARTHDATA_PASSWORD")
    if username or password:
        raise VadoseError("only one of EARTHDATA_USERNAME and EARTHDATA_PASSWORD is set; set both")
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not path.exists():
        return Login()
    try:
        entry = netrc.netrc(str(path)).authenticators(urlsplit(service("earthdata_login")).hostname or "")
    except netrc.NetrcParseError as error:
        # Its text may quote a word of the file, and that may be the password.
        raise VadoseError(f"{path}: line {error.lineno} cannot be understood; see 'man netrc'") from None
    except (OSError, UnicodeDecodeError):
        raise VadoseError(f"{path}: cannot be read; mend its permissions or remove it") from None
    if entry is None or not entry[2]:
        return Login()
    return Login(username=entry[0], password=entry[2], found_in=str(path))


class Client:
    """Sends requests for the threads of one fetch.

    Parameters
    ----------
    login
        Earthdata login; found in the environment if not given.
    tries
        Attempts without progress before giving up.
    timeout
        Longest wait to connect, and between two pieces of an answer [s].
    wait
        Called with seconds between attempts; waits that long if not given, or until stopped.
    """

    def __init__(
        self,
        login: Login | None = None,
        *,
        tries: int = 6,
        timeout: tuple[float, float] = (20.0, 60.0),
        wait: Callable[[float], object] | None = None,
    ):
        self._given = login
        self.tries, self.timeout = tries, timeout
        self.stopped = threading.Event()
        self.wait = wait or self.stopped.wait
        self.received = 0
        self._lock = threading.Lock()
        self._own = threading.local()
        self._open: set[requests.Response] = set()

    @cached_property
    def login(self) -> Login:
        """The login, looked up only when a file needs one."""
        return find_login() if self._given is None else self._given

    def persist(self, name: str, attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
        """Attempt until it succeeds; give up after `tries` attempts after which `reached` was no higher."""
        failures, best = 0, reached()
        while True:
            self.check()
            try:
                return attempt()
            except AgainError as error:
                if (now := reached()) > best:
                    failures, best = 0, now
                failures += 1
                if failures >= self.tries:
                    raise VadoseError(
                        f"{name}: {error.reason}; gave up after {self.tries} tries. What has come is kept: run the "
                        "same command again later to go on"
                    ) from None
                self.wait(min(max(error.delay, 2.0 ** (failures - 1)), LONGEST_WAIT))

    def ask(
        self,
        url: str,
        name: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The whole answer to a small question, retried."""
        address = requests.Request("GET", url, params=params).prepare().url or url

        def attempt() -> bytes:
            with self.open(address, name, headers=headers) as response:
                return response.content

        return self.persist(name, attempt)

    def ask_json(
        self,
        url: str,
        name: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer of a service that speaks JSON, retried."""
        answer = self.ask(url, name, params, headers)
        try:
            return json.loads(answer)
        except ValueError:
            raise VadoseError(
                f"{name}: {bare(url)} answered something that is not JSON (it begins with {answer[:30]!r}); is the "
                "service under maintenance? Try again later"
            ) from None

    def signed(self, url: str, name: str, login: str) -> str:
        """The address to ask, with a fresh signature where the service wants one."""
        if login != "planetary-computer":
            return url
        return str(self.ask_json(f"{service('stac_sign')}/sign", name, {"href": url})["href"])

    @contextmanager
    def open(
        self, url: str, name: str, login: str = "", headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Iterator[requests.Response]:
        """One request, its status judged: 200, 206 and 416 are given, the others raise.

        Raises
        ------
        AgainError
            For what may pass, also while the body is read within the block.
        VadoseError
            For what will not.
        """
        host = urlsplit(url).netloc.rpartition("@")[2]
        try:
            with self._follow(url, name, login, headers or {}, method) as response:
                self._judge(response, url, name, login)
                self._open.add(response)
                try:
                    yield response
                finally:
                    self._open.discard(response)
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            raise VadoseError(f"{name}: {bare(url)} is not a valid address") from None
        except requests.Timeout:
            raise AgainError(f"{host} gave no answer within {self.timeout[1]:g} s") from None
        except requests.exceptions.SSLError:
            raise AgainError(f"no secure connection to {host}") from None
        except requests.RequestException as error:
            # The library's own text holds the whole address, which may hold a signature.
            raise AgainError(f"the connection to {host} failed ({type(error).__name__})") from None

    def count(self, size: int) -> None:
        """Note bytes received, for the progress."""
        with self._lock:
            self.received += size

    def stop(self) -> None:
        """Let every thread leave off at once, also one that waits for a server."""
        self.stopped.set()
        for response in list(self._open):
            with suppress(Exception):
                response.raw.shutdown()

    def check(self) -> None:
        """Leave off when stopped."""
        if self.stopped.is_set():
            raise StoppedError

    def _follow(self, url: str, name: str, login: str, headers: Mapping[str, str], method: str) -> requests.Response:
        """Follow redirects by hand: each host is sent only what is its own."""
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
        session: requests.Session = self._own.session
        origin = _place(url)
        for _ in range(MOST_REDIRECTS):
            sent = dict(headers) | self._authorization(url, origin, login)

            def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
                # Without this, an entry of the netrc file would take the place of our header.
                return request

            response = session.request(
                method, url, headers=sent, auth=authorize, stream=True, timeout=self.timeout, allow_redirects=False
            )
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["Location"])
            response.close()
        raise VadoseError(f"{name}: {bare(url)} redirects in circles; {HOW_TO_LOG_IN if login else 'try again later'}")

    def _authorization(self, url: str, origin: tuple[str, str, int | None], login: str) -> dict[str, str]:
        place = _place(url)
        secure = place[0] == "https" or place[1] in ("127.0.0.1", "localhost")
        if login != "earthdata" or not secure:
            return {}
        at_login = place == _place(service("earthdata_login"))
        if self.login.token and (at_login or place == origin):
            return {"Authorization": f"Bearer {self.login.token}"}
        if self.login.username and at_login:
            pair = base64.b64encode(f"{self.login.username}:{self.login.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def _judge(self, response: requests.Response, url: str, name: str, login: str) -> None:
        status, host = response.status_code, urlsplit(url).netloc.rpartition("@")[2]
        if status in (200, 206, 416):
            return
        if status in RETRIED:
            raise AgainError(f"{host} answered {status} {response.reason}", _delay(response.headers.get("Retry-After")))
        if status == 403 and login == "planetary-computer":
            raise AgainError(f"{host} answered 403 to a signed address")  # the signature has run out: sign again
        if status == 401 or (status == 403 and login == "earthdata" and not self.login):
            found = f"the login in {self.login.found_in}" if login and self.login else "access without login"
            raise LoginError(f"{name}: {host} refuses {found} ({status}); {HOW_TO_LOG_IN}")
        if status == 403 and login == "earthdata":
            raise LoginError(
                f"{name}: {host} does not let this login read it (403); accept its licence and approve the data "
                f"centre's application at {service('earthdata_login')}/profile"
            )
        if status in (404, 410):
            raise MissingError(f"{name}: {bare(url)} does not exist ({status}); check the product, days and area")
        closed = ": not open to everybody (any more; a public bucket may have become requester-pays)"
        raise VadoseError(f"{name}: {bare(url)} answered {status} {response.reason}{closed if status == 403 else ''}")


def _place(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _delay(text: str | None) -> float:
    """Seconds of a Retry-After header, which is a number or a date."""
    if not text:
        return 0.0
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0
