"""The training's pictures: the same for the same seed, one for every phrase, and none for an unknown phrase."""

import numpy as np
import pytest

from training.phrases import EVALUATION_PHRASES, SHOWN_BY, phrases_of
from training.pictures import distorted, draw


def test_drawing_is_deterministic_by_seed() -> None:
    for phrase in EVALUATION_PHRASES[::5]:
        first, second = (
            distorted(draw(phrase, rng), rng) for rng in (np.random.default_rng(3), np.random.default_rng(3))
        )
        assert first.tobytes() == second.tobytes(), phrase


def test_another_seed_draws_another_picture() -> None:
    first, second = (draw("a red circle", np.random.default_rng(seed)) for seed in (1, 2))
    assert first.tobytes() != second.tobytes()


def test_every_evaluation_phrase_can_be_drawn() -> None:
    assert len(EVALUATION_PHRASES) >= 150
    assert len(set(EVALUATION_PHRASES)) == len(EVALUATION_PHRASES)
    for number, phrase in enumerate(EVALUATION_PHRASES):
        picture = draw(phrase, np.random.default_rng(number))
        assert picture.mode == "RGB"
        assert min(picture.size) >= 200
        assert max(picture.size) <= 2 * min(picture.size) + 1


def test_only_one_evaluation_phrase_is_true_of_any_picture() -> None:
    for phrase in EVALUATION_PHRASES:
        for subject in SHOWN_BY[phrase]:
            true, unclear = phrases_of(subject)
            assert {*true, *unclear} & {*EVALUATION_PHRASES} == {phrase}, subject


def test_size_can_be_given() -> None:
    assert draw("blue horizontal stripes", np.random.default_rng(0), (320, 240)).size == (320, 240)


@pytest.mark.parametrize("phrase", ["", "a photograph of a dog", "a red", "A RED CIRCLE"])
def test_unknown_phrase_is_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw(phrase, np.random.default_rng(0))
