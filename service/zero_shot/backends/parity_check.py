"""Checks of a model before it serves: same features on every backend, its family's tokens, and features that differ."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer, TokenIds

if TYPE_CHECKING:
    from service.zero_shot.preprocessing.processors import ReferenceTokens

MIN_COSINE = 0.999_999
"""The least cosine of one backend's features and torch's."""

PHRASES = (
    "stone",
    "a red circle",
    "a painting of two ships at night, oil on canvas",
    "the river and the bridge at night, and behind them the hills and the mountains and the sea",
    "the river and the bridge " * 30,
)
"""From short to truncated; one of them is padded."""

TOKENIZER_SAMPLES = (
    *("stone", "a red circle", "A RED CIRCLE", "A Painting of TWO Ships", "oil on canvas", "OIL ON CANVAS."),
    *("The Night Watch, 1642", "it's the artist's own", "DON'T", "they've we'll I'd you're", "c. 1,234.5 km"),
    *("0123456789", "1/2 3%", "18th–19th century", "no. 7 (b)", "[untitled]", "#hash @at a_b a-b a+b=c", "!?!?", "..."),
    *("Café Zoë", "CAFÉ ZOË", "cafe\u0301 zoe\u0308", "naïve façade", "Ångström", "Łódź", "Dürer", "STRASSE Straße ẞ"),
    *("İstanbul ısı", "ΟΔΥΣΣΕΎΣ", "πίνακας", "картина Репина", "ХОЛСТ", "絵画", "油彩·画布", "그림", "수채화 그림"),
    *("لوحة زيتية", "ציור שמן", "चित्र", "ภาพวาด", "🎨", "🖼️ a picture", "👩🏽\u200d🎨 at work", "ﬁne ½ ① Ⅳ"),
    *(
        "a\u0300\u0301\u0302 stack",
        "tab\tand\nline",
        "  two  blanks  ",
        "no\u00a0break",
        "zero\u200bwidth",
        "\u0000\u0007",
    ),
    *(" ", "", "x" * 300, "the river and the bridge " * 60),
)
"""Phrases that tokenizers are known to treat differently."""

_CIRCLE, _SQUARE = "a red circle", "a blue square"
_LONGER = "a red circle on a blue background"
_LONGEST = "a red circle on a blue background, a blue square on a red background, " * 40
"""Of words that the demo model knows too; the last is beyond any token limit."""

_SAME_COSINE = 0.999_99
"""Features with at least this cosine count as the same; rounding stays above it in every precision."""


def pictures(seed: int = 0) -> list[Image.Image]:
    """Return four pictures of smooth random colours, others for another seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 7, 9, 3), dtype=np.uint8)
    return [Image.fromarray(picture).resize((640, 480), Image.Resampling.BICUBIC) for picture in small]


def sample_features(loaded: LoadedModel) -> NDArray[np.float32]:
    """Return a model's unit features of the pictures and the phrases, [n, feature_size]."""
    encoder = ClipEncoder(loaded)
    image_features = encoder.encode_images([encoder.preprocess(picture) for picture in pictures()])
    return np.concatenate([image_features, encoder.encode_text(PHRASES).features])


def lowest_cosine(features: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the lowest cosine of two sets of unit features, row by row; NaN if one has no number."""
    return float((features * others).sum(axis=1).min())


def check_model(loaded: LoadedModel, files: ModelFiles) -> None:
    """Raise CorruptModel, or what ClipEncoder.check_answers raises, if a model cannot rank phrases correctly.

    Takes a few passes, and reads the tokenizer's files again.
    """
    encoder = ClipEncoder(loaded)
    encoder.check_answers()
    # Imported here, because it brings torch, which a model in the cache can do without.
    from service.zero_shot.preprocessing.processors import reference_tokens  # noqa: PLC0415

    reference = reference_tokens(files, loaded.tokenizer)
    if reference:
        _check_tokens(loaded.tokenizer, reference, files.model_id)
    _check_phrases_differ(encoder)
    _check_pictures_differ(encoder)
    _check_batch_independence(loaded)


def _check_tokens(tokenizer: PhraseTokenizer, reference: "ReferenceTokens", model_id: str) -> None:
    made, expected = tokenizer(TOKENIZER_SAMPLES)[0], reference.token_ids(TOKENIZER_SAMPLES)
    wrong = [phrase for phrase, ours, theirs in zip(TOKENIZER_SAMPLES, made, expected, strict=True) if ours != theirs]
    if wrong:
        raise CorruptModel(
            f"The tokenizer of {model_id} makes other tokens than its family's own, {reference.name}, of {len(wrong)} "
            f"in {len(TOKENIZER_SAMPLES)} phrases, {wrong[0][:40]!a} among them; put the files there that the model "
            "was trained with."
        )


def _check_phrases_differ(encoder: ClipEncoder) -> None:
    """Check that phrases that differ in a word, in length or beyond the token limit have different features."""
    phrases = (_CIRCLE, _SQUARE, _LONGER, _LONGEST)
    encoded = encoder.encode_text(phrases)
    circle, square, longer, longest = encoded.features[encoded.row_of]
    for number, first, second in ((1, circle, square), (2, circle, longer), (3, longer, longest)):
        if number == 3 and 2 in encoded.cut:
            return  # the token limit is too low to tell them apart
        if not float(first @ second) < _SAME_COSINE:
            before = phrases[0] if number < 3 else phrases[2]
            raise CorruptModel(
                f"To {encoder.model.id} the phrases {before!r} and {phrases[number][:70]!r} are the same, so it cannot "
                "rank phrases: its text tower or its tokenizer is not what it was trained with; take whole files of it."
            )


def _check_pictures_differ(encoder: ClipEncoder) -> None:
    """Check that different pictures have different features."""
    first, second = encoder.encode_images([encoder.preprocess(picture) for picture in pictures()[:2]])
    if not float(first @ second) < _SAME_COSINE:
        raise CorruptModel(
            f"To {encoder.model.id} two pictures of other colours are the same, so it cannot rank phrases for one: its "
            "image tower or its preprocessor_config.json is not what it was trained with; take whole files of it."
        )


def _check_batch_independence(loaded: LoadedModel) -> None:
    """Check that a phrase's features depend neither on its batch nor on padding."""
    (circle, square), _ = loaded.tokenizer((_CIRCLE, _SQUARE))
    length = max(len(circle), len(square))
    lengths = [length, length + 8] if loaded.tokenizer.padding is None else [length]
    passes = [_features(loaded, [circle, circle], length)]
    passes += [_features(loaded, [circle, square], each) for each in lengths]
    for one in passes[1:]:
        if not float(passes[0][0] @ one[0]) >= _SAME_COSINE:
            raise CorruptModel(
                f"The features that {loaded.description.id} has for a phrase depend on the phrases beside it or on "
                "what it is filled up with, so it cannot rank phrases; take whole files of it."
            )


def _features(loaded: LoadedModel, phrases: Sequence[TokenIds], length: int) -> NDArray[np.float32]:
    """Return the unit features of a batch that is padded with its last phrase."""
    full = [*phrases, *[phrases[-1]] * (loaded.backend.text_batch - len(phrases))]
    features = loaded.backend.text_features(np.array([ids + ids[-1:] * (length - len(ids)) for ids in full]))
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return unit
