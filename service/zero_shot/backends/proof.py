"""A model is proved before it serves: its phrases' tokens are its family's own, and its features tell things apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import CorruptModel
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.backends.parity_check import pictures
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.preprocessing.processors import ReferenceTokens, reference_tokens
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer, TokenIds

WRITINGS = (
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
"""Phrases in the ways of writing by which tokenizers differ."""

_CIRCLE, _SQUARE = "a red circle", "a blue square"
_LONGER = "a red circle on a blue background"
_LONGEST = "a red circle on a blue background, a blue square on a red background, " * 40
"""Of words that the demo model knows too; no window holds the last."""

_SAME = 0.999_99
"""The cosine from which on two phrases' features count as the same; rounding stays above it in each precision."""


def prove(loaded: LoadedModel, files: ModelFiles) -> None:
    """Raise CorruptModel, or what ClipEncoder.check_answers does, if a model cannot rank phrases rightly.

    Costs a few passes, and the reading of the tokenizer's files once more.
    """
    encoder = ClipEncoder(loaded)
    encoder.check_answers()
    reference = reference_tokens(files, loaded.tokenizer)
    if reference:
        _prove_tokens(loaded.tokenizer, reference, files.model_id)
    _prove_differences(encoder)
    _prove_pictures(encoder)
    _prove_company(loaded)


def _prove_tokens(tokenizer: PhraseTokenizer, reference: ReferenceTokens, model_id: str) -> None:
    made, expected = tokenizer(WRITINGS)[0], reference.token_ids(WRITINGS)
    wrong = [phrase for phrase, ours, theirs in zip(WRITINGS, made, expected, strict=True) if ours != theirs]
    if wrong:
        raise CorruptModel(
            f"The tokenizer of {model_id} makes other tokens than its family's own, {reference.name}, of {len(wrong)} "
            f"in {len(WRITINGS)} phrases, {wrong[0][:40]!a} among them; put the files there that the model was "
            "trained with."
        )


def _prove_differences(encoder: ClipEncoder) -> None:
    """See that phrases that differ, by a word, by their length, or beyond the window, have features that differ."""
    phrases = (_CIRCLE, _SQUARE, _LONGER, _LONGEST)
    encoded = encoder.encode_text(phrases)
    circle, square, longer, longest = encoded.features[encoded.row_of]
    for number, first, second in ((1, circle, square), (2, circle, longer), (3, longer, longest)):
        if number == 3 and 2 in encoded.cut:
            return  # a window of so few tokens holds no more of the one than of the other
        if not float(first @ second) < _SAME:
            before = phrases[0] if number < 3 else phrases[2]
            raise CorruptModel(
                f"To {encoder.model.id} the phrases {before!r} and {phrases[number][:70]!r} are the same, so it cannot "
                "rank phrases: its text tower or its tokenizer is not what it was trained with; take whole files of it."
            )


def _prove_pictures(encoder: ClipEncoder) -> None:
    """See that pictures that differ have features that differ."""
    first, second = encoder.encode_images([encoder.prepare(picture) for picture in pictures()[:2]])
    if not float(first @ second) < _SAME:
        raise CorruptModel(
            f"To {encoder.model.id} two pictures of other colours are the same, so it cannot rank phrases for one: its "
            "image tower or its preprocessor_config.json is not what it was trained with; take whole files of it."
        )


def _prove_company(loaded: LoadedModel) -> None:
    """See that a phrase has the same features beside others, and filled up, as it has alone."""
    (circle, square), _ = loaded.tokenizer((_CIRCLE, _SQUARE))
    length = max(len(circle), len(square))
    lengths = [length, length + 8] if loaded.tokenizer.padding is None else [length]
    passes = [_features(loaded, [circle, circle], length)]
    passes += [_features(loaded, [circle, square], each) for each in lengths]
    for one in passes[1:]:
        if not float(passes[0][0] @ one[0]) >= _SAME:
            raise CorruptModel(
                f"The features that {loaded.description.id} has for a phrase depend on the phrases beside it or on "
                "what it is filled up with, so it cannot rank phrases; take whole files of it."
            )


def _features(loaded: LoadedModel, phrases: Sequence[TokenIds], length: int) -> NDArray[np.float32]:
    """Return the unit features of a pass that is filled up with the last of the phrases."""
    full = [*phrases, *[phrases[-1]] * (loaded.backend.text_batch - len(phrases))]
    features = loaded.backend.text_features(np.array([ids + ids[-1:] * (length - len(ids)) for ids in full]))
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return unit
