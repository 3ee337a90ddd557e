"""Measure Gaze and its peers on this machine, in one go.

    python -m benchmarks

writes results.md and results.json into the folder, and prints the former, which it also writes into
docs/performance.md where all was measured. It takes half an hour on two cores, and some ten minutes more the first
time. Nothing else should run on the machine meanwhile.
"""

import argparse
import datetime
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from benchmarks import compared, floor, growth, memory, start, throughput
from benchmarks.environments import NotInstalled
from benchmarks.machine import Machine
from benchmarks.pictures import LARGE, SMALL
from benchmarks.processes import ProcessFailed
from benchmarks.questions import WrongAnswer
from benchmarks.report import markdown, write_below_mark
from benchmarks.results import PARTS, NotMeasured, Results
from benchmarks.services import NoSuchSetting, gaze
from benchmarks.workplace import Workplace

_Part = TypeVar("_Part")

_PERFORMANCE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

_FAILURES = (NotInstalled, NoSuchSetting, ProcessFailed, WrongAnswer, floor.NotConverted, RuntimeError, OSError)
"""What keeps one part from being measured and the others not."""


def main() -> None:
    """Measure, and write down."""
    asked = _arguments()
    # As an exception, so that the services that were started are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    workplace = Workplace(asked.folder.resolve())
    machine = Machine.here()
    workplace.make_model()
    large = asked.image.resolve() if asked.image else workplace.picture(LARGE)
    pictures = {_size(picture): picture for picture in (large, workplace.picture(SMALL))}
    _fill_cache(workplace)
    rounds, seconds = asked.rounds, asked.seconds

    def part(name: str, measure: Callable[[], _Part]) -> _Part | NotMeasured:
        return _measured(name, measure) if name in asked.only else NotMeasured("it was not asked for")

    results = Results(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine,
        pictures={name: picture.stat().st_size for name, picture in pictures.items()},
        compared=part("compared", lambda: compared.measure(workplace, large, rounds)),
        throughput=part("throughput", lambda: throughput.measure(workplace, large, rounds, seconds)),
        floor=part("floor", lambda: floor.measure(workplace, pictures, rounds, seconds=seconds)),
        growth=part("growth", lambda: growth.measure(workplace, large, asked.phrases)),
        start=part("start", lambda: start.measure(workplace)),
        memory=part("memory", lambda: memory.measure(workplace, large, seconds)),
    )
    text = markdown(results)
    # What measures a part only does not take the place of what measured all of it.
    whole = set(asked.only) == set(PARTS)
    name = "results" if whole else f"results-{'-'.join(asked.only)}"
    (workplace.folder / f"{name}.json").write_text(results.to_json(), encoding="utf-8")
    (workplace.folder / f"{name}.md").write_text(text, encoding="utf-8")
    if whole:
        write_below_mark(_PERFORMANCE, text)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept")
    parser.add_argument("--image", type=Path, help="a JPEG to take in place of the one made by code")
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often everyone takes a turn (3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load in one turn (10)")
    parser.add_argument("--phrases", type=int, default=100_000, help="of the long served list (100,000)")
    return parser.parse_args()


def _parts(text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    return names


def _size(picture: Path) -> str:
    with Image.open(picture) as image:
        return f"{image.width}×{image.height}"


def _fill_cache(workplace: Workplace) -> None:
    """Start Gaze once, so that no later start of this run has to encode the built-in lists."""

    def start_once() -> None:
        with gaze(workplace, "gaze-first"):
            pass

    _measured("filling the cache", start_once)


def _measured(name: str, measure: Callable[[], _Part]) -> _Part | NotMeasured:
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        return measure()
    except _FAILURES as error:
        print(f"{name}: {error}", file=sys.stderr)
        return NotMeasured(str(error))
    finally:
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
