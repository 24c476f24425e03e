"""The command line: ``zeropoint <command>``, one module of :mod:`zeropoint.commands` each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from zeropoint.commands import COMMANDS
from zeropoint.errors import Error

#: Exit codes.
FAILED, USAGE, INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see '{self.prog} --help')")
        raise SystemExit(USAGE)


class _Version(argparse.Action):
    """Reads the version when it is asked for: parsing need not load the engine."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        import zeropoint

        print(f"zeropoint {zeropoint.__version__}")
        raise SystemExit(0)


def _complain(message: str) -> None:
    # Messages that list several nodes have a line for each.
    lines = [line.rstrip() for line in message.splitlines() if line.strip()]
    print("zeropoint: error: " + "\n".join(lines), file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="zeropoint",
        description="int8 neural-network inference for CPUs: the same bytes on every machine.",
        epilog="'zeropoint COMMAND --help' tells a command's options.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else"
        )
        sub.set_defaults(execute=command.execute)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, 1 when the command failed, 2 for wrong usage, 130 when interrupted.
    """
    try:
        options = make_parser().parse_args(arguments)
        options.execute(options)
        sys.stdout.flush()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else USAGE
    except BrokenPipeError:
        # The reader of our output has left. What is still buffered must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Error as e:
        _complain(str(e))
        return FAILED
    except OSError as e:
        _complain(str(e))
        return FAILED
    except MemoryError as e:
        _complain(f"out of memory: {e}" if str(e) else "out of memory")
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    return 0
