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

    from service.api.query import QueryLimits, read_query
    from service.api.asked import EXAMPLE_IMAGE, MAX_IMAGES
    from service.errors import GazeError

CORPUS = Path(".fuzz/corpus/requests")
LIMITS = QueryLimits(max_bytes=1_000_000, max_phrases=100)
_KINDS = (b"application/json", b"multipart/form-data; boundary=b", None)


def seeds() -> list[bytes]:
    """Return valid bodies of every kind to start from."""
    image = {"base64": EXAMPLE_IMAGE}
    asked = {"image": image, "lists": ["movements"], "phrases": {"subject": ["a river", "\u00e9"]}, "template": "on {}"}
    several = {"images": [image, {"url": "https://museum.example/a.jpg"}], "lists": ["movements"], "top_k": None}
    fields = {
        'image"; filename="a.png': "\x89PNG",
        "image_url": "https://museum.example/a%20b.jpg",
        "lists": "movements, surfaces",
        "phrases": "a river",
        "template": "on {}",
        "top_k": "all",
    }
    form = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    bodies = [b"\0" + json.dumps(each).encode() for each in (asked, several)]
    bodies.append(b"\1" + form.encode() + b"--b--\r\n")
    return [*bodies, *(b"\2" + (_KINDS[each[0]] or b"") + b"\n" + each[1:] for each in bodies)]


def ask(fuzzed: bytes) -> None:
    """Read one request."""
    kind = _KINDS[fuzzed[0] % len(_KINDS)] if fuzzed else None
    body = fuzzed[1:]
    if kind is None:
        kind, _, body = body.partition(b"\n")
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": kind.decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    try:
        query = read_query(Request(environ), LIMITS, time.monotonic() + 60)
    except GazeError:
        return
    assert 1 <= len(query.images) <= MAX_IMAGES, "images"  # noqa: S101 - atheris reports it
    assert query.lists or query.own_lists, "lists"  # noqa: S101
    assert query.top_k is None or query.top_k >= 1, "top_k"  # noqa: S101


if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (CORPUS / f"seed-{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, "-timeout=10", "-max_len=8192", "-artifact_prefix=.fuzz/", str(CORPUS)], ask)
    atheris.Fuzz()
