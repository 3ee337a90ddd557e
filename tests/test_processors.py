"""What a model's files say of its pictures and phrases is understood as it is written in the world, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from service.errors import CorruptModel, StartError, UnsuitableModel
from service.zero_shot import model_files
from service.zero_shot.backends.torch_backend import load_torch
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.preprocessing.preparation import Preparation, Preprocessor
from service.zero_shot.preprocessing.processors import load_preparation, preparation_of
from tests.conftest import noise
from tests.support import tiny_models
from tests.support.tiny_models import load_theirs

CLIP_SIZE: dict[str, Any] = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
STRETCHED: dict[str, Any] = {"size": {"height": 32, "width": 32}}


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        (CLIPImageProcessorPil, {**CLIP_SIZE, "do_pad": True}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "do_resize": False}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "do_rescale": False}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "do_normalize": False}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "size": {"shortest_edge": 31}}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "crop_size": {"height": 32, "width": 41}}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "crop_size": {"height": 41, "width": 32}}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "size": {"height": 40, "width": 40}}),
        (CLIPImageProcessorPil, {**CLIP_SIZE, "size": {"shortest_edge": 40, "longest_edge": 50}}),
        (SiglipImageProcessorPil, {"size": {"longest_edge": 32}}),
        (SiglipImageProcessorPil, {"size": {"max_height": 32, "max_width": 32}}),
        (SiglipImageProcessorPil, {**STRETCHED, "do_rescale": False}),
        (Siglip2ImageProcessorPil, {}),
        (transformers.models.vit.image_processing_pil_vit.ViTImageProcessorPil, STRETCHED),
    ],
)
def test_what_preparation_cannot_do_is_left_to_transformers(processor: Any, settings: dict[str, Any]) -> None:
    assert preparation_of(processor(**settings)) is None


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("clip", {"do_pad": True, "pad_size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3]}),
        ("clip", {"size": {"shortest_edge": 20}}),
        ("siglip", {"do_rescale": False}),
    ],
)
def test_model_whose_pictures_are_prepared_otherwise_is_loaded(
    tmp_path: Path, family: str, settings: dict[str, Any]
) -> None:
    folder = tiny_models.FAMILIES[family](tmp_path / "model")
    usual = image_features(folder)
    contents = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "preprocessor_config.json", {**contents, **settings})
    theirs = load_theirs(folder)
    ours = image_features(folder)
    for seed, features in enumerate(ours):
        np.testing.assert_allclose(features, theirs.image_features(noise(60, 40, seed=seed)), atol=1e-5)
    assert np.abs(ours - usual).max() > 1e-3


def image_features(folder: Path) -> Any:
    loaded = load_torch(model_files.locate(str(folder), None), "cpu", "float32", 1)
    encoder = ClipEncoder(loaded)
    return encoder.encode_images([encoder.preprocess(noise(60, 40, seed=seed)) for seed in range(4)])


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip 2"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.FAMILIES[request.param](tmp_path_factory.mktemp("models") / "model")


Change = Callable[[dict[str, Any]], object]


def prepared_by(written: Path, folder: Path, change: Change) -> Preprocessor:
    """Return what prepares the pictures of a model whose preprocessor_config.json was changed."""
    folder.mkdir()
    for file in written.iterdir():
        (folder / file.name).symlink_to(file)
    contents = json.loads((written / "preprocessor_config.json").read_text(encoding="utf-8"))
    change(contents)
    (folder / "preprocessor_config.json").unlink()
    tiny_models.write_json(folder / "preprocessor_config.json", contents)
    files = model_files.locate(str(folder), None)
    return load_preparation(files, json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])


def named(name: str) -> Change:
    """Return what names the processor otherwise; %s is the family's."""

    def change(contents: dict[str, Any]) -> None:
        old = contents.pop("image_processor_type", None) or contents.pop("feature_extractor_type")
        contents["image_processor_type"] = name.replace(
            "%s", old.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
        )

    return change


def as_a_feature_extractor(contents: dict[str, Any]) -> None:
    old = contents.pop("image_processor_type", "CLIPImageProcessor")
    contents["feature_extractor_type"] = old.replace("ImageProcessor", "FeatureExtractor")


def without_a_name(contents: dict[str, Any]) -> None:
    contents.pop("image_processor_type", None)
    contents.pop("feature_extractor_type", None)


def with_own_code(contents: dict[str, Any]) -> None:
    contents["auto_map"] = {"AutoImageProcessor": "processing_own.Own"}


def with_filter(name: Any) -> Change:
    return lambda contents: contents.update(resample=name)


@pytest.mark.parametrize(
    "change",
    [
        named("%sFeatureExtractor"),
        named("%sImageProcessorFast"),
        named("%sImageProcessorPil"),
        as_a_feature_extractor,
        without_a_name,
        with_own_code,
        lambda contents: contents.update(processor_class="CLIPProcessor", do_convert_rgb=None, unheard_of={"of": 1}),
        lambda contents: contents.update(do_rescale=True, rescale_factor=1 / 255, do_convert_rgb=False),
    ],
    ids=["extractor", "fast", "pil", "old extractor", "nameless", "own code", "more", "usual"],
)
def test_names_of_the_same_are_understood(written: Path, tmp_path: Path, change: Change) -> None:
    usual = prepared_by(written, tmp_path / "usual", lambda _contents: None)
    prepare = prepared_by(written, tmp_path / "changed", change)
    assert type(prepare) is type(usual)
    for name, numbers in usual(noise(60, 40)).items():
        np.testing.assert_array_equal(prepare(noise(60, 40))[name], numbers)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *[("bicubic", 3), ("BICUBIC", 3), ("Image.Resampling.BICUBIC", 3), ("InterpolationMode.BICUBIC", 3)],
        *[("cubic", 3), ("3", 3), (3.0, 3), (None, 2), ("bilinear", 2), ("nearest", 0), ("nearest-exact", 0)],
        *[("lanczos", 1), ("antialias", 1), ("box", 4), ("hamming", 5), (5, 5), (0, 0)],
    ],
)
def test_filter_is_understood_by_name_and_number(tmp_path: Path, name: Any, number: int) -> None:
    folder = tiny_models.write_clip(tmp_path / "model")
    prepare = prepared_by(folder, tmp_path / "changed", with_filter(name))
    assert isinstance(prepare, Preparation)
    assert prepare.resample == number


@pytest.mark.parametrize("size", [32, [32, 32], {"height": 32, "width": 32}, {"shortest_edge": 32}])
@pytest.mark.parametrize("crop", [32, [32, 32], {"height": 32, "width": 32}])
def test_sizes_are_understood_in_every_form(tmp_path: Path, size: Any, crop: Any) -> None:
    folder = tiny_models.write_clip(tmp_path / "model")
    prepare = prepared_by(folder, tmp_path / "changed", lambda contents: contents.update(size=size, crop_size=crop))
    assert prepare(noise(60, 40))["pixel_values"].shape == (3, 32, 32)


def test_number_for_all_channels_is_understood(tmp_path: Path) -> None:
    folder = tiny_models.write_siglip(tmp_path / "model")
    prepare = prepared_by(
        folder, tmp_path / "changed", lambda contents: contents.update(image_mean=0.5, image_std=0.25)
    )
    assert isinstance(prepare, Preparation)
    assert (prepare.mean, prepare.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_file_of_transformers_5_is_understood(tmp_path: Path) -> None:
    folder = tiny_models.write_clip(tmp_path / "model")
    usual = image_features(folder)
    contents = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").unlink()
    nested = {**contents, "image_processor_type": "CLIPImageProcessor", "resample": "bicubic"}
    tiny_models.write_json(
        folder / "processor_config.json", {"image_processor": nested, "processor_class": "CLIPProcessor"}
    )
    np.testing.assert_array_equal(image_features(folder), usual)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (
            named("OwnImageProcessor"),
            UnsuitableModel,
            "by OwnImageProcessor, which this service does not know",
        ),
        (named("Own"), UnsuitableModel, "prepared by Own, which"),
        (named("a\nb\u202e"), UnsuitableModel, "prepared by ab, which"),
        (lambda contents: contents.update(image_processor_type=7), UnsuitableModel, "prepared by 7, which"),
        (with_filter("bicubical"), UnsuitableModel, "the filter bicubical .resample., which there is not in Pillow"),
        (with_filter(9), UnsuitableModel, "the filter 9"),
        (with_filter(True), UnsuitableModel, "the filter True"),
        (with_filter([3]), UnsuitableModel, "the filter"),
        (lambda contents: contents.update(size="large"), CorruptModel, "cannot be done to a picture"),
        (lambda contents: contents.update(size={"edge": 3}), CorruptModel, "cannot be done to a picture"),
        (lambda contents: contents.update(size=-3, crop_size=-3), CorruptModel, "cannot be done to a picture"),
        (lambda contents: contents.update(image_mean=[0.5, 0.5]), CorruptModel, "cannot be done to a picture"),
        (lambda contents: contents.update(image_mean="grey"), CorruptModel, "cannot be done to a picture"),
        (lambda contents: contents.update(rescale_factor="1/255"), CorruptModel, "cannot be done to a picture"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    tmp_path: Path, change: Change, error: type[StartError], reason: str
) -> None:
    folder = tiny_models.write_clip(tmp_path / "model")
    with pytest.raises(error, match=reason) as told:
        prepared_by(folder, tmp_path / "changed", change)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("contents", ["", "{", "[]", "7", "null", '"bicubic"'])
def test_file_that_is_no_object_is_refused(tmp_path: Path, contents: str) -> None:
    folder = tiny_models.write_clip(tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(contents)
    with pytest.raises(CorruptModel, match=r"preprocessor_config\.json of model cannot be read"):
        load_preparation(model_files.locate(str(folder), None), "clip")
