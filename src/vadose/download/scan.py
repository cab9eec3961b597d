"""SCAN through the AWDB service of USDA NRCS: hourly and daily answers put together as one CSV file a station.

The columns are those of the NRCS report generator. Soil moisture, soil temperature and humidity of a day are means
of the hourly values, because the daily value that the service gives for them is one reading at the start of the day.
"""

import csv
from collections import defaultdict
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from vadose.download.area import inside
from vadose.download.client import Client, MissingError, service
from vadose.download.plan import RemoteFile, Request
from vadose.errors import VadoseError

HOURLY = {
    "SMS": "Soil Moisture Percent {inches}in ({unit}) Mean of Hourly Values",
    "STO": "Soil Temperature Observed {inches}in ({unit}) Mean of Hourly Values",
    "RHUM": "Relative Humidity ({unit}) Mean of Hourly Values",
}
DAILY = {
    "PRCP": "Precipitation Increment ({unit})",
    "TAVG": "Air Temperature Average ({unit})",
    "TMAX": "Air Temperature Maximum ({unit})",
    "TMIN": "Air Temperature Minimum ({unit})",
    "SRADT": "Solar Radiation/langley Total ({unit})",
}
UNITS = {"pct": "pct", "in": "in", "mm": "mm", "degF": "degF", "degC": "degC"}
UNITS |= dict.fromkeys(("langley", "lang", "ly", "langleys"), "langley")
FEWEST_HOURS = 18
SETTLED_AFTER = timedelta(days=60)
METADATA = {
    "Site": "stationId",
    "Network": "networkCode",
    "stationTriplet": "stationTriplet",
    "Name": "name",
    "Elevation_ft": "elevation",
    "Latitude": "latitude",
    "Longitude": "longitude",
    "dataTimeZone": "dataTimeZone",
    "beginDate": "beginDate",
    "endDate": "endDate",
}


def list_scan(client: Client, request: Request) -> list[RemoteFile]:
    """One CSV file for each station in the box that measures soil moisture, in whole years, and where they are."""
    url = f"{service('awdb')}/stations"
    asked = {"stationTriplets": "*:*:SCAN", "returnStationElements": "true", "activeOnly": "false"}
    stations = client.ask_json(url, "SCAN stations", asked)
    if not isinstance(stations, list):
        raise VadoseError(f"SCAN stations: {url} answered no list; has the service changed?")
    today = date.today()
    first, last = date(request.first.year, 1, 1), min(date(request.last.year, 12, 31), today - timedelta(days=1))
    files = [
        RemoteFile(
            f"{station['stationId']}.csv",
            f"{service('awdb')}/data",
            part={"days": [first.isoformat(), last.isoformat()]},
            settled=last + SETTLED_AFTER,
            optional=True,
            write=partial(write_station, station=station, first=first, last=last),
        )
        for station in stations
        if inside(request.boxes, float(station["latitude"]), float(station["longitude"]))
        and _measured(station, first, last)
    ]
    if not files:
        return []
    table = RemoteFile(
        "station-metadata.csv", url, settled=today + timedelta(days=1), write=partial(write_table, stations=stations)
    )
    return [table, *files]


def write_table(client: Client, path: Path, stations: list[dict[str, Any]]) -> None:
    """Where the stations are, as in the NRCS metadata table: elevation in feet."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(METADATA)
        for station in sorted(stations, key=lambda station: str(station["stationId"])):
            writer.writerow(station.get(key, "") for key in METADATA.values())


def write_station(client: Client, path: Path, station: dict[str, Any], first: date, last: date) -> None:
    """Ask year by year, and write one line a day, blank where missing.

    Raises
    ------
    VadoseError
        When the answer is not as documented, or a unit is unknown.
    """
    columns: dict[str, dict[str, float]] = {}
    dropped: set[str] = set()
    for year in range(first.year, last.year + 1):
        begin, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
        for duration, elements in (("HOURLY", HOURLY), ("DAILY", DAILY)):
            asked = {
                "stationTriplets": station["stationTriplet"],
                "elements": ",".join(f"{code}:*" for code in elements),
                "duration": duration,
                "beginDate": f"{begin} 00:00" if duration == "HOURLY" else f"{begin}",
                "endDate": f"{end} 23:59" if duration == "HOURLY" else f"{end}",
                "periodRef": "START",
            }
            answer = client.ask_json(f"{service('awdb')}/data", path.name, asked)
            try:
                series = [one for part in answer for one in part.get("data", [])]
                _collect(series, elements, duration == "HOURLY", columns, dropped)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise VadoseError(
                    f"{path.name}: {service('awdb')}/data sent an unknown format ({error!r}); has the service changed?"
                ) from error
    if not any(label.startswith("Soil Moisture") for label in columns):
        raise MissingError(f"SCAN station {station['stationId']}: no soil moisture in {first} .. {last}")
    with path.open("w", newline="") as stream:
        stream.write(f"# USDA NRCS, AWDB service, {station['stationTriplet']}; days from local standard midnight\n")
        stream.write(f"# means of hourly values where at least {FEWEST_HOURS} of 24 hours are there\n")
        for sensor in sorted(dropped):
            stream.write(f"# a further sensor at one depth is left out: {sensor}\n")
        writer = csv.writer(stream)
        writer.writerow(["Date", "Station Id", "Station Name", *columns])
        for k in range((last - first).days + 1):
            day = (first + timedelta(days=k)).isoformat()
            values = (f"{column[day]:.6g}" if day in column else "" for column in columns.values())
            writer.writerow([day, station["stationId"], station["name"], *values])


def _collect(
    series: list[dict[str, Any]],
    elements: dict[str, str],
    hourly: bool,
    columns: dict[str, dict[str, float]],
    dropped: set[str],
) -> None:
    taken: set[str] = set()
    for one in sorted(series, key=lambda one: int(one["stationElement"].get("ordinal") or 1)):
        about = one["stationElement"]
        code, depth = about["elementCode"], about.get("heightDepth")
        if code not in elements or ("{inches}" in elements[code] and depth is None):
            continue
        if about["storedUnitCode"] not in UNITS:
            raise VadoseError(f"SCAN {code}: unit {about['storedUnitCode']!r} is not known (known: {sorted(UNITS)})")
        label = elements[code].format(inches=depth, unit=UNITS[about["storedUnitCode"]])
        by_day: dict[str, list[float]] = defaultdict(list)
        for value in one.get("values", []):
            if value.get("value") is not None:
                by_day[value["date"][:10]].append(float(value["value"]))
        if not by_day:
            continue
        if label in taken:
            dropped.add(f"{code}:{depth}:{about.get('ordinal')}")
            continue
        taken.add(label)
        column = columns.setdefault(label, {})
        for day, values in by_day.items():
            if not hourly or len(values) >= FEWEST_HOURS:
                column[day] = sum(values) / len(values)


def _measured(station: dict[str, Any], first: date, last: date) -> bool:
    """Whether a station says that it measured soil moisture then; one that says nothing is asked."""
    elements = station.get("stationElements")
    if elements is None:
        return True
    return any(
        element.get("elementCode") == "SMS"
        and str(element.get("beginDate", ""))[:10] <= last.isoformat()
        and str(element.get("endDate", "9999"))[:10] >= first.isoformat()
        for element in elements
    )
