"""A model of torch's -> the same model in OpenVINO's format; the only module that needs both."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.openvino_backend import OpenVinoBackend
from service.zero_shot.backends.openvino_cache import (
    IMAGE_TOWER,
    SAMPLE_FEATURES,
    TEXT_TOWER,
    TOKENIZER,
    ConvertedModel,
    Unsuitable,
    write_converted,
)
from service.zero_shot.backends.openvino_import import openvino
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
class Conversion:
    """A model as OpenVINO runs it, what it consists of, and torch's features of the samples [n, feature_size]."""

    loaded: LoadedModel
    towers: Towers
    sample_features: NDArray[np.float32]


def convert(loaded: LoadedModel, threads: int) -> Conversion | Unsuitable:
    """Return a model that torch runs in float32 on the CPU as one that OpenVINO runs, in memory.

    It is not taken on trust: pictures and phrases must have the same features on both.
    """
    if not isinstance(loaded.prepare, Preparation):
        return Unsuitable("its pictures are prepared in a way of their own")
    expected = sample_features(loaded)
    try:
        towers = to_openvino(loaded)
        backend = OpenVinoBackend(towers.image_tower, towers.text_tower, "float32", threads)
        converted = replace(loaded, backend=backend, description=replace(loaded.description, backend="openvino"))
        cosine = lowest_cosine(expected, sample_features(converted))
    except Exception as error:  # noqa: BLE001  # a model that cannot be traced or compiled shows it in many ways
        lasting = isinstance(error, openvino.frontend.OpConversionFailure)
        return Unsuitable(f"it cannot be converted ({type(error).__name__})", lasting)
    if not cosine >= MIN_COSINE:
        return Unsuitable(f"its features would differ (cosine {cosine:.7f})")
    return Conversion(converted, towers, expected)


def save_converted(conversion: Conversion, folder: Path) -> None:
    """Write what `convert` returned, with all that running it takes, into a new folder."""
    converted = conversion.loaded
    if not isinstance(converted.prepare, Preparation):
        raise TypeError("only models whose pictures Preparation prepares are converted")
    folder.mkdir()
    openvino.save_model(conversion.towers.image_tower, folder / IMAGE_TOWER, compress_to_fp16=False)
    openvino.save_model(conversion.towers.text_tower, folder / TEXT_TOWER, compress_to_fp16=False)
    np.save(folder / SAMPLE_FEATURES, conversion.sample_features)
    tokenizer = converted.tokenizer
    if tokenizer.file_contents:
        (folder / TOKENIZER).write_text(tokenizer.file_contents, encoding="utf-8")
    about = ConvertedModel(converted.description, converted.prepare, tokenizer.padding, bool(tokenizer.file_contents))
    write_converted(folder, about)


def to_openvino(loaded: LoadedModel) -> Towers:
    """Return the towers of a model that torch runs in float32 on the CPU."""
    if not isinstance(loaded.backend, TorchBackend):
        raise TypeError("only what torch runs can be converted")
    model = loaded.backend.model
    # Not the pictures that will be compared, nor as many: what tracing froze of these must show then.
    pixel_values = np.stack([loaded.prepare(picture)["pixel_values"] for picture in pictures(seed=1)[:2]])
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
    # Imported here, after what keeps OpenVINO silent.
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of branches that are the same for every input of these shapes
        decoder = TorchScriptPythonDecoder(tower, example_input={"inputs": example})
        return frontend.convert(frontend.load(decoder))
