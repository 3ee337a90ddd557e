"""The operations of the OpenAPI document that ask about pictures: rank and explain."""

from typing import Any, get_args

from service import errors
from service.api.body import MAX_PARTS
from service.api.openapi.fragments import answer, problems, ref
from service.api.query import LINKED_ART
from service.api.schemas import requests, responses
from service.documents.formats import FORMATS
from service.zero_shot.preprocessing.preparation import Fit
from service.zero_shot.ranking import RankBy

_ERRORS = (
    errors.MalformedRequest,
    errors.Unauthorized,
    errors.UnknownList,
    errors.RequestTooLarge,
    errors.ImageTooLarge,
    errors.UnsupportedMediaType,
    errors.UnsupportedImageFormat,
    errors.InvalidRequest,
    errors.UndecodableImage,
    errors.ImageDimensions,
    errors.UrlNotAllowed,
    errors.RateLimited,
    errors.InternalError,
    errors.ImageFetchFailed,
    errors.Overloaded,
    errors.NotReady,
    errors.ImageFetchTimeout,
)


_EXPLAIN_ERRORS = tuple(error for error in _ERRORS if error is not errors.UnknownList)
_FIT = {
    "type": "string",
    "enum": list(get_args(Fit)),
    "description": "What of the picture the model sees. Left out: as the model was trained.",
}


def gaze(names: list[str]) -> dict[str, Any]:
    """Return the operation that ranks; `names` are those of served lists."""
    return {
        "operationId": "gaze",
        "tags": ["ranking"],
        "summary": "Rank the phrases of one or more lists for one or more images.",
        "description": "Every list is its own softmax. Results come in the order of the images. With `images`, "
        "one that fails has an `error` in place of `lists` and the others are answered, with status 200; with `image`, "
        "or when every image fails, the request fails.",
        "parameters": [
            {
                "name": "format",
                "in": "query",
                "description": "The form of the answer. Left out, `Accept` says it: `application/ld+json` (an "
                f"annotation page, or Linked Art with its profile `{LINKED_ART}`) or `text/csv`; else it is JSON. All "
                "but JSON fail where one of several images does.",
                "schema": {"type": "string", "enum": ["json", *FORMATS]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref(requests.GazeRequest),
                    "examples": {
                        "own phrases": {
                            "value": {
                                "image": {"base64": requests.EXAMPLE_IMAGE},
                                "phrases": {"colour": ["red", "green", "blue"]},
                                "template": "a {} square",
                            }
                        },
                        "served lists": {
                            "value": {"image": {"base64": requests.EXAMPLE_IMAGE}, "lists": names[:2], "top_k": 3}
                        },
                        "several images": {
                            "value": {
                                "images": [
                                    {"base64": requests.EXAMPLE_IMAGE},
                                    {"base64": f"data:image/webp;base64,{requests.OTHER_EXAMPLE_IMAGE}"},
                                ],
                                "lists": names[:1],
                                "top_k": None,
                            }
                        },
                        "how far to trust it": {
                            "value": {
                                "image": {"base64": requests.EXAMPLE_IMAGE},
                                "phrases": {"subject": ["plain red", "a red circle", "a blue gradient"]},
                                "fit": "pad",
                                "rank_by": "lift",
                                "min_probability": 0.001,
                                "include": list(requests.INCLUDED),
                            }
                        },
                    },
                },
                "multipart/form-data": {"schema": _form()},
            },
        },
        "responses": {
            "200": _in_any_form(answer("The ranked lists.", responses.GazeAnswer, "Server-Timing")),
            **problems(*_ERRORS),
        },
    }


def explain() -> dict[str, Any]:
    """Return the operation that explains."""
    return {
        "operationId": "explain",
        "tags": ["ranking"],
        "summary": "Show what parts of an image raise some phrases.",
        "description": "A heat map for each phrase, on the grid of the model's patches. It is found by covering soft "
        "discs of the picture, and by leaving one alone, and asking the model again: about 50 times the work of a "
        "ranking. It says where, and not why; it is no outline of a thing, and no finer than a third of the picture. "
        "A phrase that is not true of the picture has a map as well.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref(requests.ExplainRequest),
                    "examples": {
                        "two phrases": {
                            "value": {
                                "image": {"base64": requests.EXAMPLE_IMAGE},
                                "phrases": ["a red square", "a blue circle"],
                                "overlay": True,
                            }
                        }
                    },
                },
                "multipart/form-data": {"schema": _explain_form()},
            },
        },
        "responses": {
            "200": answer("A heat map for each phrase, in their order.", responses.Explanation, "Server-Timing"),
            **problems(*_EXPLAIN_ERRORS),
        },
    }


def _in_any_form(json_answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that may come as a document instead."""
    media_types = {each.media_type.partition(";")[0] for each in FORMATS.values()}
    documents: dict[str, Any] = {
        each: {"schema": {"type": "string"} if each == "text/csv" else {"type": ["object", "array"]}}
        for each in sorted(media_types)
    }
    return {**json_answer, "content": {**json_answer["content"], **documents}}


def _explain_form() -> dict[str, Any]:
    text = {"type": "string"}
    fields = requests.ExplainForm.model_json_schema()["properties"]
    return {
        "type": "object",
        "description": "Only `phrases` may be sent more than once.",
        "properties": {
            "image": {**text, "format": "binary", "description": "The image, as a file."},
            "image_url": {
                **fields["image_url"]["items"],
                "format": "uri",
                "description": "Or an image that the service fetches.",
            },
            "image_iiif": {
                **fields["image_iiif"]["items"],
                "format": "uri",
                "description": "Or a IIIF URI that leads to one image.",
            },
            "phrases": {
                "type": "array",
                "items": fields["phrases"]["items"],
                "minItems": 1,
                "maxItems": requests.MAX_EXPLAINED,
            },
            "template": {**fields["template"], "description": "Applied to `phrases`; contains {} once."},
            "fit": _FIT,
            "overlay": {**text, "enum": ["true", "false"], "description": "Whether each map comes as a PNG as well."},
        },
        "required": ["phrases"],
        # As requests.GazeRequest has it, for the same reason.
        "allOf": [{"oneOf": [{"required": ["image"]}, {"required": ["image_url"]}, {"required": ["image_iiif"]}]}],
        "additionalProperties": False,
    }


def _form() -> dict[str, Any]:
    text = {"type": "string"}
    fields = requests.GazeForm.model_json_schema()["properties"]
    name = "[a-z0-9_-]{1,64}"
    included = "|".join(requests.INCLUDED)
    return {
        "type": "object",
        "description": f"At most {MAX_PARTS} parts; send more phrases as JSON. Files come before URLs in `results`. "
        "Every field may be sent more than once, but for those that are no arrays.",
        "properties": {
            "image": {
                "type": "array",
                "items": {**text, "format": "binary"},
                "minItems": 1,
                "maxItems": requests.MAX_IMAGES,
                "description": f"The images, as files; with those by URL, {requests.MAX_IMAGES} at most.",
            },
            "image_url": {
                "type": "array",
                "items": {**fields["image_url"]["items"], "format": "uri"},
                "minItems": 1,
                "maxItems": requests.MAX_IMAGES,
                "description": "Images that the service fetches.",
            },
            "image_iiif": {
                "type": "array",
                "items": {**fields["image_iiif"]["items"], "format": "uri"},
                "minItems": 1,
                "maxItems": requests.MAX_IMAGES,
                "description": "URIs of IIIF images, manifests and collections, which stand for all their canvases.",
            },
            "lists": {
                "type": "array",
                "items": {**text, "pattern": f"^{name}(, ?{name})*$"},
                "minItems": 1,
                "maxItems": requests.MAX_LISTS,
                "description": "Names of lists, repeated or comma-separated.",
            },
            "phrases": {
                "type": "array",
                "items": fields["phrases"]["items"],
                "minItems": 1,
                "description": "Own phrases, ranked as the list `phrases`.",
            },
            "template": {**fields["template"], "description": "Applied to `phrases` only; contains {} once."},
            "top_k": {
                **text,
                "pattern": "^([1-9][0-9]{0,8}|all)$",
                "description": f"`all` for every phrase. Default {requests.DEFAULT_TOP_K}.",
            },
            "min_probability": {
                **text,
                "pattern": f"^({requests.SHARE_PATTERN})$",
                "description": "Phrases that are less probable are left out. Default 0.",
            },
            "rank_by": {**text, "enum": list(get_args(RankBy)), "description": "Default `probability`."},
            "fit": _FIT,
            "include": {
                "type": "array",
                "items": {**text, "pattern": f"^({included})(, ?({included}))*$"},
                "minItems": 1,
                "description": "What else the answer says, repeated or comma-separated: "
                f"{', '.join(requests.INCLUDED)}.",
            },
        },
        "allOf": [
            {"anyOf": [{"required": ["image"]}, {"required": ["image_url"]}, {"required": ["image_iiif"]}]},
            {"anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}]},
        ],
        "additionalProperties": False,
    }
