"""What requests are made of: heads, forms, pictures; and a builder that puts them together for one server."""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from fuzz.seeds import picture

BOUNDARY = "a-boundary-of-recorded-requests"
KEY, OTHER_KEY = "first-key", "second-key"

Part = tuple[str, str | bytes | tuple[str, str, bytes]]
"""A field of a form: its name, and its text; or a file's name, media type and content."""


@dataclass(frozen=True)
class Asked:
    """A request as it goes over the wire.

    server:     which of the servers it goes to
    cut_short:  whether the caller ends its sending before the answer
    names_only: whether the answer's values are measurements
    """

    name: str
    server: str
    raw: bytes
    cut_short: bool = False
    names_only: bool = False
    is_file: bool = False


def head(method: str, target: str, headers: Mapping[str, str], body: bytes | None, host: str) -> bytes:
    """Return a request of HTTP/1.1, after whose answer the connection is closed."""
    fields = {"Host": host, "Connection": "close", **headers}
    if body is not None and "Transfer-Encoding" not in fields:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value != "-")]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def multipart(parts: Iterable[Part]) -> bytes:
    """Return a form as multipart/form-data."""
    written = []
    for name, content in parts:
        if isinstance(content, tuple):
            file, media_type, data = content
            disposition = f'name="{name}"; filename="{file}"\r\nContent-Type: {media_type}'
        else:
            disposition, data = f'name="{name}"', content.encode() if isinstance(content, str) else content
        written.append(f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data)
    return b"\r\n".join([*written, f"--{BOUNDARY}--\r\n".encode()])


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return an image as a file's bytes."""
    written = io.BytesIO()
    image.save(written, file_format, **options)
    return written.getvalue()


def undated(file: bytes) -> bytes:
    """Return a file without the moment at which it was made, which ICC profiles, films and PDFs hold."""
    file = re.sub(rb"(?s).{12}acsp", b"\x07\xea\0\x01\0\x01\0\0\0\0\0\0acsp", file)
    file = re.sub(rb"(?s)([mt]vhd|[mt]khd|mdhd)(\0...).{8}", rb"\1\2" + bytes(8), file)
    file = re.sub(rb"(?s)([mt]vhd|[mt]khd|mdhd)(\x01...).{16}", rb"\1\2" + bytes(16), file)
    return re.sub(rb"Date \(D:[0-9]+", b"Date (D:20260101000000", file)


def pictures() -> dict[str, bytes]:
    """Return the pictures that the origin serves, by name."""
    return {
        "a.jpg": saved(picture("RGB", 1, (320, 200)), "JPEG"),
        "b.png": saved(picture("RGB", 2, (200, 320)), "PNG"),
        "über größe.webp": saved(picture("RGB", 3, (64, 64)), "WEBP", lossless=True),
        "%C3%BCber%20gr%C3%B6%C3%9Fe.webp": saved(picture("RGB", 3, (64, 64)), "WEBP", lossless=True),
    }


class Builder:
    """Makes requests to one server, with its address and the origin's in them."""

    def __init__(self, server: str, port: int, origin: int, headers: Mapping[str, str] | None = None) -> None:
        self.host = f"127.0.0.1:{port}"
        self.origin = f"http://127.0.0.1:{origin}"
        self._server = server
        self._headers = dict(headers or {})

    def _named(self, name: str) -> str:
        for address, word in ((self.host, "SERVER"), (self.origin, "http://ORIGIN")):
            name = name.replace(address, word)
        return f"{self._server}: {name}"

    def ask(self, name: str, method: str, target: str, body: bytes | None = None, /, **headers: str) -> Asked:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        raw = head(method, target, {**self._headers, **named}, body, self.host)
        return Asked(self._named(name), self._server, raw)

    def raw(self, name: str, raw: bytes, *, cut_short: bool = False) -> Asked:
        return Asked(self._named(name), self._server, raw, cut_short)

    def json(self, name: str, value: Any, target: str = "/v1/gaze", /, **headers: str) -> Asked:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask(name, "POST", target, body, **{"Content_Type": "application/json", **headers})

    def form(self, name: str, parts: Iterable[Part], target: str = "/v1/gaze", /, **headers: str) -> Asked:
        media_type = f"multipart/form-data; boundary={BOUNDARY}"
        return self.ask(name, "POST", target, multipart(parts), **{"Content_Type": media_type, **headers})


def in_base64(content: bytes) -> dict[str, str]:
    """Return a picture as requests in JSON have it."""
    return {"base64": base64.b64encode(content).decode()}
