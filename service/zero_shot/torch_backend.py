"""ClipEncoder: images and phrases -> unit features; the only module that imports torch or transformers."""

import math
import threading
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel, InvalidSettings, UnsuitableModel
from service.zero_shot.features import ModelDescription, Progress, TextFeatures
from service.zero_shot.hub import ModelFiles, check_family, weight_files

_CLASSES: dict[str, Any] = {
    "clip": transformers.CLIPModel,
    "siglip": transformers.SiglipModel,
    "siglip2": transformers.Siglip2Model,
}
_TEXT_BATCH = 64
"""Phrases a pass: sorted by length, batches of this size cost the least (measured on two cores)."""


class ClipEncoder:
    """A model of the CLIP or SigLIP family in torch, float32; safe to call from several threads."""

    def __init__(self, model: Any, tokenizer: Any, processor: Any, description: ModelDescription) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._processor = processor
        self._description = description
        # One pass at a time: passes that ran side by side would only take each other's cores.
        self._model_lock = threading.Lock()
        # A fast tokenizer that two threads share raises "Already borrowed".
        self._tokenizer_lock = threading.Lock()

    @classmethod
    def load(cls, files: ModelFiles, device: str, threads: int) -> Self:
        """Load a model from its directory; no code that lies there is run.

        device: "auto", "cpu" or "cuda"; threads: for a pass on the CPU.
        Raises CorruptModel, UnsuitableModel, or InvalidSettings where there is no such device, or too small a one.
        """
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        place = _device(device)
        family = check_family(files.directory / "config.json", files.model_id)["model_type"]
        tokenizer, processor = _load_processors(files)
        model = _load_model(files, family).eval()
        if len(tokenizer) > model.config.text_config.vocab_size:
            raise CorruptModel(
                f"The tokenizer of {files.model_id} has more tokens than the model; the files in {files.directory} "
                "do not belong together."
            )
        max_tokens = min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
        scale = float(model.logit_scale.detach().exp())
        if not math.isfinite(scale):
            raise CorruptModel(f"The logit scale of {files.model_id} is no number; its weights are broken.")
        bias = float(model.logit_bias.detach()) if hasattr(model, "logit_bias") else 0.0
        description = ModelDescription(
            id=files.model_id,
            revision=files.revision,
            backend="torch",
            precision="float32",
            device=place.type,
            demo=files.demo,
            image_size=_image_size(model.config.vision_config),
            feature_size=_feature_size(model),
            max_tokens=max_tokens,
            logit_scale=scale,
            logit_bias=bias,
        )
        encoder = cls(model, tokenizer, processor, description)
        try:
            model.to(place)
            encoder._check_answers()
        except torch.OutOfMemoryError:
            raise InvalidSettings(
                f"The device {place.type} has too little free memory for {files.model_id}; set GAZE_DEVICE=cpu or take "
                "a smaller model."
            ) from None
        return encoder

    @property
    def model(self) -> ModelDescription:
        """The model that this encoder runs."""
        return self._description

    def encode_image(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the unit features [feature_size] of one upright RGB image, prepared by the model's own processor."""
        inputs = self._processor(images=[image], return_tensors="pt").to(self._model.device)
        with self._model_lock, torch.inference_mode():
            image_features = self._model.get_image_features(**inputs).pooler_output  # [1, feature_size]
        unit: NDArray[np.float32] = _unit(image_features)[0]
        return unit

    def encode_text(self, phrases: Sequence[str], progress: Progress | None = None) -> TextFeatures:
        """Return the unit features of the phrases, in their order; the longest phrases are encoded last."""
        token_ids, cut = self._tokenize(phrases)
        rows: dict[tuple[int, ...], int] = {}
        row_of = np.array([rows.setdefault(ids, len(rows)) for ids in token_ids], dtype=np.intp)
        distinct = list(rows)
        features = np.empty((len(distinct), self._description.feature_size), dtype=np.float32)
        by_length = sorted(range(len(distinct)), key=lambda row: len(distinct[row]))
        for start in range(0, len(by_length), _TEXT_BATCH):
            batch = by_length[start : start + _TEXT_BATCH]
            features[batch] = self._encode_tokens([distinct[row] for row in batch])
            if progress:
                done = start + len(batch)
                progress(done * len(phrases) // len(distinct), len(phrases))
        return TextFeatures(features, row_of, cut)

    def _check_answers(self) -> None:
        """Raise CorruptModel if the model cannot take what its tokenizer and processor make, or gives no numbers."""
        try:
            image_features = self.encode_image(Image.new("RGB", (64, 48), "grey"))
            text_features = self.encode_text(["a picture"]).features
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # what does not fit together shows in many ways
            raise CorruptModel(
                f"The parts of {self._description.id} do not fit together ({type(error).__name__}); "
                "fetch it anew, or take another model."
            ) from error
        if not (np.isfinite(image_features).all() and np.isfinite(text_features).all()):
            raise CorruptModel(
                f"The model {self._description.id} does not give numbers, so its weights are broken; fetch them anew."
            )

    def _tokenize(self, phrases: Sequence[str]) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
        """Return each phrase's token ids, and the indices of those that were cut at the token limit."""
        limit = self._description.max_tokens
        with self._tokenizer_lock:
            whole = self._tokenizer(list(phrases), truncation=False)["input_ids"]
            kept = self._tokenizer(list(phrases), truncation=True, max_length=limit)["input_ids"]
        cut = tuple(index for index, ids in enumerate(whole) if len(ids) > limit)
        return [tuple(ids) for ids in kept], cut

    def _encode_tokens(self, token_ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n tokenized phrases."""
        # CLIP pads to the longest and masks; SigLIP was trained on the full length, and without a mask.
        siglip = self._model.config.model_type != "clip"
        with self._tokenizer_lock:
            inputs = self._tokenizer.pad(
                {"input_ids": [list(ids) for ids in token_ids]},
                padding="max_length" if siglip else "longest",
                max_length=self._description.max_tokens,
                return_attention_mask=not siglip,
                return_tensors="pt",
            ).to(self._model.device)
        with self._model_lock, torch.inference_mode():
            text_features = self._model.get_text_features(**inputs).pooler_output  # [n, feature_size]
        return _unit(text_features)


def _unit(features: torch.Tensor) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (features / features.norm(dim=-1, keepdim=True)).float().cpu().numpy()
    return unit


def _device(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidSettings("GAZE_DEVICE is cuda, and torch finds no CUDA device here; set it to cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _load_processors(files: ModelFiles) -> tuple[Any, Any]:
    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    auto_processor: Any = transformers.AutoImageProcessor
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(files.directory, **here)
        processor = auto_processor.from_pretrained(files.directory, backend="pil", **here)
        tokenizer(["a picture"])
    except Exception as error:  # these loaders raise whatever the broken file made them stumble over
        raise CorruptModel(
            f"The tokenizer or image processor of {files.model_id} cannot be loaded ({type(error).__name__}); "
            f"put whole files into {files.directory}."
        ) from error
    return tokenizer, processor


def _load_model(files: ModelFiles, family: str) -> Any:
    safetensors = any(file.suffix == ".safetensors" for file in weight_files(files.directory))
    try:
        model, report = _CLASSES[family].from_pretrained(
            files.directory,
            dtype=torch.float32,
            use_safetensors=safetensors,
            weights_only=True,
            local_files_only=True,
            # Said here, because config.json may name a repository of code for it.
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # as above: a broken file shows in many ways
        raise CorruptModel(
            f"The weights of {files.model_id} cannot be loaded ({type(error).__name__}); "
            f"put whole files into {files.directory}, or delete it and start again."
        ) from error
    # transformers would fill in what is missing with random numbers and say so in a log only.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise CorruptModel(
            f"The weights of {files.model_id} are not whole: {len(report['missing_keys'])} are missing and "
            f"{len(report['mismatched_keys'])} have another shape; put whole files into {files.directory}."
        )
    return model


def _image_size(vision_config: Any) -> int:
    if hasattr(vision_config, "image_size"):
        return int(vision_config.image_size)
    # SigLIP 2 with native aspect ratios has a number of patches and no fixed size; this is a square of as many.
    return int(vision_config.patch_size * math.isqrt(vision_config.num_patches))


def _feature_size(model: Any) -> int:
    size = getattr(model.config, "projection_dim", None) or model.config.text_config.projection_size
    if not isinstance(size, int):
        raise UnsuitableModel("The model's config.json does not say how wide its features are.")
    return size
