"""On a CLIP of full size, the service's probabilities are those of transformers and of clip-gaze 0.3.0."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from benchmarks.reference_clip import LOGIT_SCALE, make_reference_clip
from service.app import create_app
from service.composition import load_classifier
from service.settings import Settings
from service.zero_shot import model_files
from service.zero_shot.classifier import LoadingClassifier, ZeroShotClassifier
from service.zero_shot.model_files import DEFAULT_REVISION
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import REPOSITORY, encoded, noise

pytestmark = pytest.mark.timeout(1200)  # its two set-ups convert models of full size, for some minutes each

TOLERANCE = 1e-4
MIN_COSINE = 0.999_999
LONG_LISTS = ("artists_by_name", "artists_by_training_prevalence")

# width, height, mode, format: what people send, and shapes and modes at which preprocessing could go astray.
PICTURES = (
    (224, 224, "RGB", "PNG"),
    (640, 480, "RGB", "JPEG"),
    (480, 640, "RGB", "JPEG"),
    (2175, 1713, "RGB", "JPEG"),
    (225, 224, "RGB", "PNG"),
    (223, 400, "RGB", "WEBP"),
    (31, 47, "RGB", "PNG"),
    (1, 1, "RGB", "PNG"),
    (1000, 50, "RGB", "PNG"),
    (40, 900, "RGB", "TIFF"),
    (800, 600, "L", "JPEG"),
    (301, 517, "L", "PNG"),
    (512, 512, "P", "PNG"),
    (333, 222, "P", "GIF"),
    (400, 300, "1", "PNG"),
    (350, 260, "RGBA", "PNG"),
    (260, 350, "LA", "PNG"),
    (600, 450, "CMYK", "JPEG"),
    (450, 601, "CMYK", "TIFF"),
    (640, 427, "RGB", "BMP"),
)


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the hub in which the reference model is found under the default model's name."""
    home = tmp_path_factory.mktemp("hub")
    repository = home / "hub" / "models--openai--clip-vit-base-patch32"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(DEFAULT_REVISION)
    make_reference_clip(repository / "snapshots" / DEFAULT_REVISION)
    return home


@pytest.fixture(scope="module")
def reference_folder(hub_home: Path) -> Path:
    """The directory of the reference model."""
    return hub_home / "hub" / "models--openai--clip-vit-base-patch32" / "snapshots" / DEFAULT_REVISION


BACKENDS: tuple[Literal["openvino", "torch"], ...] = ("openvino", "torch")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of all that these tests start."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def classifiers(
    reference_folder: Path, cache: Path, phrase_lists: dict[str, PhraseList]
) -> dict[str, ZeroShotClassifier]:
    """The service's classifier on the reference model, by backend, with all ten lists encoded."""
    classifiers: dict[str, ZeroShotClassifier] = {}
    for backend in BACKENDS:
        settings = Settings(
            model=str(reference_folder), device="cpu", backend=backend, precision="float32", threads=2, cache_dir=cache
        )
        classifiers[backend] = load_classifier(settings, model_files.locate(settings.model, None), phrase_lists)
        assert classifiers[backend].model.backend == backend
    return classifiers


@pytest.fixture(scope="module")
def clients(
    reference_folder: Path, classifiers: dict[str, ZeroShotClassifier], phrase_lists: dict[str, PhraseList]
) -> dict[str, FlaskClient]:
    """A client of the service on the reference model, by backend."""
    clients = {}
    for backend, classifier in classifiers.items():
        loading = LoadingClassifier(_already(classifier)).start().wait()
        settings = Settings(model=str(reference_folder))
        clients[backend] = create_app(settings, phrase_lists, loading, threading.Event()).test_client()
    return clients


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Twenty pictures of different shapes and modes, as files' bytes."""
    return [
        encoded(noise(width, height, mode, seed), file_format)
        for seed, (width, height, mode, file_format) in enumerate(PICTURES)
    ]


@pytest.fixture(scope="module")
def answers(clients: dict[str, FlaskClient], pictures: list[bytes]) -> dict[str, list[dict[str, Any]]]:
    """What the service says of each picture, by backend: every phrase of all ten lists."""
    answers: dict[str, list[dict[str, Any]]] = {backend: [] for backend in BACKENDS}
    for backend, client in clients.items():
        names = [entry["name"] for entry in client.get("/v1/lists").get_json()["lists"]]
        for picture in pictures:
            question = {"image": _by_base64(picture), "lists": names, "top_k": None}
            response = client.post("/v1/gaze", json=question)
            assert response.status_code == 200, response.get_json()
            answers[backend].append(response.get_json()["results"][0]["lists"])
    return answers


@pytest.fixture(scope="module")
def of_transformers(
    pictures: list[bytes], reference_folder: Path, phrase_lists: dict[str, PhraseList]
) -> dict[str, NDArray[np.floating[Any]]]:
    """The probabilities [20, phrases] of each list, by transformers alone."""
    model: Any = CLIPModel.from_pretrained(reference_folder, dtype=torch.float32)
    model.eval()
    processor = CLIPImageProcessor.from_pretrained(reference_folder)
    assert model.logit_scale.exp().item() == pytest.approx(LOGIT_SCALE)
    probabilities = {}
    with torch.inference_mode():
        images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        inputs = processor(images=images, return_tensors="pt")
        image_embeds = _unit(model.get_image_features(**inputs).pooler_output)
        for name, phrase_list in phrase_lists.items():
            text_embeds = _text_embeds(model, reference_folder, phrase_list.phrases)
            logits = model.logit_scale.exp() * image_embeds @ text_embeds.T
            probabilities[name] = logits.softmax(dim=-1).numpy()
    return probabilities


@pytest.fixture(scope="module")
def of_clip_gaze(
    pictures: list[bytes],
    hub_home: Path,
    phrase_lists: dict[str, PhraseList],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[int, str], list[float]]:
    """The probabilities of clip-gaze 0.3.0, by picture and list: of the short lists, and once of all artists."""
    folder = tmp_path_factory.mktemp("pictures")
    short = [name for name in phrase_lists if name not in LONG_LISTS]
    asked = [(index, name) for index in range(len(pictures)) for name in short]
    asked += [(1, name) for name in LONG_LISTS]
    for index, picture in enumerate(pictures):
        (folder / str(index)).write_bytes(picture)
    questions = [(str(folder / str(index)), phrase_lists[name].phrases) for index, name in asked]
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.clip_gaze_probabilities"],
        input=json.dumps(questions),
        env={**os.environ, "HF_HOME": str(hub_home), "HF_HUB_OFFLINE": "1"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(asked, json.loads(finished.stdout), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_pictures_equal_transformers_own_clip_model(
    answers: dict[str, list[dict[str, Any]]],
    of_transformers: dict[str, NDArray[np.floating[Any]]],
    phrase_lists: dict[str, PhraseList],
    backend: str,
) -> None:
    assert len(of_transformers) == len(phrase_lists)
    for name, probabilities in of_transformers.items():
        for answer, expected in zip(answers[backend], probabilities, strict=True):
            _assert_same_ranking(answer[name], phrase_lists[name], expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_pictures_equal_clip_gaze_on_the_short_lists_and_one_on_all_artists(
    answers: dict[str, list[dict[str, Any]]],
    of_clip_gaze: dict[tuple[int, str], list[float]],
    phrase_lists: dict[str, PhraseList],
    backend: str,
) -> None:
    assert len(of_clip_gaze) == len(PICTURES) * (len(phrase_lists) - len(LONG_LISTS)) + len(LONG_LISTS)
    for (index, name), expected in of_clip_gaze.items():
        _assert_same_ranking(answers[backend][index][name], phrase_lists[name], np.array(expected))


def test_twenty_pictures_features_are_the_same_on_openvino_and_torch(
    classifiers: dict[str, ZeroShotClassifier], pictures: list[bytes]
) -> None:
    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    in_openvino, in_torch = (
        np.stack([classifiers[backend].encode_image(image) for image in images]) for backend in BACKENDS
    )
    assert in_openvino.shape == (len(PICTURES), 512)
    assert _cosines(in_openvino, in_torch).min() >= MIN_COSINE


def test_all_phrases_features_are_the_same_on_openvino_and_torch(
    classifiers: dict[str, ZeroShotClassifier], phrase_lists: dict[str, PhraseList]
) -> None:
    for name in phrase_lists:
        [in_openvino], [in_torch] = (classifiers[backend].lists_named([name]) for backend in BACKENDS)
        ours, expected = in_openvino.text_features, in_torch.text_features
        np.testing.assert_array_equal(ours.row_of, expected.row_of)
        assert ours.cut == expected.cut
        assert _cosines(ours.features, expected.features).min() >= MIN_COSINE


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_picture_alone_and_among_others_has_the_same_probabilities(
    clients: dict[str, FlaskClient], pictures: list[bytes], answers: dict[str, list[dict[str, Any]]], backend: str
) -> None:
    question = {"images": [_by_base64(picture) for picture in pictures[:4]], "lists": ["qualities"], "top_k": None}
    together = clients[backend].post("/v1/gaze", json=question).get_json()["results"]
    alone = [answer["qualities"] for answer in answers[backend][:4]]
    assert [result["lists"]["qualities"] for result in together] == alone


def test_own_phrases_have_the_probabilities_of_a_served_list(
    clients: dict[str, FlaskClient],
    pictures: list[bytes],
    answers: dict[str, list[dict[str, Any]]],
    phrase_lists: dict[str, PhraseList],
) -> None:
    own = list(phrase_lists["surfaces"].phrases)
    question = {"image": _by_base64(pictures[1]), "phrases": {"own": own}, "top_k": None}
    ranked = clients["openvino"].post("/v1/gaze", json=question).get_json()["results"][0]["lists"]["own"]
    assert [found["probability"] for found in ranked["predictions"]] == [
        found["probability"] for found in answers["openvino"][1]["surfaces"]["predictions"]
    ]


def _already(classifier: ZeroShotClassifier) -> Callable[[Any], ZeroShotClassifier]:
    return lambda _report: classifier


def _cosines(ours: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = (ours.astype(np.float64) * expected).sum(axis=1)
    return cosines


def _by_base64(picture: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(picture).decode()}


def _text_embeds(model: Any, folder: Path, phrases: Sequence[str]) -> torch.Tensor:
    """Return the unit text features [phrases, 512], by transformers alone, sorted by length to save padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    by_length = sorted(range(len(phrases)), key=lambda index: len(phrases[index]))
    embeds = torch.empty(len(phrases), model.config.projection_dim)
    for start in range(0, len(by_length), 100):
        batch = by_length[start : start + 100]
        inputs = tokenizer([phrases[index] for index in batch], padding=True, return_tensors="pt")
        embeds[batch] = _unit(model.get_text_features(**inputs).pooler_output)
    return embeds


def _unit(embeds: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = embeds / embeds.norm(p=2, dim=-1, keepdim=True)
    return unit


def _assert_same_ranking(answer: dict[str, Any], phrase_list: PhraseList, expected: NDArray[np.floating[Any]]) -> None:
    predictions = answer["predictions"]
    assert len(predictions) == len(expected) == len(phrase_list.phrases)
    place = {phrase: index for index, phrase in enumerate(phrase_list.phrases)}
    in_our_order = expected[[place[prediction["phrase"]] for prediction in predictions]]
    ours = np.array([prediction["probability"] for prediction in predictions])
    assert np.abs(ours - in_our_order).max() <= TOLERANCE
    # No phrase may stand before one that the reference puts ahead of it by more than the tolerance.
    assert (in_our_order - np.minimum.accumulate(in_our_order)).max() <= TOLERANCE
