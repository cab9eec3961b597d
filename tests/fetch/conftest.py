"""The data centre of these tests, and an impatient client of it."""

import threading
from collections.abc import Iterator

import pytest
from data_centre import SECRETS, Centre

from vadose.download.client import Client, Login


@pytest.fixture
def centre() -> Iterator[Centre]:
    with Centre() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(waits: list[float]) -> Client:
    """Impatient, and without waiting between tries."""
    return Client(Login(token=SECRETS[0], found_in="EARTHDATA_TOKEN"), tries=3, timeout=(2.0, 0.5), wait=waits.append)
