"""Child processes that time one engine each, on request.

A process of its own gives every engine its own thread pool, allocator and environment; the parent
asks them in turn for slices of time (round-robin), so that a slow spell of the machine falls on all
of them. A child that is not asked sleeps.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

WARM_UP_SECONDS = 0.3
SLICE_SECONDS = 0.15


#: "cpu" is what all threads of the engine's process have used together.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def time_slice(run: Callable[[], object], seconds: float, clock: str) -> float:
    """Milliseconds per run over a slice of at least ``seconds``, after an untimed run."""
    now = CLOCKS[clock]
    run()
    count, start = 0, now()
    while (elapsed := now() - start) < seconds or count == 0:
        run()
        count += 1
    return elapsed / count * 1e3


class WorkerError(Exception):
    """The engine cannot run this; the message says why."""


class Worker:
    """A process that has called ``module.prepare(**arguments)`` and times what it returned.

    Args:
        module: the name of a module beside this file, or on the path.
        arguments: what its prepare() takes, as far as JSON can say it.
        environment: variables to set for the process.
        clock: "wall" or "cpu".

    Raises:
        WorkerError: prepare() or the first run failed.
    """

    def __init__(
        self,
        module: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        clock: str = "wall",
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, module, json.dumps(arguments), clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            self.milliseconds(WARM_UP_SECONDS)
        except WorkerError:
            self.close()
            raise

    def milliseconds(self, seconds: float = SLICE_SECONDS) -> float:
        """Milliseconds per run, over a slice of at least ``seconds``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(seconds, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: object = json.loads(line) if line else f"exit status {self._process.wait()}"
        if not isinstance(answer, float):
            raise WorkerError(str(answer))
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def round_robin(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per run: for each engine one figure a round."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(worker.milliseconds())
    return times


def _serve(module: str, arguments: dict[str, Any], clock: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not disturb the answers
    try:
        run = importlib.import_module(module).prepare(**arguments)
        run()
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        print(json.dumps(message.splitlines()[0]), file=answers, flush=True)
        return
    for line in sys.stdin:
        print(json.dumps(time_slice(run, float(line), clock)), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
