"""`vadose view`: the coding of values, the page in one file and from the server, in one headless Chromium."""

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact.predictions import write_predictions
from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.publish import page as pages
from vadose.publish.page import page, save_page, scores_of
from vadose.publish.server import AT_ONCE, Kept, application
from vadose.publish.sources import QUANTITIES, Part, Source, packed, sources_of, with_normal

TITLE = "Moisture <of> Nebraska & more"
DIMS = ("init_time", "lead_time", "y", "x")


def forecasts(model: str, layer: str = "0-10 cm", seed: int = 0) -> xr.Dataset:
    """Six days of issue, three leads, 10 x 12 cells of 9 km; a lake without values."""
    rng, grid = np.random.default_rng(seed), ease_grid("9km").part(slice(280, 290), slice(850, 862))
    shape = (6, 3, *grid.shape)
    mean = (0.2 + 0.05 * rng.random(shape)).astype(np.float32)
    mean[..., 4, 4] = np.nan
    found = {"soil_moisture": mean, "soil_moisture_std": np.full(shape, 0.02, np.float32)}
    if model == "lstm":
        found["soil_moisture_percentile"] = np.where(np.isnan(mean), np.nan, 100 * rng.random(shape)).astype(np.float32)
    axes = {"init_time": pd.date_range("2020-06-01", periods=6), "lead_time": pd.to_timedelta([1, 3, 7], unit="D")}
    co = grid.coordinates()
    attrs = co.attrs | {"dataset": "made up", "layer": layer, "simulated": "true", "model": model, "weather": "none"}
    attrs |= {"scenario": "all", "causal": "true"}
    return xr.Dataset({k: (DIMS, v) for k, v in found.items()}, axes, attrs).assign_coords(
        {name: co[name] for name in ("y", "x", "lat", "lon")}
    )


def cube() -> xr.Dataset:
    of = forecasts("lstm")
    days = pd.date_range("2020-04-01", "2020-06-20")
    values = np.random.default_rng(3).random((len(days), *of.soil_moisture.shape[2:])).astype(np.float32) * 0.1 + 0.15
    attrs = {k: v for k, v in of.attrs.items() if k != "model"}
    found = xr.Dataset({"soil_moisture": (("time", "y", "x"), values)}, {"time": days}, attrs)
    found["soil_moisture"].attrs["units"] = "m3 m-3"
    return found.assign_coords({name: of[name] for name in ("y", "x", "lat", "lon")})


def stations() -> xr.Dataset:
    of = cube()
    rows, columns = [2, 7], [3, 9]
    values = of.soil_moisture.values[:, rows, columns].T[:, None]
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), values, {"units": "m3 m-3"})},
        {
            "station": ["SCAN:1", "SCAN:2"],
            "layer": ["0-10 cm"],
            "time": of.time.values,
            "lat": ("station", of.lat.values[rows, columns]),
            "lon": ("station", of.lon.values[rows, columns]),
        },
        {"dataset": "own stations", "simulated": "true"},
    )


def table_of_scores() -> dict[str, Any]:
    """As of `scores_of`, at the stations."""
    of = stations()
    numbers = [[[0.71, 0.64], [0.05, 0.06]]] * 3
    return {
        "layer": "0-10 cm",
        "days": "",
        "metrics": ["pearson_r", "ubrmse"],
        "leads": [1, 3, 7],
        "runs": [{"model": "lstm", "weather": "none"}],
        "sites": ["SCAN:1", "SCAN:2"],
        "lat": of.lat.values.tolist(),
        "lon": of.lon.values.tolist(),
        "pairs": [[88, 77]] * 3,
        **{name: [numbers] for name in ("value", "lower", "upper")},
    }


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    stores = {"a": forecasts("lstm"), "b": forecasts("persistence", seed=1), "c": forecasts("lstm", "10-40 cm", seed=2)}
    found = sources_of({**stores, "cube": cube(), "stations": stations()}, Part(), {"cube", "stations"})
    for source in found:
        with_normal(source, ("2020-04-01", "2020-05-31"))
    return found


# ---- Coding and sources ----


def test_codes_keep_values_to_half_a_step_and_percentiles_on_their_side_of_a_class() -> None:
    values = np.array([0.0, 0.2134, np.nan, 0.9])
    codes = QUANTITIES["soil_moisture"].codes(values)
    assert codes[2] == 0
    assert np.allclose((codes[[0, 1, 3]] - 1) * 0.001, values[[0, 1, 3]], atol=0.0005)
    percentiles = np.array([1.99, 2.0, 2.01, 29.9, 30.0, 30.1], np.float32)
    decoded = (QUANTITIES["soil_moisture_percentile"].codes(percentiles) - 1.0) * 0.5
    assert [(v <= 2, v <= 30) for v in decoded] == [(v <= 2, v <= 30) for v in percentiles]


def test_packed_planes_are_differences_that_add_up_again() -> None:
    codes = np.random.default_rng(0).integers(0, 65536, (4, 7)).astype(np.uint16)
    raw = np.frombuffer(gzip.decompress(packed(codes)), np.uint8)
    apart = raw[:28].astype(np.uint16) | (raw[28:].astype(np.uint16) << 8)
    assert np.array_equal(np.cumsum(apart.reshape(4, 7), axis=0, dtype=np.uint16), codes)


def test_sources_tell_models_layers_and_observations_apart(sources: list[Source]) -> None:
    assert [(of.model, of.layer, of.observed, of.points) for of in sources] == [
        ("lstm", "0-10 cm", False, False),
        ("persistence", "0-10 cm", False, False),
        ("lstm", "10-40 cm", False, False),
        ("observed: made up", "0-10 cm", True, False),
        ("observed: own stations", "0-10 cm", True, True),
    ]
    assert len({of.id for of in sources}) == 5
    assert not any("/" in of.id or "." in of.id for of in sources)
    twice = sources_of({"a": forecasts("lstm"), "b": forecasts("lstm")}, Part())
    assert [of.model for of in twice] == ["lstm, none, all", "lstm, none, all (2)"]


def test_what_cannot_be_shown_is_said() -> None:
    rain = forecasts("lstm").rename(soil_moisture="rain")[["rain"]]
    with pytest.raises(VadoseError, match=r"a: nothing to show; expected one of .*found \['rain'\]"):
        sources_of({"a": rain}, Part())
    with pytest.raises(VadoseError, match="a: nothing of it is in the box asked for"):
        sources_of({"a": forecasts("lstm")}, Part((0, 0, 1, 1)))
    with pytest.raises(VadoseError, match="a: nothing of it is in the days asked for"):
        sources_of({"a": forecasts("lstm")}, Part(days=("2021-01-01", None)))
    turned = forecasts("lstm")
    turned = turned.assign_coords(lat=turned.lat + 0.1 * np.arange(12)).assign_attrs(grid_crs="")
    with pytest.raises(VadoseError, match=r"a: latitudes along a row differ by up to 1\.1 degrees"):
        sources_of({"a": turned}, Part())


def test_a_part_is_cut_from_forecasts_and_observations_stay_whole(sources: list[Source]) -> None:
    box = (-100.6, 39.8, -99.9, 40.2)
    cut, truth = sources_of({"a": forecasts("lstm"), "o": cube()}, Part(box, ("2020-06-02", "2020-06-03"), [7]), {"o"})
    assert dict(cut.data.sizes) == {"init_time": 2, "lead_time": 1, "y": 3, "x": 8}
    assert dict(truth.data.sizes) == {"init_time": 81, "lead_time": 1, "y": 3, "x": 8}


def test_maps_on_degrees_are_drawn_without_a_projection() -> None:
    of = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "lat", "lon"), np.full((1, 1, 2, 3), 0.2))},
        {"init_time": pd.to_datetime(["2020-06-01"]), "lead_time": pd.to_timedelta([1], unit="D")},
        {"model": "outlook", "layer": "0-10 cm"},
    ).assign_coords(lat=[40.0, 39.9], lon=[-100.0, -99.9, -99.8])
    (source,) = sources_of({"a": of}, Part())
    told = source.about()
    assert told["lat"] == [40.0, 39.9]
    assert told["tall"] == pytest.approx(1 / np.cos(np.radians(39.95)))


def test_large_maps_are_thinned_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.publish.sources.MOST_CELLS", 30)
    (source,) = sources_of({"a": forecasts("lstm")}, Part())
    assert source.about()["shape"] == [5, 6]
    assert source.about()["every"] == 2


def test_a_file_too_large_to_send_says_what_to_choose(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_BYTES", "MOST_VALUES"):
        with monkeypatch.context() as patch:
            patch.setattr(pages, limit, 1000)
            with pytest.raises(
                VadoseError, match=r"p.html: .* million values .*--area STATE, --bbox WEST,SOUTH,EAST,NORTH, --from"
            ):
                save_page(tmp_path / "p.html", sources)
    assert not (tmp_path / "p.html").exists()


def test_quantiles_stay_in_a_file_only_where_they_are_not_the_normal_ones(tmp_path: Path) -> None:
    of = forecasts("lstm")
    z = xr.DataArray([-1.6448536, 0.0, 1.6448536], dims="quantile", coords={"quantile": [0.05, 0.5, 0.95]})
    of["soil_moisture_quantile"] = of.soil_moisture + z * of.soil_moisture_std
    assert "quantile_0.05" not in save_page(tmp_path / "a.html", sources_of({"a": of}, Part())).read_text()
    of["soil_moisture_quantile"] = of.soil_moisture + 1.3 * z * of.soil_moisture_std
    text = save_page(tmp_path / "b.html", sources_of({"a": of}, Part())).read_text()
    assert 'id="data:lstm-0-10-cm:quantile_0.05"' in text


def test_a_store_of_several_layers_is_a_source_for_each() -> None:
    of = forecasts("outlook").assign_attrs(layer="")
    found = sources_of({"a": xr.concat([of, of], pd.Index(["0-10 cm", "10-40 cm"], name="layer"))}, Part())
    assert [(source.layer, source.id) for source in found] == [
        ("0-10 cm", "outlook-0-10-cm"),
        ("10-40 cm", "outlook-10-40-cm"),
    ]


def test_scores_of_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"no scores\.zarr in it; expected the output folder of 'vadose evaluate'"):
        scores_of(tmp_path)
    table, runs = table_of_scores(), np.array(["lstm|none|all"], object)
    of = {name: (("run", "lead_days", "metric", "site"), np.array(table[name])) for name in ("value", "lower", "upper")}
    names = {"run": runs, "lead_days": [1, 3, 7], "metric": np.array(["pearson_r", "ubrmse"], object)}
    names |= {"site": np.array(table["sites"], object), "model": ("run", np.array(["lstm"], object))}
    names |= {"weather": ("run", np.array(["none"], object))}
    store = xr.Dataset(of, names, {"layer": "0-10 cm"}).assign(pairs=(("lead_days", "site"), np.array(table["pairs"])))
    store = store.assign_coords({name: ("site", np.array(table[name])) for name in ("lat", "lon")})
    store.to_zarr(tmp_path / "scores.zarr", zarr_format=3, consolidated=False)
    found = scores_of(tmp_path)
    assert found["value"] == table["value"]
    assert found["pairs"] == table["pairs"]


# ---- The server, asked in this process ----


@pytest.fixture(scope="module")
def app(sources: list[Source]) -> Any:
    return application(sources, page(sources, [table_of_scores()], title=TITLE), ["localhost", "127.0.0.1"])


async def asked(
    app: Any, path: str, query: str = "", host: str = "localhost", method: str = "GET"
) -> tuple[int, bytes]:
    """Status and body of a request, by the application's own interface (ASGI)."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"headers": [(b"host", host.encode())], "scheme": "http", "server": ("localhost", 80), "root_path": ""}
    await app(scope | {"http_version": "1.1", "client": ("127.0.0.1", 1)}, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def ask(app: Any, path: str, query: str = "", **how: str) -> tuple[int, bytes]:
    return asyncio.run(asked(app, path, query, **how))


def test_the_server_sends_maps_and_series(app: Any, sources: list[Source]) -> None:
    status, body = ask(app, "/maps/lstm-0-10-cm/soil_moisture", "init=2020-06-02&lead=3")
    raw = np.frombuffer(gzip.decompress(body), np.uint8).astype(np.uint16)
    assert status == 200
    assert np.array_equal(
        raw[:120] | (raw[120:] << 8),
        QUANTITIES["soil_moisture"].codes(sources[0].values("soil_moisture", init_time=1, lead_time=1)).ravel(),
    )
    status, body = ask(app, "/series/observed-made-up-0-10-cm", "row=2&column=3&init=2020-06-02&lead=0")
    found = json.loads(body)
    assert (status, len(found["days"]["soil_moisture"]), len(found["normal"])) == (200, 81, 3)


def test_positions_and_areas_have_the_form_of_edr(app: Any, sources: list[Source]) -> None:
    status, body = ask(app, "/collections")
    first = json.loads(body)["collections"][0]
    assert (status, first["id"], first["lead"], first["simulated"]) == (200, "lstm-0-10-cm", [1, 3, 7], True)
    where = "/collections/lstm-0-10-cm"
    status, body = ask(app, f"{where}/position", "coords=POINT(-100.05%2040.0)&parameter-name=soil_moisture")
    found = json.loads(body)
    assert (status, found["domain"]["domainType"]) == (200, "PointSeries")
    assert found["domain"]["axes"]["t"]["values"] == [f"2020-06-{day:02}T00:00:00Z" for day in (7, 9, 13)]
    cell = sources[0].data.soil_moisture.sel(init_time="2020-06-06").isel(y=9, x=6).values
    assert np.allclose(found["ranges"]["soil_moisture"]["values"], cell, atol=1e-5)
    ring = "POLYGON((-100.3 40, -100.3 40.4, -100 40.4, -100 40, -100.3 40))".replace(" ", "%20")
    status, body = ask(app, f"{where}/area", f"coords={ring}&lead=7&f=CSV")
    lines = body.decode().splitlines()
    assert lines[0] == "init_time,lead_days,valid_day,lat,lon,soil_moisture,soil_moisture_percentile,soil_moisture_std"
    inside = sum(40 < lat < 40.4 for lat in sources[0].data.lat.values) * sum(
        -100.3 < lon < -100 for lon in sources[0].data.lon.values
    )
    assert (status, len(lines)) == (200, 1 + 6 * inside)


HOSTILE = [
    ("/maps/..%2f..%2fetc%2fpasswd/soil_moisture", "", 404),
    ("/maps/../../etc/passwd/soil_moisture", "", 404),
    ("/maps//etc/passwd", "", 404),
    ("/view.js", "", 404),
    ("/maps/lstm-0-10-cm/__class__", "", 400),
    ("/maps/lstm-0-10-cm/soil_moisture", "init=1e999", 400),
    ("/maps/lstm-0-10-cm/soil_moisture", "init=2020-06-02T00", 400),
    ("/maps/lstm-0-10-cm/soil_moisture", "lead=-1", 400),
    ("/maps/lstm-0-10-cm/soil_moisture", "url=file:///etc/passwd", 400),
    ("/maps/lstm-0-10-cm/soil_moisture", "lead=1&lead=3", 400),
    ("/series/lstm-0-10-cm", "row=10&column=0", 400),
    ("/series/lstm-0-10-cm", "row=-1&column=0", 400),
    ("/series/lstm-0-10-cm", "row=0x1&column=0", 400),
    ("/series/lstm-0-10-cm", "row=%D9%A1&column=0", 400),
    ("/collections/nothing", "", 404),
    ("/collections/lstm-0-10-cm/position", "", 400),
    ("/collections/lstm-0-10-cm/position", "coords=POINT(nan nan)", 400),
    ("/collections/lstm-0-10-cm/position", "coords=POINT(0 0)", 404),
    ("/collections/lstm-0-10-cm/position", "coords=POINT(1e99 1e99)", 404),
    ("/collections/lstm-0-10-cm/position", "coords=POINT(-100.05 40)&parameter-name=x", 400),
    ("/collections/lstm-0-10-cm/position", "coords=POINT(-100.05 40)&f=../x", 400),
    ("/collections/lstm-0-10-cm/area", "coords=POLYGON((0 0,1 1,0 0))", 400),
    ("/collections/lstm-0-10-cm/area", "coords=POLYGON((0 0,1 0,1 1,0 1,0 0))", 404),
    ("/collections/lstm-0-10-cm/area", "coords=POLYGON((" + "0 0," * 300 + "0 0))", 400),
    ("/collections/lstm-0-10-cm/area", "coords=" + "9" * 9000, 400),
]


@pytest.mark.parametrize(("path", "query", "status"), HOSTILE)
def test_hostile_requests_are_refused_in_words(app: Any, path: str, query: str, status: int) -> None:
    found, body = ask(app, path, query.replace(" ", "%20"))
    assert found == status
    assert b"Traceback" not in body
    assert b"/work" not in body


def test_answers_have_a_largest_size_and_hosts_and_methods_are_few(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = "POLYGON((-101 39,-99 39,-99 41,-101 41,-101 39))".replace(" ", "%20")
    monkeypatch.setattr("vadose.publish.edr.MOST_VALUES", 100)
    status, body = ask(app, "/collections/lstm-0-10-cm/area", f"coords={ring}&init=2020-06-02")
    assert (status, json.loads(body)["code"]) == (413, 413)
    assert ask(app, "/", host="evil.example")[0] == 400
    assert ask(app, "/", method="POST")[0] == 405


def test_maps_are_kept_up_to_a_size() -> None:
    kept = Kept(most=10)
    assert [kept.get(k, lambda: b"1234") for k in "abca"] == [b"1234"] * 4
    assert (list(kept.held), kept.size) == (["c", "a"], 8)
    assert kept.get("large", lambda: b"x" * 11) == b"x" * 11
    assert kept.size == 8


def test_few_are_read_at_once_and_others_wait(sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, most = [0], [0]

    def slow(source: Source, row: int, column: int, **at: Any) -> dict[str, list[float | None]]:
        reading[0] += 1
        most[0] = max(most[0], reading[0])
        time.sleep(0.005)
        reading[0] -= 1
        return {}

    async def many(app: Any) -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(asked(app, "/series/lstm-0-10-cm", f"row={k % 10}&column=0") for k in range(20)))

    monkeypatch.setattr(Source, "series", slow)
    assert {status for status, _ in asyncio.run(many(application(sources, "", ["localhost"])))} == {200}
    assert 1 < most[0] <= AT_ONCE


# ---- The page, in a browser ----


@pytest.fixture(scope="module")
def addresses(sources: list[Source], app: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The page as a file, and from a server."""
    uvicorn = pytest.importorskip("uvicorn")
    saved = save_page(tmp_path_factory.mktemp("view") / "page.html", sources, [table_of_scores()], title=TITLE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield {"file": saved.as_uri(), "server": f"http://127.0.0.1:{listening.getsockname()[1]}/"}
        server.should_exit = True
        thread.join()


class Seen:
    """A page and all that its console said."""

    def __init__(self, browser: Any, address: str, **size: int) -> None:
        self.page = browser.new_page(viewport={"width": size.get("width", 1366), "height": size.get("height", 800)})
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def waits_for(self, selector: str, part: str) -> None:
        self.page.wait_for_function(
            "([of, part]) => document.querySelector(of).textContent.includes(part)", arg=[selector, part]
        )


@pytest.mark.parametrize("kind", ["file", "server"])
def test_the_page_is_clicked_and_its_keys_pressed(browser: Any, addresses: dict[str, str], kind: str) -> None:
    seen = Seen(browser, addresses[kind])
    on = seen.page
    assert on.title() == TITLE == seen.text("h1")
    assert on.is_visible("#simulated")
    assert seen.text("figcaption").startswith("lstm, 2020-06-07")
    # A click draws the series of its cell, with quantiles, observations, normal and its numbers.
    box = on.locator("canvas").first.bounding_box()
    on.mouse.click(box["x"] + box["width"] * 0.26, box["y"] + box["height"] * 0.34)
    seen.waits_for("#live", "The table below holds its numbers")
    assert [of.split(" with")[0] for of in on.locator("#lines li").all_text_contents()][:2] == [
        "lstm",
        "observed: made up",
    ]
    assert "normal of 2020-04-01 to 2020-05-31" in seen.text("#lines")
    head = on.locator("#series th[scope=col]").all_text_contents()
    assert head[:3] == ["valid day", "lstm", "lstm 5 %"]
    # Keys: the cross moves by a cell and says where it is; Enter draws; a bracket takes the day before.
    on.focus("canvas")
    on.keyboard.press("ArrowRight")
    seen.waits_for("#live", "m³ m⁻³")
    before = on.evaluate("location.hash")
    on.keyboard.press("Enter")
    seen.waits_for("#live", "Soil moisture at")
    on.keyboard.press("[")
    seen.waits_for("figcaption", "issued 2020-06-05")
    on.keyboard.press("+")
    assert "view=" in on.evaluate("location.hash")
    on.keyboard.press("0")
    # Class, error and a second model.
    on.select_option("#show", "drought_class")
    seen.waits_for("#legend", "D4 exceptional drought")
    assert "share of cells" in seen.text("#numbers")
    on.select_option("#show", "error")
    seen.waits_for("#legend", "forecast − observed")
    on.select_option("#show", "soil_moisture")
    on.select_option("#beside", "persistence")
    seen.waits_for("figure:nth-of-type(2) figcaption", "persistence")
    seen.waits_for("#lines", "persistence")
    on.select_option("#dots", "score pearson_r")
    seen.waits_for("#legend", "Correlation R")
    # The address keeps the state, and a link to what is not there is corrected in words.
    again = Seen(browser, addresses[kind] + on.evaluate("location.hash"))
    assert again.page.evaluate("location.hash") == on.evaluate("location.hash") != before
    assert again.page.input_value("#beside") == "persistence"
    again.page.evaluate("location.hash = '#model=gone&lead=99&at=nonsense&show=__proto__'")
    again.waits_for("#live", "model gone is not here")
    assert again.page.input_value("#model") == "lstm"
    assert seen.said == again.said == []
    on.close()
    again.page.close()


def test_a_station_shows_its_name_observations_and_scores(browser: Any, addresses: dict[str, str]) -> None:
    place = stations()
    at = f"#at={float(place.lat[0]):.5f},{float(place.lon[0]):.5f}&dots=score%20pearson_r&lead=3"
    seen = Seen(browser, addresses["file"] + at)
    assert "SCAN:1: Correlation R 0.710" in seen.text(".readout")
    assert "observed: own stations, SCAN:1" in seen.text("#lines")
    assert "Correlation R, lstm0.7100.710 to 0.71088" in seen.text("#place-scores")
    assert seen.said == []
    seen.page.close()


def test_a_narrow_screen_scrolls_nowhere_sideways_and_axe_finds_nothing(
    browser: Any, addresses: dict[str, str]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe_playwright_python is not installed")
    seen = Seen(browser, addresses["file"] + "#beside=persistence", width=390, height=844)
    wide = "(of) => of.getBoundingClientRect().right > innerWidth + 1 && !of.closest('.scroll')"
    ids = f"[...document.querySelectorAll('body *')].filter({wide}).map((of) => of.id || of.tagName)"
    assert seen.page.evaluate(ids) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    seen.page.evaluate("document.querySelectorAll('details').forEach((of) => { of.open = true; })")
    found = axe.Axe().run(seen.page).response["violations"]
    assert [(of["id"], of["help"], of["nodes"][0]["html"][:80]) for of in found] == []
    seen.page.close()


def test_a_place_without_a_forecast_says_so(browser: Any, addresses: dict[str, str]) -> None:
    lake = sources_of({"a": forecasts("lstm")}, Part())[0].data
    seen = Seen(browser, f"{addresses['file']}#at={float(lake.lat[4]):.4f},{float(lake.lon[4]):.4f}")
    assert "no value" in seen.text(".readout")
    seen.page.focus("canvas")
    seen.page.keyboard.press("Enter")
    seen.waits_for("#live", "no forecast at this place")
    seen.page.close()


def test_nothing_is_asked_of_the_network(sources: list[Source]) -> None:
    text = page(sources, title=TITLE)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "<of>" not in text


def test_the_command_writes_a_page_of_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from vadose.cli.terminal import app as commands

    write_predictions(tmp_path / "a.zarr", forecasts("lstm"), "made up", chunks={})
    done = CliRunner().invoke(commands, ["view", str(tmp_path / "a.zarr"), "--save", str(tmp_path / "p.html")])
    assert done.exit_code == 0
    assert done.output.endswith("p.html (0.1 MB)\n")
    assert "data:lstm-0-10-cm:soil_moisture" in (tmp_path / "p.html").read_text()
