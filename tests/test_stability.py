"""Spreads are the best and the worst of what a phrase had, found by looking at each answer."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.interpretation.stability import MAX_PHRASES, TEMPLATES, Range, Spread, spreads
from service.zero_shot.phrase_lists import own_list
from service.zero_shot.ranking import Scores
from service.zero_shot.text_features import TextFeatures
from tests.support.hash_encoder import HashEncoder
from tests.support.rankings import rank_list, scored

CLASSIFIER = ZeroShotClassifier(HashEncoder(), {})
cosines = st.integers(-100, 100).map(lambda number: number / 400) | st.sampled_from([0.0, 0.25])


def list_of(count: int) -> EncodedList:
    """Return a list of so many phrases, each a direction of its own, so that features are similarities."""
    labels = tuple(f"label {index}" for index in range(count))
    return EncodedList(
        own_list("own", labels, "{}"), TextFeatures(np.eye(count, dtype=np.float32), np.arange(count), ())
    )


def spreads_of(scores: list[Scores], places: NDArray[np.intp]) -> list[Spread]:
    return spreads(
        np.stack([each.probabilities for each in scores]), np.stack([each.logits for each in scores]), places
    )


def scores_of(views: list[list[float]]) -> list[Scores]:
    return [scored(CLASSIFIER, np.array(view, np.float32), list_of(len(view))) for view in views]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), count=st.integers(1, 12), seen=st.integers(1, 9))
def test_spreads_are_those_of_the_rankings(data: st.DataObject, count: int, seen: int) -> None:
    views = data.draw(st.lists(st.lists(cosines, min_size=count, max_size=count), min_size=seen, max_size=seen))
    told = data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    encoded = list_of(count)
    rankings = [rank_list(CLASSIFIER, np.array(view, np.float32), encoded, None) for view in views]
    found = spreads_of(scores_of(views), np.array(told, dtype=np.intp))
    assert len(found) == len(told)
    for place, spread in zip(told, found, strict=True):
        own = [next(each for each in ranking if each.label == f"label {place}") for ranking in rankings]
        assert (spread.rank.lowest, spread.rank.highest) == (
            min(each.rank for each in own),
            max(each.rank for each in own),
        )
        shares = [each.probability for each in own]
        assert spread.probability == Range(min(shares), max(shares))


def test_one_view_has_no_spread() -> None:
    [scores] = scores_of([[0.25, 0.30, 0.25]])
    probabilities = scores.probabilities.tolist()
    assert spreads_of([scores], np.array([1, 2, 0])) == [
        Spread(Range(1, 1), Range(probabilities[1], probabilities[1])),
        Spread(Range(3, 3), Range(probabilities[2], probabilities[2])),
        Spread(Range(2, 2), Range(probabilities[0], probabilities[0])),
    ]


def test_a_phrase_that_changes_its_place_is_told_with_both_places() -> None:
    first, second = spreads_of(scores_of([[0.3, 0.2, 0.1], [0.1, 0.2, 0.3]]), np.array([0, 1]))
    assert first.rank == Range(1, 3)
    assert second.rank == Range(2, 2)
    assert first.probability.lowest < 0.001
    assert first.probability.highest > 0.999
    assert second.probability.lowest == pytest.approx(second.probability.highest)


def test_a_spread_is_of_plain_numbers() -> None:
    [spread] = spreads_of(scores_of([[0.3, 0.2], [0.2, 0.3]]), np.array([0]))
    assert [type(number) for each in (spread.rank, spread.probability) for number in vars(each).values()] == [
        int,
        int,
        float,
        float,
    ]


def test_no_phrase_has_no_spread() -> None:
    assert spreads_of(scores_of([[0.3, 0.2]]), np.array([], dtype=np.intp)) == []


def test_each_template_takes_one_phrase_and_is_none_of_the_others() -> None:
    assert MAX_PHRASES > 0
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    for template in TEMPLATES:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        assert fields == [""]
        assert own_list("own", ("a river",), template).phrases == (template.replace("{}", "a river"),)
