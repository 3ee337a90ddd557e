"""What the README shows is what happens: its first request, its answer, and its pictures."""

import io
import json
import re
import shlex
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.conftest import REPOSITORY
from training.samples import sample_pictures

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FIRST = README[README.index("## A first request") : README.index("## Recipes")]


def block(language: str) -> str:
    """Return the first block of code of a language in the section on the first request."""
    found = re.search(rf"```{language}\n(.*?)```", FIRST, re.DOTALL)
    assert found
    return found[1]


def test_the_first_request_has_the_answer_that_is_printed_below_it(client: FlaskClient) -> None:
    words = shlex.split(block("sh").replace("\\\n", " "))
    fields = [word.partition("=")[::2] for flag, word in pairwise(words) if flag == "-F"]
    assert words[0] == "curl"
    assert words[-1].endswith("/v1/gaze")
    form: dict[str, Any] = {}
    for name, text in fields:
        file = (io.BytesIO((REPOSITORY / text[1:]).read_bytes()), text.split("/")[-1]) if text[0] == "@" else text
        form.setdefault(name, []).append(file)
    answer = client.post("/v1/gaze", data=form).get_json()
    _assert_like(answer, json.loads(block("json")))


def _assert_like(real: Any, printed: Any) -> None:
    """Compare an answer with a printed one, in which a long hash ends in an ellipsis; numbers may differ a little."""
    if isinstance(printed, dict):
        assert list(real) == list(printed)
        for name, part in printed.items():
            _assert_like(real[name], part)
    elif isinstance(printed, list):
        assert len(real) == len(printed)
        for real_part, part in zip(real, printed, strict=True):
            _assert_like(real_part, part)
    elif isinstance(printed, str) and printed.endswith("…"):
        assert real.startswith(printed[:-1])
    elif isinstance(printed, float):
        assert real == pytest.approx(printed, rel=1e-2, abs=1e-4)
    else:
        assert real == printed


@pytest.mark.parametrize(("name", "drawn"), sample_pictures().items())
def test_the_pictures_are_drawn_by_the_trainings_code(name: str, drawn: Image.Image) -> None:
    kept = np.asarray(Image.open(REPOSITORY / "examples" / name).convert("RGB"), dtype=np.int16)
    difference = np.abs(kept - np.asarray(drawn, dtype=np.int16))
    # JPEG keeps a picture only nearly as it is, at edges above all.
    assert difference.mean() < (1 if name.endswith(".jpg") else 1e-9)


def test_every_picture_that_is_shown_is_there() -> None:
    shown = re.findall(r"\]\(((?:examples|models|lists)/[^)]+|LICENSE)\)", README)
    assert "examples/red-circle-on-blue.png" in shown
    for path in shown:
        assert (REPOSITORY / path).is_file()
