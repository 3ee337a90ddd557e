"""The zero-shot classifier: a softmax over the whole list, ranked, cut; with an encoder of plain numpy."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import Overloaded, UnknownList
from service.zero_shot.batching import CancelCheck, never_cancelled
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier, encode_served, require_list
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.interpretation.lift import neutral_pictures
from service.zero_shot.phrase_lists import PhraseList, own_list
from service.zero_shot.preprocessing.preparation import Framing, ImageInputs
from service.zero_shot.ranking import highest_first
from service.zero_shot.text_features import Progress, TextFeatures
from tests.conftest import noise
from tests.support.hash_encoder import FRAMING, HashEncoder
from tests.support.rankings import rank_list, scored


def classifier_of(encoder: ClipEncoder, *lists: PhraseList) -> ZeroShotClassifier:
    by_name = {phrase_list.name: phrase_list for phrase_list in lists}
    return ZeroShotClassifier(encoder, encode_served(by_name, features_by(encoder), lambda _done, _total: None))


def features_by(encoder: ClipEncoder) -> Callable[[PhraseList, Progress], TextFeatures]:
    """Return what encodes a list's phrases, as nothing of them is kept anywhere."""
    return lambda phrase_list, progress: encoder.encode_text(phrase_list.phrases, progress)


def of_similarities(similarities: Sequence[float]) -> EncodedList:
    """Return a list whose similarities to the first unit vector are exactly these."""
    features = np.zeros((len(similarities), 2), dtype=np.float32)
    features[:, 0] = similarities
    labels = tuple(f"label {index}" for index in range(len(similarities)))
    return EncodedList(own_list("own", labels, "a {}"), TextFeatures(features, np.arange(len(similarities)), ()))


FIRST = np.array([1, 0], dtype=np.float32)
GREY = Image.new("RGB", (16, 16), (120, 90, 200))
CROPS = PhraseList("crops", ("hay", "oats", "rye", "maize"), ("urn:x:1", None, None, "urn:x:4"), template="a {} field")
# As far apart as features of 32 bits are; what differs by less than 1e-16 is equal once the bias is added.
cosines = st.integers(-(2**20), 2**20).map(lambda number: number / 2**20)
similarities = st.lists(cosines, min_size=1, max_size=60)


@settings(deadline=None, derandomize=True)
@given(similarities=similarities, scale=st.sampled_from([1.0, 14.3, 100.0]), bias=st.sampled_from([0.0, -16.5]))
def test_probabilities_are_the_softmax_of_all_phrases(similarities: list[float], scale: float, bias: float) -> None:
    ranked = rank_list(ZeroShotClassifier(HashEncoder(scale, bias), {}), FIRST, of_similarities(similarities), None)
    assert [prediction.rank for prediction in ranked] == list(range(1, len(similarities) + 1))
    probabilities = [prediction.probability for prediction in ranked]
    assert abs(sum(probabilities) - 1) < 1e-12
    assert probabilities == sorted(probabilities, reverse=True)
    assert [prediction.similarity for prediction in ranked] == sorted(similarities, reverse=True)
    naive = np.exp(np.array(similarities, dtype=np.float64) * scale)
    naive /= naive.sum()
    for prediction in ranked:
        index = int(prediction.label.removeprefix("label "))
        assert prediction.similarity == similarities[index]
        assert abs(prediction.probability - naive[index]) < 1e-12


@settings(deadline=None, derandomize=True)
@given(similarities=similarities, top_k=st.integers(1, 70))
def test_the_cut_comes_after_the_softmax(similarities: list[float], top_k: int) -> None:
    classifier = ZeroShotClassifier(HashEncoder(), {})
    encoded = of_similarities(similarities)
    everything = rank_list(classifier, FIRST, encoded, None)
    assert len(everything) == len(similarities)
    assert rank_list(classifier, FIRST, encoded, top_k) == everything[:top_k]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([-1.0, 0.25, 0.5, 1.0]), min_size=1, max_size=40))
def test_equal_phrases_are_ranked_in_list_order(similarities: list[float]) -> None:
    ranked = rank_list(ZeroShotClassifier(HashEncoder(), {}), FIRST, of_similarities(similarities), None)
    places = [int(prediction.label.removeprefix("label ")) for prediction in ranked]
    assert places == sorted(range(len(similarities)), key=lambda index: -similarities[index])


def test_the_order_is_right_where_probabilities_are_too_small_to_differ() -> None:
    ranked = rank_list(
        ZeroShotClassifier(HashEncoder(10_000.0), {}), FIRST, of_similarities([-0.9, -0.8, 1.0, -0.7]), None
    )
    assert [prediction.probability for prediction in ranked] == [1.0, 0.0, 0.0, 0.0]
    assert [prediction.label for prediction in ranked] == ["label 2", "label 3", "label 1", "label 0"]


@pytest.mark.parametrize("scale", [100.0, 1e6])
def test_a_large_scale_does_not_overflow(scale: float) -> None:
    # Warnings are errors in these tests, numpy's of an overflow as well.
    ranked = rank_list(
        ZeroShotClassifier(HashEncoder(scale, 700.0), {}), FIRST, of_similarities([1.0, 1.0, -1.0]), None
    )
    assert [prediction.probability for prediction in ranked][:2] == [0.5, 0.5]
    assert 0 <= ranked[2].probability < 1e-80


def test_one_phrase_has_probability_one() -> None:
    (only,) = rank_list(ZeroShotClassifier(HashEncoder(), {}), FIRST, of_similarities([-0.3]), 5)
    assert only.probability == 1.0


def test_a_prediction_says_all_of_its_phrase() -> None:
    classifier = classifier_of(HashEncoder(), CROPS)
    features = classifier.encode_image(GREY)
    (crops,) = classifier.lists_named(["crops"])
    expected = crops.text_features.features @ features
    ranked = rank_list(classifier, features, crops, None)
    assert {prediction.label for prediction in ranked} == set(CROPS.labels)
    for prediction in ranked:
        index = CROPS.labels.index(prediction.label)
        assert prediction.phrase == f"a {prediction.label} field"
        assert prediction.uri == CROPS.uris[index]
        assert prediction.similarity == expected[index]
        assert type(prediction.similarity) is type(prediction.probability) is float
        assert type(prediction.rank) is int


def test_phrases_that_the_tokenizer_makes_the_same_are_equal_to_the_last_bit() -> None:
    classifier = classifier_of(HashEncoder())
    (own,) = classifier.encode_lists([own_list("own", ("River", "bridge", "RIVER", "river"), "{}")])
    ranked = rank_list(classifier, classifier.encode_image(GREY), own, None)
    rivers = [prediction for prediction in ranked if prediction.label != "bridge"]
    assert [prediction.label for prediction in rivers] == ["River", "RIVER", "river"]
    assert len({prediction.probability for prediction in rivers}) == 1


def test_own_lists_are_encoded_with_their_template() -> None:
    classifier = classifier_of(HashEncoder(), CROPS)
    first, second = classifier.encode_lists(
        [own_list("own", CROPS.labels, CROPS.template), own_list("bare", CROPS.labels, "{}")]
    )
    (served,) = classifier.lists_named(["crops"])
    assert (first.text_features.features == served.text_features.features).all()
    assert (second.text_features.features != served.text_features.features).any()
    assert classifier.encode_lists([]) == ()


def test_lists_are_returned_as_they_were_named() -> None:
    oats = PhraseList("oats", ("oats",), (None,))
    classifier = classifier_of(HashEncoder(), CROPS, oats)
    assert [encoded.phrase_list for encoded in classifier.lists_named(["oats", "crops"])] == [oats, CROPS]
    assert [encoded.phrase_list for encoded in classifier.lists_named(["crops", "oats", "crops"])] == [CROPS, oats]
    assert classifier.lists_named([]) == ()
    with pytest.raises(UnknownList) as raised:
        classifier.lists_named(["crops", "crops", "wheat"])
    assert raised.value.errors == ()


def test_what_progress_raises_ends_the_encoding_of_own_lists() -> None:
    def too_late(_done: int, _total: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        classifier_of(HashEncoder()).encode_lists([own_list("own", ("a", "b"), "{}")], too_late)


def test_the_model_is_the_encoders() -> None:
    encoder = HashEncoder()
    assert classifier_of(encoder).model is encoder.model


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("movement", "Unknown list. Did you mean 'movements'?"),
        ("Movements", "Unknown list. Did you mean 'movements'?"),
        ("surface", "Unknown list. Did you mean 'surfaces'?"),
        ("quux", UnknownList.default_detail),
        ("", UnknownList.default_detail),
        ("<script>", UnknownList.default_detail),
        ("movements" * 100_000, UnknownList.default_detail),
    ],
)
def test_an_unknown_list_is_answered_with_a_near_one_and_not_with_itself(name: str, detail: str) -> None:
    with pytest.raises(UnknownList) as raised:
        require_list({"movements": 1, "surfaces": 2}, name)
    assert raised.value.detail == detail


def test_a_served_list_raises_nothing() -> None:
    require_list({"movements": 1}, "movements")


def test_progress_of_the_served_lists_rises_to_the_total() -> None:
    lists = {
        "crops": CROPS,
        "same": PhraseList("same", ("a", "A", "b"), (None,) * 3),
        "one": PhraseList("one", ("x",), (None,)),
    }
    heard: list[tuple[int, int]] = []
    served = encode_served(lists, features_by(HashEncoder()), lambda done, total: heard.append((done, total)))
    assert list(served) == list(lists)
    assert [encoded.phrase_list for encoded in served.values()] == list(lists.values())
    assert {total for _, total in heard} == {8}
    done = [done for done, _ in heard]
    assert done == sorted(done)
    assert done[0] == 1
    assert done[-1] == 8
    # Each list begins where the one before it ended.
    assert {4, 7} <= set(done)


def test_what_is_ready_made_is_served_and_counted_too() -> None:
    lists = {"crops": CROPS, "one": PhraseList("one", ("x",), (None,))}
    ready_made = {name: HashEncoder().encode_text(each.phrases) for name, each in lists.items()}
    heard: list[tuple[int, int]] = []
    served = encode_served(lists, lambda each, _progress: ready_made[each.name], lambda *done: heard.append(done))
    assert heard == [(4, 5), (5, 5)]
    for name, encoded in served.items():
        assert encoded.text_features is ready_made[name]


def test_no_list_is_served_where_there_is_none() -> None:
    heard: list[tuple[int, int]] = []
    assert encode_served({}, features_by(HashEncoder()), lambda *done: heard.append(done)) == {}
    assert heard == []


# So few values that most of them are ties, at the cut as well.
few = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])


@settings(deadline=None, derandomize=True)
@given(similarities=st.lists(few | cosines, min_size=1, max_size=300), bias=st.sampled_from([0.0, -16.5]))
def test_a_partial_sort_is_the_beginning_of_a_whole_one(similarities: list[float], bias: float) -> None:
    classifier = ZeroShotClassifier(HashEncoder(100.0, bias), {})
    encoded = of_similarities(similarities)
    whole = [int(found.label.removeprefix("label ")) for found in rank_list(classifier, FIRST, encoded, None)]
    assert whole == sorted(range(len(similarities)), key=lambda index: -similarities[index])
    for top_k in range(1, len(similarities) + 2):
        ranked = rank_list(classifier, FIRST, encoded, top_k)
        assert [int(found.label.removeprefix("label ")) for found in ranked] == whole[:top_k]


@pytest.mark.parametrize("top_k", [1, 2, 5, 99_999, 100_000])
@pytest.mark.parametrize("different", [1, 3, 1_000])
def test_ties_of_a_long_list_are_in_list_order_at_any_cut(different: int, top_k: int) -> None:
    values = np.random.default_rng(5).integers(0, different, 100_000) / 1_000
    logits = values.astype(np.float32).tolist()
    ranked = rank_list(ZeroShotClassifier(HashEncoder(), {}), FIRST, of_similarities(logits), top_k)
    expected = np.argsort(-values, kind="stable")[:top_k]
    assert [int(found.label.removeprefix("label ")) for found in ranked] == expected.tolist()


def test_prepared_pictures_are_encoded_as_one_batch_in_their_order() -> None:
    classifier = classifier_of(HashEncoder())
    pictures = [noise(16, 16, seed=seed) for seed in range(5)]
    together = classifier.encode_images([classifier.preprocess(picture) for picture in pictures])
    assert together.shape == (5, classifier.model.feature_size)
    assert [row.tobytes() for row in together] == [classifier.encode_image(picture).tobytes() for picture in pictures]
    assert len({row.tobytes() for row in together}) == 5


@settings(deadline=None, derandomize=True)
@given(similarities=similarities, scale=st.sampled_from([1.0, 14.3, 100.0]), bias=st.sampled_from([0.0, -16.5]))
def test_scores_are_those_of_the_ranking(similarities: list[float], scale: float, bias: float) -> None:
    classifier = ZeroShotClassifier(HashEncoder(scale, bias), {})
    encoded = of_similarities(similarities)
    scores = scored(classifier, FIRST, encoded)
    assert scores.similarities.tolist() == similarities
    np.testing.assert_array_equal(scores.logits, scale * np.array(similarities) + bias)
    np.testing.assert_allclose(scores.probabilities, np.exp(scores.log_probabilities), rtol=1e-12)
    for prediction in rank_list(classifier, FIRST, encoded, None):
        place = int(prediction.label.removeprefix("label "))
        assert prediction.probability == scores.probabilities[place]
        assert prediction.similarity == scores.similarities[place]


@pytest.mark.parametrize("scale", [100.0, 1e4, 1e6])
def test_log_probabilities_are_finite_where_probabilities_vanish(scale: float) -> None:
    scores = scored(ZeroShotClassifier(HashEncoder(scale, 700.0), {}), FIRST, of_similarities([-1.0, 1.0, 0.5]))
    assert np.isfinite(scores.log_probabilities).all()
    np.testing.assert_allclose(scores.log_probabilities, [-2 * scale, 0, -scale / 2], atol=1e-9)
    assert scores.probabilities[1] == 1.0


@settings(deadline=None, derandomize=True)
@given(similarities=similarities)
def test_predictions_have_the_numbers_of_their_phrases(similarities: list[float]) -> None:
    encoded = of_similarities(similarities)
    classifier = ZeroShotClassifier(HashEncoder(), {})
    scores = scored(classifier, FIRST, encoded)
    for found in rank_list(classifier, FIRST, encoded):
        place = int(found.label.removeprefix("label "))
        assert found.phrase == f"a label {place}"
        assert (found.probability, found.similarity) == (scores.probabilities[place], similarities[place])


@settings(deadline=None, derandomize=True)
@given(values=st.lists(few | st.floats(-1e9, 1e9), min_size=1, max_size=80), top_k=st.none() | st.integers(1, 90))
def test_the_highest_come_first_and_equal_ones_in_their_order(values: list[float], top_k: int | None) -> None:
    expected = sorted(range(len(values)), key=lambda place: -values[place])[:top_k]
    assert highest_first(np.array(values), top_k).tolist() == expected


def test_views_are_encoded_as_the_pictures_that_they_are() -> None:
    classifier = classifier_of(HashEncoder())
    views = [FRAMING(noise(40, 30, seed=seed), "stretch") for seed in range(4)]
    features = classifier.encode_views(views)
    expected = [classifier.encode_image(noise(40, 30, seed=seed)) for seed in range(4)]
    assert [row.tobytes() for row in features] == [row.tobytes() for row in expected]
    assert len({row.tobytes() for row in features}) == 4


def test_views_are_not_cut_anew() -> None:
    framing = Framing((16, 16), 24, Image.Resampling.BICUBIC, "crop")
    classifier = classifier_of(HashEncoder(framing=framing))
    picture = noise(60, 40)
    [features] = classifier.encode_views([framing(picture, "crop")])
    assert features.tobytes() == classifier.encode_image(picture).tobytes()


class CountingEncoder(HashEncoder):
    """Counts its passes, and waits in each for a while, so that others come meanwhile."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.passes = 0
        self._errors = list(errors)

    def encode_images(
        self, prepared: Sequence[ImageInputs], require: CancelCheck = never_cancelled
    ) -> NDArray[np.float32]:
        self.passes += 1
        threading.Event().wait(0.05)
        if self._errors:
            raise self._errors.pop()
        return super().encode_images(prepared, require)


def test_neutral_says_how_all_served_phrases_lie_for_neutral_pictures() -> None:
    rivers = PhraseList("rivers", ("Elbe", "elbe", "Oder"), (None,) * 3)
    classifier = classifier_of(HashEncoder(), CROPS, rivers)
    neutral = classifier.neutral()
    pictures = list(neutral_pictures().values())
    np.testing.assert_array_equal(neutral.features, [classifier.encode_image(picture) for picture in pictures])
    crops, own = (each.text_features.features for each in classifier.lists_named(["crops", "rivers"]))
    cosines = [float(row @ picture) for row in (*crops, *own) for picture in neutral.features]
    assert len(cosines) == (4 + 2) * len(pictures)
    assert neutral.mean == pytest.approx(np.mean(cosines), abs=1e-6)
    assert neutral.deviation == pytest.approx(np.std(cosines), abs=1e-6)


def test_neutral_pictures_are_encoded_once() -> None:
    encoder = CountingEncoder()
    classifier = classifier_of(encoder, CROPS)
    assert encoder.passes == 0
    first = classifier.neutral()
    assert classifier.neutral() is first
    assert encoder.passes == 1


@pytest.mark.usefixtures("hasty_threads")
def test_neutral_pictures_are_encoded_once_for_threads_that_come_together() -> None:
    encoder = CountingEncoder()
    classifier = classifier_of(encoder, CROPS)
    together = threading.Barrier(8, timeout=10)

    def ask(_number: int) -> int:
        together.wait()
        return id(classifier.neutral())

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(ask, range(8)))
    assert found == {id(classifier.neutral())}
    assert encoder.passes == 1


def test_what_fails_with_neutral_pictures_is_tried_anew() -> None:
    encoder = CountingEncoder(MemoryError("full"))
    classifier = classifier_of(encoder, CROPS)
    with pytest.raises(Overloaded):
        classifier.neutral()
    assert len(classifier.neutral().features) == len(neutral_pictures())
    assert encoder.passes == 2


def test_who_no_longer_wants_neutral_pictures_does_not_keep_others_from_them() -> None:
    def too_late() -> None:
        raise TimeoutError

    classifier = classifier_of(HashEncoder(), CROPS)
    with pytest.raises(TimeoutError):
        classifier.neutral(too_late)
    assert classifier.neutral() is classifier.neutral(too_late)


def test_a_model_without_served_lists_has_neutral_pictures_too() -> None:
    neutral = classifier_of(HashEncoder()).neutral()
    assert np.isfinite([neutral.mean, neutral.deviation]).all()
    assert neutral.deviation > 0
