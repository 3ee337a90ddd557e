"""A model's files -> its tokenizer and its preprocessing, as its family was trained; by transformers."""

import json
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import transformers
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers
from transformers.image_processing_base import ImageProcessingMixin
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from service.errors import CorruptModel, UnsuitableModel
from service.zero_shot.model_files import ModelFiles, check_family
from service.zero_shot.preprocessing.preparation import ImageInputs, Preparation, Preprocessor
from service.zero_shot.preprocessing.tokenizer import Padding, PhraseTokenizer, TokenIds

_PREPARED_BY_US = ("CLIPImageProcessorPil", "SiglipImageProcessorPil")
"""The processors that Preparation reimplements."""

_PREPARED_AS = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor", "siglip2": "Siglip2ImageProcessor"}
"""transformers' processor for a family, if a model's files name none."""

_FILTERS = {
    **{each.name.lower(): each for each in Image.Resampling},
    "nearest_exact": Image.Resampling.NEAREST,
    "linear": Image.Resampling.BILINEAR,
    "cubic": Image.Resampling.BICUBIC,
    "antialias": Image.Resampling.LANCZOS,
}
"""Pillow's filters by the names that preprocessor_config.json files use."""

_HERE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

# What SiglipTokenizer.canonicalize_text does, as a tokenizer of the Rust library does it: "Σ" that ends a word apart,
# which Python's lower() knows and that library's does not.
_CANONICAL = (
    normalizers.Replace(Regex(r"(?<=\p{L})Σ(?!\p{L})"), "ς"),
    normalizers.Lowercase(),
    normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
    normalizers.Replace(Regex(r"[\s\x{1c}-\x{1f}]+"), " "),
    normalizers.Strip(),
)


def tokenizer_of(files: ModelFiles, family: str) -> Any:
    """Return transformers' tokenizer of a model, with the normalisation that the family was trained with.

    SigLIP learnt from phrases without capitals and punctuation, SigLIP 2 from such without capitals; the tokenizers of
    T5 and Gemma, whose vocabularies they share and which their files may name, change neither.
    (github.com/google-research/big_vision, image_text/prompt_engineering.py and SigLIP2_demo.ipynb)
    Raises CorruptModel.
    """
    try:
        tokenizer = _siglip_tokenizer(files) if family == "siglip" else _tokenizer_named(files)
        tokenizer(["a picture"])
    except Exception as error:  # these loaders raise anything for a broken file
        raise CorruptModel(
            f"The tokenizer of {files.model_id} cannot be loaded ({type(error).__name__}); "
            f"put whole files into {files.directory}."
        ) from error
    return tokenizer


def phrase_tokenizer(tokenizer: Any, family: str, max_tokens: int) -> PhraseTokenizer:
    """Wrap a tokenizer of transformers so that it truncates and pads phrases as the family was trained."""

    def encode(phrases: list[str], limit: int | None) -> list[list[int]]:
        cut: dict[str, Any] = {} if limit is None else {"truncation": True, "max_length": limit}
        token_ids: list[list[int]] = tokenizer(phrases, **cut)["input_ids"]
        return token_ids

    # CLIP needs no padding; SigLIP was trained on phrases padded to the full length.
    siglip = family != "clip"
    padding = Padding(tokenizer.pad_token_id, tokenizer.padding_side == "left") if siglip else None
    fast = getattr(tokenizer, "backend_tokenizer", None)
    return PhraseTokenizer(encode, max_tokens, padding, fast.to_str() if fast else None)


def load_tokenizer(files: ModelFiles, max_tokens: int) -> PhraseTokenizer:
    """Load a model's tokenizer alone. Raises CorruptModel or UnsuitableModel."""
    family = check_family(files.directory / "config.json", files.model_id)["model_type"]
    return phrase_tokenizer(tokenizer_of(files, family), family, max_tokens)


def _tokenizer_named(files: ModelFiles) -> Any:
    return transformers.AutoTokenizer.from_pretrained(files.directory, **_HERE)


def _siglip_tokenizer(files: ModelFiles) -> Any:
    """Return the tokenizer of a SigLIP, or of a SigLIP 2 of fixed picture size, which is a SigLIP to transformers."""
    settings = _contents_of(files, "tokenizer_config.json")
    named = str(settings.get("tokenizer_class")).removesuffix("Fast")
    pieces = files.directory / "spiece.model"
    if pieces.is_file() and named == "SiglipTokenizer":
        return transformers.SiglipTokenizer.from_pretrained(files.directory, **_HERE)
    if pieces.is_file() and named not in ("GemmaTokenizer", "Siglip2Tokenizer"):
        # Only these settings: T5's name a hundred tokens that the model does not have.
        names = ("do_lower_case", "model_max_length", "padding_side")
        chosen = {name: settings[name] for name in names if settings.get(name) is not None}
        return transformers.SiglipTokenizer(str(pieces), **chosen, **_special_tokens(settings))
    generic: Any = transformers.PreTrainedTokenizerFast
    # T5's and SigLIP's own would look for spiece.model, and T5's adds a hundred tokens that the model does not have.
    has_file = named in ("SiglipTokenizer", "T5Tokenizer", "None") and (files.directory / "tokenizer.json").is_file()
    tokenizer = generic.from_pretrained(files.directory, **_HERE) if has_file else _tokenizer_named(files)
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None or settings.get("do_lower_case") is False:
        return tokenizer
    if isinstance(fast.model, models.Unigram):
        return _canonical(tokenizer, settings)
    if isinstance(fast.model, models.BPE):
        fast.normalizer = _in_order(normalizers.Lowercase(), fast.normalizer)
    return tokenizer


def _canonical(tokenizer: Any, settings: dict[str, Any]) -> Any:
    """Return a tokenizer of T5's kind with the normalisation of SigLIP's own."""
    contents = json.loads(tokenizer.backend_tokenizer.to_str())
    # T5's sentinel tokens, for which the model has no weights.
    gap = re.compile(r"<extra_id_\d+>")
    contents["added_tokens"] = [token for token in contents["added_tokens"] if not gap.fullmatch(token["content"])]
    contents["model"]["vocab"] = [entry for entry in contents["model"]["vocab"] if not gap.fullmatch(entry[0])]
    fast = Tokenizer.from_str(json.dumps(contents))
    fast.normalizer = _in_order(*_CANONICAL, fast.normalizer)
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no types for it
        tokenizer_object=fast,
        **_special_tokens(settings),
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
    )


def _special_tokens(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the tokens that a tokenizer_config.json names, or SigLIP's own: the end token is also the padding."""
    named = {name: settings.get(name) for name in ("eos_token", "pad_token", "unk_token")}
    plain = {name: token["content"] if isinstance(token, dict) else token for name, token in named.items() if token}
    return {"eos_token": "</s>", "pad_token": plain.get("eos_token", "</s>"), "unk_token": "<unk>", **plain}


def _in_order(*steps: Any) -> Any:
    return normalizers.Sequence([step for step in steps if step is not None])


@dataclass(frozen=True)
class ReferenceTokens:
    """The reference tokenizer of a model's family, and its name in transformers.

    token_ids: called with phrases; returns each one's ids, truncated and padded by the tokenizer itself
    """

    name: str
    token_ids: Callable[[Sequence[str]], list[TokenIds]]


def reference_tokens(files: ModelFiles, ours: PhraseTokenizer) -> ReferenceTokens | None:
    """Return the reference for a model's tokenizer; None if its family has none of that kind.

    Raises CorruptModel.
    """
    family = check_family(files.directory / "config.json", files.model_id)["model_type"]
    settings = _contents_of(files, "tokenizer_config.json")
    kind = re.search(r'"model":\{"type":"(\w+)"', ours.file_contents or "")
    name, ready = "SiglipTokenizer", _as_it_is
    if kind is None and family == "siglip":
        reference_class: Any = transformers.SiglipTokenizer
    elif kind and kind[1] == "Unigram" and family == "siglip" and settings.get("do_lower_case") is not False:
        reference_class, ready = transformers.PreTrainedTokenizerFast, _canonicalised
    elif kind and kind[1] == "BPE" and family != "clip" and settings.get("do_lower_case") is not False:
        name, reference_class = "Siglip2Tokenizer", transformers.Siglip2Tokenizer
    elif kind and kind[1] == "BPE" and family == "clip" and '</w>":' in (ours.file_contents or ""):
        name, reference_class = "CLIPTokenizer", transformers.CLIPTokenizer
    else:
        return None
    cut: dict[str, Any] = {"truncation": True, "max_length": ours.max_tokens}
    if ours.padding:
        cut["padding"] = "max_length"
    try:
        tokenizer = reference_class.from_pretrained(files.directory, **_HERE)
    except Exception as error:  # as above
        raise CorruptModel(
            f"The tokenizer of {files.model_id} cannot be loaded as {name} ({type(error).__name__}); "
            f"put whole files into {files.directory}."
        ) from error

    def token_ids(phrases: Sequence[str]) -> list[TokenIds]:
        return [tuple(ids) for ids in tokenizer([ready(phrase) for phrase in phrases], **cut)["input_ids"]]

    return ReferenceTokens(name, token_ids)


def _as_it_is(phrase: str) -> str:
    return phrase


def _canonicalised(phrase: str) -> str:
    """Equals SiglipTokenizer.canonicalize_text."""
    return " ".join(phrase.lower().translate(str.maketrans("", "", string.punctuation)).split())


def load_preparation(files: ModelFiles, family: str) -> Preprocessor:
    """Return a model's preprocessing.

    Raises CorruptModel if its configuration cannot be read, and UnsuitableModel if it is not supported.
    """
    try:
        contents, _ = ImageProcessingMixin.get_image_processor_dict(files.directory, **_HERE)
        named = contents.get("image_processor_type") or contents.get("feature_extractor_type") or _PREPARED_AS[family]
    except Exception as error:  # as above
        raise CorruptModel(
            f"The preprocessor_config.json of {files.model_id} cannot be read ({type(error).__name__}); "
            f"put whole files into {files.directory}."
        ) from error
    # Of several makes of the same: transformers 4's names, and those that say by what library the work is done.
    kind = str(named).replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
    processor_class = get_image_processor_class_from_name(f"{kind}Pil") if kind.endswith("ImageProcessor") else None
    if processor_class is None:
        raise UnsuitableModel(
            f"The preprocessor_config.json of {files.model_id} has pictures prepared by {_shown(named)}, which this "
            f"service does not know; take another model, or name {_PREPARED_AS[family]} there if it fits."
        )
    if "resample" in contents:
        contents["resample"] = _filter_of(contents["resample"], files)
    try:
        processor = processor_class.from_dict(contents)
        prepare = preparation_of(processor) or _ProcessorPreprocessing(processor)
        prepare(Image.new("RGB", (64, 48), "grey"))
    except Exception as error:
        raise CorruptModel(
            f"The preprocessor_config.json of {files.model_id} says something that cannot be done to a picture "
            f"({type(error).__name__}: {_shown(error)}); correct it in {files.directory}."
        ) from error
    return prepare


def preparation_of(processor: Any) -> Preparation | None:
    """Return the Preparation that equals one of transformers' processors, or None if there is none."""
    if type(processor).__name__ not in _PREPARED_BY_US or getattr(processor, "do_pad", None):
        return None
    if not (processor.do_resize and processor.do_rescale and processor.do_normalize):
        return None
    size = processor.size
    crop: tuple[int, int] | None = None
    if getattr(processor, "do_center_crop", False):
        crop = (processor.crop_size.height, processor.crop_size.width)
        if not size.shortest_edge or size.shortest_edge < max(crop):
            return None  # needs padding
    if size.longest_edge or size.max_height or not (size.shortest_edge or (size.height and size.width)):
        return None
    return Preparation(
        shortest_edge=size.shortest_edge,
        size=None if size.shortest_edge else (size.height, size.width),
        crop=crop,
        resample=int(processor.resample),
        rescale_factor=float(processor.rescale_factor),
        mean=_of_three(processor.image_mean),
        std=_of_three(processor.image_std),
    )


@dataclass(frozen=True)
class _ProcessorPreprocessing:
    """What one of transformers' own processors does, for those that Preparation cannot stand in for."""

    processor: Any
    framing: None = None

    def __call__(self, image: Image.Image, cores: int = 1) -> ImageInputs:  # noqa: ARG002  # it uses one
        return {name: array[0] for name, array in self.processor(images=[image], return_tensors="np").items()}

    normalised = __call__


def _filter_of(named: Any, files: ModelFiles) -> int:
    """Return Pillow's number of a filter given by number or name."""
    if named is None:
        return int(Image.Resampling.BILINEAR)  # transformers' default
    name = str(named).lower().rpartition(".")[2].replace("-", "_")
    if name in _FILTERS:
        return int(_FILTERS[name])
    if not isinstance(named, bool) and re.fullmatch(r"[0-5](\.0+)?", str(named)):
        return int(float(named))
    raise UnsuitableModel(
        f"The preprocessor_config.json of {files.model_id} names the filter {_shown(named)} (resample), which there is "
        f"not in Pillow; it has {', '.join(each.name.lower() for each in Image.Resampling)}."
    )


def _of_three(given: Any) -> tuple[float, float, float]:
    red, green, blue = (float(number) for number in (given if isinstance(given, list | tuple) else [given] * 3))
    return red, green, blue


def _contents_of(files: ModelFiles, name: str) -> dict[str, Any]:
    file = files.directory / name
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _shown(told: object) -> str:
    """Return text of a file or a library for use in one sentence."""
    return " ".join("".join(character for character in str(told) if character.isprintable()).split())[:100]
