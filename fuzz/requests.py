"""Search for a body that the parser of requests does not survive: python -m fuzz.requests [options of libFuzzer].

The first byte says what is fuzzed: a JSON body, a form's body, or Content-Type (the first line) and body together.
A finding is an exception that is no GazeError, or a query that the contract does not allow.
"""

import io
import json
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service.api", "service.zero_shot.phrase_lists", "werkzeug"]):
    from flask import Request

    from service.api.query import QueryLimits, read_explain_query, read_query
    from service.api.schemas.requests import EXAMPLE_IMAGE, MAX_EXPLAINED, MAX_IMAGES
    from service.errors import GazeError

CORPUS = Path(".fuzz/corpus/requests")
LIMITS = QueryLimits(max_bytes=1_000_000, max_phrases=100)
_KINDS = (b"application/json", b"multipart/form-data; boundary=b", None)


def seeds() -> list[bytes]:
    """Return valid bodies of every kind to start from."""
    image = {"base64": EXAMPLE_IMAGE}
    asked: dict[str, object] = {
        "image": image,
        "lists": ["movements"],
        "phrases": {"subject": ["a river", "\u00e9"]},
        "template": "on {}",
    }
    asked |= {"include": ["certainty", "lift"], "fit": "pad", "rank_by": "lift", "min_probability": 0.5}
    explained = {"image": image, "phrases": ["a river"], "overlay": True, "fit": "crop"}
    several = {"images": [image, {"url": "https://museum.example/a.jpg"}], "lists": ["movements"], "top_k": None}
    fields = {
        'image"; filename="a.png': "\x89PNG",
        "image_url": "https://museum.example/a%20b.jpg",
        "lists": "movements, surfaces",
        "phrases": "a river",
        "template": "on {}",
        "top_k": "all",
        "include": "stability, none_of_these",
        "min_probability": "0.25",
        "overlay": "true",
    }
    form = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    bodies = [b"\0" + json.dumps(each).encode() for each in (asked, several, explained)]
    bodies.append(b"\1" + form.encode() + b"--b--\r\n")
    return [*bodies, *(b"\2" + (_KINDS[each[0]] or b"") + b"\n" + each[1:] for each in bodies)]


def ask(fuzzed: bytes) -> None:
    """Read one request, as each call does."""
    kind = _KINDS[fuzzed[0] % len(_KINDS)] if fuzzed else None
    body = fuzzed[1:]
    if kind is None:
        kind, _, body = body.partition(b"\n")
    _read(kind, body)
    _read_explain(kind, body)


def _request(kind: bytes, body: bytes) -> Request:
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": kind.decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return Request(environ)


def _read(kind: bytes, body: bytes) -> None:
    try:
        query = read_query(_request(kind, body), LIMITS, time.monotonic() + 60)
    except GazeError:
        return
    assert 1 <= len(query.images) <= MAX_IMAGES, "images"  # noqa: S101 - atheris reports it
    assert query.lists or query.own_lists, "lists"  # noqa: S101
    assert query.ranking.top_k is None or query.ranking.top_k >= 1, "top_k"  # noqa: S101
    assert 0 <= query.ranking.min_probability <= 1, "min_probability"  # noqa: S101


def _read_explain(kind: bytes, body: bytes) -> None:
    try:
        query = read_explain_query(_request(kind, body), LIMITS, time.monotonic() + 60)
    except GazeError:
        return
    assert 1 <= len(query.phrases.labels) <= MAX_EXPLAINED, "phrases"  # noqa: S101


if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (CORPUS / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=8192", "-artifact_prefix=.fuzz/", str(CORPUS)], ask)
    atheris.Fuzz()
