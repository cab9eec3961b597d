"""The command line: one sub-command for each step of the road."""

import os
import sys
from typing import NoReturn

import typer

# Importing a module of commands registers them.
from vadose.cli import data, downscaling, forecasting  # noqa: F401
from vadose.cli.terminal import app
from vadose.errors import VadoseError


def main() -> NoReturn:
    """Run the command line; a problem a user can mend is one message and exit code 2."""
    # Threads that spin while they wait slow each other down where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except VadoseError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    sys.exit(0)
