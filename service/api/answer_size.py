"""How large an answer would be, reckoned before anything is computed for it."""

import json
from collections.abc import Iterable, Sequence

import numpy as np

from service.api.query import GazeQuery, ImageSource
from service.documents.formats import Format
from service.errors import FieldError, InvalidRequest
from service.zero_shot.phrase_lists import PhraseList

MAX_PREDICTIONS = 120_000
MAX_JSON_BYTES = 40 * 1024**2
MAX_DOCUMENT_BYTES = 20 * 1024**2

_JSON_BYTES_EACH = 180
_LIST_BYTES = 500
_MORE_BYTES = {"certainty": 30, "lift": 30, "stability": 0, "none_of_these": 0}
_STABILITY_PHRASES, _STABILITY_BYTES_EACH, _STABILITY_FIRSTS = 50, 250, 20


def require_bounded(
    query: GazeQuery, pictures: Sequence[ImageSource], lists: Iterable[PhraseList], form: Format | None
) -> None:
    """Raise InvalidRequest where an answer could have too many predictions, or too many bytes.

    lists: all that are ranked
    form:  of the document that the answer is to be; None for JSON
    """
    count = bytes_each_picture = 0
    for each in lists:
        told = _most_predictions(query, len(each.labels))
        count += told * len(pictures)
        bytes_each_picture += _list_bytes(query, each, told, form)
        if form:
            bytes_each_picture += told * max(map(_iri_bytes, pictures))
    if count > MAX_PREDICTIONS:
        _refuse(f"{MAX_PREDICTIONS} predictions")
    most_bytes = MAX_DOCUMENT_BYTES if form else MAX_JSON_BYTES
    if bytes_each_picture * len(pictures) > most_bytes:
        _refuse(f"{most_bytes} bytes")


def _refuse(limit: str) -> None:
    how = f"An answer may have {limit}; ask for fewer pictures, lists or phrases, a smaller top_k or a min_probability."
    raise InvalidRequest(errors=(FieldError("/top_k", how),))


def _most_predictions(query: GazeQuery, count: int) -> int:
    most = count if query.top_k is None else min(query.top_k, count)
    # The probabilities of a list add up to 1; what is 1 over the least that a float can be, no float can.
    return int(1 / query.min_probability) + 1 if query.min_probability * most > 1 else most


def _list_bytes(query: GazeQuery, phrase_list: PhraseList, told: int, form: Format | None) -> int:
    """Return what so many predictions of a list may take for one picture: those whose texts are the longest."""
    texts = zip(phrase_list.labels, phrase_list.phrases, phrase_list.uris, strict=True)
    # As they stand in JSON, in which quotes and control characters take more.
    sizes = np.fromiter(
        (len(json.dumps(each, ensure_ascii=False).encode(errors="replace")) for each in texts), np.int64
    )
    longest = int(np.sort(sizes)[-told:].sum()) if told else 0
    if form:
        return told * form.bytes_each + longest * form.times
    more = sum(_MORE_BYTES[each] for each in query.include)
    total = _LIST_BYTES + told * (_JSON_BYTES_EACH + more) + longest
    if "stability" in query.include:
        total += min(told, _STABILITY_PHRASES) * _STABILITY_BYTES_EACH + _STABILITY_FIRSTS * int(sizes.max())
    return total


def _iri_bytes(source: ImageSource) -> int:
    iri = source.canvas.id or source.canvas.image if source.canvas else source.content if source.source == "url" else ""
    return len(str(iri).encode(errors="replace")) + len((source.object_number or "").encode(errors="replace"))
