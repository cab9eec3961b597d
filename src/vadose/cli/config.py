"""Commands on configuration files: what one may hold, as a JSON schema, and what one holds once read."""

import json
from importlib import import_module
from typing import Annotated, Any

import typer

from vadose.cli.terminal import app, say
from vadose.errors import VadoseError, nearest

config = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Configuration files: schema and content.")
app.add_typer(config, name="config")
KINDS = {
    "experiment": "vadose.experiments.forecasting:Experiment",
    "downscaling": "vadose.experiments.downscaling:Downscaling",
    "recipe": "vadose.experiments.cube:CubeConfig",
    "daily": "vadose.experiments.service:Daily",
    "search": "vadose.experiments.space:Space",
}
"""Kind of file -> what it is read as."""


@config.command()
def schema(kind: Annotated[str, typer.Argument(help=f"Kind of file: {', '.join(KINDS)}.")]) -> None:
    """Print the JSON schema of a kind of YAML file, by which editors complete and check it.

    Example: `vadose config schema experiment > experiment.schema.json`
    """
    if kind not in KINDS:
        raise VadoseError(f"kind of file {kind!r} unknown{nearest(kind, KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    model: Any = getattr(import_module(module), name)
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema()
    if kind == "recipe":  # a file names a product once, as the key; its variables may be a list
        source, names = found["$defs"]["Source"], {"type": "array", "items": {"type": "string"}}
        source["properties"]["variables"] = {"anyOf": [source["properties"]["variables"], names]}
        # None leaves out a product of the file that this one is like.
        found["$defs"]["Source"] = source | {"required": [], "type": ["object", "null"]}
        found["properties"]["last"] = {"anyOf": [found["properties"]["last"], {"const": "today"}]}
    # Of every file: parts that it uses in several places, and the file whose keys it takes over.
    found |= {
        "patternProperties": {r"^\.": {}},
        "anyOf": [{"required": found.pop("required", [])}, {"required": ["like"]}],
    }
    found["properties"]["like"] = {"type": "string"}
    say(json.dumps(found, indent=1))


@config.command()
def show(
    name: Annotated[str, typer.Argument(help="Experiment, or with --recipe a recipe: a YAML file or a built-in name.")],
    profile: Annotated[str | None, typer.Option(help="Settings of the file to apply. [default: its default]")] = None,
    recipe: Annotated[bool, typer.Option("--recipe", help="Show a recipe of a cube.")] = False,
) -> None:
    """Print an experiment or recipe with every setting that it leaves open, as YAML that can be run.

    Example: `vadose config show conus > mine.yaml`
    """
    import yaml

    if recipe:
        from vadose.experiments.cube import CubeConfig
        from vadose.experiments.section import load

        values = load(name, [CubeConfig], "cubes").model_dump(mode="json")
    else:
        from vadose.experiments.downscaling import load_study

        values = load_study(name).with_profile(profile).model_dump(mode="json", exclude={"profiles"})
    say(yaml.safe_dump(values, sort_keys=False).rstrip())
