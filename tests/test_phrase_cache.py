"""PhraseCache: within its bound whatever is sent, and what it gives back is what it was given."""

import gc
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.zero_shot.encoder import EncodedPhrase, PhraseCache
from service.zero_shot.phrase_lists import PhraseList
from tests.support.gaze_requests import PNG, ask, by_base64


def encoded(number: int, *, size: int = 8, tokens: int = 3, cut: bool = False) -> EncodedPhrase:
    """Return a phrase whose numbers no other number's has; all of its objects are new, as a tokenizer's are."""
    features = np.random.default_rng(number).normal(size=size).astype(np.float32)
    return EncodedPhrase(tuple(1_000 * (number + 1) + index for index in range(tokens)), cut, features)


def remembered(cache: PhraseCache, count: int) -> list[int]:
    found = cache.find(str(number) for number in range(count))
    return sorted(int(phrase) for phrase in found)


def bytes_of(count: int = 1) -> int:
    cache = PhraseCache(10**9)
    for number in range(count):
        cache.keep({str(number): encoded(number)})
    return cache.bytes


def test_what_is_found_is_what_was_kept() -> None:
    cache = PhraseCache(10**6)
    kept = {f"phrase {number}": encoded(number, cut=number == 2) for number in range(5)}
    cache.keep(kept)
    found = cache.find(["phrase 2", "phrase 0", "unknown", "Phrase 1", "phrase 2", ""])
    assert list(found) == ["phrase 2", "phrase 0"]
    for phrase, each in found.items():
        assert each.token_ids == kept[phrase].token_ids
        assert each.cut is kept[phrase].cut
        assert each.features.tobytes() == kept[phrase].features.tobytes()
    assert cache.find([]) == {}


def test_the_bound_holds_for_100_000_different_phrases() -> None:
    bound = 2**20
    cache = PhraseCache(bound)
    same = encoded(0)
    most = 0
    for number in range(100_000):
        cache.keep({str(number): same})
        assert cache.bytes <= bound
        most = max(most, cache.bytes)
    # It is used to the full, and its count is that of what is in it.
    assert bound - most < 1_000
    left = remembered(cache, 100_000)
    assert left == list(range(100_000 - len(left), 100_000))
    anew = PhraseCache(10**9)
    anew.keep({str(number): same for number in left})
    assert anew.bytes == cache.bytes


def test_many_phrases_of_one_request_are_bounded_too() -> None:
    cache = PhraseCache(20 * bytes_of())
    cache.keep({str(number): encoded(number) for number in range(1_000)})
    assert cache.bytes <= 20 * bytes_of()
    left = remembered(cache, 1_000)
    assert left == list(range(1_000 - len(left), 1_000))
    assert len(left) > 10


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    phrases = {str(number): encoded(number) for number in range(4)}
    cache = PhraseCache(3 * bytes_of())
    cache.keep({"0": phrases["0"]})
    cache.keep({"1": phrases["1"]})
    cache.keep({"2": phrases["2"]})
    # What is asked for again is kept again: 1 is now the oldest.
    cache.keep(cache.find(["0"]))
    cache.keep({"3": phrases["3"]})
    assert remembered(cache, 4) == [0, 2, 3]


def test_a_phrase_that_is_kept_twice_counts_once() -> None:
    cache = PhraseCache(10**6)
    cache.keep({"0": encoded(0)})
    once = cache.bytes
    cache.keep({"0": encoded(0)})
    assert cache.bytes == once > 0


@pytest.mark.parametrize("bound", [0, 100])
def test_a_bound_that_holds_nothing(bound: int) -> None:
    cache = PhraseCache(bound)
    cache.keep({"0": encoded(0), "1": encoded(1)})
    assert cache.find(["0", "1"]) == {}
    assert cache.bytes == 0


def test_a_phrase_that_is_larger_than_the_bound_leaves_no_debt() -> None:
    cache = PhraseCache(2 * bytes_of())
    cache.keep({"x" * 10**6: encoded(7)})
    assert cache.bytes == 0
    cache.keep({"0": encoded(0)})
    assert remembered(cache, 1) == [0]


@pytest.mark.parametrize(
    ("size", "tokens", "letters"),
    [(512, 3, "a"), (512, 8, "ab "), (512, 77, "a few words "), (512, 77, "漢字"), (768, 64, "word "), (64, 8, "ab ")],
)
def test_its_count_is_near_what_is_really_taken(size: int, tokens: int, letters: str) -> None:
    cache = PhraseCache(10**9)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2_000):
            phrase = f"{number} {letters * (tokens * 4 // len(letters))}"
            features = np.full(size, number, dtype=np.float32)
            cache.keep({phrase: EncodedPhrase(tuple(10**6 * number + at for at in range(tokens)), False, features)})
        del phrase, features
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * taken < cache.bytes < 1.5 * taken


def test_threads_may_keep_and_find_at_once() -> None:
    phrases = {str(number): encoded(number) for number in range(50)}
    bound = 20 * bytes_of()
    cache = PhraseCache(bound)
    wrong: list[str] = []
    together = threading.Barrier(8)

    def work(thread: int) -> None:
        random = np.random.default_rng(thread)
        together.wait(20)
        for _ in range(500):
            chosen = [str(number) for number in random.integers(50, size=5)]
            for phrase, found in cache.find(chosen).items():
                if found.features.tobytes() != phrases[phrase].features.tobytes():
                    wrong.append(phrase)
            cache.keep({phrase: phrases[phrase] for phrase in chosen})
            if cache.find(["50"]) or cache.bytes < 0:
                wrong.append("50")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    left = remembered(cache, 50)
    anew = PhraseCache(10**9)
    anew.keep({str(number): phrases[str(number)] for number in left})
    assert anew.bytes == cache.bytes <= bound


def test_own_phrases_have_the_same_answer_whatever_was_sent_before(client: FlaskClient) -> None:
    own = [f"a painting of {number} ships" for number in range(9)] + ["a river", "the same", "THE SAME"]
    asked = {"image": by_base64(PNG), "phrases": {"own": own, "again": own[::-1]}, "top_k": None}
    first = ask(client, **asked)
    assert ask(client, **asked) == first
    for number in range(3):
        # Some are of the first request, some are of the same length, and some of another.
        others = [*own[number::4], *(f"{number} words {'and more ' * each}" for each in range(20))]
        ask(client, image=by_base64(PNG), phrases={"others": others})
        assert ask(client, **asked) == first


def test_own_phrases_have_the_similarities_of_a_served_lists(
    client: FlaskClient, phrase_lists: dict[str, PhraseList]
) -> None:
    served = ask(client, image=by_base64(PNG), lists=["surfaces"], top_k=None)["results"][0]["lists"]["surfaces"]
    expected = {found["phrase"]: found["similarity"] for found in served["predictions"]}
    # In the order of the list: the last bit of a product may depend on a phrase's place in it.
    own = list(phrase_lists["surfaces"].phrases)
    ask(client, image=by_base64(PNG), phrases={"some": own[5:9]})
    for _ in range(2):
        answer = ask(client, image=by_base64(PNG), phrases={"own": own}, top_k=None)
        assert {found["phrase"]: found["similarity"] for found in predictions(answer)} == expected


def predictions(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["results"][0]["lists"]["own"]["predictions"]
    return found
