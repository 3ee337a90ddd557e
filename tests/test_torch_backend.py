"""load_torch: whole models of each family are loaded as they are, others refused, and no code of theirs is run."""

import gc
import json
import math
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from service.errors import CorruptModel, InvalidSettings
from service.zero_shot import model_files
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.torch_backend import load_torch
from service.zero_shot.encoder import ClipEncoder
from tests.conftest import noise
from tests.support import tiny_models
from tests.support.full_cuda import MIB, full_but_for
from tests.support.tiny_models import change_weights, unit

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
PHRASES = ("oil on canvas", "stone", "the river and the bridge at night " * 80)


def load(folder: Path, device: str = "cpu", precision: str = "auto") -> LoadedModel:
    return load_torch(model_files.locate(str(folder), None), device, precision, torch.get_num_threads())


def image_features(loaded: LoadedModel) -> Any:
    encoder = ClipEncoder(loaded)
    return encoder.encode_images([encoder.preprocess(noise(60, 40, seed=seed)) for seed in range(4)])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> LoadedModel:
    return load(clip_folder)


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_description_is_read_from_the_model(tmp_path: Path, family: str) -> None:
    loaded = load(tiny_models.FAMILIES[family](tmp_path / "model"))
    model = loaded.description
    clip = family.startswith("clip")
    assert (model.id, model.revision) == ("model", model_files.locate(str(tmp_path / "model"), None).revision)
    assert model.logit_scale == pytest.approx(tiny_models.LOGIT_SCALE, rel=1e-6)
    assert model.logit_bias == pytest.approx(0 if clip else tiny_models.LOGIT_BIAS, rel=1e-6)
    assert model.max_tokens == loaded.tokenizer.max_tokens == (77 if clip else tiny_models.SIGLIP_TOKENS)
    assert model.image_size == 32
    assert model.feature_size == image_features(loaded).shape[1] == (8 if clip else 16)
    assert (model.backend, model.precision, model.device, model.demo) == ("torch", "float32", "cpu", False)
    assert loaded.backend.max_concurrent_batches == 1


def test_half_precision_weights_are_computed_in_single(clip: LoadedModel, clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    halved = load(folder)
    ours = image_features(halved)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, image_features(clip), atol=1e-2)
    whole: Any = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32)
    inputs = transformers.CLIPTokenizer.from_pretrained(folder)(["stone"], return_tensors="pt")
    with torch.inference_mode():
        theirs = unit(whole.get_text_features(**inputs).pooler_output)
    np.testing.assert_allclose(ClipEncoder(halved).encode_text(["stone"]).features, theirs, atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip 2"])
def test_bfloat16_is_near_and_not_the_same(tmp_path: Path, family: str) -> None:
    folder = tiny_models.FAMILIES[family](tmp_path / "model")
    single, brain = load(folder, precision="float32"), load(folder, precision="bfloat16")
    assert (brain.description.precision, brain.description.device) == ("bfloat16", "cpu")
    texts = [ClipEncoder(loaded).encode_text(PHRASES).features for loaded in (single, brain)]
    for ours, expected in ((image_features(brain), image_features(single)), (texts[1], texts[0])):
        assert ours.dtype == np.float32
        cosines = (ours * expected).sum(axis=1)
        assert cosines.min() >= 0.999
        assert np.abs(ours - expected).max() > 1e-5


def test_float16_takes_a_cuda_device(clip_folder: Path) -> None:
    with pytest.raises(InvalidSettings, match="on a CPU say float32 or bfloat16"):
        load(clip_folder, precision="float16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_device_that_is_not_there(clip_folder: Path) -> None:
    with pytest.raises(InvalidSettings, match="GAZE_DEVICE is cuda"):
        load(clip_folder, "cuda")


@needs_cuda
@pytest.mark.parametrize(("precision", "least"), [("auto", 0.9999), ("float32", 0.99999), ("bfloat16", 0.999)])
@pytest.mark.parametrize("family", ["clip", "siglip", "siglip 2"])
def test_features_of_a_cuda_device_are_near_the_cpus(tmp_path: Path, family: str, precision: str, least: float) -> None:
    folder = tiny_models.FAMILIES[family](tmp_path / "model")
    on_cuda, on_cpu = load(folder, "cuda", precision), load(folder)
    assert on_cuda.description.device == "cuda"
    assert on_cuda.description.precision == ("float16" if precision == "auto" else precision)
    assert (image_features(on_cuda) * image_features(on_cpu)).sum(axis=1).min() >= least
    ours, expected = (ClipEncoder(loaded).encode_text(PHRASES).features for loaded in (on_cuda, on_cpu))
    assert (ours * expected).sum(axis=1).min() >= least


@needs_cuda
def test_lanes_have_what_they_need_of_a_device_that_is_full(clip_folder: Path) -> None:
    loaded = load(clip_folder, "cuda")
    expected = image_features(loaded)
    together = threading.Barrier(loaded.backend.max_concurrent_batches)

    def ask(_: int) -> Any:
        together.wait()
        return image_features(loaded)

    with full_but_for(16 * MIB), ThreadPoolExecutor(loaded.backend.max_concurrent_batches) as callers:
        for found in callers.map(ask, range(loaded.backend.max_concurrent_batches)):
            np.testing.assert_allclose(found, expected, atol=1e-3)


@needs_cuda
def test_many_callers_take_no_more_of_a_device_than_one(clip_folder: Path) -> None:
    loaded = load(clip_folder, "cuda")
    image_features(loaded)
    free, _ = torch.cuda.mem_get_info()
    together = threading.Barrier(16)

    def ask(_: int) -> None:
        image_features(loaded)
        together.wait()  # no thread is used twice

    with ThreadPoolExecutor(16) as callers:
        list(callers.map(ask, range(16)))
    assert free - torch.cuda.mem_get_info()[0] < 64 * MIB


@needs_cuda
def test_a_device_without_room_for_the_model(clip_folder: Path) -> None:
    gc.collect()
    torch.cuda.empty_cache()  # what earlier tests had
    with full_but_for(0), pytest.raises(InvalidSettings, match="has too little free memory for model; set GAZE_DEVICE"):
        load(clip_folder, "cuda")


def without_a_tensor(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("text_projection.weight"))


def with_a_tensor_of_another_shape(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"text_projection.weight": torch.zeros(3, 3)}))


def without_a_finite_scale(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["logit_scale"].fill_(math.inf))


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def with_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def with_a_broken_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{")


def with_a_larger_vocabulary(folder: Path) -> None:
    contents = json.loads((folder / "config.json").read_text())
    contents["text_config"]["vocab_size"] = 100
    tiny_models.write_json(folder / "config.json", contents)
    name = "text_model.embeddings.token_embedding.weight"
    change_weights(folder, lambda weights: weights.update({name: weights[name][:100].clone()}))


def ending_phrases_with(end: Any) -> Callable[[Path], None]:
    """Return what has config.json say that phrases end with another token than the tokenizer's."""

    def spoil(folder: Path) -> None:
        contents = json.loads((folder / "config.json").read_text())
        contents["text_config"]["eos_token_id"] = end
        tiny_models.write_json(folder / "config.json", contents)

    return spoil


def with_a_tokenizer_that_ends_nothing(folder: Path) -> None:
    contents = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tiny_models.write_json(folder / "tokenizer.json", {**contents, "post_processor": None})
    tiny_models.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


def with_an_end_below_other_tokens(folder: Path) -> None:
    """End phrases with a low token where config.json says 2, for which transformers takes the highest."""
    contents = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert contents["post_processor"]["sep"] == ["<|endoftext|>", 49407]
    contents["post_processor"]["sep"][1] = 256
    tiny_models.write_json(folder / "tokenizer.json", contents)
    tiny_models.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


def of_fewer_layers(tower: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        contents = json.loads((folder / "config.json").read_text())
        contents[f"{tower}_config"]["num_hidden_layers"] -= 1
        tiny_models.write_json(folder / "config.json", contents)

    return spoil


def without_half_of_the_merges(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "merges.txt").write_text("".join(merges[: len(merges) // 2]), encoding="utf-8")


def with_a_window_of(tokens: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        contents = json.loads((folder / "tokenizer_config.json").read_text())
        tiny_models.write_json(folder / "tokenizer_config.json", {**contents, "model_max_length": tokens})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (ending_phrases_with(6001), "has 6001 as eos_token_id, and its tokenizer ends phrases with 49407"),
        (ending_phrases_with(49406), "has 49406 as eos_token_id"),
        (ending_phrases_with(None), "has none as eos_token_id, .* write 49407 there"),
        (with_an_end_below_other_tokens, "has 2 as eos_token_id, and its tokenizer ends phrases with 256"),
        (with_a_tokenizer_that_ends_nothing, "ends phrases with no token of its own"),
        (without_a_tensor, "not whole: 1 are missing"),
        (with_a_tensor_of_another_shape, "weights of model"),
        (without_a_finite_scale, "its weights are broken"),
        (cut_short, "weights of model cannot be loaded"),
        (with_a_broken_tokenizer, "tokenizer of model cannot be loaded"),
        (with_a_broken_processor, "preprocessor_config.json of model cannot be read"),
        (with_a_larger_vocabulary, "more tokens than the model"),
        (of_fewer_layers("text"), "leaves out 16 of its weights, such as 'text_model.encoder.layers.1"),
        (of_fewer_layers("vision"), "leaves out 16 of its weights, such as 'vision_model.encoder.layers.1"),
        (without_half_of_the_merges, "cannot make 24448 of its 48894 words, because their merges are missing"),
        (with_a_window_of(0), "has 0 as model_max_length"),
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


@pytest.mark.parametrize("without", ["post_processor", "eos_token", "pad_token"])
def test_siglip_whose_phrases_have_no_end_or_no_filling_is_refused(tmp_path: Path, without: str) -> None:
    folder = tiny_models.write_siglip(tmp_path / "model", tokenizer="GemmaTokenizer")
    name = "tokenizer.json" if without == "post_processor" else "tokenizer_config.json"
    contents = json.loads((folder / name).read_text(encoding="utf-8"))
    changed = {"tokenizer_class": "PreTrainedTokenizerFast"} if name == "tokenizer_config.json" else {}
    tiny_models.write_json(folder / name, {**contents, without: None, **changed})
    with pytest.raises(CorruptModel, match="does not end phrases with a token of its own"):
        load(folder)


def test_weights_that_belong_to_neither_tower_are_left_out(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    change_weights(folder, lambda weights: weights.update({"classifier.weight": torch.zeros(3, 8)}))
    assert load(folder).description.feature_size == 8


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


def test_code_of_a_repository_is_not_run(clip: LoadedModel, clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    tiny_models.add_code(folder, tmp_path / "trace")
    np.testing.assert_array_equal(image_features(load(folder)), image_features(clip))
    assert not (tmp_path / "trace").exists()
