"""What people and programs read: tables, JSON, progress.

Tables are drawn by rich where it is installed and standard output is a terminal, as aligned plain
text otherwise. Progress goes to standard error, and only to a terminal.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Column:
    """A table's column: ``key`` in the row, its heading, and how a number is written."""

    key: str
    heading: str
    #: A format specification for numbers, e.g. ".2f"; "" writes the value as it is.
    spec: str = ""
    #: Numbers are aligned to the right.
    right: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.key)
        if value is None:
            return "-"
        if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.spec)
        return str(value)


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Prints ``rows`` on standard output."""
    cells = [[column.text(row) for column in columns] for row in rows]
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            _rich_table(columns, cells, title)
            return
    if title:
        print(title)
    for line in plain_table(columns, cells):
        print(line)


def plain_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a plain-text table: columns padded to their widest cell."""
    headings = [column.heading for column in columns]
    widths = [max(len(line[i]) for line in (headings, *cells)) for i in range(len(columns))]
    lines = [headings, ["-" * width for width in widths], *cells]
    return [
        "  ".join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]


def _rich_table(columns: Sequence[Column], cells: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(
            column.heading, justify="right" if column.right else "left", overflow="fold"
        )
    for line in cells:
        # Text: a node's name may have square brackets, which are no markup here.
        drawn.add_row(*(Text(text) for text in line))
    Console().print(drawn)


def print_json(payload: Mapping[str, Any]) -> None:
    """Prints one JSON object. NaN and infinity, which JSON lacks, must not occur in it."""
    print(json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False))


#: Tells how many steps of a known or unknown total are done.
Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """A progress bar on standard error; silent where that is no terminal or rich is missing.

    Yields a function to call with the number of steps done since its last call.
    """
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )
        except ImportError:
            pass
        else:
            bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            with bar:
                task = bar.add_task(description, total=total)
                yield lambda steps: bar.advance(task, steps)
            return
    yield lambda steps: None


def bytes_text(size: int) -> str:
    """``12,345 bytes`` below ten thousand, KiB and MiB above."""
    if size < 10_000:
        return f"{size:,} bytes"
    if size < 10_000_000:
        return f"{size / 1024:,.1f} KiB"
    return f"{size / 1024**2:,.1f} MiB"


def shape_text(shape: Sequence[int | None] | None) -> str:
    """``[?, 3, 224, 224]``; ``?`` alone where the rank is unknown."""
    if shape is None:
        return "?"
    return "[" + ", ".join("?" if d is None or d < 0 else str(d) for d in shape) + "]"
