"""Structured logs: one JSON object a line on standard output, one line a request."""

import json
import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

_TO_JSON = json.JSONEncoder(default=repr)

CHANGING = "\0"
"""In place of a field's value, if that is different in each line of an event."""


class _Lines:
    """Writes lines, each whole. Where they cannot be written, to a full disk for one, nobody's request fails for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream.buffer

    def write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


def configure_logs(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Send what this service, gunicorn and the libraries log to standard output or a stream, as lines of JSON.

    Return the handler of the standard library's loggers.
    """
    stream = stream or sys.stdout
    lines = _Lines(stream)
    stamps: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    to_json: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(lambda line, **_: _TO_JSON.encode(line)),
    ]
    # Past the standard library's logging, which takes three times as long for a line.
    structlog.configure(
        processors=[*stamps, *to_json],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *to_json],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # gunicorn gives its own logger a handler and keeps its lines to itself.
    gunicorn = logging.getLogger("gunicorn.error")
    gunicorn.handlers, gunicorn.propagate = [], True
    # These would write whole URLs, which may hold secrets, or a line for each request to the hub.
    for name in ("urllib3", "httpx2", "httpx", "huggingface_hub", "transformers", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return handler


class PreparedEvent:
    """An event that may happen hundreds of times a second, for which structlog's processors take too long.

    fields: as structlog is given them, or CHANGING
    """

    def __init__(self, event: str, **fields: Any) -> None:
        line = _TO_JSON.encode({**fields, "event": event, "level": "info", "timestamp": CHANGING})
        self._line = line.replace("%", "%%").replace(_TO_JSON.encode(CHANGING), "%s")

    def log(self, happened: Iterable[tuple[str | None, ...]]) -> None:
        """Log that it has happened, once or several times, with the values of the fields that change.

        These are not escaped, which ids and addresses do not need.
        """
        moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        lines = [
            self._line % (*("null" if value is None else f'"{value}"' for value in values), f'"{moment}"')
            for values in happened
        ]
        structlog.get_config()["logger_factory"]().info("\n".join(lines))
