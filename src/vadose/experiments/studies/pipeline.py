"""Training and forecasting of an experiment: what its studies share, and where things lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import identity
from vadose.cube import open_identified
from vadose.door import CUBE, as_cube, as_forecasts
from vadose.door.days import Period, lead_days
from vadose.door.place import Place, forecasts_at
from vadose.errors import VadoseError
from vadose.experiments import Experiment, LayerConfig, RunConfig
from vadose.experiments.studies.checks import allowed_overlap, check_pairs
from vadose.features.normals import with_normals
from vadose.insitu.matchups import with_stations
from vadose.models.inputs import NORMAL
from vadose.parallel.memory import fits
from vadose.parallel.progress import Progress
from vadose.predict.forecast import forecast
from vadose.samples.windows import Samples
from vadose.training.blends import Weights, blend, learn_weights
from vadose.training.forecasters import Plan, train
from vadose.training.processes import launched

CHECKPOINTS = {"validation": "selected.pt", "test": "final.pt"}


@dataclass(frozen=True)
class Layer:
    """A layer, and the folder its artefacts lie in: none of its own where it is the only one."""

    name: str
    config: LayerConfig
    folder: str


def given_below(experiment: Experiment) -> set[str]:
    """Runs and blends whose forecasts the layers below are given, and the members of these blends."""
    if len(experiment.layers) < 2:
        return set()
    sources = {run.above for run in experiment.runs.values() if run.above}
    return sources | {m for name in sources & experiment.blends.keys() for m in experiment.blends[name].members}


def days_of_issue(experiment: Experiment, name: str, phase: str, days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Days of issue, among those of a cube, on which a run or blend is forecast for a phase."""
    split = experiment.split
    period: Period = getattr(split, phase)
    learners = [run for run in experiment.runs.values() if run.above and name in given_below(experiment)]
    # Of what the layers below learn from, the training days too, again where they are fitted anew.
    again = learners and (phase == "validation" or any(run.refit for run in learners))
    begin = split.training.first if again else period.first
    before = max(experiment.leads) + max((run.look_back - 1 for run in learners), default=0)
    first = pd.Timestamp(begin) - pd.Timedelta(days=before)
    last = min(pd.Timestamp(period.last), days[-1]) - pd.Timedelta(days=min(experiment.leads))
    return days[(days >= first) & (days <= last)]


def _opened(store: Path) -> xr.Dataset:
    opened: xr.Dataset = xr.open_zarr(store, consolidated=False)
    return opened


class Pipeline:
    """What all stages of a study share: the cube, loaded once, and where things lie."""

    def __init__(
        self,
        experiment: Experiment,
        given: Path | xr.Dataset,
        runs: Path,
        forecasts: Path,
        progress: Progress,
        stations: Path | None = None,
    ) -> None:
        self.experiment, self.runs, self.forecasts, self.progress = experiment, runs, forecasts, progress
        self.place = str(given) if isinstance(given, Path) else "the cube"
        if isinstance(given, Path):
            cube, of_cube = open_identified(given)
        else:
            cube, of_cube = as_cube(given, self.place, CUBE), identity(given)
        self.made_of = {"cube": of_cube}
        if needy := [name for name, run in experiment.runs.items() if run.stations and stations is None]:
            raise VadoseError(f"runs {needy} are also trained on stations: give --stations STORE")
        self.taught = stations
        self.stations = _opened(stations) if stations else xr.Dataset()
        if fits(cube.nbytes):
            cube = cube.load()
        if experiment.hindcast:
            cube = cube.assign_attrs(hindcast="true")
        if experiment.learn_from is not None:
            if "station" not in cube.coords:
                raise VadoseError(f"{self.place}: 'learn_from' names stations, but its cells are none")
            learnt = np.array([str(name) in experiment.learn_from for name in cube.station.values])
            cube["learnt"] = ("y", "x"), learnt[:, None]
        self.cube = cube
        layers = experiment.layers or {
            cube.attrs["layer"]: LayerConfig(observed=cube.attrs.get("observed", "soil_moisture"))
        }
        if missing := [layer.observed for layer in layers.values() if layer.observed not in cube]:
            raise VadoseError(
                f"{self.place}: no variable {missing} to forecast; found {sorted(map(str, cube.data_vars))}"
            )
        several = len(layers) > 1
        self.layers = [Layer(n, c, n.replace(" ", "") if several else "") for n, c in layers.items()]
        self.sources = given_below(experiment)
        self._identities: dict[tuple[Path, int], str] = {}
        self.allowed = allowed_overlap(experiment, cube, [layer.config for layer in self.layers], self.place)

    def phases(self) -> dict[str, Period]:
        """Phases of which the cube holds observations, and their periods."""
        found, observed = {}, {layer.name: layer.config.observed for layer in self.layers}
        for phase in CHECKPOINTS:
            period: Period = getattr(self.experiment.split, phase)
            known = self.cube[self.layers[0].config.observed].sel(time=slice(period.first, period.last))
            if np.isfinite(known).any():
                found[phase] = period
                check_pairs(self.experiment, phase, self.scored(), self.stations, observed)
            elif phase == "validation":
                raise VadoseError(f"{self.place}: no soil moisture between {period.first} and {period.last}")
        return found

    def scored(self) -> xr.Dataset:
        """The cube with observations at the cells to score alone."""
        if self.experiment.score_every == 1:
            return self.cube
        thinned = self._thinned()
        names = [layer.config.observed for layer in self.layers]
        return thinned[[*names, "mask"]].where(thinned.mask)

    def _thinned(self) -> xr.Dataset:
        """The cube with a mask of the cells to score: those by themselves need no forecast elsewhere."""
        step = self.experiment.score_every
        rows, columns = (np.arange(self.cube.sizes[d]) % step == step // 2 for d in ("y", "x"))
        chosen = xr.DataArray(rows[:, None] & columns, dims=("y", "x")) & self.cube.mask
        return self.cube.assign(mask=chosen).assign_attrs(inputs=f"every {step}th cell of {self.cube.attrs['inputs']}")

    def train(self, layer: Layer, names: Sequence[str] | None = None) -> list[Path]:
        """Train the runs of a layer, then its blends, then forecast what the layers below are given."""
        split, experiment = self.experiment.split, self.experiment
        training, whole = split.training, split.training.to(split.validation)
        folders = []
        for name, run in self._runs(layer).items():
            if names is not None and name not in names:
                continue
            channels = run.channels(layer.config, [other.name for other in self._above(layer)])
            # What is learnt from the training days, or forecast by what was, is another one when fitted anew.
            changes = channels.above or any(n.endswith(NORMAL) for n in channels.history)
            again = (lambda r=run: self.samples(layer, r, whole, "test")) if changes else True
            folder = train(
                self.samples(layer, run, training, "validation"),
                self.runs / layer.folder / name,
                Plan(run.model, run.hyper, training, split.validation, run.training),
                refit=run.refit and again,
                attributes={"scenario": run.scenario, "layer": layer.name} | self.allowed,
                made_of=self._beside(layer, run) | self.allowed,
                progress=self.progress,
            )
            folders.append(folder)
        for name, join in experiment.blends.items():
            if names is not None and name not in names:
                continue
            members = [self.runs / layer.folder / member for member in join.members]
            if missing := [member.name for member in members if not (member / "final.pt").exists()]:
                raise VadoseError(f"blend {name}: its members {missing} are not trained; train them first")
            folders.append(
                blend(
                    members,
                    self.runs / layer.folder / name,
                    weights=self._learn_weights(layer, name)
                    if join.weights == "learnt"
                    else join.given(experiment.leads),
                    leads=experiment.leads,
                    attributes={"scenario": join.scenario} | join.chosen(split.validation),
                )
            )
        if layer is not self.layers[-1]:
            for phase in CHECKPOINTS:
                for name in sorted(self.sources & {*self._runs(layer), *experiment.blends}):
                    self._forecast(layer, phase, name)
        return folders

    def forecast(self, layer: Layer, phase: str) -> list[Path]:
        """Forecast a phase with all runs and blends of a layer."""
        return [self._forecast(layer, phase, name) for name in (*self._runs(layer), *self.experiment.blends)]

    def rivals(self, layer: Layer, beside: xr.Dataset) -> list[xr.Dataset]:
        """Forecasts of others, of the days of issue and leads of our own."""
        found = []
        for name, place in self.experiment.rivals.items():
            path = Path(place.format(layer=layer.name.replace(" ", "")))
            if not path.exists():
                self.progress(f"rival {name}: no store {path}, left out of {layer.name}", 1.0)
                continue
            store = as_forecasts(_opened(path), str(path))
            if store.attrs["layer"] != layer.name:
                raise VadoseError(f"rival {name}: {path} is of the layer {store.attrs['layer']!r}, not {layer.name!r}")
            leads = lead_days(beside, f"forecasts of {layer.name}").tolist()
            store = forecasts_at(store, Place.of(beside), leads, f"rival {name} ({path})")
            days, there = beside.init_time.values, np.isin(beside.init_time.values, store.init_time.values)
            between = f"{pd.Timestamp(days[0]):%Y-%m-%d} .. {pd.Timestamp(days[-1]):%Y-%m-%d}"
            self.progress(f"rival {name}: {there.sum()} of {len(days)} days of issue {between}, {layer.name}", 1.0)
            if there.any():
                ours = store.reindex(init_time=days).assign_coords(lead_time=beside.lead_time.values)
                found.append(ours.assign_attrs(model=name, observed=layer.config.observed))
        return found

    def store(self, layer: Layer, phase: str, name: str) -> Path:
        """Where the forecasts of a run or blend lie."""
        return self.forecasts / phase / layer.folder / f"{name}.zarr"

    def shown(self) -> str:
        """The run or blend of the paper's figures: of scenario S2 where there is one, else the last without weather."""
        runs = {name: run for name, run in self.experiment.runs.items() if run.only is None}
        for name, run in runs.items():
            if run.scenario == "S2":
                return name
        first = self.layers[0].config
        without = {name for name, run in runs.items() if run.channels(first).weather == "none"}
        blends = [name for name, join in self.experiment.blends.items() if set(join.members) <= without]
        return (blends or [name for name in runs if name in without])[-1]

    def _runs(self, layer: Layer) -> dict[str, RunConfig]:
        return {name: run for name, run in self.experiment.runs.items() if layer.name in (run.only or (layer.name,))}

    def _forecast(self, layer: Layer, phase: str, name: str) -> Path:
        experiment = self.experiment
        days = days_of_issue(experiment, name, phase, pd.DatetimeIndex(self.cube.time.values))
        thin = experiment.score_every > 1 and name not in self.sources
        members, above = self._members(layer, phase, name), self._stores_above(layer, phase, self._source(name))
        store, fabric = self.store(layer, phase, name), launched()
        # Of processes that torchrun started the first forecasts alone.
        if fabric.is_global_zero:
            known: dict[str, object] = {"above": {of: self._identity(path) for of, path in above.items()}}
            known["members"] = [self._identity(path) for path in members]
            forecast(
                self.runs / layer.folder / name / CHECKPOINTS[phase],
                self._thinned() if thin else self.cube,
                store,
                first=f"{days[0]:%Y-%m-%d}",
                last=f"{days[-1]:%Y-%m-%d}",
                leads=experiment.leads,
                stride=experiment.runs[name].forecast_stride if name in experiment.runs else None,
                above={of: _opened(path) for of, path in above.items()},
                of_members=[_opened(path) for path in members] or None,
                passes=experiment.runs[name].dropout_passes if name in experiment.runs else None,
                made_of=self.made_of | known | ({"every": experiment.score_every} if thin else {}),
                running=experiment.running,
                progress=self.progress,
            )
        fabric.barrier()
        return store

    def _learn_weights(self, layer: Layer, name: str) -> Weights:
        """Weights of a blend from its members' forecasts of the validation days, at the cells learnt from."""
        stores = map(_opened, self._members(layer, "validation", name))
        observed = self.cube[layer.config.observed].where(self.cube.mask)
        if "learnt" in self.cube:
            observed = observed.where(self.cube.learnt)
        members = dict(zip(self.experiment.blends[name].members, stores, strict=True))
        return learn_weights(members, observed, self.experiment.split.validation)

    def _members(self, layer: Layer, phase: str, name: str) -> list[Path]:
        """Forecasts of a blend's members, made first where they are not there; none of a run."""
        blends = self.experiment.blends
        return [self._forecast(layer, phase, m) for m in blends[name].members] if name in blends else []

    def _identity(self, store: Path) -> str:
        """Identity of forecasts, which are read once for all that are made of them."""
        state = store, (store / "zarr.json").stat().st_mtime_ns
        if state not in self._identities:
            self._identities[state] = identity(_opened(store))
        return self._identities[state]

    def samples(self, layer: Layer, run: RunConfig, learnt_from: Period, phase: str) -> Samples:
        """Samples of a run, whose normals and forecasts of the layers above have learnt from a period."""
        above = {name: _opened(store) for name, store in self._stores_above(layer, phase, run.above).items()}
        channels = run.channels(layer.config, list(above))
        cube = self.cube
        if any(name.endswith(NORMAL) for name in channels.history):
            cube = with_normals(cube, (layer.config.observed,), learnt_from.first, learnt_from.last)
        observed, taught = layer.config.observed, None
        if run.stations:
            cube = with_stations(
                cube, self.stations, observed, layer.name, run.stations, learnt_from.first, learnt_from.last
            )
            taught = f"{observed}_with_stations"
        window = None if run.window == "map" else run.window
        samples = Samples(
            cube,
            channels,
            look_back=run.look_back,
            window=window,
            stride=run.stride,
            sequence=run.sequence,
            correlated=layer.config.correlated,
            taught=taught,
            above=above,
        )
        for name, count in samples.values_outside().items():
            self.progress(f"{self.place}, {count} values of {name} outside the valid range taken as missing", 1.0)
        return samples

    def _above(self, layer: Layer) -> list[Layer]:
        return self.layers[: self.layers.index(layer)]

    def _source(self, name: str) -> str | None:
        """The run whose forecasts of the layers above a run, or the members of a blend, are given."""
        if name in self.experiment.runs:
            return self.experiment.runs[name].above
        found = {self.experiment.runs[m].above for m in self.experiment.blends[name].members} - {None}
        if len(found) > 1:
            raise VadoseError(f"blend {name}: its members use the layers above of {sorted(map(str, found))}")
        return found.pop() if found else None

    def _stores_above(self, layer: Layer, phase: str, source: str | None) -> dict[str, Path]:
        """Forecasts of the layers above by a run, by their names."""
        return {other.name: self.store(other, phase, source) for other in self._above(layer)} if source else {}

    def _beside(self, layer: Layer, run: RunConfig) -> dict[str, object]:
        """What a run is made of besides its first samples, when it is fitted anew."""
        if run.above is None and not run.stations:
            return dict(self.made_of)
        places = [self.store(other, phase, run.above or "") for phase in CHECKPOINTS for other in self._above(layer)]
        stations = [self.taught] if run.stations and self.taught else []
        beside = identity(*(places if run.above else []), *stations)
        return self.made_of | {"beside": beside, "weight": run.stations}
