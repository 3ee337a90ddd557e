"""POST /v1/gaze with what shows its doubt: certainty, lift, stability, none_of_these, and how the picture is framed."""

import math
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from benchmarks.drawn import asked
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.interpretation.certainty import NEAR_TIE_SIMILARITY
from service.zero_shot.interpretation.lift import NONE_OF_THESE_BELOW, neutral_pictures
from service.zero_shot.interpretation.stability import MAX_PHRASES, TEMPLATES
from tests.conftest import encoded, noise
from tests.support.gaze_requests import PNG, ask, ask_by_form, by_base64, upload
from tests.support.problem_shape import checked_problem, pointers
from training.phrases import EVALUATION_PHRASES
from training.samples import sample_pictures
from training.shapes import shape_mask

CIRCLE = encoded(sample_pictures()["red-circle-on-blue.png"])
SHAPES = {"shapes": ["a red circle", "a blue square", "a green star", "a red circle on a blue background"]}
OTHER_VIEWS = ["top_left", "top_right", "bottom_left", "bottom_right", "mirrored", "grey", "smaller"]


def ranked(client: FlaskClient, picture: bytes, **fields: Any) -> dict[str, Any]:
    """Return the one list of an answer."""
    fields = {"phrases": SHAPES, **fields} if "lists" not in fields else fields
    [result] = ask(client, image=by_base64(picture), **fields)["results"]
    [only] = result["lists"].values()
    found: dict[str, Any] = only
    return found


def test_what_is_not_asked_for_does_not_appear(client: FlaskClient) -> None:
    plain = ranked(client, CIRCLE)
    assert set(plain) == {"count", "hash", "predictions"}
    assert all(
        list(each) == ["rank", "label", "phrase", "probability", "similarity", "uri"] for each in plain["predictions"]
    )
    assert plain == ranked(client, CIRCLE, include=[], rank_by="probability", min_probability=0)


@pytest.mark.parametrize("include", ["certainty", "lift", "stability", "none_of_these"])
def test_doubt_is_added_and_changes_nothing_else(client: FlaskClient, include: str) -> None:
    plain, doubted = ranked(client, CIRCLE), ranked(client, CIRCLE, include=[include])
    added = {"certainty": "near_tie_group", "lift": "lift", "stability": "stability", "none_of_these": ""}[include]
    assert set(doubted) - set(plain) == ({include} if include != "lift" else set())
    for before, after in zip(plain["predictions"], doubted["predictions"], strict=True):
        assert set(after) - set(before) == ({added} if added else set())
        for name, value in before.items():
            assert after[name] == (pytest.approx(value, rel=1e-4, abs=1e-7) if isinstance(value, float) else value)


def test_certainty_is_that_of_all_phrases_of_the_list(client: FlaskClient) -> None:
    whole = ranked(client, PNG, lists=["movements"], include=["certainty"], top_k=None)
    probabilities = [each["probability"] for each in whole["predictions"]]
    entropy = -sum(share * math.log2(share) for share in probabilities if share)
    assert whole["certainty"]["entropy"] == pytest.approx(entropy)
    assert whole["certainty"]["effective_count"] == pytest.approx(2**entropy)
    assert whole["certainty"]["margin"] == pytest.approx(probabilities[0] - probabilities[1])
    cut = ranked(client, PNG, lists=["movements"], include=["certainty"], top_k=1)
    assert cut["certainty"] == whole["certainty"]


def test_near_ties_share_a_group_and_a_clear_winner_stands_alone(client: FlaskClient) -> None:
    own = {"materials": ["a red circle", "Conte", "conte", "a green star"]}
    found = ranked(client, CIRCLE, phrases=own, include=["certainty"])["predictions"]
    group = {each["label"]: each["near_tie_group"] for each in found}
    assert group["Conte"] == group["conte"]
    assert found[0]["label"] == "a red circle"
    assert list(group.values()).count(1) == 1
    for one in found:
        for other in found:
            if abs(one["similarity"] - other["similarity"]) < NEAR_TIE_SIMILARITY:
                assert one["near_tie_group"] == other["near_tie_group"]


def test_every_phrase_of_a_neutral_picture_has_a_lift_of_about_one(client: FlaskClient) -> None:
    picture = encoded(neutral_pictures()["raw canvas"])
    found = ranked(client, picture, lists=["surfaces"], include=["lift"], top_k=None)["predictions"]
    assert all(each["lift"] == pytest.approx(1, abs=0.05) for each in found)


def test_lift_is_what_is_ranked_by_where_it_is_asked_for(client: FlaskClient) -> None:
    own = {"all": list(EVALUATION_PHRASES)}
    by_lift = ranked(client, CIRCLE, phrases=own, rank_by="lift", top_k=None)["predictions"]
    lifts = [each["lift"] for each in by_lift]
    assert lifts == sorted(lifts, reverse=True)
    assert [each["rank"] for each in by_lift] == list(range(1, len(own["all"]) + 1))
    by_probability = ranked(client, CIRCLE, phrases=own, top_k=None)["predictions"]
    assert {each["label"]: each["probability"] for each in by_lift} == {
        each["label"]: each["probability"] for each in by_probability
    }
    assert [each["label"] for each in by_lift] != [each["label"] for each in by_probability]


def test_less_probable_phrases_are_left_out(client: FlaskClient) -> None:
    whole = ranked(client, PNG, lists=["movements"], top_k=None)["predictions"]
    least = whole[2]["probability"]
    cut = ranked(client, PNG, lists=["movements"], top_k=None, min_probability=least)["predictions"]
    assert cut == whole[:3]
    assert ranked(client, PNG, lists=["movements"], min_probability=1)["predictions"] == []


def test_verdict_is_right_of_most_pictures(client: FlaskClient) -> None:
    right = 0
    for seed in range(40):
        question = asked(seed, 12, shown=seed % 2 == 0)
        picture = encoded(question.picture)
        own = {"own": list(question.phrases)}
        verdict = ranked(client, picture, phrases=own, include=["none_of_these"])["none_of_these"]
        assert verdict["threshold"] == NONE_OF_THESE_BELOW
        assert verdict["verdict"] == (verdict["evidence"] < NONE_OF_THESE_BELOW)
        right += verdict["verdict"] == (question.right is None)
    assert right >= 36


def at_the_left_edge() -> bytes:
    """Return a wide white picture with a red circle that a middle square does not show."""
    picture = Image.new("RGB", (900, 450), "white")
    mask = shape_mask("circle", picture.size, (115, 225), 105, np.random.default_rng(0))
    picture.paste((220, 20, 20), mask=mask)
    return encoded(picture)


def test_what_stands_at_the_edge_is_missed_by_crop_and_found_by_pad_and_the_answer_says_so(client: FlaskClient) -> None:
    own = {"shapes": ["a red circle", "plain white", "a blue square", "a green star"]}
    picture = at_the_left_edge()
    crop, pad = (ranked(client, picture, phrases=own, fit=fit) for fit in ("crop", "pad"))
    assert crop["predictions"][0]["label"] == "plain white"
    assert pad["predictions"][0]["label"] == "a red circle"
    stability = ranked(client, picture, phrases=own, include=["stability"])["stability"]
    assert stability["edges_matter"]
    assert stability["views"]["crop"]["label"] == "plain white"
    assert stability["views"]["pad"]["label"] == "a red circle"
    assert not ranked(client, CIRCLE, phrases=own, include=["stability"])["stability"]["edges_matter"]


@pytest.mark.parametrize(
    ("fit", "first"),
    [
        (None, ["crop", "pad"]),
        ("crop", ["crop", "pad"]),
        ("pad", ["pad", "crop"]),
        ("stretch", ["stretch", "crop", "pad"]),
    ],
)
def test_stability_looks_at_the_picture_in_several_ways(client: FlaskClient, fit: str | None, first: list[str]) -> None:
    fields = {"fit": fit} if fit else {}
    found = ranked(client, CIRCLE, include=["stability"], **fields)
    assert list(found["stability"]["views"]) == [*first, *OTHER_VIEWS]
    assert found["stability"]["views"][first[0]]["label"] == found["predictions"][0]["label"]
    assert list(found["stability"]["templates"]) == ["{}", *TEMPLATES]
    alone = {each: ranked(client, CIRCLE, fit=each) for each in first}
    for name, plain in alone.items():
        best = plain["predictions"][0]
        view = found["stability"]["views"][name]
        assert (view["label"], view["probability"]) == (best["label"], pytest.approx(best["probability"], rel=1e-4))


def test_spread_holds_every_views_rank_and_probability(client: FlaskClient) -> None:
    found = ranked(client, CIRCLE, include=["stability"])
    for each in found["predictions"]:
        for spread in each["stability"].values():
            assert spread["rank"]["lowest"] <= each["rank"] <= spread["rank"]["highest"] <= 4
            low, high = spread["probability"]["lowest"], spread["probability"]["highest"]
            assert 0 <= low <= high <= 1
            assert low * 0.999 <= each["probability"] <= high * 1.001
        for fit in ("crop", "pad"):
            others = ranked(client, CIRCLE, fit=fit)["predictions"]
            [other] = [other for other in others if other["label"] == each["label"]]
            of_pictures = each["stability"]["pictures"]["rank"]
            assert of_pictures["lowest"] <= other["rank"] <= of_pictures["highest"]


def test_stability_of_the_first_phrases_only_is_told(client: FlaskClient) -> None:
    found = ranked(client, PNG, lists=["movements"], include=["stability"], top_k=None)["predictions"]
    assert ["stability" in each for each in found] == [rank < MAX_PHRASES for rank in range(len(found))]


def test_fit_that_the_model_was_trained_with_changes_nothing(client: FlaskClient) -> None:
    picture = encoded(noise(300, 180))
    assert ranked(client, picture, fit="crop") == ranked(client, picture)
    assert ranked(client, picture, fit="pad") != ranked(client, picture)
    assert ranked(client, picture, fit="stretch") != ranked(client, picture, fit="pad")


def test_form_asks_for_the_same(client: FlaskClient) -> None:
    fields = {"fit": "pad", "rank_by": "lift", "min_probability": 0.01, "include": ["certainty", "none_of_these"]}
    of_json = ranked(client, CIRCLE, phrases={"phrases": SHAPES["shapes"]}, **fields)
    form = [("image", upload(CIRCLE, "a.png")), *(("phrases", each) for each in SHAPES["shapes"]), ("fit", "pad")]
    form += [("rank_by", "lift"), ("min_probability", "0.01"), ("include", "certainty, none_of_these")]
    [result] = ask_by_form(client, *form)["results"]
    assert result["lists"]["phrases"] == of_json


def test_several_pictures_have_their_own_doubt_and_one_that_fails_has_none(client: FlaskClient) -> None:
    images = [by_base64(CIRCLE), by_base64(PNG[:40]), by_base64(at_the_left_edge())]
    results = ask(client, images=images, phrases=SHAPES, include=["stability", "certainty"])["results"]
    assert ["lists" in each for each in results] == [True, False, True]
    first, third = results[0]["lists"]["shapes"], results[2]["lists"]["shapes"]
    assert first == ranked(client, CIRCLE, include=["stability", "certainty"])
    assert third["certainty"] != first["certainty"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"include": ["truth"]}, "/include/0"),
        ({"include": "certainty"}, "/include"),
        ({"include": ["lift", 3, None]}, "/include/1"),
        ({"include": None}, ""),
        ({"rank_by": "similarity"}, "/rank_by"),
        ({"rank_by": None}, ""),
        ({"fit": "squeeze"}, "/fit"),
        ({"fit": None}, ""),
        ({"min_probability": -0.1}, "/min_probability"),
        ({"min_probability": 1.1}, "/min_probability"),
        ({"min_probability": "0.5"}, "/min_probability"),
        ({"min_probability": True}, "/min_probability"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(client: FlaskClient, fields: dict[str, Any], pointer: str) -> None:
    response = client.post("/v1/gaze", json={"image": by_base64(PNG), "lists": ["qualities"], **fields})
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert pointers(problem) == [pointer]


@pytest.mark.parametrize("text", ["", " 0.5", "0.5 ", "1.5", "-0", "1e-3", "nan", ".5", "0,5", "0.", "00.5"])
def test_a_share_in_a_form_is_written_plainly(client: FlaskClient, text: str) -> None:
    fields = {"image": upload(PNG, "a.png"), "lists": "qualities", "min_probability": text}
    response = client.post("/v1/gaze", data=fields)
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert pointers(problem) == ["/min_probability"]


def test_the_probable_phrases_are_ranked_and_not_the_ranked_ones_sifted(client: FlaskClient) -> None:
    own = {"all": ["a red circle", "a blue square", "plain white", "a green star"]}
    by_lift = ranked(client, at_the_left_edge(), phrases=own, fit="pad", rank_by="lift")["predictions"]
    least = by_lift[1]["probability"]
    assert by_lift[0]["probability"] > least
    probable = [each for each in by_lift if each["probability"] >= by_lift[0]["probability"]]
    [first] = ranked(client, CIRCLE, rank_by="lift", top_k=1, min_probability=0.5)["predictions"]
    assert first["probability"] >= 0.5
    assert len(probable) == 1


def test_templates_compare_the_same_phrases_whatever_is_shown(client: FlaskClient) -> None:
    whole = ranked(client, CIRCLE, include=["stability"])
    one = ranked(client, CIRCLE, include=["stability"], top_k=1)
    assert one["stability"]["templates"] == whole["stability"]["templates"]
    assert one["predictions"] == whole["predictions"][:1]
    none = ranked(client, CIRCLE, include=["stability"], min_probability=1)
    assert none["stability"] == whole["stability"]
    assert none["predictions"] == []


def test_a_lists_own_template_is_asked_once(client: FlaskClient) -> None:
    own = {"shapes": ["red circle", "blue square"]}
    found = ranked(client, CIRCLE, phrases=own, template=TEMPLATES[0], include=["stability"])
    assert list(found["stability"]["templates"]) == [TEMPLATES[0], *TEMPLATES[1:]]
    for each in found["predictions"]:
        spread = each["stability"]["templates"]["probability"]
        assert spread["lowest"] <= each["probability"] * 1.001
        assert spread["highest"] >= each["probability"] * 0.999


def test_neutral_pictures_are_looked_at_once(classifier: ZeroShotClassifier) -> None:
    assert classifier.neutral() is classifier.neutral()
