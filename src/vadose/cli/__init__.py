"""The command line: one sub-command for each step of the pipeline."""

import os
import sys
from typing import NoReturn

# Importing a module of commands registers them.
from vadose.cli import config, daily, data, downscaling, exporting, forecasting, outlook, studies, viewing  # noqa: F401
from vadose.cli.faults import ended_with
from vadose.cli.terminal import app


def main() -> NoReturn:
    """Run the command line; errors are one line, exit code 2 (call, data, machine) or 70 (vadose)."""
    # Spinning threads slow each other down on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Exception as error:
        sys.exit(ended_with(error))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would flush again at exit and report the error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
