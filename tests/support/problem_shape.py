"""What every error must look like, whichever way it came about: the contract's section on errors."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

MARKER = "zq7markerqz"
"""Stands in every value and key that a bad request sends, and may stand nowhere in the answer."""


class Headers(Protocol):
    """An answer's headers, as Flask's client and as http.client give them."""

    def __getitem__(self, name: str, /) -> str: ...

    def items(self) -> Iterable[tuple[str, str]]: ...


def checked_problem(status: int, headers: Headers, body: bytes, code: str) -> dict[str, Any]:
    """Return the problem that an answer is, after checking that it has this code and the contract's exact shape."""
    assert headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(body)
    assert problem["code"] == code
    required = ["type", "title", "status", "code", "detail", "request_id"]
    assert list(problem)[:6] == required
    assert set(problem) - set(required) <= {"errors", "progress"}
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == headers["X-Request-ID"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", problem["request_id"])
    for error in problem.get("errors", []):
        assert set(error) == {"pointer", "detail"}
        assert re.fullmatch(r"(/[a-z0-9_-]+)*", error["pointer"])
        assert error["detail"]
    if status == 503:
        assert int(headers["Retry-After"]) > 0
    said = body.decode() + "".join(f"{name}: {value}\n" for name, value in headers.items())
    assert MARKER not in said.lower()
    assert "<html" not in said.lower()
    return problem


def pointers(problem: Mapping[str, Any]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem.get("errors", [])]
