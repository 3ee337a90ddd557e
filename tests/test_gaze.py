"""POST /v1/gaze: what is answered, and that it is what the model says."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from service.api.gaze import framing_of
from service.api.images import LoadedImage, warnings_of
from service.api.schemas.responses import ImageInfo
from service.errors import InvalidRequest, UndecodableImage
from service.images.decode import ImageLimits, decode
from service.zero_shot import ranking
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.ranking import cosines
from tests.conftest import encoded, noise
from tests.support.gaze_requests import BROKEN, JPEG, PNG, answered, ask, ask_by_form, by_base64, upload
from tests.support.hash_encoder import FRAMING, HashEncoder
from tests.support.problem_shape import checked_problem, pointers


def test_answer_has_the_shape_of_the_contract(
    client: FlaskClient, classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList]
) -> None:
    answer = ask(client, image=by_base64(JPEG), lists=["movements"], top_k=3)
    assert list(answer) == ["model", "results", "warnings"]
    assert answer["model"] == {
        "id": "demo",
        "revision": classifier.model.revision,
        "backend": classifier.model.backend,
        "precision": classifier.model.precision,
        "demo": True,
    }
    assert answer["warnings"] == [ranking.DEMO]
    [result] = answer["results"]
    assert list(result) == ["image", "lists"]
    assert result["image"] == {
        "source": "base64",
        "name": None,
        "sha256": decode(JPEG, ImageLimits(10**6, 10**6)).sha256,
        "format": "JPEG",
        "width": 50,
        "height": 70,
    }
    ranked = result["lists"]["movements"]
    assert list(result["lists"]) == ["movements"]
    assert list(ranked) == ["count", "hash", "predictions"]
    assert (ranked["count"], ranked["hash"]) == (193, phrase_lists["movements"].hash)
    assert [found["rank"] for found in ranked["predictions"]] == [1, 2, 3]
    uris = dict(zip(phrase_lists["movements"].labels, phrase_lists["movements"].uris, strict=True))
    for found in ranked["predictions"]:
        assert list(found) == ["rank", "label", "phrase", "probability", "similarity", "uri"]
        assert found["phrase"] == f"{found['label']} movement"
        assert found["uri"] == uris[found["label"]]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000"])
def test_every_format_is_named(client: FlaskClient, file_format: str) -> None:
    picture = encoded(noise(64, 48), file_format)
    image = ask(client, image=by_base64(picture), lists=["qualities"])["results"][0]["image"]
    assert (image["format"], image["width"], image["height"]) == (file_format, 64, 48)


def test_width_and_height_are_the_upright_images(client: FlaskClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(noise(64, 48), "JPEG", exif=exif)
    image = ask(client, image=by_base64(turned), lists=["qualities"])["results"][0]["image"]
    assert (image["width"], image["height"]) == (48, 64)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        (r"C:\\pictures\\été.png", "été.png"),
        ("a\x07b\x7f.png", "ab.png"),
        ("folder/", None),
        ("x" * 300, "x" * 255),
    ],
)
def test_name_is_the_last_part_of_the_files(client: FlaskClient, sent: str, name: str | None) -> None:
    image = ask_by_form(client, ("image", upload(PNG, sent)), ("lists", "qualities"))["results"][0]["image"]
    assert (image["source"], image["name"]) == ("upload", name)


def test_file_without_a_name_is_an_image(client: FlaskClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + PNG + b"\r\n"
    body += b'--b\r\nContent-Disposition: form-data; name="lists"\r\n\r\nqualities\r\n--b--\r\n'
    answer = answered(client.post("/v1/gaze", data=body, content_type="multipart/form-data; boundary=b"))
    assert answer["results"][0]["image"]["name"] is None


def test_form_answers_as_json_does(client: FlaskClient) -> None:
    by_form = ask_by_form(
        client,
        ("image", upload(PNG, "a.png")),
        ("lists", "qualities"),
        ("phrases", "a river"),
        ("phrases", "a bridge"),
        ("template", "a painting of {}"),
        ("top_k", "all"),
    )
    by_json = ask(
        client,
        image=by_base64(PNG),
        lists=["qualities"],
        phrases={"phrases": ["a river", "a bridge"]},
        template="a painting of {}",
        top_k=None,
    )
    assert by_form["results"][0]["lists"] == by_json["results"][0]["lists"]
    assert by_form["warnings"] == by_json["warnings"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_media_type_is_read_as_http_says(client: FlaskClient, media_type: str) -> None:
    body = '{"image": {"base64": "' + by_base64(PNG)["base64"] + '"}, "lists": ["qualities"]}'
    answered(client.post("/v1/gaze", data=body, content_type=media_type))


@pytest.mark.parametrize(
    "base64_text",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "DATA:;base64," + base64.b64encode(PNG).decode(),
        base64.encodebytes(PNG).decode(),
        f" \t{base64.b64encode(PNG).decode()}\r\n",
    ],
)
def test_base64_may_have_a_prefix_and_blanks(client: FlaskClient, base64_text: str) -> None:
    plain = ask(client, image=by_base64(PNG), lists=["qualities"])
    assert ask(client, image={"base64": base64_text}, lists=["qualities"]) == plain


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({}, 5), ({"top_k": 1}, 1), ({"top_k": 5.0}, 5), ({"top_k": None}, 7), ({"top_k": 7}, 7), ({"top_k": 10**30}, 7)],
)
def test_top_k_cuts_the_answer(client: FlaskClient, fields: dict[str, Any], shown: int) -> None:
    ranked = ask(client, image=by_base64(PNG), lists=["qualities"], **fields)["results"][0]["lists"]["qualities"]
    assert (len(ranked["predictions"]), ranked["count"]) == (shown, 7)


@pytest.mark.parametrize(("text", "shown"), [("1", 1), ("all", 7), ("999999999", 7)])
def test_top_k_of_a_form(client: FlaskClient, text: str, shown: int) -> None:
    answer = ask_by_form(client, ("image", upload(PNG, "a.png")), ("lists", "qualities"), ("top_k", text))
    assert len(answer["results"][0]["lists"]["qualities"]["predictions"]) == shown


def test_ranking_is_the_softmax_of_what_the_model_says(
    client: FlaskClient, classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList]
) -> None:
    answer = ask(client, image=by_base64(PNG), lists=["movements"], top_k=None)
    predictions = answer["results"][0]["lists"]["movements"]["predictions"]
    image_features = classifier.encode_image(decode(PNG, ImageLimits(10**6, 10**6)).rgb)
    [movements] = classifier.lists_named(["movements"])
    similarities = cosines(image_features, movements.text_features)
    exponentials = np.exp(classifier.model.logit_scale * similarities.astype(np.float64))
    order = np.argsort(-similarities, kind="stable")
    assert [found["label"] for found in predictions] == [phrase_lists["movements"].labels[index] for index in order]
    # To the last bit: the numbers are not rounded.
    assert [found["similarity"] for found in predictions] == [float(similarities[index]) for index in order]
    probabilities = np.array([found["probability"] for found in predictions])
    np.testing.assert_allclose(probabilities, (exponentials / exponentials.sum())[order], rtol=1e-9)
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(probabilities) <= 0).all()


def test_probability_is_that_of_the_whole_list_however_it_is_cut(client: FlaskClient) -> None:
    whole, cut = (ask(client, image=by_base64(PNG), lists=["surfaces"], top_k=top_k) for top_k in (None, 2))
    assert (
        cut["results"][0]["lists"]["surfaces"]["predictions"]
        == whole["results"][0]["lists"]["surfaces"]["predictions"][:2]
    )


def test_every_list_is_its_own_softmax(client: FlaskClient) -> None:
    names = ["tools", "qualities", "sites"]
    together = ask(client, image=by_base64(PNG), lists=names)["results"][0]["lists"]
    assert list(together) == names
    for name in names:
        assert ask(client, image=by_base64(PNG), lists=[name])["results"][0]["lists"] == {name: together[name]}


def test_equal_probabilities_are_ranked_in_list_order(client: FlaskClient) -> None:
    # CLIP's tokenizer makes these the same, so that their probabilities are equal to the last bit.
    same = ["A RIVER", "a river", "A  River", "a River"]
    own = {"own": [*same, "a bridge"], "turned": ["a bridge", *reversed(same)]}
    lists = ask(client, image=by_base64(PNG), phrases=own, top_k=None)["results"][0]["lists"]
    for name, expected in (("own", same), ("turned", same[::-1])):
        found = [found for found in lists[name]["predictions"] if found["label"] != "a bridge"]
        assert [each["label"] for each in found] == expected
        assert len({each["probability"] for each in found}) == 1


def test_template_is_applied_to_own_phrases_only(client: FlaskClient) -> None:
    answer = ask(
        client,
        image=by_base64(PNG),
        lists=["qualities"],
        phrases={"subject": ["a river", "a bridge"], "other": ["a tree", "a house"]},
        template="a painting of {}, in oil",
        top_k=None,
    )
    lists = answer["results"][0]["lists"]
    assert list(lists) == ["qualities", "subject", "other"]
    for name in ("subject", "other"):
        for found in lists[name]["predictions"]:
            assert found["phrase"] == f"a painting of {found['label']}, in oil"
            assert found["uri"] is None
    assert all(found["phrase"] == f"{found['label']} quality" for found in lists["qualities"]["predictions"])
    plain = ask(client, image=by_base64(PNG), phrases={"subject": ["a river", "a bridge"]})
    assert plain["results"][0]["lists"]["subject"]["hash"] != lists["subject"]["hash"]


def test_list_of_one_phrase_is_warned_of(client: FlaskClient) -> None:
    answer = ask(client, image=by_base64(PNG), phrases={"alone": ["a river"], "pair": ["a river", "a bridge"]})
    assert answer["results"][0]["lists"]["alone"]["predictions"][0]["probability"] == 1
    assert [warning for warning in answer["warnings"] if "one phrase" in warning] == [
        "The list 'alone' has one phrase, so its probability is 1 whatever the image shows."
    ]


def test_phrase_that_is_cut_is_warned_of(client: FlaskClient, classifier: ZeroShotClassifier) -> None:
    # Each word is at least one token, and two tokens mark start and end.
    limit = classifier.model.max_tokens
    words = {"fits": ["red " * (limit - 2), "a bridge"], "long": ["red " * (limit - 1), "a bridge"]}
    assert ask(client, image=by_base64(PNG), phrases=words)["warnings"] == [
        ranking.DEMO,
        f"The model reads {limit} tokens of a phrase; 1 phrase of 'long' had more.",
    ]


def test_lists_are_repeated_or_comma_separated(client: FlaskClient) -> None:
    picture = ("image", upload(PNG, "a.png"))
    answer = ask_by_form(
        client, picture, ("lists", "qualities, sites,tools"), ("lists", "surfaces"), ("lists", "sites")
    )
    assert list(answer["results"][0]["lists"]) == ["qualities", "sites", "tools", "surfaces"]


def test_own_list_may_not_take_a_served_lists_name(client: FlaskClient) -> None:
    response = client.post("/v1/gaze", json={"image": by_base64(PNG), "phrases": {"movements": ["a"], "own": ["a"]}})
    problem = checked_problem(response.status_code, response.headers, response.data, "invalid_request")
    assert (problem["status"], pointers(problem)) == (422, ["/phrases/movements"])


@pytest.mark.parametrize(("name", "suggestion"), [("movment", "'movements'"), ("qqqqqqqq", "GET /v1/lists")])
def test_unknown_list_is_told_before_the_image_is_touched(client: FlaskClient, name: str, suggestion: str) -> None:
    response = client.post("/v1/gaze", json={"image": {"base64": "!"}, "lists": ["qualities", name]})
    problem = checked_problem(response.status_code, response.headers, response.data, "unknown_list")
    assert (problem["status"], problem["errors"]) == (404, [{"pointer": "/lists/1", "detail": problem["detail"]}])
    assert suggestion in problem["detail"]


def test_one_bad_image_among_several_has_its_own_error(client: FlaskClient) -> None:
    sent = [by_base64(PNG), by_base64(BROKEN), {"url": "http://127.0.0.1/a.png"}, by_base64(b"text"), by_base64(JPEG)]
    response = client.post("/v1/gaze", json={"images": sent, "lists": ["qualities"]})
    results = answered(response)["results"]
    assert len(results) == 5
    for place, picture in ((0, PNG), (4, JPEG)):
        assert results[place] == ask(client, image=by_base64(picture), lists=["qualities"])["results"][0]
    codes = {1: "undecodable_image", 2: "url_not_allowed", 3: "unsupported_image_format"}
    for place, code in codes.items():
        alone = client.post("/v1/gaze", json={"image": sent[place], "lists": ["qualities"]})
        expected = checked_problem(alone.status_code, alone.headers, alone.data, code)
        assert list(results[place]) == ["image", "error"]
        assert results[place]["error"] == {**expected, "request_id": response.headers["X-Request-ID"]}
    assert results[2]["image"] == {"source": "url", "name": "a.png"}
    assert results[1]["image"] == {"source": "base64", "name": None}


@pytest.mark.parametrize(
    ("pictures", "status", "code"),
    [
        ([BROKEN, b"text"], 422, "undecodable_image"),
        ([b"text", BROKEN], 415, "unsupported_image_format"),
        ([b"text"], 415, "unsupported_image_format"),
    ],
)
def test_request_fails_with_the_first_error_where_every_image_fails(
    client: FlaskClient, pictures: list[bytes], status: int, code: str
) -> None:
    sent = {"images": [by_base64(picture) for picture in pictures], "lists": ["qualities"]}
    response = client.post("/v1/gaze", json=sent)
    assert response.status_code == status
    checked_problem(status, response.headers, response.data, code)


@pytest.mark.parametrize(
    ("settings", "picture", "status", "code"),
    [
        ({"max_image_bytes": 2000}, PNG, 413, "image_too_large"),
        ({"max_image_pixels": 3000}, PNG, 422, "image_dimensions"),
        ({}, encoded(Image.new("RGB", (101, 1))), 422, "image_dimensions"),
        ({}, b"%PDF-1.7", 415, "unsupported_image_format"),
        ({}, b"<svg/>", 415, "unsupported_image_format"),
        ({}, BROKEN, 422, "undecodable_image"),
    ],
)
def test_picture_that_is_not_taken(
    make_client: Callable[..., FlaskClient],
    settings: dict[str, int],
    picture: bytes,
    status: int,
    code: str,
) -> None:
    client = make_client(**settings)
    by_form = client.post("/v1/gaze", data={"image": upload(picture, "a.png"), "lists": "qualities"})
    by_json = client.post("/v1/gaze", json={"image": by_base64(picture), "lists": ["qualities"]})
    for response in (by_form, by_json):
        assert response.status_code == status
        checked_problem(status, response.headers, response.data, code)


def test_server_timing_names_the_stages(client: FlaskClient) -> None:
    response = client.post("/v1/gaze", json={"image": by_base64(PNG), "lists": ["qualities"]})
    stages = dict(part.split(";dur=") for part in response.headers["Server-Timing"].split(", "))
    assert list(stages) == ["fetch", "decode", "encode", "rank"]
    assert float(stages["encode"]) > 0


def test_same_request_gives_the_same_bytes(client: FlaskClient) -> None:
    sent = {"images": [by_base64(PNG), by_base64(JPEG)], "lists": ["movements"], "phrases": {"own": ["a", "b"]}}
    first, second = (client.post("/v1/gaze", json=sent).data for _ in range(2))
    assert first == second


def test_what_a_decoder_warns_of_says_which_picture_it_is() -> None:
    info = ImageInfo(source="upload", name=None, sha256="00", format="PNG", width=1, height=1)
    plain, odd = LoadedImage(info, {}, ()), LoadedImage(info, {}, ("It is dark.", "It is small."))
    assert warnings_of([plain]) == []
    assert warnings_of([odd]) == ["It is dark.", "It is small."]
    assert warnings_of([plain, UndecodableImage(), odd]) == ["Picture 3: It is dark.", "Picture 3: It is small."]


def test_a_model_with_a_framing_gives_it() -> None:
    assert framing_of(ZeroShotClassifier(HashEncoder(), {}), "/fit") is FRAMING


@pytest.mark.parametrize("pointer", ["/fit", "/include", ""])
def test_a_model_without_a_framing_refuses_what_needs_one(pointer: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        framing_of(ZeroShotClassifier(HashEncoder(framing=None), {}), pointer)
    [wrong] = raised.value.errors
    assert wrong.pointer == pointer
    assert wrong.detail
