"""What README and the pages show is what happens: the first request, its answer, the tutorial, and the pictures."""

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

from service.api.schemas.requests import INCLUDED, MAX_EXPLAINED
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY
from service.zero_shot.interpretation.lift import NONE_OF_THESE_BELOW, neutral_pictures
from service.zero_shot.interpretation.stability import MAX_PHRASES
from tests.conftest import REPOSITORY
from tests.support.documented import blocks
from training.samples import sample_pictures

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
START = (REPOSITORY / "docs" / "getting-started.md").read_text(encoding="utf-8")
TRUST = (REPOSITORY / "docs" / "trust.md").read_text(encoding="utf-8")
TUTORIAL = TRUST[TRUST.index("## From a picture to a sentence that holds") :]


def first_block(page: str, language: str) -> str:
    """Return the first block of code of a language in a page's section on the first request."""
    return blocks(page[page.index("## A first request") :], language)[0]


def sent(client: FlaskClient, command: str) -> dict[str, Any]:
    """Return the answer to what a curl command of the README asks."""
    words = shlex.split(command.replace("\\\n", " "))
    fields = [word.partition("=")[::2] for flag, word in pairwise(words) if flag == "-F"]
    assert words[0] == "curl"
    form: dict[str, Any] = {}
    for name, text in fields:
        file = (io.BytesIO((REPOSITORY / text[1:]).read_bytes()), text.split("/")[-1]) if text[0] == "@" else text
        form.setdefault(name, []).append(file)
    response = client.post(words[-1].removeprefix("http://127.0.0.1:8000"), data=form)
    assert response.status_code == 200
    answer: dict[str, Any] = response.get_json()
    return answer


@pytest.mark.parametrize("page", [README, START], ids=["README.md", "getting-started.md"])
def test_the_first_request_has_the_answer_that_is_printed_below_it(page: str, client: FlaskClient) -> None:
    _assert_like(sent(client, first_block(page, "sh")), json.loads(first_block(page, "json")))


def test_the_tutorial_comes_to_what_it_says(client: FlaskClient) -> None:
    commands = re.findall(r"^curl .*?/v1/\w+$", TUTORIAL, re.DOTALL | re.MULTILINE)
    asked, again, explained = (sent(client, command) for command in commands)
    crop, pad = (answer["results"][0]["lists"]["phrases"] for answer in (asked, again))
    first = crop["predictions"][0]
    assert (first["label"], round(first["probability"], 3)) == ("plain white", 1.0)
    assert round(first["lift"], 2) == 1.0
    assert crop["none_of_these"]["verdict"]
    assert crop["stability"]["edges_matter"]
    assert crop["stability"]["views"]["crop"]["label"] == "plain white"
    assert crop["stability"]["views"]["pad"]["label"] == "a red circle"
    first, second = pad["predictions"][:2]
    assert (first["label"], round(first["probability"], 3)) == ("a red circle", 1.0)
    assert first["lift"] > 2e6
    assert first["near_tie_group"] != second["near_tie_group"]
    assert not pad["none_of_these"]["verdict"]
    [heat_map] = explained["maps"]
    assert heat_map["strongest"]["column"] <= 3
    assert again["model"]["revision"].startswith("sha256:9cc2da9a9af5")


def test_the_figures_of_doubt_are_the_codes() -> None:
    doubt = " ".join(TRUST[TRUST.index("## What to ask for") : TRUST.index("## From a picture")].split())
    assert f"less than {NEAR_TIE_SIMILARITY}" in doubt
    assert f"under {NONE_OF_THESE_BELOW}" in doubt
    assert f"the first {MAX_PHRASES} phrases" in doubt
    assert f"with {len(neutral_pictures())} neutral pictures" in doubt
    assert f"up to {MAX_EXPLAINED} phrases" in doubt
    for name in INCLUDED:
        assert f"`include`: `{name}`" in doubt


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
