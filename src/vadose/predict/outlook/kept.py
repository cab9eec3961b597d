"""What is kept of the cells of a tile from day to day: the normals of 1991-2020, and the networks' states.

Both follow from weather that changes no more, so that an outlook runs on from the newest state over the last months
alone. Each file says by a hash what it was made from: networks, ground, cells and the weather up to its day; one that
was made from something else is made again, and files are written whole or not at all.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, remove, writing
from vadose.models.land_surface import LAYERS
from vadose.predict.outlook import chains
from vadose.predict.outlook.moisture import End, Mixture, Networks, soil_moisture
from vadose.predict.outlook.normals import Normals, climate_of
from vadose.samples.land_surface import TOLD, WEATHER, Climate

FORM = 1
"""Of what is kept; another one after a change of how it is computed."""
STEP = 16
"""Days between states: a newer one is kept as often."""
PIECE = 730
"""Days that are run at once."""
Weather = Callable[[pd.Timestamp | None, pd.Timestamp], xr.Dataset]
"""Past weather (time, place) from a day on, or from the first, to another."""


@dataclass(frozen=True)
class Tile:
    """Cells of a tile as places, and where what is kept of them lies.

    Attributes
    ----------
    folder
        Of what is kept.
    files
        Of past weather that changes no more, and the last day of each.
    weather
        Gives past weather.
    recent
        Weather of the days after the last of the files (time, place).
    permanent
        Last day that changes no more.
    ground
        Soil and elevation (place).
    sample
        Places whose past weather is kept for chains of weather.
    """

    folder: Path
    files: Sequence[tuple[Path, pd.Timestamp]]
    weather: Weather
    recent: xr.Dataset
    permanent: pd.Timestamp
    ground: xr.Dataset
    sample: NDArray[np.int64]

    def last(self) -> pd.Timestamp:
        """Day of the newest state: of every 16th day the last one that changes no more, or the end of a file."""
        newest = min(self.permanent, self.recent.indexes["time"][-1] - pd.Timedelta(days=1))
        epoch = pd.Timestamp(0)
        last: pd.Timestamp = max(
            self.files[-1][1], epoch + (newest - epoch) // pd.Timedelta(days=STEP) * pd.Timedelta(days=STEP)
        )
        return last

    def made_from(self, networks: Networks, day: pd.Timestamp) -> str:
        """Hash of what a state at the end of a day follows from; '' where that day is none that is kept."""
        before = [path for path, last in self.files if last <= day]
        if day < self.files[-1][1] and day not in [last for _, last in self.files]:
            return ""
        parts = [
            str(FORM),
            networks.identity(),
            _hash(self.ground[name].values for name in sorted(map(str, self.ground))),
        ]
        parts += [identity(*before), _hash([self.sample, self.recent.lat.values, self.recent.lon.values])]
        if day > self.files[-1][1]:
            recent = self.recent.sel(time=slice(None, day))
            parts.append(_hash(recent[name].values for name in WEATHER))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Known:
    """What is kept of the places of a tile.

    Attributes
    ----------
    spells
        Weather of 1991-2020 at the tile's sample (time, place).
    """

    normals: Normals
    end: End
    spells: xr.Dataset


def known_of(tile: Tile, networks: Networks, changing: Sequence[float]) -> Known:
    """Normals and the newest state, kept or made and then kept."""
    after = pd.Timestamp(chains.REFERENCE[1], 12, 31)
    first = next(day for _, day in tile.files if day >= after)
    path, made_from = tile.folder / "normals.safetensors", tile.made_from(networks, first)
    found = _read(path, made_from)
    end = None if found is None else _newest(tile, networks, found)
    if found is None or end is None:
        found, end = _prepared(tile, networks, changing, first)
        _write(path, made_from, found)
    for day in (tile.files[-1][1], tile.last()):
        if end.day < day:
            begin = end.day + pd.Timedelta(days=1)
            weather = tile.recent if day > tile.files[-1][1] else tile.weather(begin, day)
            *_, mixture = _runs(end, weather.sel(time=slice(begin, day)))
            assert mixture.end is not None
            end = mixture.end
        _keep_state(tile, end)
    for path in _states(tile):
        if _day(path) not in (tile.files[-1][1], end.day):
            remove(path)
    spells = {name: (("time", "place"), of) for name, of in zip(WEATHER, found.pop("spells"), strict=True)}
    days = pd.date_range(f"{chains.REFERENCE[0]}-01-01", f"{chains.REFERENCE[1]}-12-31")
    normals = Normals(**{of.name: found[of.name] for of in fields(Normals)})
    return Known(normals, end, xr.Dataset(spells, {"time": days}))


def _prepared(
    tile: Tile, networks: Networks, changing: Sequence[float], day: pd.Timestamp
) -> tuple[dict[str, NDArray[Any]], End]:
    """Run all years up to a day: normals, what else is kept with them, and the end."""
    weather = tile.weather(None, day)
    climate = climate_of(weather)
    parts = [soil_moisture(networks, weather.isel(time=slice(0, PIECE)), tile.ground, climate=climate)]
    assert parts[0].end is not None
    parts += _runs(parts[0].end, weather.isel(time=slice(PIECE, None)))
    means, deviations = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("means", "deviations")
    )
    normals = Normals.of(Mixture(parts[0].weights, means, deviations, pd.DatetimeIndex(weather.time.values)), changing)
    reference = weather[[*WEATHER]].sel(time=slice(*map(str, chains.REFERENCE)))
    spells = reference.isel(place=tile.sample).to_dataarray().transpose("variable", "time", "place").values
    end = parts[-1].end
    assert end is not None
    more = {"spells": spells, "fixed": end.fixed, "course": climate.course, "wet": climate.wet}
    return vars(normals) | more, end


def _runs(end: End, weather: xr.Dataset) -> Iterator[Mixture]:
    """Run on piece by piece."""
    for start in range(0, weather.sizes["time"], PIECE):
        mixture = end.ahead(weather.isel(time=slice(start, start + PIECE)))
        assert mixture.end is not None
        yield mixture
        end = mixture.end


def _newest(tile: Tile, networks: Networks, found: dict[str, NDArray[Any]]) -> End | None:
    """The newest state that still holds, with the places' fixed features."""
    for path in _states(tile)[::-1]:
        day = _day(path)
        if day <= tile.last() and (state := _read(path, tile.made_from(networks, day))) is not None:
            states = tuple(
                (h[None], c[None])
                for h, c in torch.from_numpy(state["states"].reshape(-1, 2, *state["states"].shape[1:]))
            )
            climate = Climate(found["course"], found["wet"])
            evidence = np.zeros((len(found["fixed"]), LAYERS, TOLD), np.float32)
            nothing = np.zeros((len(evidence), 0, LAYERS), np.float32)
            return End(networks, states, found["fixed"], climate, day, evidence, (nothing, nothing))
    return None


def _keep_state(tile: Tile, end: End) -> None:
    path = tile.folder / f"state_{end.day:%Y-%m-%d}.safetensors"
    made_from = tile.made_from(end.networks, end.day)
    if made_from and _read(path, made_from, ()) is None:
        states = torch.stack([of[0] for pair in end.states for of in pair]).numpy()
        _write(path, made_from, {"states": states})


def _states(tile: Tile) -> list[Path]:
    return sorted(tile.folder.glob("state_????-??-??.safetensors"))


def _day(path: Path) -> pd.Timestamp:
    return pd.Timestamp(path.stem.removeprefix("state_"))


def _read(path: Path, made_from: str, wanted: Sequence[str] | None = None) -> dict[str, NDArray[Any]] | None:
    """Arrays of a file, all or those wanted; None if it is not there or was made from something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            if not made_from or (file.metadata() or {}).get("made_from") != made_from:
                return None
            return {name: file.get_tensor(name) for name in (file.keys() if wanted is None else wanted)}
    except (OSError, SafetensorError):
        return None


def _write(path: Path, made_from: str, arrays: dict[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as scratch:
        save_file({name: np.ascontiguousarray(of) for name, of in arrays.items()}, scratch, {"made_from": made_from})


def _hash(arrays: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
