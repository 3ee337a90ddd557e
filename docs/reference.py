"""Writes the pages that the code itself knows: docs/settings.md and docs/errors.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from service.errors import GazeError, StartError
from service.settings import PREFIX, Settings

_FOLDER = Path(__file__).parent

_SETTINGS = """# Settings

Settings are environment variables. An unknown name that starts with `GAZE_`, or a value that cannot be, stops the start
with a sentence that says which. An empty variable counts as none, and blanks around a value do not count.

{sections}
## Hugging Face's own variables

They keep their meaning: `HF_HOME` (where models are kept), `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_TOKEN`. Where the hub
cannot be reached, or `HF_HOME` cannot be written to and the hub has something newer, what was fetched before serves,
with a warning.
"""

_ERRORS = """# Errors

An error is `application/problem+json` (RFC 9457): a `code` for programs, a `title` and a `detail` for people, and the
`request_id` that the log has too. Where a request does not fit the contract, `errors` says where, as JSON pointers. An
error never repeats what was sent.

`Retry-After` comes with 429 and 503, and says after how many seconds to ask again; nothing was done. Later versions may
add codes, so read `code` as text. Where one of several pictures fails, the request is answered, and that picture has
its own `error`.

| status | code | when |
| --- | --- | --- |
{rows}

## Exit codes

A start that cannot go on ends with one sentence and an exit code:

| exit code | when |
| --- | --- |
{exits}
"""


def settings_page() -> str:
    """Return the page of settings."""
    return _SETTINGS.format(sections="\n".join(_section(name, field) for name, field in Settings.model_fields.items()))


def _section(name: str, field: FieldInfo) -> str:
    return f"## {PREFIX}{name.upper()}\n\n{field.description}\n\n{'; '.join(_values(field))}.\n"


def _values(field: FieldInfo) -> Iterator[str]:
    default = field.default
    plain = isinstance(default, str | int | float)
    yield (
        f"Default: `{default:g}`" if isinstance(default, float) else f"Default: `{default}`" if plain else "No default"
    )
    if get_origin(field.annotation) is Literal:
        yield "one of " + ", ".join(f"`{value}`" for value in get_args(field.annotation))
    bounds = {type(bound): bound for bound in field.metadata}
    if isinstance(most := bounds.get(Le), Le):
        least = bounds.get(Ge)
        yield f"from {least.ge} to {most.le}" if isinstance(least, Ge) else f"at most {most.le}"


def errors_page() -> str:
    """Return the page of errors."""
    kinds = sorted(GazeError.__subclasses__(), key=lambda kind: (kind.status, kind.code))
    rows = [f"| {kind.status} | `{kind.code}` | {_sentence(kind)} |" for kind in kinds]
    exits = [f"| {kind.exit_code} | {_sentence(kind)} |" for kind in StartError.__subclasses__()]
    return _ERRORS.format(rows="\n".join(rows), exits="\n".join(exits))


def _sentence(kind: type[Exception]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n", 1)[0].split())


PAGES = {"settings.md": settings_page, "errors.md": errors_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (_FOLDER / name).write_text(page(), encoding="utf-8")
