"""The OpenAPI document without a server, and what reads answers by it: what either has and the other has not."""

import copy
import threading
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from service.api.openapi.document import document
from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier
from service.zero_shot.phrase_lists import built_in_folder, read_lists

Document = dict[str, Any]
_SAYS_WHAT_IT_IS = {"type", "const", "enum"}


def document_of_built_in_lists() -> Document:
    """Return the document of an app whose model is never loaded."""

    def load(_report: object) -> Any:
        raise AssertionError("nobody asks the model")

    loading = LoadingClassifier(load)
    return document(create_app(Settings(model="demo"), read_lists(built_in_folder()), loading, threading.Event()))


class AnswerReader:
    """Reads answers, one after the other.

    undescribed: places in answers of which the document says nothing
    seen:        the properties that answers had, each with the schema that it belongs to
    answers:     what was read, to be read again by another document
    """

    def __init__(self, document: Document) -> None:
        self._document = copy.deepcopy(document)
        self.undescribed: set[str] = set()
        self.seen: set[tuple[str, str]] = set()
        self.answers: list[tuple[str, str, int, str, Any]] = []

    def read(self, path: str, method: str, status: int, media_type: str, body: Any) -> None:
        """Read a body of JSON. Raises KeyError where the document has no such answer, and AssertionError."""
        response = self._document["paths"][path][method]["responses"][str(status)]
        schema = response["content"][media_type]["schema"]
        wrong = [f"{error.json_path}: {error.message}" for error in self._errors(schema, body)]
        assert not wrong, f"{method} {path} {status}: {wrong}"
        self.answers.append((path, method, status, media_type, body))
        self._walk(schema, body, f"{method} {path} {status}", "")

    def _errors(self, schema: Document, body: Any) -> Iterator[Any]:
        whole = {**schema, "components": self._document["components"]}
        found: Iterator[Any] = Draft202012Validator(whole).iter_errors(body)
        return found

    def _walk(self, schema: Document, value: Any, place: str, owner: str) -> None:
        parts = list(self._parts(schema, value, owner))
        if isinstance(value, dict):
            for name, each in value.items():
                self._walk_property(parts, name, each, f"{place}/{name}")
        elif isinstance(value, list):
            items = [(part["items"], name) for part, name in parts if part.get("items")]
            for each in value if items else ():
                self._walk(items[0][0], each, f"{place}/-", items[0][1])
            if value and not items:
                self.undescribed.add(place)
        elif not any(_SAYS_WHAT_IT_IS.intersection(part) for part, _ in parts):
            self.undescribed.add(place)

    def _walk_property(self, parts: list[tuple[Document, str]], name: str, value: Any, place: str) -> None:
        described = [(part["properties"][name], owner) for part, owner in parts if name in part.get("properties", {})]
        self.seen |= {(owner, name) for _, owner in described}
        if not described:
            described = [
                (part["additionalProperties"], owner) for part, owner in parts if part.get("additionalProperties")
            ]
        for each, owner in described[:1]:
            self._walk(each, value, place, owner)
        if not described:
            self.undescribed.add(place)

    def _parts(self, schema: Document, value: Any, owner: str) -> Iterator[tuple[Document, str]]:
        """Yield all schemas that say something of a value, each with the name of the one that it belongs to."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from self._parts(self._document["components"]["schemas"][name], value, name)
        for part in schema.get("allOf", ()):
            yield from self._parts(part, value, owner)
        for key in ("anyOf", "oneOf"):
            fitting = [part for part in schema.get(key, ()) if not any(self._errors(part, value))]
            # Of several that fit, the one that says most.
            for part in sorted(fitting, key=lambda part: -len(self._names(part)))[:1]:
                yield from self._parts(part, value, owner)
        yield schema, owner

    def _names(self, schema: Document) -> set[str]:
        if "$ref" in schema:
            return self._names(self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        return set(schema.get("properties", ()))

    def promised(self) -> set[tuple[str, str]]:
        """Return the properties of all schemas that answers refer to."""
        found: set[tuple[str, str]] = set()
        names = {
            name
            for path in self._document["paths"].values()
            for call in path.values()
            for response in call["responses"].values()
            for name in self._referred(response)
        }
        for name in names:
            found |= {(name, each) for each in self._document["components"]["schemas"][name].get("properties", ())}
        return found

    def _referred(self, node: Any) -> set[str]:
        names: set[str] = set()
        if isinstance(node, dict):
            reference = node.get("$ref", "")
            if isinstance(reference, str) and reference.startswith("#/components/schemas/"):
                name = reference.rpartition("/")[2]
                names |= {name} | self._referred(self._document["components"]["schemas"][name])
            for key, each in node.items():
                names |= set() if key == "requestBody" else self._referred(each)
        elif isinstance(node, list):
            names = {name for each in node for name in self._referred(each)}
        return names
