"""One picture and one list: clip-gaze's own call, transformers' pipeline, and Gaze over HTTP, in turns."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import NotInstalled, install
from benchmarks.peer_calls import PeerCalls
from benchmarks.processes import ProcessFailed
from benchmarks.questions import Caller, Question, gaze_upload
from benchmarks.services import GAZE_PORT, gaze
from benchmarks.timing import Times
from benchmarks.workplace import Workplace
from service.zero_shot.phrase_lists import built_in_folder, read_lists

LISTS = ("artists_by_name", "surfaces")
PEERS = ("clip_gaze", "pipeline")
GAZE = "gaze"
MANY = 1000
"""A list of more phrases takes a peer so long that one call a round must do; of a shorter one there are seven."""


@dataclass(frozen=True)
class Compared:
    """Who took how long, by list.

    times:        by list, then by who was asked
    agree:        by list, whether all found the same phrase the likeliest
    not_measured: by peer, why it could not be asked
    """

    phrases: dict[str, int]
    times: dict[str, dict[str, Times]]
    agree: dict[str, bool]
    not_measured: dict[str, str]


def measure(workplace: Workplace, picture: Path, rounds: int = 3, requests: int = 40) -> Compared:
    """Ask everyone in turns, `rounds` times, so that all see the same machine; Gaze `requests` times in all."""
    served = read_lists(built_in_folder())
    phrases = {name: served[name].phrases for name in LISTS}
    times: dict[str, dict[str, Times]] = {}
    agree: dict[str, bool] = {}
    not_measured: dict[str, str] = {}
    with ExitStack() as running:
        running.enter_context(gaze(workplace, "gaze-compared"))
        peers = _start_peers(workplace, running, picture, served["qualities"].phrases, not_measured)
        for name in LISTS:
            question = gaze_upload(GAZE_PORT, picture.read_bytes(), name)
            seconds: dict[str, list[float]] = {who: [] for who in (*peers, GAZE)}
            best: set[str] = set()
            for _ in range(rounds):
                for peer, calls in peers.items():
                    for _ in range(1 if len(phrases[name]) > MANY else 7):
                        call = calls.ask(picture, phrases[name])
                        seconds[peer].append(call.seconds)
                        best.add(call.best)
                taken, first = _ask_gaze(question, -(-requests // rounds))
                seconds[GAZE] += taken
                best.add(first)
            times[name] = {who: Times.of(taken) for who, taken in seconds.items()}
            agree[name] = len(best) == 1
    return Compared({name: len(asked) for name, asked in phrases.items()}, times, agree, not_measured)


def _start_peers(
    workplace: Workplace, running: ExitStack, picture: Path, few: Sequence[str], not_measured: dict[str, str]
) -> dict[str, PeerCalls]:
    """Start the peers, ask each for a few phrases so that its model is loaded, and note why one cannot be asked."""
    peers: dict[str, PeerCalls] = {}
    for name in PEERS:
        try:
            environment = install(name, workplace.folder / "environments")
            arguments = [str(workplace.model)] if name == "pipeline" else []
            variables = workplace.environment(HF_HOME=workplace.hub_home)
            calls = PeerCalls(
                environment.program("python"), f"{name}_call.py", arguments, variables, workplace.log(name)
            )
            running.enter_context(calls)
            for _ in range(2):
                calls.ask(picture, few)
            peers[name] = calls
        except (NotInstalled, ProcessFailed) as error:
            not_measured[name] = str(error)
    return peers


def _ask_gaze(question: Question, requests: int) -> tuple[list[float], str]:
    """Return the seconds of so many requests, and the phrase that Gaze puts first."""
    with Caller(GAZE_PORT) as caller:
        for _ in range(3):
            answer = caller.ask(question)
        (ranked,) = answer["results"][0]["lists"].values()
        return [caller.time(question) for _ in range(requests)], ranked["predictions"][0]["phrase"]
