"""Run a model on the samples of an .npz file and write its outputs to another.

The input file has one array per graph input, samples along the first axis; the output file gets
one array per graph output. Without --batch the samples run at once where the model's first
dimension is free.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from zeropoint import report
from zeropoint.commands import common
from zeropoint.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

NAME = "run"
HELP = "run a model on samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    common.add_model(parser)
    parser.add_argument("--input", required=True, metavar="X.npz", help="the samples")
    parser.add_argument("-o", "--output", required=True, metavar="Y.npz", help="where outputs go")
    parser.add_argument(
        "--batch", type=common.positive, metavar="N", help="run at most N samples at a time"
    )
    common.add_engine(parser)
    common.add_cache(parser)


def execute(options: argparse.Namespace) -> None:
    import numpy as np

    from zeropoint.npz import NpzBatches, save_npz

    common.require_writable(options.output, options.model, options.input)
    session = common.open_session(options)
    samples = NpzBatches(options.input, session.inputs, options.batch)

    parts: dict[str, list[npt.NDArray[Any]]] = {}
    seconds = 0.0
    with report.progress("running", samples.samples) as advance:
        for batch in samples:
            count = len(next(iter(batch.values())))
            began = time.perf_counter()
            outputs = session.run(batch)
            seconds += time.perf_counter() - began
            for name, value in outputs.items():
                if len(samples) > 1 and (value.ndim == 0 or len(value) != count):
                    raise InputError(
                        f"{options.model}: output '{name}' has shape {list(value.shape)} for "
                        f"{count} samples, so batches cannot be joined along its first axis; "
                        "give all samples as one batch, or run this model from Python"
                    )
                parts.setdefault(name, []).append(value)
            advance(count)
    joined = {name: np.concatenate(p) if len(p) > 1 else p[0] for name, p in parts.items()}
    save_npz(options.output, joined)

    summary = {
        "output": options.output,
        "samples": samples.samples,
        "seconds": seconds,
        "outputs": {n: {"dtype": str(v.dtype), "shape": v.shape} for n, v in joined.items()},
    }
    if options.json:
        report.print_json(summary)
        return
    for name, value in joined.items():
        print(f"{name}: {value.dtype} {report.shape_text(value.shape)}")
    print(f"{samples.samples} samples in {seconds * 1e3:.2f} ms, written to {options.output}")
