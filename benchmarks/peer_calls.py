"""Libraries that are called, not served: a script in the peer's own environment, asked line by line."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.processes import ProcessFailed

_SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Call:
    """How long a peer's call took, and the phrase that it found the likeliest."""

    seconds: float
    best: str


class PeerCalls:
    """A peer's script, which loads its model once and then answers one question after the other."""

    def __init__(self, python: str, script: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path):
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # a script of this package
                [python, str(_SCRIPTS / script), *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, image: Path, phrases: Sequence[str]) -> Call:
        """Return what one call took. Raises ProcessFailed if the script has ended."""
        question = json.dumps({"image": str(image), "phrases": list(phrases)})
        try:
            answer = self._asked(question)
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise ProcessFailed(f"ended: {self._log.read_text(errors='replace').strip()[-500:]}")
        return Call(**json.loads(answer))

    def _asked(self, line: str) -> str:
        """Return the line that the script answers with; an empty one if it has ended."""
        streams = self._process.stdin, self._process.stdout
        if not streams[0] or not streams[1]:
            raise TypeError("the script's streams are no pipes")
        print(line, file=streams[0], flush=True)
        return streams[1].readline()
