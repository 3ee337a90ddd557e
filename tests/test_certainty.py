"""Certainty says how evenly probabilities lie, and which phrases have no order among them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY, certainty, near_ties
from service.zero_shot.phrase_lists import own_list
from tests.conftest import noise
from tests.support.rankings import rank_list, scored

weights = st.lists(st.floats(1e-12, 1) | st.sampled_from([0.25, 1.0]), min_size=1, max_size=60)
# So near each other that many are near ties, and many are not.
near = st.lists(st.integers(-400, 400).map(lambda step: step / 4_000), min_size=1, max_size=60)


@settings(max_examples=300, deadline=None)
@given(weights)
def test_entropy_lies_between_one_sure_phrase_and_all_alike(parts: list[float]) -> None:
    probabilities = np.array(parts) / sum(parts)
    found = certainty(np.zeros(len(parts), np.float32), probabilities)
    assert 0 <= found.entropy <= math.log2(len(parts)) + 1e-9
    assert found.entropy == pytest.approx(-sum(each * math.log2(each) for each in probabilities.tolist()), abs=1e-9)
    assert found.effective_count == pytest.approx(2**found.entropy)
    assert 1 <= found.effective_count <= len(parts) + 1e-6
    highest, *others = sorted(probabilities.tolist(), reverse=True)
    assert found.margin == (highest - others[0] if others else 1.0)


@pytest.mark.parametrize("count", [2, 3, 7, 5_854])
def test_phrases_all_alike_are_as_uncertain_as_can_be(count: int) -> None:
    found = certainty(np.full(count, 0.2, np.float32), np.full(count, 1 / count))
    assert found.entropy == pytest.approx(math.log2(count))
    assert found.effective_count == pytest.approx(count)
    assert found.margin == 0.0
    assert found.group_of.tolist() == [1] * count


def test_one_sure_phrase_of_several_leaves_nothing_uncertain() -> None:
    # A probability of nothing at all has no logarithm: warnings are errors in these tests.
    found = certainty(np.array([0.1, 0.9, 0.2], np.float32), np.array([0.0, 1.0, 0.0]))
    assert (found.entropy, found.effective_count, found.margin) == (0.0, 1.0, 1.0)
    assert math.copysign(1, found.entropy) == 1
    assert found.group_of.tolist() == [3, 1, 2]


def test_one_phrase_is_certain_with_a_margin_of_one() -> None:
    found = certainty(np.array([-0.4], np.float32), np.array([1.0]))
    assert (found.entropy, found.effective_count, found.margin) == (0.0, 1.0, 1.0)
    assert found.group_of.tolist() == [1]


def test_the_margin_is_that_of_the_first_two_wherever_they_stand() -> None:
    probabilities = np.array([0.125, 0.5, 0.0625, 0.3125])
    assert certainty(np.zeros(4, np.float32), probabilities).margin == 0.1875


@settings(max_examples=300, deadline=None)
@given(near)
def test_groups_are_chains_of_near_ties_numbered_by_similarity(values: list[float]) -> None:
    similarities = np.array(values, dtype=np.float32)
    exact, groups = similarities.astype(np.float64).tolist(), near_ties(similarities).tolist()
    for (first, one), (second, other) in itertools.combinations(zip(exact, groups, strict=True), 2):
        if abs(first - second) < NEAR_TIE_SIMILARITY:
            assert one == other
        if one != other:
            assert (first > second) == (one < other)
    assert set(groups) == set(range(1, max(groups) + 1))
    for number in set(groups):
        of_group = sorted(value for value, group in zip(exact, groups, strict=True) if group == number)
        assert all(above - below < NEAR_TIE_SIMILARITY for below, above in itertools.pairwise(of_group))


@pytest.mark.parametrize(
    ("similarities", "groups"),
    [
        ([0.30, 0.25, 0.20], [1, 2, 3]),
        ([0.20, 0.30, 0.25], [3, 1, 2]),
        ([0.30, 0.2985, 0.20], [1, 1, 2]),
        ([0.20, 0.2985, 0.2015, 0.30], [2, 1, 2, 1]),
        # Each is a near tie of the next, though the first is none of the last.
        ([0.3000, 0.2985, 0.2970, 0.2955], [1, 1, 1, 1]),
        ([0.3, 0.3, -0.3, -0.3], [1, 1, 2, 2]),
        ([0.0], [1]),
        ([0.0010, -0.0005, 0.5], [2, 2, 1]),
    ],
)
def test_near_ties_share_a_group_and_clear_winners_stand_alone(similarities: list[float], groups: list[int]) -> None:
    found = near_ties(np.array(similarities, dtype=np.float32))
    assert found.tolist() == groups
    assert found.dtype == np.intp


def test_a_difference_of_just_the_near_tie_ends_a_group() -> None:
    # Powers of two are exact, and their difference with them.
    above, below = np.float32(0.5), np.float32(0.5 - NEAR_TIE_SIMILARITY)
    apart = float(above) - float(below) >= NEAR_TIE_SIMILARITY
    assert near_ties(np.array([above, below])).tolist() == [1, 2 if apart else 1]
    assert near_ties(np.array([above, np.nextafter(below, np.float32(0))])).tolist() == [1, 2]
    assert near_ties(np.array([above, below + np.float32(1e-6)])).tolist() == [1, 1]


def test_phrases_that_the_tokenizer_makes_the_same_share_a_group(classifier: ZeroShotClassifier) -> None:
    names = ("Conte", "oil", "conte", "CONTE", "gouache", " conte ")
    [own] = classifier.encode_lists([own_list("own", names, "{} medium")])
    for seed in range(8):
        scores = scored(classifier, classifier.encode_image(noise(200, 150, seed=seed)), own)
        group_of = certainty(scores.similarities, scores.probabilities).group_of
        assert len({int(group_of[place]) for place in (0, 2, 3, 5)}) == 1
        ranked = np.argsort(-scores.similarities, kind="stable")
        assert group_of[ranked].tolist() == sorted(group_of.tolist())
        assert group_of[ranked[0]] == 1


def test_the_served_lists_have_certainties_within_their_bounds(classifier: ZeroShotClassifier) -> None:
    features = classifier.encode_image(noise(200, 150))
    for served in classifier.lists_named(["movements", "qualities", "artists_by_name"]):
        scores = scored(classifier, features, served)
        found = certainty(scores.similarities, scores.probabilities)
        first, second = rank_list(classifier, features, served, 2)
        assert found.margin == pytest.approx(first.probability - second.probability, abs=1e-15)
        assert 0 < found.entropy < math.log2(len(served.phrase_list.labels))
