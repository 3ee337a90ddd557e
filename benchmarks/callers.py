"""Callers that ask without a pause, in a process of their own, and what they got.

    python -m benchmarks.callers

reads one Load as JSON from standard input and writes one Answered to standard output.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.questions import Caller, Question
from benchmarks.timing import Times

_REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Load:
    """A closed loop: each caller asks on a connection of its own, and asks again once it is answered.

    warm_up, seconds: what is answered in the first is not counted, what is answered in the second is
    """

    question: Question
    callers: int
    warm_up: float
    seconds: float

    def to_json(self) -> str:
        """Return this load as one line of JSON."""
        question = {**asdict(self.question), "body": base64.b64encode(self.question.body).decode()}
        return json.dumps({**asdict(self), "question": question})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the load that `to_json` wrote."""
        fields: Mapping[str, Any] = json.loads(line)
        question = Question(**{**fields["question"], "body": base64.b64decode(fields["question"]["body"])})
        return cls(question, fields["callers"], fields["warm_up"], fields["seconds"])


@dataclass(frozen=True)
class Answered:
    """What a load came to: each counted request's seconds, and the processor seconds of the callers themselves."""

    latencies: list[float]
    seconds: float
    callers_cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    @property
    def times(self) -> Times:
        """What a caller waited for an answer."""
        return Times.of(self.latencies)


def call(load: Load) -> Answered:
    """Run a load in a process of its own. Raises RuntimeError if any request failed."""
    finished = subprocess.run(  # this very module
        [sys.executable, "-m", "benchmarks.callers"],
        input=load.to_json(),
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"The callers failed: {finished.stderr.strip()[-1000:]}")
    return Answered(**json.loads(finished.stdout))


def run(load: Load) -> Answered:
    """Run a load in threads of this process. Raises RuntimeError if any request failed."""
    begun = time.perf_counter() + load.warm_up
    over = begun + load.seconds
    latencies: list[list[float]] = [[] for _ in range(load.callers)]
    failures: list[Exception] = []

    def ask_again_and_again(taken: list[float]) -> None:
        try:
            with Caller(load.question.port) as caller:
                while not failures:
                    seconds = caller.time(load.question)
                    answered = time.perf_counter()
                    if answered > over:
                        return
                    if answered > begun:
                        taken.append(seconds)
        except Exception as error:  # noqa: BLE001  # whatever it is, the run is worth nothing
            failures.append(error)

    threads = [threading.Thread(target=ask_again_and_again, args=(taken,)) for taken in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{type(failures[0]).__name__}: {failures[0]}")
    used = os.times()
    return Answered([seconds for taken in latencies for seconds in taken], load.seconds, used.user + used.system)


if __name__ == "__main__":
    print(json.dumps(asdict(run(Load.from_json(sys.stdin.read())))))
