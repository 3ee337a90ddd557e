"""Arrival: a request as it comes, and whether there is enough of it for a thread to begin."""

import re

_LINE_BYTES = 256  # of a request's line; what is asked for here is shorter
_END_OF_HEAD = b"\r\n\r\n"
_FIELDS = re.compile(
    rb"\r\n(content-length|transfer-encoding|x-request-id|origin|authorization|x-forwarded-for)[ \t]*:[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
"""What is looked for in every head, in one search."""

_DIGITS = re.compile(rb"[0-9]{1,18}[ \t]*")
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"([A-Za-z0-9._-]{1,128})[ \t]*")
_ORIGIN = re.compile(rb"([\x21-\x7e]{1,256})[ \t]*")


class Arrival:
    """The bytes of one request so far.

    Only as much of HTTP is understood as says how many bytes to wait for; a length that is odd is left to the parser,
    which refuses it. Bodies in chunks are not waited for, because their end is where the parser finds it.

    max_head: bytes in which a head must end
    max_body: bytes that a body may have; a larger one is not waited for, because it will be refused
    """

    def __init__(self, max_head: int, max_body: int) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._beginning = bytearray()  # all bytes until the head is whole
        self._body: list[bytes] = []
        self._missing: int | None = None
        self._too_large = False
        self._fields: dict[bytes, list[bytes]] = {}  # by their names in small letters
        self.head: bytes | None = None
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take what has come."""
        self.size += len(piece)
        if self.head is not None:
            self._body.append(piece)
            if self._missing is not None:
                self._missing -= len(piece)
            return
        searched = max(0, len(self._beginning) - len(_END_OF_HEAD) + 1)
        self._beginning += piece
        end = self._beginning.find(_END_OF_HEAD, searched)
        if end >= 0:
            self._read_head(end + len(_END_OF_HEAD))

    def skip(self, size: int) -> None:
        """Count bytes of the body that have come and are not kept."""
        if self._missing is not None:
            self._missing -= size

    @property
    def whole(self) -> bool:
        """Whether the request is here to its end."""
        return self._missing is not None and self._missing <= 0

    @property
    def can_begin(self) -> bool:
        """Whether there is nothing to wait for: it is whole, or too large, or a thread has to read the rest."""
        if self.head is None:
            return len(self._beginning) >= self._max_head
        return self._missing is None or self._missing <= 0 or self._too_large

    @property
    def in_chunks(self) -> bool:
        """Whether the body comes in chunks."""
        return b"transfer-encoding" in self._fields

    @property
    def expects_continue(self) -> bool:
        """Whether the caller waits to be told to send the body."""
        if self.head is None or self._body or b" HTTP/1.0\r\n" in self.head[:_LINE_BYTES]:
            return False
        return _EXPECT.search(self.head) is not None

    @property
    def method_and_path(self) -> tuple[str, str]:
        """What is asked for, without the query; empty where the head does not begin so."""
        words = (self.head or bytes(self._beginning))[:_LINE_BYTES].split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return "", ""
        return words[0].decode("latin-1"), words[1].partition(b"?")[0].decode("latin-1")

    @property
    def request_id(self) -> str | None:
        """The X-Request-ID that came, if it is one that is taken over."""
        return self._first(b"x-request-id", _REQUEST_ID)

    @property
    def origin(self) -> str | None:
        """The Origin that came, if any."""
        return self._first(b"origin", _ORIGIN)

    @property
    def authorization(self) -> str:
        """The header Authorization as the app gets it; empty where none came."""
        return self._joined(b"authorization")

    @property
    def forwarded_for(self) -> str:
        """The header X-Forwarded-For as the app gets it; empty where none came."""
        return self._joined(b"x-forwarded-for")

    def header(self, name: str) -> str | None:
        """Return a header as the app gets it, or None; for those that are not looked for in every head."""
        field = rb"\r\n%b[ \t]*:[ \t]*([^\r\n]*)" % re.escape(name.encode())
        values = re.findall(field, self.head or b"", re.IGNORECASE)
        return b",".join(value.rstrip(b" \t") for value in values).decode("latin-1") if values else None

    def release(self) -> list[bytes]:
        """Return all that has come, in order, and keep none of the body.

        The expectation of a 100 is left out where it is answered, or need not be.
        """
        head, body, self._body = self.head or b"", self._body, []
        return [head if self.in_chunks else _EXPECT.sub(b"", head), *body]

    def _read_head(self, end: int) -> None:
        self.head, rest = bytes(self._beginning[:end]), bytes(self._beginning[end:])
        self._beginning.clear()
        for name, value in _FIELDS.findall(self.head):
            self._fields.setdefault(name.lower(), []).append(value)
        lengths = self._fields.get(b"content-length", [])
        if self.in_chunks or len(lengths) > 1 or (lengths and not _DIGITS.fullmatch(lengths[0])):
            self._missing = None
        else:
            self._missing = int(lengths[0]) if lengths else 0
            self._too_large = self._missing > self._max_body
        if rest:
            self.size -= len(rest)
            self.add(rest)

    def _joined(self, name: bytes) -> str:
        return b",".join(self._fields.get(name, ())).decode("latin-1")

    def _first(self, name: bytes, usable: re.Pattern[bytes]) -> str | None:
        """Return the first value of a field that is as it has to be."""
        for value in self._fields.get(name, ()):
            if found := usable.fullmatch(value):
                return found[1].decode()
        return None
