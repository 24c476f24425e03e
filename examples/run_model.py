"""Run a quantized model from Python, from several threads at once.

    pip install zeropoint
    python examples/run_model.py model.gguf

A session is shared by all threads: weights are in memory once, and ``run`` releases the GIL.
"""

from __future__ import annotations

import argparse
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import zeropoint as zp


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a quantized model on random inputs.")
    parser.add_argument("model", help=".gguf file")
    parser.add_argument("--callers", type=int, default=2, help="Python threads that call run()")
    options = parser.parse_args()

    session = zp.Session(options.model)
    generator = np.random.default_rng(0)
    inputs = {
        value.name: generator.standard_normal([d or 1 for d in value.shape], dtype=np.float32)
        for value in session.inputs
    }
    with ThreadPoolExecutor(options.callers) as pool:
        results = list(pool.map(session.run, [inputs] * options.callers))

    for name, value in results[0].items():
        # The same bytes in each thread, and on each machine.
        assert all(np.array_equal(value, other[name]) for other in results)
        digest = hashlib.sha256(value.tobytes()).hexdigest()[:16]
        print(f"{name}: {value.dtype} {list(value.shape)}, sha256 {digest}...")


if __name__ == "__main__":
    main()
