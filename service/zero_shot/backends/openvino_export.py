"""A model in torch -> the same model in OpenVINO's format; the only module that needs both."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.openvino_backend import OpenVinoBackend, openvino
from service.zero_shot.backends.openvino_cache import (
    IMAGE_TOWER,
    SAMPLE_FEATURES,
    TEXT_TOWER,
    TOKENIZER,
    CachedModel,
    Unconvertible,
    write_cached,
)
from service.zero_shot.backends.parity_check import MIN_COSINE, PHRASES, lowest_cosine, pictures, sample_features
from service.zero_shot.backends.torch_backend import TorchBackend
from service.zero_shot.preprocessing.preparation import Preparation


class _Tower(torch.nn.Module):
    """One tower of a model, from its input to its features."""

    def __init__(self, features: Any, model: Any, name: str) -> None:
        super().__init__()
        self.model = model  # so that tracing finds the weights
        self._features = features
        self._name = name

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._features(**{self._name: inputs}).pooler_output
        return output


@dataclass(frozen=True)
class Towers:
    """A model's image tower, which takes [n, 3, height, width], and its text tower, which takes [n, tokens]."""

    image_tower: openvino.Model
    text_tower: openvino.Model


@dataclass(frozen=True)
class ExportedModel:
    """A model on OpenVINO, its towers, and torch's features of the samples [n, feature_size]."""

    loaded: LoadedModel
    towers: Towers
    sample_features: NDArray[np.float32]


def export(loaded: LoadedModel, threads: int) -> ExportedModel | Unconvertible:
    """Return a model that torch runs in float32 on the CPU as one that OpenVINO runs, in memory.

    Sample pictures and phrases must have the same features on both.
    """
    if not isinstance(loaded.preprocess, Preparation):
        return Unconvertible("its pictures are prepared in a way of their own")
    expected = sample_features(loaded)
    try:
        towers = to_openvino(loaded)
        backend = OpenVinoBackend(towers.image_tower, towers.text_tower, "float32", threads)
        converted = replace(loaded, backend=backend, description=replace(loaded.description, backend="openvino"))
        cosine = lowest_cosine(expected, sample_features(converted))
    except Exception as error:  # noqa: BLE001  # tracing and compiling raise many kinds
        lasting = isinstance(error, openvino.frontend.OpConversionFailure)
        return Unconvertible(f"it cannot be converted ({type(error).__name__})", lasting)
    if not cosine >= MIN_COSINE:
        return Unconvertible(f"its features would differ (cosine {cosine:.7f})")
    return ExportedModel(converted, towers, expected)


def save(exported: ExportedModel, folder: Path) -> None:
    """Write an exported model, with all that is needed to run it, into a new folder."""
    converted = exported.loaded
    if not isinstance(converted.preprocess, Preparation):
        raise TypeError("only models whose pictures Preparation prepares are converted")
    folder.mkdir()
    openvino.save_model(exported.towers.image_tower, folder / IMAGE_TOWER, compress_to_fp16=False)
    openvino.save_model(exported.towers.text_tower, folder / TEXT_TOWER, compress_to_fp16=False)
    np.save(folder / SAMPLE_FEATURES, exported.sample_features)
    tokenizer = converted.tokenizer
    if tokenizer.file_contents:
        (folder / TOKENIZER).write_text(tokenizer.file_contents, encoding="utf-8")
    about = CachedModel(converted.description, converted.preprocess, tokenizer.padding, bool(tokenizer.file_contents))
    write_cached(folder, about)


def to_openvino(loaded: LoadedModel) -> Towers:
    """Return the towers of a model that torch runs in float32 on the CPU."""
    if not isinstance(loaded.backend, TorchBackend):
        raise TypeError("only what torch runs can be converted")
    model = loaded.backend.model
    # Other pictures than those of the comparison, and fewer, so that constants frozen by tracing are detected.
    pixel_values = np.stack([loaded.preprocess(picture)["pixel_values"] for picture in pictures(seed=1)[:2]])
    token_ids, _ = loaded.tokenizer(PHRASES[:1] * 2)
    model.requires_grad_(False)
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the only one that can be traced
    try:
        image_tower = _traced(_Tower(model.get_image_features, model, "pixel_values"), torch.from_numpy(pixel_values))
        text_tower = _traced(_Tower(model.get_text_features, model, "input_ids"), torch.tensor(token_ids))
    finally:
        model.set_attn_implementation(usual)
    image_tower.reshape([-1, *pixel_values.shape[1:]])
    return Towers(image_tower, text_tower)


def _traced(tower: _Tower, example: torch.Tensor) -> openvino.Model:
    # Imported here, after its telemetry was disabled.
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about branches that are constant for these shapes
        decoder = TorchScriptPythonDecoder(tower, example_input={"inputs": example})
        return frontend.convert(frontend.load(decoder))
