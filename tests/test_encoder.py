"""ClipEncoder gives what transformers itself gives, for each family, and refuses what is not whole."""

import json
import math
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot import hub
from service.zero_shot.encoder import ClipEncoder
from tests import tiny_models
from tests.conftest import noise

LONG_PHRASE = "the river and the bridge at night " * 80
PHRASES = ("oil on canvas", LONG_PHRASE, "a red circle on a blue ground", "stone", "A Painting, of two ships!")


@dataclass(frozen=True)
class Family:
    """A model of one family, and what transformers has for it."""

    folder: Path
    encoder: ClipEncoder
    model: Any
    tokenizer: Any
    processor: Any
    padding: dict[str, Any]

    def text_features(self, phrases: tuple[str, ...]) -> NDArray[np.float32]:
        """Return transformers' own features, made unit length."""
        inputs = self.tokenizer(list(phrases), truncation=True, return_tensors="pt", **self.padding)
        with torch.inference_mode():
            return unit(self.model.get_text_features(**inputs).pooler_output)

    def image_features(self, picture: Any) -> NDArray[np.float32]:
        with torch.inference_mode():
            features = self.model.get_image_features(**self.processor([picture], return_tensors="pt")).pooler_output
        one: NDArray[np.float32] = unit(features)[0]
        return one


def unit(features: torch.Tensor) -> NDArray[np.float32]:
    of_unit_length: NDArray[np.float32] = (features / features.norm(dim=-1, keepdim=True)).numpy()
    return of_unit_length


def load(folder: Path, device: str = "cpu") -> ClipEncoder:
    return ClipEncoder.load(hub.locate(str(folder), None), device, torch.get_num_threads())


WRITERS: dict[str, Callable[[Path], Path]] = {
    "clip": tiny_models.write_clip,
    "clip without tokenizer.json": lambda folder: tiny_models.write_clip(folder, tokenizer_json=False),
    "clip in a pickle": lambda folder: tiny_models.write_clip(folder, weights="pytorch_model.bin"),
    "clip in two files": lambda folder: tiny_models.write_clip(folder, weights="model.safetensors.index.json"),
    "siglip": tiny_models.write_siglip,
    "siglip 2, fixed size": lambda folder: tiny_models.write_siglip(folder, tokenizer="GemmaTokenizer"),
    "siglip 2": tiny_models.write_siglip2,
}


@pytest.fixture(scope="module", params=WRITERS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    folder = WRITERS[request.param](tmp_path_factory.mktemp("family") / "model")
    clip = request.param.startswith("clip")
    auto_processor: Any = transformers.AutoImageProcessor
    return Family(
        folder,
        load(folder),
        transformers.AutoModel.from_pretrained(folder).eval(),
        transformers.AutoTokenizer.from_pretrained(folder),
        auto_processor.from_pretrained(folder, backend="pil"),
        {"padding": True} if clip else {"padding": "max_length", "max_length": tiny_models.SIGLIP_TOKENS},
    )


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ClipEncoder:
    return load(clip_folder)


def test_text_features_are_transformers_own(family: Family) -> None:
    ours = family.encoder.encode_text(PHRASES)
    np.testing.assert_allclose(ours.features[ours.row_of], family.text_features(PHRASES), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours.features, axis=1), 1, atol=1e-6)
    assert ours.features.dtype == np.float32
    assert ours.cut == (1,)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (32, 32), (7, 300)])
def test_image_features_are_transformers_own(family: Family, size: tuple[int, int]) -> None:
    picture = noise(*size)
    ours = family.encoder.encode_image(picture)
    np.testing.assert_allclose(ours, family.image_features(picture), atol=1e-5)
    assert ours.dtype == np.float32
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)


def test_features_tell_pictures_and_phrases_apart(family: Family) -> None:
    pictures = [family.encoder.encode_image(noise(60, 40, seed=seed)) for seed in (0, 1)]
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
    phrases = family.encoder.encode_text(PHRASES).features
    assert np.abs(phrases[0] - phrases[2]).max() > 1e-3


def test_description_is_read_from_the_model(family: Family) -> None:
    model = family.encoder.model
    clip = family.model.config.model_type == "clip"
    assert model.logit_scale == pytest.approx(tiny_models.LOGIT_SCALE, rel=1e-6)
    assert model.logit_bias == pytest.approx(0 if clip else tiny_models.LOGIT_BIAS, rel=1e-6)
    assert model.max_tokens == (77 if clip else tiny_models.SIGLIP_TOKENS)
    assert model.image_size == 32
    assert model.feature_size == (8 if clip else 16)
    assert (model.backend, model.precision, model.device, model.demo) == ("torch", "float32", "cpu", False)


@pytest.mark.parametrize("family", [name for name in WRITERS if name.startswith("siglip")], indirect=True)
def test_siglip_text_is_padded_to_the_full_length_without_a_mask(family: Family) -> None:
    ids = family.tokenizer(["stone"])["input_ids"][0]
    assert len(ids) < tiny_models.SIGLIP_TOKENS
    full = ids + [family.tokenizer.pad_token_id] * (tiny_models.SIGLIP_TOKENS - len(ids))
    with torch.inference_mode():
        padded = unit(family.model.get_text_features(input_ids=torch.tensor([full])).pooler_output)
        short = unit(family.model.get_text_features(input_ids=torch.tensor([ids])).pooler_output)
    ours = family.encoder.encode_text(["stone"]).features
    np.testing.assert_allclose(ours, padded, atol=1e-5)
    assert np.abs(ours - short).max() > 1e-3


def test_phrases_of_the_same_tokens_share_a_row(clip: ClipEncoder) -> None:
    features = clip.encode_text(["a red circle", "stone", "A  RED circle", "stone"])
    assert features.row_of.tolist() == [0, 1, 0, 1]
    assert features.features.shape == (2, 8)


def test_many_phrases_keep_their_order(clip: ClipEncoder) -> None:
    phrases = [" ".join(["stone"] * (1 + number * 7 % 30)) + f" {number}" for number in range(150)]
    told: list[tuple[int, int]] = []
    together = clip.encode_text(phrases, lambda done, total: told.append((done, total)))
    for number in (0, 1, 63, 64, 149):
        alone = clip.encode_text([phrases[number]]).features[0]
        np.testing.assert_allclose(together.features[together.row_of[number]], alone, atol=1e-5)
    assert told == [(64, 150), (128, 150), (150, 150)]


def test_phrase_at_the_token_limit_is_not_cut(clip: ClipEncoder) -> None:
    # Two of the 77 tokens begin and end the phrase.
    assert clip.encode_text([" ".join(["stone"] * 75), " ".join(["stone"] * 76)]).cut == (1,)


def test_configuration_of_the_old_make_means_the_same(clip: ClipEncoder, tmp_path: Path) -> None:
    new_make = load(tiny_models.write_clip(tmp_path / "new", eos_token_id=49407))
    old, new = clip.encode_text(PHRASES), new_make.encode_text(PHRASES)
    np.testing.assert_allclose(old.features, new.features, atol=1e-6)
    # The features are those of the token that ends the phrase, not of the last or the first.
    assert np.abs(old.features[0] - old.features[3]).max() > 1e-3


def test_half_precision_weights_are_computed_in_single(clip: ClipEncoder, clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    halved = load(folder)
    ours = halved.encode_image(noise(60, 40))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, clip.encode_image(noise(60, 40)), atol=1e-2)
    whole: Any = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32)
    inputs = transformers.CLIPTokenizer.from_pretrained(folder)(["stone"], return_tensors="pt")
    with torch.inference_mode():
        theirs = unit(whole.get_text_features(**inputs).pooler_output)
    np.testing.assert_allclose(halved.encode_text(["stone"]).features, theirs, atol=1e-5)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as they can, so that those that disturb each other do so in a test."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("family", ["clip", "siglip", "siglip 2"], indirect=True)
def test_threads_do_not_disturb_each_other(family: Family) -> None:
    pictures = [noise(60, 40, seed=seed) for seed in range(4)]
    expected_images = [family.encoder.encode_image(picture) for picture in pictures]
    expected_text = family.encoder.encode_text(PHRASES)
    with ThreadPoolExecutor(8) as pool:
        images = [pool.submit(family.encoder.encode_image, pictures[number % 4]) for number in range(32)]
        texts = [pool.submit(family.encoder.encode_text, PHRASES) for _ in range(300)]
        for number, image in enumerate(images):
            np.testing.assert_array_equal(image.result(), expected_images[number % 4])
        for text in texts:
            np.testing.assert_array_equal(text.result().features, expected_text.features)
            assert text.result().cut == expected_text.cut


def without_a_tensor(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("text_projection.weight"))


def with_a_tensor_of_another_shape(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"text_projection.weight": torch.zeros(3, 3)}))


def without_numbers(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["visual_projection.weight"].fill_(math.nan))


def with_zeros_alone(folder: Path) -> None:
    change_weights(folder, lambda weights: [tensor.zero_() for tensor in weights.values()])


def without_a_finite_scale(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["logit_scale"].fill_(math.inf))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def with_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def with_a_broken_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{")


def with_pictures_of_another_size(folder: Path) -> None:
    contents = json.loads((folder / "preprocessor_config.json").read_text())
    tiny_models.write_json(folder / "preprocessor_config.json", {**contents, "crop_size": 48, "size": 48})


def with_a_larger_vocabulary(folder: Path) -> None:
    contents = json.loads((folder / "config.json").read_text())
    contents["text_config"]["vocab_size"] = 100
    tiny_models.write_json(folder / "config.json", contents)
    name = "text_model.embeddings.token_embedding.weight"
    change_weights(folder, lambda weights: weights.update({name: weights[name][:100].clone()}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_a_tensor, "not whole: 1 are missing"),
        (with_a_tensor_of_another_shape, "weights of model"),
        (without_numbers, "its weights are broken"),
        (with_zeros_alone, "its weights are broken"),
        (without_a_finite_scale, "its weights are broken"),
        (cut_short, "weights of model cannot be loaded"),
        (with_a_broken_tokenizer, "tokenizer or image processor of model cannot be loaded"),
        (with_a_broken_processor, "tokenizer or image processor of model cannot be loaded"),
        (with_pictures_of_another_size, "do not fit together"),
        (with_a_larger_vocabulary, "more tokens than the model"),
    ],
)
def test_model_that_is_not_whole_is_refused(
    clip_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    spoil(folder)
    with pytest.raises(CorruptModel, match=reason) as told:
        load(folder)
    assert "\n" not in str(told.value)


class LeavesATrace:
    """What an attacker would put into a pickle: a call that is made when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("save", [torch.save, lambda contents, file: file.write_bytes(pickle.dumps(contents))])
def test_code_in_a_pickle_is_not_run(clip_folder: Path, tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    trace = tmp_path / "trace"
    save({"text_projection.weight": LeavesATrace(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(CorruptModel, match="weights of model cannot be loaded"):
        load(folder)
    assert not trace.exists()


def test_code_of_a_repository_is_not_run(clip: ClipEncoder, clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    tiny_models.add_code(folder, tmp_path / "trace")
    np.testing.assert_array_equal(load(folder).encode_image(noise(60, 40)), clip.encode_image(noise(60, 40)))
    assert not (tmp_path / "trace").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_device_that_is_not_there(clip_folder: Path) -> None:
    with pytest.raises(InvalidSettings, match="GAZE_DEVICE is cuda"):
        load(clip_folder, "cuda")
