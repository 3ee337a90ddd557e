"""TorchBackend: a model in torch, on a CPU or a CUDA device, loaded from transformers' format."""

import json
import math
import queue
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from service.errors import CorruptModel, InvalidSettings, UnsuitableModel
from service.zero_shot.backends.base import LoadedModel, ModelDescription
from service.zero_shot.model_files import ModelFiles, check_family, weight_files
from service.zero_shot.preprocessing.preparation import ImageInputs
from service.zero_shot.preprocessing.processors import load_preparation, phrase_tokenizer, tokenizer_of

_CLASSES: dict[str, Any] = {
    "clip": transformers.CLIPModel,
    "siglip": transformers.SiglipModel,
    "siglip2": transformers.Siglip2Model,
}
_OUT_OF_MEMORY = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")
"""Parts of out-of-memory errors that have no class of their own."""

_OF_A_TOWER = re.compile(r"(text|vision)_model\.(?!embeddings\.position_ids)")
_LEAST_TOKENS = 3
"""Begin, one of a phrase, end."""

_MOST_UNMADE = 0.01
"""The share of a vocabulary that may lack merges, such as added words that are not marked as such."""


class TorchBackend:
    """Runs a model in torch; on CUDA, one batch is copied while another computes.

    Raises torch's RuntimeError if a CUDA device is out of memory from the start.
    """

    def __init__(self, model: Any, place: torch.device) -> None:
        self.model = model
        self._place = place
        on_cuda = place.type == "cuda"
        self.max_concurrent_batches = 2 if on_cuda else 1
        # On the CPU torch's features depend a little on the batch size, and must not depend on other requests.
        self.image_batch = 64 if on_cuda else 1
        self.text_batch = 64 if on_cuda else 8
        self._streams = _cuda_threads(self.max_concurrent_batches, place, model.dtype) if on_cuda else None

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n prepared pictures. Raises MemoryError."""
        return self._pass(self.model.get_image_features, inputs)

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features [n, feature_size] of n phrases of the same number of tokens. Raises MemoryError."""
        # All have one length, so there is nothing to mask; SigLIP was trained with unmasked padding.
        return self._pass(self.model.get_text_features, {"input_ids": token_ids})

    def _pass(self, tower: Callable[..., Any], inputs: ImageInputs) -> NDArray[np.float32]:
        if self._streams is None:
            return self._compute(tower, inputs)
        thread = self._streams.get()
        try:
            return thread.submit(self._compute, tower, inputs).result()
        finally:
            self._streams.put(thread)

    def _compute(self, tower: Callable[..., Any], inputs: ImageInputs) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                features = tower(**{name: self._placed(array) for name, array in inputs.items()}).pooler_output
                on_cpu: NDArray[np.float32] = features.float().cpu().numpy()
                return on_cpu
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error)
        # Only out here are torch's error and its frames gone, which hold the pass's tensors on the device.
        raise MemoryError(reason)

    def _placed(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._place.type == "cuda":
            # Only copies from pinned memory overlap with another stream's computation.
            tensor = tensor.pin_memory().to(self._place, non_blocking=True)
        return tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor


def _cuda_threads(
    max_concurrent_batches: int, place: torch.device, dtype: torch.dtype
) -> queue.SimpleQueue[ThreadPoolExecutor]:
    """Return threads with a CUDA stream each.

    cuBLAS allocates some 100 MB on the device for every thread that computes, so callers' threads must not; these
    allocate it at the start, because later there may be none left.
    """
    free: queue.SimpleQueue[ThreadPoolExecutor] = queue.SimpleQueue()

    def begin() -> None:
        torch.cuda.set_stream(torch.cuda.Stream(place))  # type: ignore[no-untyped-call]
        some = torch.ones((8, 8), device=place, dtype=dtype)
        torch.nn.functional.linear(some, some, some[0])

    for _ in range(max_concurrent_batches):
        thread = ThreadPoolExecutor(1, "pass")
        thread.submit(begin).result()
        free.put(thread)
    return free


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch's allocator, CUDA or one of its libraries ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY)


def load_torch(files: ModelFiles, device: str, precision: str, threads: int) -> LoadedModel:
    """Load a model from its directory, without running code from there.

    device: "auto", "cpu" or "cuda"; precision: "auto" (float16 on CUDA, else float32), "float32", "bfloat16" or
    "float16"; threads: for a pass on the CPU.
    Raises CorruptModel, UnsuitableModel, or InvalidSettings if there is no such device or precision.
    """
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    place = _device(device)
    dtype = _dtype(precision, place)
    family = check_family(files.directory / "config.json", files.model_id)["model_type"]
    tokenizer = tokenizer_of(files, family)
    prepare = load_preparation(files, family)
    model = _load_model(files, family).eval()
    if len(tokenizer) > model.config.text_config.vocab_size:
        raise CorruptModel(
            f"The tokenizer of {files.model_id} has more tokens than the model; the files in {files.directory} "
            "do not belong together."
        )
    _check_merges(files, tokenizer)
    if family == "clip":
        _check_end(files, tokenizer, model.config.text_config.eos_token_id)
    else:
        _check_end_of_siglip(files, tokenizer)
    max_tokens = min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
    if max_tokens < _LEAST_TOKENS:
        raise CorruptModel(
            f"The tokenizer_config.json of {files.model_id} has {max_tokens} as model_max_length, which holds no "
            f"phrase; correct it in {files.directory}."
        )
    scale = float(model.logit_scale.detach().exp())
    if not math.isfinite(scale):
        raise CorruptModel(f"The logit scale of {files.model_id} is no number; its weights are broken.")
    description = ModelDescription(
        id=files.model_id,
        revision=files.revision,
        backend="torch",
        precision=str(dtype).removeprefix("torch."),
        device=place.type,
        demo=files.demo,
        image_size=_image_size(model.config.vision_config),
        patch_size=int(model.config.vision_config.patch_size),
        feature_size=_feature_size(model),
        max_tokens=max_tokens,
        logit_scale=scale,
        logit_bias=float(model.logit_bias.detach()) if hasattr(model, "logit_bias") else 0.0,
    )
    try:
        backend = TorchBackend(model.to(place, dtype), place)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise InvalidSettings(
            f"The device {place.type} has too little free memory for {files.model_id}; set GAZE_DEVICE=cpu or take "
            "a smaller model."
        ) from None
    return LoadedModel(
        description,
        backend,
        prepare,
        phrase_tokenizer(tokenizer, family, description.max_tokens),
    )


def _dtype(precision: str, place: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if place.type == "cuda" else torch.float32
    if precision == "float16" and place.type == "cpu":
        raise InvalidSettings("GAZE_PRECISION is float16, which takes a CUDA device; on a CPU say float32 or bfloat16.")
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def _device(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidSettings("GAZE_DEVICE is cuda, and torch finds no CUDA device here; set it to cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _load_model(files: ModelFiles, family: str) -> Any:
    safetensors = any(file.suffix == ".safetensors" for file in weight_files(files.directory))
    try:
        model, report = _CLASSES[family].from_pretrained(
            files.directory,
            dtype=torch.float32,
            use_safetensors=safetensors,
            weights_only=True,
            local_files_only=True,
            # Explicit, because config.json may name a code repository for it.
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # loaders raise anything for a broken file
        raise CorruptModel(
            f"The weights of {files.model_id} cannot be loaded ({type(error).__name__}); "
            f"put whole files into {files.directory}, or delete it and start again."
        ) from error
    # transformers would initialise missing weights at random and only log it.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise CorruptModel(
            f"The weights of {files.model_id} are not whole: {len(report['missing_keys'])} are missing and "
            f"{len(report['mismatched_keys'])} have another shape; put whole files into {files.directory}."
        )
    # transformers ignores weights of layers that config.json leaves out.
    left_out = [name for name in report["unexpected_keys"] if _OF_A_TOWER.search(name)]
    if left_out:
        raise CorruptModel(
            f"The config.json of {files.model_id} leaves out {len(left_out)} of its weights, such as "
            f"{left_out[0][:80]!a}; put the one into {files.directory} that belongs to them."
        )
    return model


def _check_merges(files: ModelFiles, tokenizer: Any) -> None:
    """Raise CorruptModel if CLIP's tokenizer lacks merges for words of its vocabulary."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    contents = json.loads(fast.to_str())["model"] if fast else {}
    if contents.get("type") != "BPE" or not contents.get("end_of_word_suffix"):
        return
    made = {"".join(merge if isinstance(merge, list) else merge.split(" ")) for merge in contents["merges"]}
    end, special = contents["end_of_word_suffix"], set(tokenizer.get_added_vocab())
    words = [word for word in contents["vocab"] if len(word.removesuffix(end)) > 1 and word not in special]
    unmade = sum(word not in made for word in words)
    if unmade > _MOST_UNMADE * len(words):
        raise CorruptModel(
            f"The tokenizer of {files.model_id} cannot make {unmade} of its {len(words)} words, because their merges "
            f"are missing; put the whole merges.txt or tokenizer.json into {files.directory}."
        )


def _check_end_of_siglip(files: ModelFiles, tokenizer: Any) -> None:
    """Raise CorruptModel if a SigLIP's tokenizer does not end phrases with the end token that it was trained with."""
    ids = tokenizer(["a red circle"])["input_ids"][0]
    end, filling = tokenizer.eos_token_id, tokenizer.pad_token_id
    if end is None or filling is None or end not in ids[-1:]:
        raise CorruptModel(
            f"The tokenizer of {files.model_id} does not end phrases with a token of its own (eos_token), or has none "
            f"to fill them up with (pad_token); put the files into {files.directory} that the model was trained with."
        )


def _check_end(files: ModelFiles, tokenizer: Any, end: Any) -> None:
    """Raise CorruptModel if CLIP's text tower would not find a phrase's end token.

    It pools at that token: at the highest id if config.json has the legacy value 2, else at the first token of the
    configured id; if there is none, at the first token, the same for every phrase (transformers'
    CLIPTextModel.forward).
    """
    (*words, last), (*_, other_last) = tokenizer(["a red circle on a blue background", "oil on canvas"])["input_ids"]
    if last != other_last or last in words:
        raise CorruptModel(
            f"The tokenizer of {files.model_id} ends phrases with no token of its own (eos_token), and CLIP's features "
            f"are read there; put the files into {files.directory} that the model was trained with."
        )
    if end != last and not (end == 2 and last > max(words)):
        said = end if isinstance(end, int) else "none"
        raise CorruptModel(
            f"The text_config of {files.model_id} has {said} as eos_token_id, and its tokenizer ends phrases with "
            f"{last}, so every phrase would have the same features; if they belong together, write {last} there in "
            f"{files.directory / 'config.json'}."
        )


def _image_size(vision_config: Any) -> int:
    if hasattr(vision_config, "image_size"):
        return int(vision_config.image_size)
    # SigLIP 2 with native aspect ratios has a number of patches and no fixed size: a square of as many.
    return int(vision_config.patch_size * math.isqrt(vision_config.num_patches))


def _feature_size(model: Any) -> int:
    size = getattr(model.config, "projection_dim", None) or model.config.text_config.projection_size
    if not isinstance(size, int):
        raise UnsuitableModel("The model's config.json does not say how wide its features are.")
    return size
