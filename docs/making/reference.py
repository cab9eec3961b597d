"""Pages of reference, made from the command tree, the products, the models and the public names."""

import importlib
import inspect
import json
import re
from typing import Any

import typer

import vadose as vd

MODULES = {
    "vadose.models.contract": "what a model of one's own has to be",
    "vadose.features.derived": "features and how they are made",
    "vadose.features.optical": "indices of reflectance",
    "vadose.features.radar": "features of backscatter",
    "vadose.features.rain": "sums of rain",
    "vadose.features.bucket": "a bucket of water",
    "vadose.features.classes": "classes of texture and land cover",
    "vadose.evaluation.metrics": "scores from moments",
    "vadose.errors": "what is raised",
}
"""Modules described beside the public names."""


def commands() -> str:
    """Each command: its help, arguments and options."""
    from vadose.cli import app

    group = typer.main.get_command(app)
    return "\n\n".join(_commands(group, "vadose", 2))


def products() -> str:
    """Each product: what its `Product` says, and its reader."""
    return "\n\n".join(_product(name, product) for name, product in vd.PRODUCTS.items())


def functions() -> str:
    """Public names that are functions or classes."""
    kinds = {name: getattr(vd, name) for name in vd.__all__}
    return "\n\n".join(
        _rst(f"{'autoclass' if inspect.isclass(kind) else 'autofunction'}:: vadose.{name}")
        for name, kind in kinds.items()
        if callable(kind)
    )


def modules() -> str:
    """Documented modules and all they define."""
    return "\n\n".join(f"### `{name}`: {about}\n\n{_rst(f'automodule:: {name}')}" for name, about in MODULES.items())


def models() -> str:
    """Each model of `MODELS`: kind, arguments and what it is."""
    return "\n\n".join(
        f"## `{name}`\n\n- learns: {str(getattr(kind, 'learns', 'steps')).replace('_', ' ')}\n"
        f"- takes: {'maps of a cube' if kind.names.__name__ == 'Channels' else 'days of stations or pixels'}\n\n"
        + _rst(f"autoclass:: {kind.__module__}.{kind.__qualname__}", "   :no-members:")
        for name, kind in vd.MODELS.items()
    )


def metrics() -> str:
    """Names of `METRICS`."""
    return ", ".join(f"`{name}`" for name in vd.METRICS)


def outlooks() -> str:
    """Cards of the packaged weights, as their files hold them."""
    from safetensors import safe_open

    from vadose.predict.outlook.moisture import PACKAGED

    cards = []
    for path in sorted(PACKAGED.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            noted = {key: _readable(value) for key, value in (file.metadata() or {}).items()}
        text = json.dumps(noted, indent=2, ensure_ascii=False)
        cards.append(f"### `{path.name}` ({path.stat().st_size / 1e6:.1f} MB)\n\n```json\n{text}\n```")
    return "\n\n".join(cards)


def _readable(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _commands(group: Any, path: str, level: int) -> list[str]:
    found = []
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        found.append(f"{'#' * level} {path} {name}\n\n{_plain(command.help)}")
        if hasattr(command, "commands"):
            found += _commands(command, f"{path} {name}", level + 1)
            continue
        usage = " ".join(command.collect_usage_pieces(typer.Context(command)))
        found.append(f"```text\n{path} {name} {usage}\n```")
        if rows := [_parameter(one) for one in command.params if one.name != "help"]:
            found.append("\n".join(["| argument or option | default | meaning |", "|---|---|---|", *rows]))
    return found


def _parameter(one: Any) -> str:
    default = "" if one.default is None or callable(one.default) or one.required else f"`{one.default}`"
    if isinstance(one.default, bool):
        default = "yes" if one.default else "no"
    names = [f"`{name}`" for name in (*one.opts, *one.secondary_opts)]
    if one.param_type_name == "argument":
        names = [f"`{one.name.upper()}`"]
    several = " (repeatable)" if one.multiple or one.nargs == -1 else ""
    help_text = " ".join(_plain(getattr(one, "help", "") or "").split()).replace("|", "\\|")
    return f"| {', '.join(names)}{several} | {default} | {help_text}{' **needed**' if one.required else ''} |"


def _plain(text: str | None) -> str:
    """Help without the marks of click's own formatting; `<` and `*` as they are."""
    return re.sub(r"<(?=\w)", r"\\<", inspect.cleandoc(text or "").replace("\b", ""))


def _product(name: str, product: Any) -> str:
    lines = [
        ("kind", product.kind + (", does not change with the days" if product.fixed else "")),
        ("published at", re.sub(r"^10\..*", r"[doi:\g<0>](https://doi.org/\g<0>)", product.doi)),
        ("file names", "" if product.file_name.pattern == "(?!)" else f"`{product.file_name.pattern}`"),
        ("can be had after", product.latency),
        ("fetched from", ", ".join(f"`{source}`" for source in product.sources)),
        ("fetched one by one", ", ".join(f"`{ours}` ({theirs})" for ours, theirs in product.published.items())),
        ("features at stations", _features(product.stations)),
        ("simulated", "yes" if product.twin else "no"),
    ]
    listed = "\n".join(f"- {what}: {text}" for what, text in lines if text)
    reader = product.read
    described = ""
    if inspect.isfunction(reader):
        described = _rst(f"autofunction:: {reader.__module__}.{reader.__qualname__}", "   :no-index:")
    return f"## {product.title}\n\n`{name}`\n\n{listed}\n\n{described}"


def _features(stations: Any) -> str:
    return "" if stations is None else ", ".join(f"`{name}`" for name in stations.features)


def _rst(directive: str, *options: str) -> str:
    module = directive.split(":: ")[1].rpartition(".")[0]
    importlib.import_module(module)
    return "\n".join(["```{eval-rst}", f".. {directive}", *options, "```"])
