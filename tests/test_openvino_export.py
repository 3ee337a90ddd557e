"""A converted model is not taken on trust: where its features would differ from torch's, there is none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.zero_shot import model_files
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.openvino_cache import Unconvertible
from service.zero_shot.backends.openvino_export import ExportedModel, export, save, to_openvino
from service.zero_shot.backends.parity_check import sample_features
from service.zero_shot.backends.torch_backend import TorchBackend, load_torch
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.preprocessing.preparation import ImageInputs
from tests.conftest import noise
from tests.support import tiny_models

PHRASES = ("stone", "a red circle", "a painting of two ships", "the river and the bridge " * 30)


def load(folder: Path) -> LoadedModel:
    return load_torch(model_files.locate(str(folder), None), "cpu", "float32", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    """A CLIP in torch, of its own for each test."""
    return load(folder)


def model_of(loaded: LoadedModel) -> Any:
    """Return torch's own model."""
    assert isinstance(loaded.backend, TorchBackend)
    return loaded.backend.model


def image_features(loaded: LoadedModel) -> NDArray[np.float32]:
    encoder = ClipEncoder(loaded)
    return encoder.encode_images([encoder.preprocess(noise(60, 40, seed=seed)) for seed in range(9)])


def test_what_is_converted_is_the_model_on_another_backend(loaded: LoadedModel) -> None:
    exported = export(loaded, 1)
    assert isinstance(exported, ExportedModel)
    converted = exported.loaded
    assert converted.description == replace(loaded.description, backend="openvino")
    assert (converted.preprocess, converted.tokenizer) == (loaded.preprocess, loaded.tokenizer)
    np.testing.assert_allclose(image_features(converted), image_features(loaded), atol=1e-5)
    np.testing.assert_array_equal(exported.sample_features, sample_features(loaded))


def test_the_model_in_torch_is_left_as_it_was(loaded: LoadedModel) -> None:
    before = image_features(loaded), ClipEncoder(loaded).encode_text(PHRASES).features
    export(loaded, 1)
    assert model_of(loaded).config._attn_implementation == "sdpa"
    np.testing.assert_array_equal(image_features(loaded), before[0])
    np.testing.assert_array_equal(ClipEncoder(loaded).encode_text(PHRASES).features, before[1])


class OffByAShare(TorchBackend):
    """A model whose weights are off by a share of their size, beside the features that it should have."""

    def __init__(self, folder: Path, share: float) -> None:
        right, wrong = load(folder), model_of(load(folder))
        generator = torch.Generator().manual_seed(0)
        for weights in wrong.parameters():
            weights.data *= 1 + share * torch.randn(weights.shape, generator=generator)
        super().__init__(wrong, torch.device("cpu"))
        self.right = right.backend

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        return self.right.image_features(inputs)

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.right.text_features(token_ids)


@pytest.mark.parametrize(("share", "suitable"), [(1e-6, True), (0.003, False), (0.5, False)])
def test_converted_model_must_have_torchs_features(
    loaded: LoadedModel, folder: Path, share: float, *, suitable: bool
) -> None:
    verdict = export(replace(loaded, backend=OffByAShare(folder, share)), 1)
    assert isinstance(verdict, ExportedModel) == suitable
    if isinstance(verdict, Unconvertible):
        assert verdict.reason.startswith("its features would differ (cosine ")
        assert verdict.lasting


def beside_torch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Take a step that tracing does not see, so that what was computed of the first example becomes a constant."""
    return output * torch.from_numpy(output[:1].numpy())


def all_beside_torch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Let everything that was computed of the examples become a constant, the number of them too."""
    constant: torch.Tensor = torch.from_numpy(output.numpy())
    return constant


def that_openvino_lacks(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = torch.special.bessel_j1(output)
    return result


@pytest.mark.parametrize(
    ("step", "reason", "lasting"),
    [
        (beside_torch, "its features would differ (cosine ", True),
        (that_openvino_lacks, "it cannot be converted (OpConversionFailure)", True),
    ],
)
@pytest.mark.parametrize("tower", ["visual_projection", "text_projection"])
def test_model_with_a_step_that_cannot_be_converted(
    *, loaded: LoadedModel, step: Callable[..., Any], reason: str, lasting: bool, tower: str
) -> None:
    getattr(model_of(loaded), tower).register_forward_hook(step)
    verdict = export(loaded, 1)
    assert isinstance(verdict, Unconvertible)
    assert verdict.reason.startswith(reason)
    assert verdict.lasting == lasting


@pytest.mark.parametrize("tower", ["visual_projection", "text_projection"])
def test_model_whose_features_tracing_would_freeze_is_not_converted(loaded: LoadedModel, tower: str) -> None:
    # Were it compared by what it was traced with, it would look right.
    getattr(model_of(loaded), tower).register_forward_hook(all_beside_torch)
    assert isinstance(export(loaded, 1), Unconvertible)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("tower", ["visual_projection", "text_projection"])
def test_model_that_gives_no_numbers_is_not_converted(loaded: LoadedModel, tower: str) -> None:
    getattr(model_of(loaded), tower).weight.data.fill_(torch.nan)
    assert isinstance(export(loaded, 1), Unconvertible)


def test_siglip_2_that_keeps_the_aspect_ratio_is_left_to_torch(tmp_path: Path) -> None:
    loaded = load(tiny_models.write_siglip2(tmp_path / "model"))
    assert export(loaded, 1) == Unconvertible("its pictures are prepared in a way of their own", lasting=True)


def test_what_torch_does_not_run_is_not_converted(loaded: LoadedModel) -> None:
    exported = export(loaded, 1)
    assert isinstance(exported, ExportedModel)
    with pytest.raises(TypeError):
        to_openvino(exported.loaded)


def test_weights_are_written_in_full_precision(loaded: LoadedModel, tmp_path: Path) -> None:
    exported = export(loaded, 1)
    assert isinstance(exported, ExportedModel)
    save(exported, tmp_path / "converted")
    parts = {"image_tower.bin": ("vision_model.", "visual_projection."), "text_tower.bin": ("text_",)}
    for name, prefixes in parts.items():
        parameters = model_of(loaded).named_parameters()
        numbers = sum(weights.numel() for key, weights in parameters if key.startswith(prefixes))
        assert numbers > 5_000
        assert (tmp_path / "converted" / name).stat().st_size >= 4 * numbers
