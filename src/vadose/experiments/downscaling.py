"""Experiment files of downscaling at stations."""

from dataclasses import replace
from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from vadose.cube.own_table import OwnTable
from vadose.errors import nearest
from vadose.experiments.forecasting import Experiment, load_experiment
from vadose.experiments.section import ExperimentFile, Section, check_arguments, check_model, load
from vadose.models import MODELS, downscaler_names
from vadose.models.mmnet import Features
from vadose.parallel.running import Running
from vadose.training.station_days import Fitting
from vadose.training.trees import fit_trees

WITHOUT_NETWORK = ("trees", "climatology")
"""Models that are no network: boosted trees, and a station's normal of the day."""


class DownscalingRun(Section):
    """One model: its features, the days of its series, how it is fitted.

    ``model`` is one of `vadose.models.downscaler_names`, ``trees``, or ``climatology``, which takes no features: the
    station's normal of the day, at stations without one the mean of the others'. With ``local`` the run is also
    given, where a station's own past is known (on-site), its normal of the day and its deviation from it. With
    ``align`` the representations of the regions learnt from and tested are drawn together, see
    `vadose.training.alignment`. ``limit`` is the most station-days trees learn from. With ``dropout_passes``
    estimates are the mean of so many passes with dropout on.
    """

    model: str
    snapshot: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    days: int = Field(10, ge=1)
    ends: int = Field(1, ge=0)
    local: bool = False
    hyper: dict[str, Any] = Field(default_factory=dict)
    limit: int | None = Field(None, ge=1)
    dropout_passes: int | None = Field(None, ge=2)
    align: Literal["coral", "mmd", "adversarial"] | None = None
    align_weight: float = Field(1.0, gt=0)
    fitting: Fitting = Fitting()

    def features(self, more: tuple[str, ...] = ()) -> Features:
        """As models take them, with more features of the day."""
        return Features((*self.snapshot, *more), self.series, self.days, self.ends)

    def made_of(self) -> dict[str, Any]:
        """What its estimates depend on: not on whether the network was compiled, or where."""
        return self.model_dump(mode="json", exclude={"fitting": {"compile", "device"}})

    def run_as(self, running: Running) -> "DownscalingRun":
        """The same trained as is said, see `vadose.training.loop.Descent.run_as`."""
        return self.model_copy(update={"fitting": self.fitting.run_as(running)})

    @model_validator(mode="after")
    def _known(self) -> "DownscalingRun":
        check_model(self.model, [*WITHOUT_NETWORK, *downscaler_names()])
        if self.model == "climatology":
            if self.snapshot or self.series or self.hyper:
                raise ValueError("climatology takes no snapshot, series or hyper; leave them out")
            return self
        if not self.snapshot or not self.series:
            raise ValueError(f"{self.model} needs features of the day (snapshot) and of the days before (series)")
        if self.model == "trees":
            check_arguments(fit_trees, self.hyper, ("days", "training", "limit"), self.model)
        else:
            check_arguments(MODELS[self.model], self.hyper, ("self", "features"), self.model)
        if self.align and self.model not in ("mmnet", "long_mmnet"):
            raise ValueError(f"align: {self.model} has no two streams to align; choose mmnet or long_mmnet")
        self.features()
        return self


class OnSite(Section):
    """Test years, each after the training years before it."""

    years: tuple[int, ...]
    training_years: int = Field(3, ge=1)


class OffSite(Section):
    """Parts of the stations at random."""

    folds: int = Field(5, ge=2)
    seed: int = 0


class CrossRegion(Section):
    """Longitudes between west, middle and east [degree]."""

    borders: tuple[float, float] = (-104.0, -90.0)


class Blocked(Section):
    """Squares of the map in parts at random, their edge in degrees."""

    folds: int = Field(5, ge=2)
    size: float = Field(4.0, gt=0)
    seed: int = 0


class Network(Section):
    """Networks each tested with what was learnt from all others."""

    held_out: tuple[str, ...] = Field(min_length=1)


class Scenarios(Section):
    """What is held out; a scenario that is not named is not run."""

    on_site: OnSite | None = None
    off_site: OffSite | None = None
    cross_region: CrossRegion | None = None
    blocked: Blocked | None = None
    network: Network | None = None


class Place(Section):
    """A place to map on two days by a network trained on all station-days, from granules by two recipes of cubes."""

    run: str
    bbox: tuple[float, float, float, float]
    days: tuple[date, date]
    fine: str = "county_100m"
    coarse: str = "county_1km"

    @model_validator(mode="after")
    def _ordered(self) -> "Place":
        if self.days[1] <= self.days[0]:
            raise ValueError(f"days: {self.days[1]} is not after {self.days[0]}")
        return self


class Downscaling(ExperimentFile):
    """Days, scenarios, runs, and means of them.

    ``data`` says what the features are of: the stations' own files, ``products`` beside them, filled between
    overpasses as ``mode`` says, the ``ten_day`` table at the stations that it has, or the user's ``own`` ``tables``
    (`vadose.cube.own_table.OwnTable`) beside the stations' files.

    ``station_list`` names the stations to use (all when empty). ``keep_high`` keeps values above 0.60 m3 m-3, see
    `vadose.insitu.store.build_stations`.

    Models learn from the stations of ``learn_from`` alone, those of the built-in experiment of that name, or all;
    the others are tested as stations never seen. ``ensembles`` are mixtures of runs
    (`vadose.models.mixture.mixture`): with a deviation where each of them has one. ``products`` are columns of the
    table that stand beside the models as they are. ``shown`` is the run of the figures, ``explained`` are networks
    whose features are weighed (SHAP, wants captum), ``maps`` the runs that map a simulated county, ``place`` is mapped
    from granules for Figure 9 of the paper.
    """

    kind: Literal["downscaling"] = "downscaling"
    data: Literal["stations", "products", "ten_day", "county", "own"] = "stations"
    tables: tuple[OwnTable, ...] = ()
    mode: Literal["causal", "paper"] = "causal"
    first: date
    last: date
    keep_high: bool = False
    station_list: tuple[str, ...] = ()
    learn_from: str | None = None
    scenarios: Scenarios
    runs: dict[str, DownscalingRun] = Field(min_length=1)
    ensembles: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    products: tuple[str, ...] = ()
    shown: str | None = None
    explained: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    place: Place | None = None
    min_pairs: int = Field(60, ge=3)

    def stations(self) -> tuple[str, ...] | None:
        """Names of the stations to learn from; all when None."""
        return load_experiment(self.learn_from).learn_from if self.learn_from else None

    def networks(self) -> list[str]:
        """Names of the runs that are networks.

        Examples
        --------
        >>> paper = load_downscaling("downscale-paper")
        >>> [paper.with_profile(name).runs["mmnet"].fitting.epochs for name in ("as_printed", "default")]
        [100, 20]
        """
        return [name for name, run in self.runs.items() if run.model not in WITHOUT_NETWORK]

    @model_validator(mode="after")
    def _members(self) -> "Downscaling":
        if self.last < self.first:
            raise ValueError(f"last day {self.last} is before the first day, {self.first}")
        if (self.data == "own") != bool(self.tables):
            raise ValueError("'data: own' and 'tables' go together: give both or neither")
        for name, members in self.ensembles.items():
            for member in members:
                if member not in self.runs:
                    raise ValueError(f"ensembles.{name}: unknown run '{member}'{nearest(member, list(self.runs))}")
        networks = self.networks()
        mapped = (self.place.run,) if self.place else ()
        for key, named in (("explained", self.explained), ("maps", self.maps), ("place.run", mapped)):
            for name in named:
                if name not in networks:
                    raise ValueError(f"{key}: unknown network '{name}'{nearest(name, networks)}")
        known = [*self.runs, *self.ensembles]
        if self.shown is not None and self.shown not in known:
            raise ValueError(f"shown: unknown run '{self.shown}'{nearest(self.shown, known)}")
        return self


def load_downscaling(name: str) -> Downscaling:
    """Read an experiment file of downscaling, or one of the built-in ones by its name; errors as `load_experiment`.

    Examples
    --------
    >>> load_downscaling("downscale-stations").scenarios.on_site.training_years
    3
    """
    return load(name, [Downscaling])


def load_study(name: str) -> Experiment | Downscaling:
    """Read an experiment of either kind, as its ``kind`` says; errors as `load_experiment`.

    Examples
    --------
    >>> load_study("downscale-transfer").kind, load_study("india").kind
    ('downscaling', 'forecasting')
    """
    kinds: list[type[Experiment] | type[Downscaling]] = [Experiment, Downscaling]
    return load(name, kinds)


def quick_downscaling(experiment: Downscaling) -> Downscaling:
    """The same experiment with a few steps of everything: it shows that all runs, not how well.

    Examples
    --------
    >>> quick_downscaling(load_downscaling("downscale-stations")).runs["mmnet"].fitting.epochs
    1
    """
    runs = {}
    for name, run in experiment.runs.items():
        fitting = replace(run.fitting, epochs=1, rows_per_epoch=4096, seeds=run.fitting.seeds[:1])
        hyper = run.hyper | ({"iterations": 5} if run.model == "trees" else {})
        runs[name] = run.model_copy(update={"fitting": fitting, "hyper": hyper, "limit": 4096})
    return experiment.model_copy(update={"runs": runs})
