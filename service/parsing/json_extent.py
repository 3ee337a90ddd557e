"""How much a JSON document holds, counted before it is parsed: parsed, small values take fifty times their bytes."""

from dataclasses import dataclass

import numpy as np

_BLOCK = 32 * 1024  # bytes that are looked at in one go: other threads get on in between
_STRUCTURE = b'"[]{},'
_REST = bytes(set(range(256)) - set(_STRUCTURE))
_DEEPER = np.zeros(256, np.int8)
_DEEPER[list(b"[{")] = 1
_DEEPER[list(b"]}")] = -1
_BEGINS = np.zeros(256, np.bool_)
_BEGINS[list(b"[{,")] = True


@dataclass(frozen=True)
class JsonExtent:
    """What a document holds: values, which are never fewer than there are, and how deep arrays and objects nest."""

    values: int
    depth: int


def json_extent(document: bytes, most_values: int) -> JsonExtent:
    """Return how much a JSON document in UTF-8 holds; counting ends where it has more values than `most_values`.

    Of what is no JSON, nothing is missed that a parser would read before it finds out.
    """
    values, depth, deepest = 1, 0, 0
    inside = False  # whether a block begins within a string
    escaped = False  # whether it begins after a backslash
    for start in range(0, len(document), _BLOCK):
        block = document[start : start + _BLOCK]
        if escaped:
            block = b" " + block[1:]
        escaped = False
        if b"\\" in block:
            block = block.replace(b"\\\\", b"  ")
            escaped = block.endswith(b"\\")
            block = block.replace(b'\\"', b"  ")
        if inside and b'"' not in block:
            continue  # a picture in base64 costs nearly nothing
        marks = np.frombuffer(block.translate(None, _REST), np.uint8)
        quotes = marks == ord('"')
        within = (np.cumsum(quotes, dtype=np.uint8) + inside) % 2 == 1
        outside = marks[~(within | quotes)]
        inside = bool(inside ^ (np.count_nonzero(quotes) % 2))
        if outside.size:
            values += int(np.count_nonzero(_BEGINS[outside]))
            depths = depth + np.cumsum(_DEEPER[outside], dtype=np.int32)
            depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
        if values > most_values or depth < 0:  # no parser gets beyond a bracket that closes nothing
            break
    return JsonExtent(values, deepest)
