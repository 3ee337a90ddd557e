"""This tree's speed over that of an earlier commit.

    python -m benchmarks.against COMMIT

starts the service of both, and this tree's once more, on the model of full size, and asks them by turns, each for some
seconds. What else the machine does then falls on all of them alike, and this tree over itself says how much does not.
It takes 13 minutes on two cores.
"""

import argparse
import io
import statistics
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from benchmarks.callers import Load, call
from benchmarks.floor import LIST
from benchmarks.pictures import LARGE, SMALL
from benchmarks.questions import Caller, gaze_upload
from benchmarks.services import GAZE_PORT, SECOND_GAZE_PORT, THIRD_GAZE_PORT, gaze
from benchmarks.table import ratio, table
from benchmarks.throughput import CALLERS
from benchmarks.workplace import Workplace

_REPOSITORY = Path(__file__).parent.parent
_WARM_UP = 1.0
_REQUESTS = 20


@dataclass
class Speeds:
    """What was measured of one service, a figure a round: requests a second, and one caller's median in seconds."""

    per_second: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, and print this tree's figures over the other's."""
    arguments = _arguments()
    workplace = Workplace(arguments.folder.resolve())
    workplace.make_model()
    other = checked_out(arguments.commit, workplace.folder / "against")
    ports = {"this": GAZE_PORT, "other": SECOND_GAZE_PORT, "again": THIRD_GAZE_PORT}
    trees = {"this": _REPOSITORY, "other": other, "again": _REPOSITORY}
    rows = []
    with ExitStack() as services:
        for name, port in ports.items():
            services.enter_context(gaze(workplace, f"against-{name}", port, trees[name]))
        for size in (LARGE, SMALL):
            speeds = by_turns(ports, workplace.picture(size).read_bytes(), arguments.rounds, arguments.seconds)
            this = speeds["this"]
            for label, than in ((arguments.commit, speeds["other"]), ("itself", speeds["again"])):
                rates = quartiles(this.per_second, than.per_second)
                latencies = quartiles(this.latency, than.latency)
                rows.append([f"{size[0]}×{size[1]}, over {label}", _spread(rates), _spread(latencies)])
    print(table(["", f"requests a second, {CALLERS} callers", "latency, one caller"], rows))
    print(f"\nMedians of {arguments.rounds} rounds' ratios, and their quartiles.")


def checked_out(commit: str, folder: Path) -> Path:
    """Return a folder with a commit's tree. Raises CalledProcessError if git does not know it."""
    name = _git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}").decode().strip()
    tree = folder / name
    with tarfile.open(fileobj=io.BytesIO(_git("archive", name))) as archive:
        archive.extractall(tree, filter="data")
    return tree


def by_turns(ports: Mapping[str, int], picture: bytes, rounds: int, seconds: float) -> dict[str, Speeds]:
    """Return the speeds of the services behind these ports, each asked once a round, in another order each round."""
    speeds = {name: Speeds() for name in ports}
    names = list(ports)
    for number in tqdm(range(rounds), leave=False):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            question = gaze_upload(ports[name], picture, LIST)
            with Caller(ports[name]) as caller:
                taken = [caller.time(question) for _ in range(_REQUESTS + 3)]
            speeds[name].latency.append(statistics.median(taken[3:]))
            speeds[name].per_second.append(call(Load(question, CALLERS, _WARM_UP, seconds)).per_second)
    return speeds


def quartiles(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the quartiles of the ratios of what was measured in the same round, of which there must be two or more."""
    return statistics.quantiles(
        [mine / other for mine, other in zip(ours, theirs, strict=True)], n=4, method="inclusive"
    )


def _spread(quartile: Sequence[float]) -> str:
    low, middle, high = quartile
    return f"{middle:.3f} ({ratio(low)} to {ratio(high)})"


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(_REPOSITORY), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  # no shell


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="as git names it")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is asked (15)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load in one turn (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
