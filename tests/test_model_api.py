"""GET /v1/model."""

import torch
from flask.testing import FlaskClient

from service import __version__
from service.zero_shot.classifier import ZeroShotClassifier


def test_model_that_answers_is_described(client: FlaskClient, classifier: ZeroShotClassifier) -> None:
    response = client.get("/v1/model")
    assert (response.status_code, response.content_type) == (200, "application/json")
    described = classifier.model
    assert response.get_json() == {
        "id": "demo",
        "revision": described.revision,
        "backend": described.backend,
        "precision": described.precision,
        "demo": True,
        "image_size": described.image_size,
        "patch_size": described.patch_size,
        "feature_size": described.feature_size,
        "max_tokens": 77,
        "logit_scale": described.logit_scale,
        "device": described.device,
        "version": __version__,
    }
    assert described.revision is not None
    assert described.revision.startswith("sha256:")
    running = (described.backend, described.precision, described.device)
    assert running == (("torch", "float16", "cuda") if torch.cuda.is_available() else ("openvino", "float32", "cpu"))
