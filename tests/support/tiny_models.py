"""Models of a few thousand weights in transformers' own format, with the file sets that the hub's repositories have.

The weights are random and wide enough apart that every picture and phrase has features of its own.
"""

import io
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers, processors, trainers
from tokenizers.models import BPE

from service.zero_shot import model_files
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.cache import CacheFolder

CLIP_TOKENIZER = Path(__file__).parent.parent.parent / "models" / "demo"
LOGIT_SCALE = 7.3
LOGIT_BIAS = -2.9
SIGLIP_TOKENS = 64
"""The token limit of the SigLIP models made here."""

_IMAGE_SIZE = 32
_TOWER: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_SAMPLE_PHRASES = (
    "a red circle on a blue ground",
    "oil on canvas",
    "the river and the bridge at night",
    "a painting of two ships",
    "stone, bronze; marble and wood",
)


def write_clip(
    folder: Path,
    *,
    weights: str = "model.safetensors",
    tokenizer_json: bool = True,
    seed: int = 0,
    eos_token_id: int = 2,
    image_size: int = _IMAGE_SIZE,
    patch_size: int = 8,
) -> Path:
    """Write a CLIP with CLIP's own tokenizer and configurations of the old make, as the default model's are.

    weights: "model.safetensors", "pytorch_model.bin", or "model.safetensors.index.json" for weights in two files.
    """
    config: dict[str, Any] = {
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": 8,
        "text_config": {
            **_TOWER,
            "model_type": "clip_text_model",
            "vocab_size": 49408,
            "max_position_embeddings": 77,
            "projection_dim": 8,
            "hidden_act": "quick_gelu",
            "bos_token_id": 0 if eos_token_id == 2 else 49406,
            "eos_token_id": eos_token_id,
            "pad_token_id": 1,
        },
        "text_config_dict": None,
        "transformers_version": None,
        "vision_config": {
            **_TOWER,
            "model_type": "clip_vision_model",
            "image_size": image_size,
            "patch_size": patch_size,
            "projection_dim": 8,
            "hidden_act": "quick_gelu",
        },
        "vision_config_dict": None,
    }
    preprocessor = {
        "crop_size": image_size,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": image_size,
    }
    special_tokens = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", preprocessor)
    write_json(
        folder / "tokenizer_config.json",
        {**special_tokens, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"},
    )
    write_json(folder / "special_tokens_map.json", special_tokens)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(CLIP_TOKENIZER / name, folder / name)
    if tokenizer_json:
        transformers.CLIPTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    model = transformers.CLIPModel(transformers.CLIPConfig(**config))
    _write_weights(folder, weights, _random(model, seed))
    return folder


def write_siglip(folder: Path, *, tokenizer: str = "SiglipTokenizer", seed: int = 0) -> Path:
    """Write a SigLIP of a fixed picture size.

    tokenizer: "SiglipTokenizer", a SentencePiece model, or "GemmaTokenizer", which SigLIP 2 of a fixed size has.
    """
    config = transformers.SiglipConfig(
        text_config={
            **_TOWER,
            "vocab_size": 320,
            "max_position_embeddings": SIGLIP_TOKENS,
            "projection_size": 16,
            "pad_token_id": 1,
            "bos_token_id": 2,
            "eos_token_id": 1,
        },
        vision_config={**_TOWER, "image_size": _IMAGE_SIZE, "patch_size": 8},
    )
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "resample": 3,
            "size": {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE},
        },
    )
    if tokenizer == "SiglipTokenizer":
        _write_sentencepiece_tokenizer(folder)
    else:
        _write_gemma_tokenizer(folder)
    _write_weights(folder, "model.safetensors", _random(transformers.SiglipModel(config), seed))
    return folder


def write_siglip2(folder: Path, *, seed: int = 0) -> Path:
    """Write a SigLIP 2 that keeps a picture's aspect ratio; its tokenizer knows no token limit, as the real one's."""
    config = transformers.Siglip2Config(
        text_config={
            **_TOWER,
            "vocab_size": 320,
            "max_position_embeddings": SIGLIP_TOKENS,
            "projection_size": 16,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 1,
        },
        vision_config={**_TOWER, "num_patches": 16, "patch_size": 8},
    )
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Siglip2ImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "max_num_patches": 16,
            "patch_size": 8,
            "resample": 2,
        },
    )
    _write_gemma_tokenizer(folder)
    _write_weights(folder, "model.safetensors", _random(transformers.Siglip2Model(config), seed))
    return folder


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "clip": write_clip,
    "clip without tokenizer.json": lambda folder: write_clip(folder, tokenizer_json=False),
    "clip in a pickle": lambda folder: write_clip(folder, weights="pytorch_model.bin"),
    "clip in two files": lambda folder: write_clip(folder, weights="model.safetensors.index.json"),
    "siglip": write_siglip,
    "siglip 2, fixed size": lambda folder: write_siglip(folder, tokenizer="GemmaTokenizer"),
    "siglip 2": write_siglip2,
}
"""Writes a model of each family, in each of the file sets that it comes in."""

CONVERTIBLE = tuple(name for name in FAMILIES if name != "siglip 2")
"""Those that OpenVINO runs."""


@dataclass(frozen=True)
class Theirs:
    """A model as transformers alone loads it and runs it in torch."""

    model: Any
    tokenizer: Any
    processor: Any
    padding: dict[str, Any]

    def text_features(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of the phrases, all in one batch."""
        inputs = self.tokenizer(list(phrases), truncation=True, return_tensors="pt", **self.padding)
        with torch.inference_mode():
            return unit(self.model.get_text_features(**inputs).pooler_output)

    def image_features(self, picture: Image.Image) -> NDArray[np.float32]:
        """Return the unit features [feature_size] of one picture."""
        with torch.inference_mode():
            features = self.model.get_image_features(**self.processor([picture], return_tensors="pt")).pooler_output
        one: NDArray[np.float32] = unit(features)[0]
        return one


def load_theirs(folder: Path) -> Theirs:
    """Load a model as its users would without Gaze."""
    auto_processor: Any = transformers.AutoImageProcessor
    model: Any = transformers.AutoModel.from_pretrained(folder).eval()
    clip = model.config.model_type == "clip"
    return Theirs(
        model,
        reference_tokenizer(folder),
        auto_processor.from_pretrained(folder, backend="pil"),
        {"padding": True} if clip else {"padding": "max_length", "max_length": SIGLIP_TOKENS},
    )


def reference_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model's family.

    transformers takes a SigLIP 2 of fixed picture size for a SigLIP, and of its tokenizer what its files name, which
    leaves the capitals that no SigLIP 2 was trained with.
    """
    named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["tokenizer_class"]
    auto: Any = transformers.Siglip2Tokenizer if named == "GemmaTokenizer" else transformers.AutoTokenizer
    return auto.from_pretrained(folder)


def load_ours(
    folder: Path | str,
    cache: Path,
    *,
    device: str = "cpu",
    backend: str = "auto",
    precision: str = "auto",
    compare: bool = True,
) -> LoadedModel:
    """Load a model as Gaze does, on one thread; cache: the folder where what is converted is kept."""
    files = model_files.locate(str(folder), None)
    return load_model(files, ComputeOptions(device, backend, precision, threads=1), CacheFolder(cache), compare=compare)


def unit(features: torch.Tensor) -> NDArray[np.float32]:
    """Return features as an array, made unit length."""
    of_unit_length: NDArray[np.float32] = (features / features.norm(dim=-1, keepdim=True)).numpy()
    return of_unit_length


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Let `change` change the weights of a model that has them in one file."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def write_text_model(folder: Path) -> Path:
    """Write a BERT: a model that knows nothing of pictures."""
    config = transformers.BertConfig(vocab_size=50, **_TOWER)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    _write_weights(folder, "model.safetensors", _random(transformers.BertModel(config), seed=0))
    return folder


def add_code(folder: Path, trace: Path) -> None:
    """Let a model's configurations name code of its own, that leaves a trace where it is run."""
    code = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\nclass Own: pass\n"
    (folder / "modeling_own.py").write_text(code, encoding="utf-8")
    own = "modeling_own.Own"
    auto_maps: dict[str, dict[str, Any]] = {
        "config.json": {"AutoConfig": own, "AutoModel": own, "AutoProcessor": own},
        "tokenizer_config.json": {"AutoTokenizer": [own, own]},
        "preprocessor_config.json": {"AutoImageProcessor": own, "AutoProcessor": own},
    }
    for name, auto_map in auto_maps.items():
        contents = json.loads((folder / name).read_text(encoding="utf-8"))
        write_json(folder / name, {**contents, "auto_map": auto_map, "attn_implementation": "museum/own-code"})


def write_json(file: Path, contents: Any) -> None:
    """Write what a configuration file holds."""
    file.write_text(json.dumps(contents, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _random(model: Any, seed: int) -> Mapping[str, torch.Tensor]:
    """Return the model's tensors with random contents, but for the logit scale and bias, which are odd on purpose."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "logit_scale":
            tensors[name] = torch.full_like(tensor, math.log(LOGIT_SCALE))
        elif name == "logit_bias":
            tensors[name] = torch.full_like(tensor, LOGIT_BIAS)
        elif tensor.is_floating_point():
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.3
        else:
            tensors[name] = tensor.clone()
    return tensors


def _write_weights(folder: Path, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    if name == "pytorch_model.bin":
        torch.save(dict(tensors), folder / name)
    elif name == "model.safetensors":
        save_file(dict(tensors), folder / name, metadata={"format": "pt"})
    else:
        names = sorted(tensors)
        halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, half in halves.items():
            save_file({key: tensors[key] for key in half}, folder / file, metadata={"format": "pt"})
        weight_map = {key: file for file, half in halves.items() for key in half}
        write_json(folder / name, {"metadata": {}, "weight_map": weight_map})


def _write_sentencepiece_tokenizer(folder: Path) -> None:
    """Write a tokenizer of SigLIP's kind: it drops capitals and punctuation, and pads with the token that ends."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SAMPLE_PHRASES * 4),
        model_writer=written,
        vocab_size=60,
        hard_vocab_limit=False,
        unk_id=2,
        eos_id=1,
        bos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    write_json(
        folder / "tokenizer_config.json",
        {
            "do_lower_case": True,
            "eos_token": "</s>",
            "model_input_names": ["input_ids"],
            "model_max_length": SIGLIP_TOKENS,
            "pad_token": "</s>",
            "tokenizer_class": "SiglipTokenizer",
            "unk_token": "<unk>",
        },
    )


def _write_gemma_tokenizer(folder: Path) -> None:
    """Write a tokenizer of Gemma's kind, as SigLIP 2 has it: it ends each phrase with a token and knows no limit."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_SAMPLE_PHRASES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", tokenizer.token_to_id("<eos>"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "mask_token": "<mask>",
            "model_input_names": ["input_ids"],
            "model_max_length": 10**30,
            "pad_token": "<pad>",
            "padding_side": "right",
            "tokenizer_class": "GemmaTokenizer",
            "unk_token": "<unk>",
        },
    )
