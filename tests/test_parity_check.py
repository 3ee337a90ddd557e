"""prove: models of each family pass it, and one that cannot rank phrases rightly is refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import CorruptModel
from service.zero_shot import model_files
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.parity_check import TOKENIZER_SAMPLES, check_model
from service.zero_shot.backends.torch_backend import load_torch
from service.zero_shot.preprocessing.preparation import ImageInputs
from service.zero_shot.preprocessing.processors import reference_tokens
from tests.support import tiny_models
from tests.support.gaze_command import gaze


def load(folder: Path) -> LoadedModel:
    return load_torch(model_files.locate(str(folder), None), "cpu", "float32", 1)


def proved(folder: Path) -> None:
    check_model(load(folder), model_files.locate(str(folder), None))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "model")


def test_there_are_fifty_ways_of_writing() -> None:
    assert len(set(TOKENIZER_SAMPLES)) == len(TOKENIZER_SAMPLES) >= 50


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_sound_models_pass(tmp_path: Path, family: str) -> None:
    folder = tiny_models.FAMILIES[family](tmp_path / "model")
    proved(folder)
    reference = reference_tokens(model_files.locate(str(folder), None), load(folder).tokenizer)
    names = {"clip": "CLIPTokenizer", "siglip": "SiglipTokenizer"}
    assert reference
    assert reference.name == names.get(family.removesuffix(" in a pickle").split(" ")[0], "") or "siglip 2" in family


def test_the_demo_model_passes() -> None:
    files = model_files.locate("demo", None)
    check_model(load_torch(files, "cpu", "float32", 1), files)


def with_a_tokenizer_that_keeps_capitals(folder: Path) -> None:
    contents = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    steps = contents["normalizer"]["normalizers"]
    contents["normalizer"]["normalizers"] = [step for step in steps if step["type"] != "Lowercase"]
    assert len(steps) > len(contents["normalizer"]["normalizers"])
    tiny_models.write_json(folder / "tokenizer.json", contents)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})


def with_words_that_weigh_nothing(folder: Path) -> None:
    names = ("text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight")
    tiny_models.change_weights(folder, lambda weights: [weights[name].zero_() for name in names])


def with_pictures_that_weigh_nothing(folder: Path) -> None:
    name = "vision_model.post_layernorm.weight"
    tiny_models.change_weights(folder, lambda weights: weights[name].zero_())


def with_the_tokenizer_of_gpt_2(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "GPT2Tokenizer"})


@pytest.mark.parametrize("max_tokens", [6, 8, 10])
def test_model_of_a_short_window_passes(clip_folder: Path, tmp_path: Path, max_tokens: int) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "tokenizer_config.json", {**settings, "model_max_length": max_tokens})
    proved(folder)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (with_pictures_that_weigh_nothing, "To model two pictures of other colours are the same"),
        (with_the_tokenizer_of_gpt_2, r"other tokens than its family's own, CLIPTokenizer, of \d+ in \d+"),
        (with_a_tokenizer_that_keeps_capitals, r"other tokens than its family's own, CLIPTokenizer, of \d+ in \d+"),
        (with_words_that_weigh_nothing, "To model the phrases 'a red circle' and 'a blue square' are the same"),
    ],
)
def test_model_that_cannot_rank_phrases_is_refused(
    clip_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    spoil(folder)
    with pytest.raises(CorruptModel, match=reason) as told:
        proved(folder)
    assert "\n" not in str(told.value)


class Disturbed:
    """A backend between whose tokens or features and their like something goes wrong."""

    max_concurrent_batches, image_batch, text_batch = 1, 1, 8

    def __init__(
        self,
        backend: Any,
        tokens: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda tokens: tokens,
        features: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda features: features,
    ) -> None:
        self.backend, self.tokens, self.features = backend, tokens, features

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.backend.image_features(inputs)
        return found

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.features(self.backend.text_features(self.tokens(token_ids)))


def cut_after_the_first_words(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([tokens[:, :4], np.full((len(tokens), 1), 49407)], axis=1)


def mixed_with_its_company(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features + features.dtype.type(0.3) * np.roll(features, 1, axis=0)


def of_what_fills_it_up(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lose the token that ends phrases of 13 tokens, as those of the first pair are, filled up."""
    changed = tokens.copy()
    if tokens.shape[1] == 13:
        changed[:, 0] = tokens.shape[1]
    return changed


@pytest.mark.parametrize(
    ("disturbed", "reason"),
    [
        ({"tokens": cut_after_the_first_words}, "'a red circle' and 'a red circle on a blue background' are the same"),
        ({"features": mixed_with_its_company}, "depend on the phrases beside it"),
        ({"tokens": of_what_fills_it_up}, "depend on the phrases beside it or on what it is filled up with"),
    ],
)
def test_backend_that_confuses_phrases_is_refused(clip_folder: Path, disturbed: dict[str, Any], reason: str) -> None:
    loaded = load(clip_folder)
    broken = replace(loaded, backend=Disturbed(loaded.backend, **disturbed))
    with pytest.raises(CorruptModel, match=reason):
        check_model(broken, model_files.locate(str(clip_folder), None))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_start_with_a_model_that_is_refused_ends_with_a_sentence(
    clip_folder: Path, tmp_path: Path, backend: str
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    with_words_that_weigh_nothing(folder)
    ended = gaze("serve", GAZE_MODEL=folder, GAZE_BACKEND=backend, GAZE_CACHE_DIR=tmp_path / "cache")
    assert ended.returncode == 65
    [checking, told] = ended.stderr.splitlines()
    assert checking.startswith("Checking the model")
    assert "are the same, so it cannot rank phrases" in told
