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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zeropoint.graph import Graph, Node
    from zeropoint.session import Inputs, Session

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
    #: Numbers are shown times this.
    scale: float = 1
    #: Left out where no row has anything in it.
    optional: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.key)
        if value is None:
            return "-"
        if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value * self.scale, self.spec)
        return str(value)


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Prints ``rows`` on standard output."""
    columns, cells = layout(columns, rows)
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            _rich_table(columns, cells, title)
            return
    if title:
        print(title)
    for line in plain_table(columns, cells):
        print(line)


def layout(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[Column], list[list[str]]]:
    """The columns that have something to show, and the text of their cells."""
    shown = [c for c in columns if not c.optional or any(row.get(c.key) for row in rows)]
    return shown, [[column.text(row) for column in shown] for row in rows]


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
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
    )
    for column in columns:
        drawn.add_column(
            column.heading, justify="right" if column.right else "left", overflow="fold"
        )
    for line in cells:
        # Text: a node's name may have square brackets, which are no markup here.
        drawn.add_row(*(Text(text) for text in line))
    Console().print(drawn)


@dataclass(frozen=True)
class Explanation:
    """What each node of a model runs on; printed, it is a table.

    Attributes:
        run_ms: median time of a whole run, in milliseconds.
        threads: threads in use.
        isa: the ISA level in force.
        nodes: a row a node, in execution order: ``node``, ``op``, ``precision``, ``kernel`` and
            its ``isa`` ("" where data is only moved), ``time_ms`` (median), ``share`` (of the sum
            of all nodes' times), ``gmacs`` (billions of multiply-accumulates),
            ``share_of_ceiling`` (None without multiply-accumulates; see :mod:`zeropoint.bench`),
            ``output_shape``, and ``reason``: why the node stays in float32, "" otherwise.
    """

    run_ms: float
    threads: int
    isa: str
    nodes: list[dict[str, Any]]

    COLUMNS = (
        Column("node", "node"),
        Column("op", "op"),
        Column("precision", "precision"),
        Column("kernel", "kernel"),
        Column("isa", "isa"),
        Column("time_ms", "us", ".1f", right=True, scale=1e3),
        Column("share", "share", ".1%", right=True),
        Column("share_of_ceiling", "of ceiling", ".1%", right=True),
        Column("reason", "why float", optional=True),
    )

    @property
    def title(self) -> str:
        return f"{self.run_ms:.4f} ms a run, {self.threads} thread(s), ISA level {self.isa}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "run_ms": self.run_ms,
            "threads": self.threads,
            "isa": self.isa,
            "nodes": self.nodes,
        }

    def print(self) -> None:
        table(self.COLUMNS, self.nodes, self.title)

    def __str__(self) -> str:
        return "\n".join([self.title, *plain_table(*layout(self.COLUMNS, self.nodes))])


def explain(session: Session, inputs: Inputs | None = None, *, repeats: int = 20) -> Explanation:
    """Times each node of a session, beside the ceilings of the machine.

    Args:
        session: what is explained.
        inputs: as for ``session.run``; by default random ones, free dimensions being 1.
        repeats: runs to take the medians of.

    Raises:
        InputError: as ``session.run``.
    """
    from zeropoint.bench import measure_ceilings, random_inputs

    if inputs is None:
        inputs = random_inputs(session.inputs)
    elif not isinstance(inputs, Mapping):
        inputs = {info.name: inputs for info in session.inputs[:1]}
    profile = session.profile(inputs, repeats)
    rows = session.nodes({name: array.shape for name, array in inputs.items()})
    ceilings = measure_ceilings(session)
    total = sum(profile.nodes)
    nodes = []
    for row, seconds in zip(rows, profile.nodes, strict=True):
        least = ceilings.seconds([row])
        nodes.append(
            {
                "node": row["name"],
                "op": row["op"],
                "precision": row["precision"],
                "kernel": row["kernel"],
                "isa": row["isa"],
                "time_ms": seconds * 1e3,
                "share": seconds / total if total else 0.0,
                "gmacs": row["macs"] / 1e9,
                "share_of_ceiling": least / seconds if least and seconds else None,
                "output_shape": list(row["output_shape"]),
                "reason": row["reason"],
            }
        )
    return Explanation(profile.run * 1e3, session.threads, session.isa, nodes)


def precision(graph: Graph, node: Node) -> str:
    """What a node computes in: the dtype of its first activation, as in :class:`Explanation`."""
    values = [graph.value(name) for name in (*node.inputs, *node.outputs) if name]
    return next(value.dtype for value in values if not value.is_constant)


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
