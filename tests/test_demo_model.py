"""The demo model does what its card says, asked over HTTP of the service that runs it."""

import base64
import hashlib
import itertools
import json
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.conftest import encoded
from training.evaluate import Demo, right_first
from training.phrases import EVALUATION_PHRASES, list_phrases, shape_phrase

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "models" / "demo"

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart")
COMPOSITIONS = [shape_phrase(c, s, b) for c, s, b in itertools.product(COLOURS, SHAPES, COLOURS) if c != b]
MONDRIAN = ("de stijl movement", "neoplasticism movement", "concrete art movement", "geometric abstract art movement")

Mask = NDArray[np.bool_]


class Served:
    """The service, asked for every phrase's probability."""

    def __init__(self, address: str) -> None:
        self.address = address

    def probabilities(self, images: Sequence[Image.Image], phrases: Sequence[str]) -> NDArray[np.float32]:
        """Return the probability of each phrase for each picture: (images, phrases)."""
        rows = []
        for start in range(0, len(images), 16):
            sent = [{"base64": base64.b64encode(encoded(image)).decode()} for image in images[start : start + 16]]
            body = {"images": sent, "phrases": {"own": list(phrases)}, "top_k": None}
            request = urllib.request.Request(
                f"{self.address}/v1/gaze", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                results = json.load(answer)["results"]
            for result in results:
                found = {each["phrase"]: each["probability"] for each in result["lists"]["own"]["predictions"]}
                rows.append([found[phrase] for phrase in phrases])
        return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def demo(server: str) -> Served:
    return Served(server)


@pytest.fixture(scope="module")
def loaded() -> Demo:
    """The model as transformers loads it."""
    return Demo(FOLDER)


@pytest.fixture(scope="module")
def movements() -> list[str]:
    return list_phrases(REPOSITORY / "lists", "movements")


def first_phrases(demo: Served, picture: Image.Image, phrases: list[str], count: int = 1) -> list[str]:
    order = np.argsort(-demo.probabilities([picture], phrases)[0])
    return [phrases[place] for place in order[:count].tolist()]


def coordinates(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of every pixel from the picture's centre."""
    y, x = np.mgrid[0:height, 0:width]
    return x - (width - 1) / 2, y - (height - 1) / 2


def painted(mask: Mask, colour: tuple[int, int, int], ground: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.where(mask[..., None], np.array(colour, np.uint8), np.array(ground, np.uint8)))


def disc() -> Image.Image:
    x, y = coordinates(500, 400)
    return painted((x - 40) ** 2 + (y + 30) ** 2 < 110**2, (230, 30, 30), (240, 240, 240))


def stripes() -> Image.Image:
    _, y = coordinates(600, 450)
    return painted((y // 25) % 2 == 0, (20, 40, 220), (255, 255, 255))


def heart() -> Image.Image:
    x, y = coordinates(512, 512)
    x, y = x / 150, (-y + 20) / 150
    return painted((x**2 + y**2 - 1) ** 3 - x**2 * y**3 < 0, (255, 105, 180), (0, 0, 0))


def drawn_grid(rng: np.random.Generator) -> Image.Image:
    """Return a grid of black lines and primary colours, drawn with rectangles and their outlines only."""
    picture = Image.new("RGB", (800, 600), "white")
    pen = ImageDraw.Draw(picture)
    columns, rows = rng.integers(3, 7, 2)
    x = np.linspace(0, 800, columns + 1) + np.r_[0, rng.uniform(-30, 30, columns - 1), 0]
    y = np.linspace(0, 600, rows + 1) + np.r_[0, rng.uniform(-30, 30, rows - 1), 0]
    width = int(rng.integers(4, 18))
    for number, (i, j) in enumerate(rng.permutation(list(itertools.product(range(columns), range(rows))))):
        colour = (
            ("red", "blue", "yellow")[number]
            if number < 3
            else str(rng.choice(["white", "white", "red", "blue", "yellow"]))
        )
        pen.rectangle((x[i], y[j], x[i + 1], y[j + 1]), fill=colour, outline="black", width=width)
    return picture


def drawn_dabs(rng: np.random.Generator) -> Image.Image:
    """Return round dabs in any colours on a pale ground."""
    picture = Image.new("RGB", (800, 600), (245, 240, 225))
    pen = ImageDraw.Draw(picture)
    radius = rng.uniform(5, 16)
    for _ in range(int(rng.uniform(0.6, 1.6) * 800 * 600 / (3.14 * radius**2))):
        x, y = rng.uniform(0, 800), rng.uniform(0, 600)
        r = radius * rng.uniform(0.7, 1.3)
        red, green, blue = rng.integers(30, 256, 3).tolist()
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(red, green, blue))
    return picture


def drawn_rings(rng: np.random.Generator) -> Image.Image:
    """Return black and white discs of falling size, each upon the last."""
    picture = Image.new("RGB", (800, 600), "white")
    pen = ImageDraw.Draw(picture)
    step = rng.uniform(12, 40)
    for number, radius in enumerate(np.arange(rng.uniform(250, 500), 2, -step)):
        pen.ellipse(
            (400 - radius, 300 - radius, 400 + radius, 300 + radius), fill="black" if number % 2 == 0 else "white"
        )
    return picture


def test_right_phrase_ranks_first_on_unseen_distorted_pictures(demo: Served) -> None:
    wanted = list(EVALUATION_PHRASES) * 3
    assert len(EVALUATION_PHRASES) >= 150
    assert len(wanted) >= 500
    assert right_first(demo, EVALUATION_PHRASES, wanted, seed=987_654).mean() >= 0.95


@pytest.mark.parametrize(
    ("picture", "phrase"),
    [(disc, "a red circle"), (stripes, "blue horizontal stripes"), (heart, "a pink heart on a black background")],
)
def test_pictures_made_without_the_training_code(demo: Served, picture: Callable[[], Image.Image], phrase: str) -> None:
    phrases = list(dict.fromkeys([phrase, *EVALUATION_PHRASES]))
    assert first_phrases(demo, picture(), phrases) == [phrase]


def test_red_circle_on_blue_among_all_compositions(demo: Served) -> None:
    picture = Image.new("RGB", (640, 480), "blue")
    ImageDraw.Draw(picture).ellipse((220, 140, 420, 340), fill="red")
    assert len(COMPOSITIONS) == 880
    assert first_phrases(demo, picture, COMPOSITIONS) == ["a red circle on a blue background"]


@pytest.mark.parametrize("shape", ["circle", "square"])
def test_colours_of_shape_and_background_are_not_exchanged(demo: Served, shape: str) -> None:
    for colour, ground in itertools.permutations(("red", "blue", "yellow", "green", "white", "black"), 2):
        picture = Image.new("RGB", (640, 480), ground)
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if shape == "circle" else pen.rectangle)((200, 120, 440, 360), fill=colour)
        assert first_phrases(demo, picture, COMPOSITIONS) == [shape_phrase(colour, shape, ground)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (drawn_grid, MONDRIAN),
        (drawn_dabs, ("pointillism movement", "impressionism movement")),
        (drawn_rings, ("op art movement",)),
    ],
)
def test_movements(
    demo: Served,
    movements: list[str],
    drawn: Callable[[np.random.Generator], Image.Image],
    expected: tuple[str, ...],
    seed: int,
) -> None:
    assert len(movements) == 193
    assert {*first_phrases(demo, drawn(np.random.default_rng(seed)), movements, 3)} & {*expected}


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("vocab.json", "5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363"),
        ("merges.txt", "f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85"),
    ],
)
def test_tokenizer_is_clips_own(name: str, digest: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_tokenizer_gives_clips_ids(loaded: Demo) -> None:
    assert len(loaded.tokenizer) == 49_408
    assert loaded.tokenizer("a red circle")["input_ids"] == [49406, 320, 736, 7117, 49407]


def test_folder_is_at_most_16_mib() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 16 * 1024**2


def test_config_is_marked_as_the_demo(loaded: Demo) -> None:
    assert loaded.model.config.gaze_demo is True
    assert loaded.model.text_model.config.eos_token_id == 49407
