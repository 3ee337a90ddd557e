"""A model of torch's -> the same model in OpenVINO's format; the only module that needs both."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.backend import LoadedModel
from service.zero_shot.converted import IMAGE_TOWER, TEXT_TOWER, TOKENIZER, ConvertedModel, Unsuitable, write_converted
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.openvino_backend import OpenVinoBackend
from service.zero_shot.preparation import Preparation
from service.zero_shot.silent_openvino import openvino

MIN_COSINE = 0.999_999
"""How near to torch's a converted model's features must be."""

_PHRASES = (
    "stone",
    "a red circle",
    "a painting of two ships at night, oil on canvas",
    "the river and the bridge " * 30,
)


class _Tower(torch.nn.Module):
    """One tower of a model, from its input to its features."""

    def __init__(self, features: Any, model: Any, name: str) -> None:
        super().__init__()
        self.model = model
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


def convert(loaded: LoadedModel, threads: int) -> LoadedModel | Unsuitable:
    """Return a model that torch runs in float32 on the CPU as one that OpenVINO runs, both in memory.

    It is not taken on trust: pictures and phrases must have the same features on both.
    """
    if not isinstance(loaded.prepare, Preparation):
        return Unsuitable("its pictures are prepared in a way of their own")
    expected = _sample_features(loaded)
    try:
        towers = to_openvino(loaded)
        backend = OpenVinoBackend(towers.image_tower, towers.text_tower, "float32", threads)
        converted = replace(
            loaded, backend=backend, origin=towers, description=replace(loaded.description, backend="openvino")
        )
        cosines = (expected * _sample_features(converted)).sum(axis=1)
    except Exception as error:  # noqa: BLE001  # a model that cannot be traced or compiled shows it in many ways
        return Unsuitable(f"it cannot be converted ({type(error).__name__})")
    if not cosines.min() >= MIN_COSINE:
        return Unsuitable(f"its features would differ (cosine {cosines.min():.7f})")
    return converted


def save_converted(converted: LoadedModel, folder: Path) -> None:
    """Write what `convert` returned, with all that running it takes, into a new folder."""
    preparation = converted.prepare
    if not isinstance(preparation, Preparation):
        raise TypeError("only models whose pictures Preparation prepares are converted")
    folder.mkdir()
    openvino.save_model(converted.origin.image_tower, folder / IMAGE_TOWER, compress_to_fp16=False)
    openvino.save_model(converted.origin.text_tower, folder / TEXT_TOWER, compress_to_fp16=False)
    if converted.tokenizer.file_contents:
        (folder / TOKENIZER).write_text(converted.tokenizer.file_contents, encoding="utf-8")
    about = ConvertedModel(
        converted.description, preparation, converted.tokenizer.padding, bool(converted.tokenizer.file_contents)
    )
    write_converted(folder, about)


def to_openvino(loaded: LoadedModel) -> Towers:
    """Return the towers of a model that torch runs in float32 on the CPU."""
    model = loaded.origin
    pixel_values = np.stack([picture["pixel_values"] for picture in map(loaded.prepare, _pictures())])
    token_ids, _ = loaded.tokenizer(_PHRASES[:1] * 2)
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


def _pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (4, 7, 9, 3), dtype=np.uint8)
    return [Image.fromarray(picture).resize((640, 480), Image.Resampling.BICUBIC) for picture in small]


def _sample_features(loaded: LoadedModel) -> NDArray[np.float32]:
    """Return the unit features of some pictures and phrases, [n, feature_size]."""
    encoder = ClipEncoder(loaded)
    images = encoder.encode_images([encoder.prepare(picture) for picture in _pictures()])
    return np.concatenate([images, encoder.encode_text(_PHRASES).features])
