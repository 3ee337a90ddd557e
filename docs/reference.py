"""Writes the pages that the code itself knows: docs/settings.md and docs/errors.md."""

from pathlib import Path

from service.errors import GazeError, StartError
from service.settings import PREFIX, Settings

_FOLDER = Path(__file__).parent

_SETTINGS = """# Settings

Environment variables. An unknown name that starts with `GAZE_`, or a value that cannot be, stops the start with a
sentence that says which. An empty variable counts as none, and blanks around a value do not count.

| name | default | |
| --- | --- | --- |
{rows}

Hugging Face's own variables keep their meaning: `HF_HOME` (where models are kept), `HF_HUB_OFFLINE`, `HF_ENDPOINT`,
`HF_TOKEN`. Where the hub is away, or `HF_HOME` cannot be written to and the hub has something newer, what was fetched
before serves, with a warning.
"""

_ERRORS = """# Errors

Every error of the API is `application/problem+json` (RFC 9457): a `code` for programs, a `detail` for people, the
`request_id` under which the log has it, and for a wrong field its JSON pointer in `errors`. An error never repeats what
was sent. Later versions may add codes, so read `code` as text.

| status | code | when |
| --- | --- | --- |
{rows}

`Retry-After` comes with 429 and 503, and says after how many seconds to try again.

## Exit codes

A start that cannot go on ends with one sentence and an exit code:

| exit code | |
| --- | --- |
{exits}
"""


def settings_page() -> str:
    """Return the page of settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "none" if not field.default or not isinstance(field.default, str | int | float) else field.default
        shown = default if default == "none" else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {(field.description or '').replace('|', '&#124;')} |")
    return _SETTINGS.format(rows="\n".join(rows))


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
