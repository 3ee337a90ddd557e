"""What a reconciliation service says of itself, in versions 0.2 and 1.0-draft of the specification."""

from collections.abc import Iterable
from typing import Any

from service import __version__
from service.api.reconcile.batch import BATCH_SIZE, ReconciliationType
from service.api.reconcile.terms import IDENTIFIER_SPACE
from service.zero_shot.phrase_lists import PhraseList

ROOT = "/v1/reconcile"
STABLE = f"{ROOT}/0.2"
DRAFT = f"{ROOT}/1.0-draft"
VIEW = f"{ROOT}/view"

_FRAME = {"width": 400, "height": 240}
"""Pixels of the frame that shows a term."""


def stable_manifest(lists: Iterable[PhraseList], address: str) -> dict[str, Any]:
    """Return the manifest of version 0.2; what it names besides queries is that of 1.0-draft, whose answers are alike.

    address: of this service, without a slash at its end
    """
    suggest = {"service_url": f"{address}{DRAFT}"}
    return {
        "versions": ["0.2"],
        **_common(lists, address),
        "identifierSpace": IDENTIFIER_SPACE,
        "schemaSpace": f"{address}/v1/lists/",
        "view": {"url": f"{address}{VIEW}/{{{{id}}}}"},
        "preview": {"url": f"{address}{DRAFT}/preview?id={{{{id}}}}", **_FRAME},
        "suggest": {
            "entity": {**suggest, "service_path": "/suggest/entity"},
            "type": {**suggest, "service_path": "/suggest/type"},
        },
    }


def draft_manifest(lists: Iterable[PhraseList], address: str) -> dict[str, Any]:
    """Return the manifest of version 1.0-draft.

    address: of this service, without a slash at its end
    """
    return {
        "versions": ["1.0-draft"],
        **_common(lists, address),
        "view": {"url": f"{address}{VIEW}/{{id}}"},
        "preview": _FRAME,
        "suggest": {"entity": True, "type": True, "property": False},
        "standardizedScore": True,
    }


def _common(lists: Iterable[PhraseList], address: str) -> dict[str, Any]:
    return {
        "name": "Gaze: terms that CLIP suggests for a picture by its URL",
        "documentation": f"{address}/docs",
        "serviceVersion": __version__,
        "defaultTypes": [ReconciliationType.of(each).model_dump() for each in lists],
        "batchSize": BATCH_SIZE,
    }
