"""Text features: rows that phrases share, and their similarities to one picture."""

import dataclasses

import numpy as np
import pytest

from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.ranking import cosines
from service.zero_shot.text_features import TextFeatures

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
