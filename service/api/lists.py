"""GET /v1/lists and GET /v1/lists/{name}: what the served lists are and hold."""

from collections.abc import Mapping

from flask import Blueprint, Response, request

from service.api.openapi.examples import links_to_a_list
from service.api.openapi.operation import Operation
from service.api.query import validated
from service.api.schemas.forms import ListPage
from service.api.schemas.responses import ListDetails, ListItem, ListSummary, ServedLists
from service.errors import UnknownList
from service.zero_shot.classifier import require_list
from service.zero_shot.phrase_lists import PhraseList


def lists_blueprint(served: Mapping[str, PhraseList]) -> Blueprint:
    """Return the routes that show the served lists."""
    blueprint = Blueprint("lists", __name__)

    @blueprint.get("/v1/lists", endpoint="lists")
    @Operation("The lists, in order.", ServedLists, links=links_to_a_list("$response.body#/lists/0/name"))
    def all_lists() -> Response:
        """Name the served lists."""
        summaries = [_summary(phrase_list) for phrase_list in served.values()]
        return Response(ServedLists(lists=summaries).model_dump_json(), content_type="application/json")

    @blueprint.get("/v1/lists/<name>", endpoint="list")
    @Operation(
        "The list and a page of it, with an ETag.",
        ListDetails,
        errors=(UnknownList,),
        others={304: "The caller has this page already."},
        links=links_to_a_list("$response.body#/name"),
        query=ListPage,
        examples={"name": next(iter(served))},
    )
    def one_list(name: str) -> Response:
        """Show a list and a page of its items."""
        require_list(served, name)
        page = validated(ListPage, request.args.to_dict())
        response = Response(_details(served[name], page).model_dump_json(), content_type="application/json")
        response.add_etag()
        response.headers["Cache-Control"] = "no-cache"
        etag, _ = response.get_etag()
        if etag and request.if_none_match.contains_weak(etag):
            response.status_code = 304
            response.set_data(b"")
        return response

    return blueprint


def _summary(phrase_list: PhraseList) -> ListSummary:
    return ListSummary(
        name=phrase_list.name,
        title=phrase_list.title,
        description=phrase_list.description,
        count=len(phrase_list.labels),
        template=phrase_list.template,
        source=phrase_list.source,
        licence=phrase_list.licence,
        hash=phrase_list.hash,
    )


def _details(phrase_list: PhraseList, page: ListPage) -> ListDetails:
    end = page.offset + page.limit
    rows = zip(phrase_list.labels, phrase_list.phrases, phrase_list.uris, strict=True)
    items = [ListItem(label=label, phrase=phrase, uri=uri) for label, phrase, uri in list(rows)[page.offset : end]]
    more = end < len(phrase_list.labels)
    return ListDetails(
        **_summary(phrase_list).model_dump(),
        items=items,
        next=f"/v1/lists/{phrase_list.name}?offset={end}&limit={page.limit}" if more else None,
    )
