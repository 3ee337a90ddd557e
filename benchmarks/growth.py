"""What more phrases cost: a served list of 100,000 against one of 7, and 2,000 of a caller's own against 7."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from benchmarks.processes import Memory
from benchmarks.questions import Caller, Question, gaze_phrases, gaze_upload
from benchmarks.services import GAZE_PORT, gaze
from benchmarks.timing import Times
from benchmarks.workplace import Workplace
from service.zero_shot.phrase_lists import PhraseList, built_in_folder, read_lists

SHORT_LIST, LONG_LIST = "qualities", "long"
OWN_PHRASES = 2_000


@dataclass(frozen=True)
class Growth:
    """Requests with few phrases and with many, asked in turns.

    phrases:        by list: how many it has
    served, own:    by list: seconds of a request; of own lists, the second request and those after it
    own_first:      seconds of the first request with the many phrases, which are encoded in it
    with_long_list, without: memory of a worker that has answered
    """

    phrases: dict[str, int]
    served: dict[str, Times]
    own: dict[str, Times]
    own_first: float
    with_long_list: Memory
    without: Memory


def measure(workplace: Workplace, picture: Path, long: int = 100_000, requests: int = 40) -> Growth:
    """Ask a Gaze that also serves a list of so many phrases; encoding them takes minutes, once."""
    lists = read_lists(built_in_folder())
    image = picture.read_bytes()
    folder = _long_list(workplace, lists, long)
    few, many = lists[SHORT_LIST].labels, _phrases(lists, OWN_PHRASES)
    # What encodes a list holds more afterwards than what reads it from the cache, so another process does that.
    with gaze(workplace, "gaze-encoding-long-list", lists_dir=folder):
        pass
    with gaze(workplace, "gaze-long-list", lists_dir=folder) as process:
        served = {name: gaze_upload(GAZE_PORT, image, name) for name in (SHORT_LIST, LONG_LIST)}
        own = {SHORT_LIST: gaze_phrases(GAZE_PORT, image, few), LONG_LIST: gaze_phrases(GAZE_PORT, image, many)}
        served_times = _in_turns(served, requests)
        with_long_list = process.memory()
        with Caller(GAZE_PORT) as caller:
            own_first = caller.time(own[LONG_LIST])
        own_times = _in_turns(own, requests)
    with gaze(workplace, "gaze-no-long-list") as process:
        _in_turns({SHORT_LIST: served[SHORT_LIST]}, 2 * requests)
        without = process.memory()
    return Growth(
        phrases={SHORT_LIST: len(few), LONG_LIST: long, "own": len(many)},
        served=served_times,
        own=own_times,
        own_first=own_first,
        with_long_list=with_long_list,
        without=without,
    )


def _in_turns(questions: Mapping[str, Question], requests: int) -> dict[str, Times]:
    seconds: dict[str, list[float]] = {name: [] for name in questions}
    with Caller(GAZE_PORT) as caller:
        for question in questions.values():
            caller.time(question)  # the first one warms caches up
        for _ in range(requests):
            for name, question in questions.items():
                seconds[name].append(caller.time(question))
    return {name: Times.of(taken) for name, taken in seconds.items()}


def _long_list(workplace: Workplace, lists: Mapping[str, PhraseList], phrases: int) -> Path:
    """Return a folder for GAZE_LISTS_DIR with a list of so many phrases."""
    folder = workplace.folder / "lists" / str(phrases)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{LONG_LIST}.txt").write_text("\n".join(_phrases(lists, phrases)) + "\n", encoding="utf-8")
    return folder


def _phrases(lists: Mapping[str, PhraseList], count: int) -> Sequence[str]:
    """Return so many different phrases, as long as those that people ask for: an artist and a movement."""
    pairs = product(lists["movements"].labels, lists["artists_by_name"].labels)
    return [f"{artist}, {movement}" for movement, artist in islice(pairs, count)]
