"""``python -m vadose``, and ``torchrun -m vadose``: the command line."""

from vadose.cli import main

main()
