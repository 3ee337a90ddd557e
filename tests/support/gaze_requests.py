"""POST /v1/gaze as tests ask it, through Flask's test client."""

import base64
import io
import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from tests.conftest import encoded, noise

PNG = encoded(noise(64, 48))

JPEG = encoded(noise(50, 70, seed=1), "JPEG")

BROKEN = PNG[: len(PNG) // 2]


def by_base64(picture: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(picture).decode()}


def ask(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    # Not json=fields: Flask's client would sort the keys.
    return answered(client.post("/v1/gaze", data=json.dumps(fields), content_type="application/json"))


def ask_by_form(client: FlaskClient, *fields: tuple[str, Any]) -> dict[str, Any]:
    return answered(client.post("/v1/gaze", data=MultiDict(fields)))


def answered(response: TestResponse) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    answer: dict[str, Any] = response.get_json()
    return answer


def upload(picture: bytes, name: str) -> tuple[io.BytesIO, str]:
    return io.BytesIO(picture), name
