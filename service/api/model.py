"""GET /v1/model: which model answers."""

from flask import Blueprint, Response

from service import __version__
from service.api.openapi.operation import Operation
from service.api.schemas.responses import ModelDetails
from service.errors import NotReady
from service.zero_shot.classifier import LoadingClassifier


def model_blueprint(loading: LoadingClassifier) -> Blueprint:
    """Return the route that describes the model."""
    blueprint = Blueprint("model", __name__)

    @blueprint.get("/v1/model")
    @Operation("The model.", ModelDetails, errors=(NotReady,))
    def model() -> Response:
        """Describe the model that answers."""
        details = ModelDetails(**vars(loading.require().model), version=__version__)
        return Response(details.model_dump_json(), content_type="application/json")

    return blueprint
