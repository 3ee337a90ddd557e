"""The parts of a ranking that need no model: similarities, and the caveats of an answer."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from service.zero_shot import ranking
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.classifier import EncodedList
from service.zero_shot.phrase_lists import own_list
from service.zero_shot.ranking import cosines
from service.zero_shot.text_features import TextFeatures
from tests.support.hash_encoder import HashEncoder

FEATURES = TextFeatures(
    features=np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]], dtype=np.float32),
    row_of=np.array([2, 0, 1, 0, 2], dtype=np.intp),
    cut=(1, 3),
)


def test_similarities_are_cosines_in_the_order_of_the_phrases() -> None:
    similarities = cosines(np.array([0.6, 0, 0.8], dtype=np.float32), FEATURES)
    assert similarities.dtype == np.float32
    assert similarities.shape == (5,)
    np.testing.assert_allclose(similarities, [0.36, 0.6, 0.0, 0.6, 0.36], rtol=1e-6)


def test_phrases_of_one_row_are_equal_to_the_last_bit() -> None:
    random = np.random.default_rng(7)
    rows = random.normal(size=(50, 512))
    image = random.normal(size=512)
    features = TextFeatures((rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32), np.arange(100) % 50, ())
    similarities = cosines((image / np.linalg.norm(image)).astype(np.float32), features)
    assert (similarities[:50] == similarities[50:]).all()
    assert len(set(similarities.tolist())) == 50
    assert np.abs(similarities).max() <= 1


def test_features_and_descriptions_cannot_be_changed() -> None:
    model = ModelDescription("a", None, "torch", "float32", "cpu", False, 224, 32, 512, 77, 100.0, 0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.id = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        FEATURES.cut = ()  # type: ignore[misc]


ENCODER = HashEncoder()
LONG = "a phrase of more than twenty characters"


def encoded(name: str, *phrases: str) -> EncodedList:
    phrase_list = own_list(name, phrases, "{}")
    return EncodedList(phrase_list, ENCODER.encode_text(phrase_list.phrases))


def test_nothing_is_said_of_a_real_model_and_a_list_of_several_short_phrases() -> None:
    assert ranking.caveats(ENCODER.model, [encoded("subject", "a river", "a bridge")]) == []


def test_the_demo_model_is_named_first() -> None:
    sentences = ranking.caveats(replace(ENCODER.model, demo=True), [encoded("subject", "a river")])
    assert sentences[0] == ranking.DEMO
    assert len(sentences) == 2


def test_a_list_of_one_phrase_is_said_to_have_no_choice() -> None:
    [sentence] = ranking.caveats(ENCODER.model, [encoded("subject", "a river"), encoded("other", "one", "two")])
    assert sentence == "The list 'subject' has one phrase, so its probability is 1 whatever the image shows."


def test_cut_phrases_are_counted_with_the_models_limit() -> None:
    one = encoded("one", LONG, "short")
    two = encoded("two", LONG, "short", LONG + " again")
    assert ranking.caveats(ENCODER.model, [one, two]) == [
        "The model reads 20 tokens of a phrase; 1 phrase of 'one' had more.",
        "The model reads 20 tokens of a phrase; 2 phrases of 'two' had more.",
    ]
