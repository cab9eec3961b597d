"""What experiment files of every kind share: sections that refuse unknown keys, periods, and how files are read."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from vadose.door.days import Period
from vadose.errors import VadoseError, nearest
from vadose.parallel.running import Running


class Section(BaseModel):
    """Of a file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(Section):
    """Size of a grid, or number of stations in one column, and its cells with data (all when left out)."""

    rows: int = Field(ge=1)
    columns: int = Field(1, ge=1)
    cells: int | None = Field(None, ge=1)

    @property
    def known(self) -> int:
        """Cells with data."""
        return self.cells or self.rows * self.columns


class ExperimentFile(Section):
    """A whole experiment file.

    ``profiles`` are other settings by name, chosen with `with_profile`: keys of the file, merged as those of ``like``
    are, and ``networks``, keys of every run that is a network. ``size`` is that of the published data, for an estimate
    of what a study takes before they are there. ``replicates`` is a key of earlier versions, the
    bootstrap replicates of intervals that are drawn otherwise now. Any number is taken and does nothing.
    """

    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    size: Size | None = None
    replicates: float | None = Field(None, exclude=True)
    _running: Running = PrivateAttr(default=Running())

    @property
    def running(self) -> Running:
        """How networks forecast; how they are trained stands in the runs."""
        return self._running

    def run_as(self, running: Running) -> Self:
        """The same with networks trained and forecasting as is said; what is left open in training is the file's."""
        runs = {name: run.run_as(running) for name, run in self.runs.items()}  # type: ignore[attr-defined]
        found = self.model_copy(update={"runs": runs})
        found._running = running
        return found

    def networks(self) -> list[str]:
        """Names of the runs that are networks."""
        raise NotImplementedError

    def with_profile(self, name: str | None = None) -> Self:
        """The same with the settings of a profile: 'default' when None, the file's own where it has no such.

        Raises
        ------
        VadoseError
            For a name that is none of the file's profiles.
        """
        if name is not None and name not in self.profiles:
            raise VadoseError(f"unknown profile '{name}'{nearest(name, list(self.profiles))}")
        if not (settings := dict(self.profiles.get(name or "default", {}))):
            return self
        runs = dict.fromkeys(self.networks(), settings.pop("networks", {}))
        values = _instead(_instead(self.model_dump(exclude={"profiles"}), {"runs": runs}), settings)
        found = type(self).model_validate(values)
        found._running = self._running
        return found

    @model_validator(mode="after")
    def _profiles_fit(self) -> Self:
        for name in self.profiles:
            try:
                self.with_profile(name)
            except ValidationError as error:
                raise ValueError(f"profile {name}: {_told(error.errors()[0], type(self))}") from error
        return self


def _in_order(period: Period) -> Period:
    if period.last < period.first:
        raise ValueError(f"last day {period.last} is before the first day, {period.first}")
    return period


Days = Annotated[Period, AfterValidator(_in_order)]
"""A period of a file, its first and last valid day."""


def built_in(folder: str = "", kind: str = "") -> list[str]:
    """Names of the experiments that come with the package, of one kind or all, or with ``folder='cubes'`` of cubes."""
    place = files("vadose.experiments.configs").joinpath(folder)
    named = {p.name.removesuffix(".yaml"): p.read_text() for p in place.iterdir() if p.name.endswith(".yaml")}
    return sorted(name for name, text in named.items() if f"\nkind: {kind}" in text)


def check_arguments(
    call: Callable[..., object], given: Mapping[str, object], beside: Collection[str], what: str
) -> None:
    """Check names and types of arguments from a file against the signature of what takes them.

    Raises
    ------
    ValueError
        For a name that is unknown, or stands ``beside`` because others give it, and a value of another type.
    """
    taken = call.func if isinstance(call, partial) else call
    types = get_type_hints(taken.__init__ if isinstance(taken, type) else taken)  # type: ignore[misc]
    known = [name for name in inspect.signature(taken).parameters if name not in beside]
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"unknown key 'hyper.{key}' of {what}{nearest(key, known)}")
        try:
            TypeAdapter(types.get(key, Any)).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"'hyper.{key}' of {what} is {value!r}: {error.errors()[0]['msg']}") from error


def check_model(name: str, known: list[str]) -> None:
    """Check that a model is known, and that one of a user's own is what models have to be.

    Raises
    ------
    ValueError
        When it is not.
    """
    from vadose.models import MODELS
    from vadose.models.contract import Forecaster, lacking

    if name not in known and (missing := lacking(MODELS.get(name, Forecaster))):
        raise ValueError(
            f"model '{name}': {getattr(MODELS[name], '__name__', MODELS[name])} lacks {', '.join(missing)}; derive it "
            "from vadose.models.contract.Forecaster and write forward(inputs), and fit or fit_normalisation(batches)"
        )
    if name not in known:
        raise ValueError(f"unknown model '{name}'{nearest(name, known)}")


Config = TypeVar("Config", bound=BaseModel)


def load(name: str, models: Sequence[type[Config]], folder: str = "") -> Config:
    """Read a file, or one of the built-in ones of a folder by its name, as the model that its ``kind`` names.

    A file that says no kind is of the first one.

    Raises
    ------
    VadoseError
        When there is none, it is no YAML, of another kind, or a key or value in it is wrong; the message names the
        file, the key and the nearest key there is.
    """
    kinds = {str(model.model_fields["kind"].default): model for model in models}
    model = models[0]
    try:
        values = _values(name, folder)
        kind = values.get("kind", next(iter(kinds))) if isinstance(values, dict) else next(iter(kinds))
        if kind not in kinds:
            raise VadoseError(f"{name}: its kind is {kind!r}, expected {' or '.join(kinds)}")
        model = kinds[kind]
        return model.model_validate(values)
    except (OSError, UnicodeDecodeError) as error:
        raise VadoseError(f"{name}: cannot be read as text ({error})") from error
    except yaml.YAMLError as error:
        raise VadoseError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        unsaid = f" (read as {next(iter(kinds))}, for it names no 'kind'; there are {' and '.join(kinds)})"
        more = unsaid if len(kinds) > 1 and isinstance(values, dict) and "kind" not in values else ""
        raise VadoseError("\n".join(f"{name}: {_told(e, model)}{more}" for e in error.errors())) from error


def top_key(name: str, key: str) -> str:
    """Text of a top-level key of an experiment file, '' without one: all else is left unread and unchecked."""
    found = re.search(rf"^{key}: *([^\s#]+)", _text(Path(name), name, ""), re.MULTILINE)
    return found[1] if found else ""


class _Loader(yaml.SafeLoader):
    """YAML whose keys stand once: of two the first would be lost without a word. Days stay text."""

    def compose_mapping_node(self, anchor: dict[object, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for number, key in enumerate(keys):
            if key.value in [other.value for other in keys[:number]]:
                raise yaml.MarkedYAMLError(None, None, f"key '{key.value}' stands twice", key.start_mark)
        return node


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
    for letter, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _text(path: Path, name: str, folder: str) -> str:
    if not path.suffix and name in built_in(folder):
        return files("vadose.experiments.configs").joinpath(folder, f"{name}.yaml").read_text()
    if path.is_file():
        return path.read_text("utf-8")
    raise VadoseError(f"{name}: no such file, nor one of the built-in {built_in(folder)}")


def _values(name: str, folder: str, above: tuple[str, ...] = ()) -> object:
    """What a file says; with a key ``like``, the file of that name with what this one says instead."""
    values = _without_shared(yaml.load(_text(Path(name), name, folder), _Loader))
    if not isinstance(values, dict) or not (base := values.pop("like", None)):
        return values
    if base in (*above, name):
        raise VadoseError(f"{name}: is like {base}, which is like it")
    return _instead(_values(str(base), folder, (*above, name)), values)


def _instead(base: object, values: object) -> object:
    """Tables merged key by key: null takes a key away, as in RFC 7396."""
    if not (isinstance(base, dict) and isinstance(values, dict)):
        return values
    merged = base | {key: _instead(base.get(key), value) for key, value in values.items()}
    return {key: value for key, value in merged.items() if key not in values or value is not None}


def _without_shared(values: object) -> object:
    """Leave out the top-level keys that begin with a point: they hold YAML anchors only."""
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if not str(key).startswith(".")}


def _told(error: ErrorDetails, top: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key '{place}'{nearest(str(error['loc'][-1]), _keys_at(error['loc'][:-1], top))}"
    if error["type"] == "missing":
        return f"key '{place}' is missing"
    if error["type"] == "predicate_failed":
        return f"{place}: {error['input']!r} is no day; expected one such as 2019-07-31"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _keys_at(place: tuple[int | str, ...], top: type[BaseModel]) -> list[str]:
    """Keys allowed at a place of a file."""
    kind: Any = top
    for part in place:
        keys = _keys(kind)
        kind = keys[str(part)] if keys else get_args(kind)[-1 if not isinstance(part, int) else 0]
    return list(_keys(kind))


def _keys(kind: object) -> dict[str, object]:
    """Keys of a section with their types, alone or as one of several; none where it is a table of sections."""
    for one in (kind, *(get_args(kind) if get_origin(kind) in (Union, UnionType) else ())):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return {name: field.annotation for name, field in one.model_fields.items()}
        if is_dataclass(one):
            return {field.name: field.type for field in fields(one)}
    return {}
