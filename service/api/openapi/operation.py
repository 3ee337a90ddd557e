"""What a view declares of itself for the OpenAPI document; the rest is read off its route and its docstring."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from service import errors
from service.documents.formats import FORMATS
from service.errors import GazeError

Schema = type[BaseModel] | Mapping[str, Any]
"""A wire model, or a JSON schema in which wire models may stand."""

JSON = "application/json"
HTML: Schema = {"text/html; charset=utf-8": {"type": "string"}}
DOCUMENTS: Mapping[str, Schema] = {
    each.media_type.partition(";")[0]: {"type": "string" if each.table else ["object", "array"]}
    for each in FORMATS.values()
}
"""The forms of a ranking that are not this service's own JSON."""

IMAGE_ERRORS = (
    *(errors.ImageTooLarge, errors.UnsupportedImageFormat, errors.UndecodableImage, errors.ImageDimensions),
    *(errors.UrlNotAllowed, errors.ImageFetchFailed, errors.ImageFetchTimeout, errors.InternalError),
)
"""What reading images may raise."""

_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """Decorates a view with what the document says of it. The view's docstring is its summary and description.

    answer, content: what comes with status 200, in a sentence, and its schema, by media type where it is not JSON alone
    errors:          what the view raises beside what its path, its query and its body say already
    others:          other answers that are no errors, by status
    links:           what can be asked next, as OpenAPI's links
    about:           goes on with the description
    query:           schema of what may stand in the query
    body, form:      schemas of the body, by media type where it is not JSON; and as multipart/form-data
    examples:        of bodies, by what they show; where there is no body, of parameters by their names
    """

    answer: str
    content: Schema
    errors: Iterable[type[GazeError]] = ()
    others: Mapping[int, str] = field(default_factory=dict)
    links: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    query: Schema | None = None
    body: Schema | None = None
    form: type[BaseModel] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, view: _View) -> _View:
        """Return the view, which now carries this declaration."""
        view.operation = self  # type: ignore[attr-defined]
        return view
