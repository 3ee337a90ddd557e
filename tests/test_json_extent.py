"""How much JSON holds, against what a parser makes of it."""

import json
import random
from typing import Any

import pytest

from service.parsing import json_extent as counted
from service.parsing.json_extent import JsonExtent, json_extent

MANY = 10**9
LETTERS = 'ab\\"[]{},é😀'


def text(maker: random.Random) -> str:
    return "".join(maker.choice(LETTERS) for _ in range(maker.randrange(8)))


def value(maker: random.Random, depth: int = 0) -> Any:
    kind = maker.random() if depth < 7 else 0
    if kind < 0.5:
        return text(maker)
    if kind < 0.75:
        return [value(maker, depth + 1) for _ in range(maker.randrange(4))]
    return {text(maker): value(maker, depth + 1) for _ in range(maker.randrange(4))}


def extent_of(parsed: Any) -> JsonExtent:
    inner = parsed if isinstance(parsed, list) else list(parsed.values()) if isinstance(parsed, dict) else None
    if inner is None:
        return JsonExtent(1, 0)
    found = [extent_of(each) for each in inner]
    return JsonExtent(1 + sum(each.values for each in found), 1 + max((each.depth for each in found), default=0))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 32 * 1024])
def test_as_a_parser_counts(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "_BLOCK", block)
    maker = random.Random(block)
    for _ in range(500):
        document = [value(maker), value(maker)]
        expected = extent_of(document)
        for spelled in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
            found = json_extent(spelled.encode(), MANY)
            assert found.depth == expected.depth
            assert expected.values <= found.values <= 2 * expected.values  # an empty array counts as one with a value


@pytest.mark.parametrize(
    ("document", "values", "depth"),
    [
        (b"", 1, 0),
        (b"5", 1, 0),
        (b'"[,[,{"', 1, 0),
        (b'"\\",[\\\\",[[', 4, 2),
        (b'{"a": [1, 2], "b": {}}', 6, 2),
        (b"[1,2]]" + b"[" * 1000, 1003, 999),  # all of it is one block
    ],
)
def test_counted_by_hand(document: bytes, values: int, depth: int) -> None:
    assert json_extent(document, MANY) == JsonExtent(values, depth)


def test_counting_ends_where_there_is_too_much_or_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "_BLOCK", 100)
    assert json_extent(b"[" * 1000, 150) == JsonExtent(201, 200)
    assert json_extent(b"]" * 100 + b"[" * 1000, MANY) == JsonExtent(1, 0)
