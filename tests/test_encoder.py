"""ClipEncoder gives what transformers itself gives: for each family, on each backend, whatever else it is asked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.preprocessing.preparation import CroppableImage, ImageInputs, Preparation
from tests.conftest import CACHE, noise
from tests.support import tiny_models
from tests.support.tiny_models import Theirs, load_ours, load_theirs, unit

LONG_PHRASE = "the river and the bridge at night " * 80
PHRASES = ("oil on canvas", LONG_PHRASE, "a red circle on a blue ground", "stone", "A Painting, of two ships!")
LENGTHS = tuple("stone " * words for words in (1, 6, 13, 14, 15, 16, 22, 23, 30, 40, 70, 74, 75))
"""Of 3 to 77 of CLIP's tokens: to 16 and around it, at and beside multiples of 8, and at the limit."""


@dataclass(frozen=True)
class Running:
    """A model of one family on one backend, and what transformers has for it."""

    family: str
    loaded: LoadedModel
    encoder: ClipEncoder
    theirs: Theirs


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each family."""
    folder = tmp_path_factory.mktemp("families")
    for name, write in tiny_models.FAMILIES.items():
        write(folder / name)
    return folder


EACH = [
    (backend, family)
    for backend in ("torch", "openvino")
    for family in (tiny_models.CONVERTIBLE if backend == "openvino" else tiny_models.FAMILIES)
]


@pytest.fixture(scope="module", params=EACH, ids="-".join)
def running(request: pytest.FixtureRequest, folders: Path) -> Running:
    backend, family = request.param
    loaded = load_ours(folders / family, CACHE, backend=backend)
    return Running(family, loaded, ClipEncoder(loaded), load_theirs(folders / family))


@pytest.fixture(scope="module", params=["torch", "openvino"])
def clip(request: pytest.FixtureRequest, folders: Path) -> ClipEncoder:
    return ClipEncoder(load_ours(folders / "clip", CACHE, backend=request.param))


def image_features(encoder: ClipEncoder, *pictures: Image.Image) -> NDArray[np.float32]:
    return encoder.encode_images([encoder.preprocess(picture) for picture in pictures])


def text_features(encoder: ClipEncoder, *phrases: str) -> NDArray[np.float32]:
    """Return a row for each phrase, in their order."""
    encoded = encoder.encode_text(phrases)
    rows: NDArray[np.float32] = encoded.features[encoded.row_of]
    return rows


def test_text_features_are_transformers_own(running: Running) -> None:
    ours = running.encoder.encode_text(PHRASES)
    np.testing.assert_allclose(ours.features[ours.row_of], running.theirs.text_features(PHRASES), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours.features, axis=1), 1, atol=1e-6)
    assert ours.features.dtype == np.float32
    assert ours.cut == (1,)


def test_text_features_of_every_length_are_transformers_own(running: Running) -> None:
    ours = text_features(running.encoder, *LENGTHS)
    for phrase, features in zip(LENGTHS, ours, strict=True):
        # Alone, so that transformers pads none of CLIP's.
        np.testing.assert_allclose(features, running.theirs.text_features([phrase])[0], atol=1e-5)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (32, 32), (7, 300)])
def test_image_features_are_transformers_own(running: Running, size: tuple[int, int]) -> None:
    picture = noise(*size)
    [ours] = image_features(running.encoder, picture)
    np.testing.assert_allclose(ours, running.theirs.image_features(picture), atol=1e-5)
    assert ours.dtype == np.float32
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)


def test_features_tell_pictures_and_phrases_apart(running: Running) -> None:
    first, second = image_features(running.encoder, noise(60, 40, seed=0), noise(60, 40, seed=1))
    assert np.abs(first - second).max() > 1e-3
    phrases = text_features(running.encoder, *PHRASES)
    assert np.abs(phrases[0] - phrases[2]).max() > 1e-3


def test_phrases_features_do_not_depend_on_their_company(running: Running) -> None:
    phrases = (*PHRASES, *LENGTHS, *(f"a painting of {number} ships" for number in range(20)))
    together = text_features(running.encoder, *phrases)
    for order in (np.arange(len(phrases))[::-1], np.random.default_rng(0).permutation(len(phrases))):
        in_order = text_features(running.encoder, *(phrases[index] for index in order))
        np.testing.assert_array_equal(in_order, together[order])
    for phrase, features in zip(phrases, together, strict=True):
        np.testing.assert_array_equal(text_features(running.encoder, phrase)[0], features)


def test_pictures_features_do_not_depend_on_their_batch(running: Running) -> None:
    pictures = [noise(60, 40, seed=seed) for seed in range(21)]
    together = image_features(running.encoder, *pictures)
    alone = np.concatenate([image_features(running.encoder, picture) for picture in pictures])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("running", [each for each in EACH if each[1].startswith("siglip")], indirect=True)
def test_siglip_text_is_padded_to_the_full_length_without_a_mask(running: Running) -> None:
    theirs = running.theirs
    ids = theirs.tokenizer(["stone"])["input_ids"][0]
    assert len(ids) < tiny_models.SIGLIP_TOKENS
    full = ids + [theirs.tokenizer.pad_token_id] * (tiny_models.SIGLIP_TOKENS - len(ids))
    with torch.inference_mode():
        padded = unit(theirs.model.get_text_features(input_ids=torch.tensor([full])).pooler_output)
        short = unit(theirs.model.get_text_features(input_ids=torch.tensor([ids])).pooler_output)
    ours = running.encoder.encode_text(["stone"]).features
    np.testing.assert_allclose(ours, padded, atol=1e-5)
    assert np.abs(ours - short).max() > 1e-3


def test_phrases_of_the_same_tokens_share_a_row(clip: ClipEncoder) -> None:
    features = clip.encode_text(["a red circle", "stone", "A  RED circle", "stone"])
    assert features.row_of.tolist() == [0, 1, 0, 1]
    assert features.features.shape == (2, 8)


def test_phrases_that_are_cut_to_the_same_tokens_share_a_row(clip: ClipEncoder) -> None:
    features = clip.encode_text(["stone " * 80, "stone", "stone " * 90])
    assert features.row_of.tolist() == [0, 1, 0]
    assert features.cut == (0, 2)


def test_many_phrases_keep_their_order(clip: ClipEncoder) -> None:
    phrases = [" ".join(["stone"] * (1 + number * 7 % 30)) + f" {number}" for number in range(150)]
    together = text_features(clip, *phrases)
    for number in (0, 1, 63, 64, 149):
        np.testing.assert_array_equal(together[number], text_features(clip, phrases[number])[0])


def test_progress_counts_phrases_up_to_all_of_them(clip: ClipEncoder) -> None:
    told: list[tuple[int, int]] = []
    phrases = [f"a painting of {number} ships" for number in range(50)]
    clip.encode_text([*phrases, *(phrase.upper() for phrase in phrases)], lambda *heard: told.append(heard))
    done = [done for done, _ in told]
    assert {total for _, total in told} == {100}
    assert len(done) > 5
    assert done == sorted(set(done))
    assert done[-1] == 100


def test_what_progress_raises_ends_the_encoding(clip: ClipEncoder) -> None:
    def too_late(_done: int, _total: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        clip.encode_text(PHRASES, too_late)
    assert clip.encode_text(PHRASES).cut == (1,)


class Counted:
    """A backend that counts the passes of another."""

    def __init__(self, backend: Any) -> None:
        self.max_concurrent_batches, self.image_batch, self.text_batch = (
            backend.max_concurrent_batches,
            backend.image_batch,
            backend.text_batch,
        )
        self.shapes: list[tuple[int, ...]] = []
        self._backend = backend

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        self.shapes.append(inputs["pixel_values"].shape)
        features: NDArray[np.float32] = self._backend.image_features(inputs)
        return features

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        self.shapes.append(token_ids.shape)
        features: NDArray[np.float32] = self._backend.text_features(token_ids)
        return features


@pytest.fixture
def counted(folders: Path) -> tuple[ClipEncoder, list[tuple[int, ...]]]:
    """An encoder, and the shapes that it gives its backend."""
    loaded = load_ours(folders / "clip", CACHE)
    backend = Counted(loaded.backend)
    return ClipEncoder(replace(loaded, backend=backend)), backend.shapes


def test_remembered_phrases_are_not_encoded_again(counted: tuple[ClipEncoder, list[tuple[int, ...]]]) -> None:
    encoder, shapes = counted
    first = encoder.encode_text(PHRASES, remember=True)
    shapes.clear()
    again = encoder.encode_text(PHRASES[::-1])
    assert shapes == []
    np.testing.assert_array_equal(again.features[again.row_of], first.features[first.row_of][::-1])
    assert again.cut == (3,)
    encoder.encode_text([*PHRASES, "a new one"])
    assert len(shapes) == 1


def test_phrases_are_not_remembered_unasked(counted: tuple[ClipEncoder, list[tuple[int, ...]]]) -> None:
    encoder, shapes = counted
    encoder.encode_text(["stone"])
    encoder.encode_text(["stone"])
    assert len(shapes) == 2


def test_remembered_phrases_have_the_features_that_they_had(counted: tuple[ClipEncoder, list[tuple[int, ...]]]) -> None:
    encoder, _ = counted
    alone = text_features(encoder, "stone")
    encoder.encode_text(["bronze", "stone"], remember=True)
    np.testing.assert_array_equal(text_features(encoder, "wood", "stone", "marble")[1:2], alone)


def test_a_remembered_phrase_keeps_no_more_in_memory_than_its_own_features(clip: ClipEncoder) -> None:
    phrases = [f"a remembered {number}" for number in range(5)]
    clip.encode_text(phrases, remember=True)
    for kept in clip._phrase_cache.find(phrases).values():
        assert kept.features.base is None  # else it is a view, of all that was encoded with it
        assert kept.features.nbytes == 4 * clip.model.feature_size


def test_the_backend_meets_few_shapes(counted: tuple[ClipEncoder, list[tuple[int, ...]]]) -> None:
    # OpenVINO keeps something for each.
    encoder, shapes = counted
    encoder.encode_text(["stone " * words for words in range(1, 90)])
    assert {rows for rows, _ in shapes} == {8}
    assert sorted({tokens for _, tokens in shapes}) == [*range(3, 17), 24, 32, 40, 48, 56, 64, 72, 77]


def test_many_pictures_are_split_into_passes(counted: tuple[ClipEncoder, list[tuple[int, ...]]]) -> None:
    encoder, shapes = counted
    image_features(encoder, *[noise(60, 40)] * 19)
    assert shapes == [(8, 3, 32, 32), (8, 3, 32, 32), (3, 3, 32, 32)]


def test_phrase_at_the_token_limit_is_not_cut(clip: ClipEncoder) -> None:
    # Two of the 77 tokens begin and end the phrase.
    assert clip.encode_text([" ".join(["stone"] * 75), " ".join(["stone"] * 76)]).cut == (1,)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_configuration_of_the_old_make_means_the_same(folders: Path, tmp_path: Path, backend: str) -> None:
    old = ClipEncoder(load_ours(folders / "clip", CACHE, backend=backend))
    new_make = tiny_models.write_clip(tmp_path / "new", eos_token_id=49407)
    new = ClipEncoder(load_ours(new_make, tmp_path / "cache", backend=backend))
    np.testing.assert_allclose(text_features(old, *PHRASES), text_features(new, *PHRASES), atol=1e-6)
    # The features are those of the token that ends the phrase, not of the last or the first.
    features = text_features(old, *PHRASES)
    assert np.abs(features[0] - features[3]).max() > 1e-3


THREADED = [("torch", "clip"), ("torch", "siglip"), ("torch", "siglip 2"), ("openvino", "clip"), ("openvino", "siglip")]


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("running", THREADED, indirect=True, ids="-".join)
def test_threads_do_not_disturb_each_other(running: Running) -> None:
    encoder = running.encoder
    pictures = [noise(60, 40, seed=seed) for seed in range(4)]
    expected_images = image_features(encoder, *pictures)
    expected_text = encoder.encode_text(PHRASES)
    with ThreadPoolExecutor(8) as pool:
        images = [pool.submit(image_features, encoder, pictures[number % 4]) for number in range(32)]
        texts = [pool.submit(encoder.encode_text, PHRASES) for _ in range(300)]
        for number, image in enumerate(images):
            np.testing.assert_array_equal(image.result()[0], expected_images[number % 4])
        for text in texts:
            np.testing.assert_array_equal(text.result().features, expected_text.features)
            assert text.result().cut == expected_text.cut


class Raising(Preparation):
    """Prepares no picture."""

    def __init__(self, error: Exception) -> None:
        super().__init__(None, (8, 8), None, 3, 1.0, (0.0,) * 3, (1.0,) * 3)
        object.__setattr__(self, "error", error)

    def __call__(self, image: Image.Image | CroppableImage, cores: int = 1) -> ImageInputs:  # noqa: ARG002
        raise getattr(self, "error")  # noqa: B009


def test_check_by_a_picture_alone_leaves_the_text_tower_out(
    counted: tuple[ClipEncoder, list[tuple[int, ...]]],
) -> None:
    encoder, shapes = counted
    encoder.check_answers(pictures_only=True)
    assert [len(shape) for shape in shapes] == [4]
    shapes.clear()
    encoder.check_answers()
    assert sorted(len(shape) for shape in shapes) == [2, 4]


def test_sound_model_passes_the_check(running: Running) -> None:
    running.encoder.check_answers()


@pytest.mark.parametrize(
    ("error", "told", "reason"),
    [
        (ValueError("the shapes differ"), CorruptModel, r"do not fit together \(ValueError\)"),
        (MemoryError(), InvalidSettings, "too little free memory for clip; set GAZE_DEVICE=cpu"),
    ],
)
def test_check_says_in_one_sentence_why_a_model_cannot_answer(
    folders: Path, error: Exception, told: type[Exception], reason: str
) -> None:
    loaded = replace(load_ours(folders / "clip", CACHE), preprocess=Raising(error))
    with pytest.raises(told, match=reason):
        ClipEncoder(loaded).check_answers()


def test_a_remembered_phrase_does_not_keep_its_batch_in_memory(clip: ClipEncoder) -> None:
    clip.encode_text(["a fine kettle", "a fine bottle"], remember=True)
    remembered = clip._phrase_cache.find(["a fine kettle"])
    assert remembered["a fine kettle"].features.base is None
    clip.encode_text(["a phrase of one question"])
    assert not clip._phrase_cache.find(["a phrase of one question"])
