"""What a person should know of an answer, and a program may ignore."""

from collections.abc import Sequence

from service.zero_shot.classifier import EncodedList
from service.zero_shot.features import ModelDescription

DEMO = (
    "The demo model answered. It knows only shapes, colours and patterns that a program drew, and is of no use for "
    "cataloguing."
)


def caveats(model: ModelDescription, lists: Sequence[EncodedList], *, ranked: bool = True) -> list[str]:
    """Return a sentence for each thing that makes what this model says of these lists mean less than it seems to.

    ranked: whether it ranks them
    """
    sentences = [DEMO] if model.demo else []
    for encoded in lists:
        name = encoded.phrase_list.name
        if cut := len(encoded.text_features.cut):
            phrases = "1 phrase" if cut == 1 else f"{cut} phrases"
            sentences.append(f"The model reads {model.max_tokens} tokens of a phrase; {phrases} of '{name}' had more.")
        if ranked and len(encoded.phrase_list.labels) == 1:
            sentences.append(f"The list '{name}' has one phrase, so its probability is 1 whatever the image shows.")
    return sentences
