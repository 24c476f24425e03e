"""The commands of the command line, in the order in which ``--help`` lists them.

A command is a module with ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``execute(options)``;
its docstring is its description. ``--json`` is added to each. Heavy imports belong in functions, so
that ``--help`` and errors of usage stay quick.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from zeropoint.commands import bench, compare, cpu, demo, explain, export, inspect, quantize, run


class Command(Protocol):
    NAME: str
    HELP: str

    @property
    def __doc__(self) -> str | None: ...  # type: ignore[override]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def execute(self, options: argparse.Namespace) -> None: ...


COMMANDS = (demo, quantize, run, bench, explain, compare, inspect, export, cpu)
