"""Measures the demo model on pictures that training never saw: python -m training.evaluate."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from training.colours import COLOURS
from training.phrases import EVALUATION_PHRASES, FAMILIES, SHOWN_BY, Subject, list_phrases, phrases_of, shape_phrase
from training.pictures import distorted, draw, draw_subject, random_size
from training.shapes import SHAPES
from training.train import FOLDER, REPOSITORY, SHORT_LISTS

# Training draws with seeds that start with Plan.seed: this one is another.
SEED = 777_000


class Ranks(Protocol):
    """What ranks phrases for pictures: the demo model, or a service that runs it."""

    def probabilities(self, images: Sequence[Image.Image], phrases: Sequence[str]) -> NDArray[np.float32]:
        """Return the probability of each phrase for each picture: (images, phrases)."""


class Demo:
    """The demo model with its tokenizer and its image processor."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Load the model in the folder, in float32."""
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = CLIPImageProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Image.Image], phrases: Sequence[str]) -> NDArray[np.float32]:
        """Return the softmax over the phrases of each picture's scaled cosines: (images, phrases)."""
        tokens = self.tokenizer(list(phrases), padding=True, truncation=True, return_tensors="pt")
        text = self.model.get_text_features(**tokens).pooler_output
        rows = []
        for start in range(0, len(images), 32):
            pixel_values = self.processor(list(images[start : start + 32]), return_tensors="pt")["pixel_values"]
            picture = self.model.get_image_features(pixel_values).pooler_output
            cosines = torch.nn.functional.cosine_similarity(picture[:, None], text[None], dim=-1)
            rows.append((self.model.logit_scale.exp() * cosines).softmax(dim=-1))
        probabilities: NDArray[np.float32] = torch.cat(rows).numpy()
        return probabilities


def right_first(demo: Ranks, phrases: Sequence[str], wanted: Sequence[str], seed: int = SEED) -> NDArray[np.bool_]:
    """Return whether each wanted phrase ranks first among the phrases for a distorted picture drawn for it."""
    images = []
    for number, phrase in enumerate(wanted):
        rng = np.random.default_rng([seed, number])
        images.append(distorted(draw(phrase, rng), rng))
    first = demo.probabilities(images, phrases).argmax(axis=1)
    return np.array([phrases[best] == phrase for best, phrase in zip(first.tolist(), wanted, strict=True)])


def _among_first(
    demo: Demo, subject: Subject, phrases: Sequence[str], *, count: int, distort: bool
) -> tuple[float, float]:
    """Return how often a true phrase of the subject is the first, and one of the first three, over count pictures."""
    true = set(phrases_of(subject)[0])
    images = []
    for number in range(count):
        rng = np.random.default_rng([SEED + 3, number])
        image = draw_subject(subject, random_size(rng), rng)
        images.append(distorted(image, rng) if distort else image)
    order = np.argsort(-demo.probabilities(images, phrases), axis=1)[:, :3]
    hits = np.array([[phrases[place] in true for place in row] for row in order.tolist()])
    return float(hits[:, 0].mean()), float(hits.any(axis=1).mean())


def _report_evaluation(demo: Demo, repeats: int) -> None:
    """Print how often the right phrase of EVALUATION_PHRASES ranks first, and the phrases that fail most."""
    wanted = list(EVALUATION_PHRASES) * repeats
    right = right_first(demo, EVALUATION_PHRASES, wanted)
    print(f"evaluation list: {right.mean():.1%} right of {len(wanted)} pictures, {len(EVALUATION_PHRASES)} phrases")
    by_phrase = right.reshape(repeats, -1).mean(axis=0)
    for place in np.argsort(by_phrase, kind="stable")[:12].tolist():
        if by_phrase[place] < 1:
            print(f"    {by_phrase[place]:.0%} {EVALUATION_PHRASES[place]}")


def _report_compositions(demo: Demo, count: int) -> None:
    """Print how often the right one of all colour, shape and background phrases ranks first."""
    rng = np.random.default_rng(SEED)
    phrases = [shape_phrase(c, s, b) for c in COLOURS for s in SHAPES for b in COLOURS if b != c]
    wanted = [phrases[place] for place in rng.integers(0, len(phrases), count)]
    right = right_first(demo, phrases, wanted, SEED + 1)
    print(f"colour x shape x background: {right.mean():.1%} right of {count} pictures, {len(phrases)} phrases")
    for shape in SHAPES:
        share = right[[f" {shape} on" in phrase for phrase in wanted]].mean()
        print(f"    {share:.0%} {shape}")


def _report_pairs(demo: Demo, count: int) -> None:
    """Print how often the phrase of two shapes beats the same with the colours exchanged."""
    rng = np.random.default_rng(SEED + 2)
    pairs = FAMILIES["two shapes"]
    right = []
    for place in tqdm(rng.integers(0, len(pairs), count), leave=False):
        one = pairs[place]
        other = one.other or one
        image = distorted(draw_subject(one, random_size(rng), rng), rng)
        names = [shape_phrase(one.colour, one.motif), shape_phrase(other.colour, other.motif)]
        swapped = [shape_phrase(other.colour, one.motif), shape_phrase(one.colour, other.motif)]
        right.append(demo.probabilities([image], [" and ".join(names), " and ".join(swapped)]).argmax() == 0)
    print(f"two shapes, colours not exchanged: {np.mean(right):.1%} right of {count} pictures, 2 phrases")


def _report_lists(demo: Demo, count: int) -> None:
    """Print, for all that the model knows of the service's lists, how often it is first and among the first three."""
    print(f"the service's lists, {count} pictures each: first, among the first three; clean and distorted")
    for name in SHORT_LISTS:
        phrases = list_phrases(REPOSITORY / "lists", name)
        subjects = {SHOWN_BY[phrase][0]: phrase for phrase in phrases if phrase in SHOWN_BY}
        for subject, phrase in subjects.items():
            shares = [
                share
                for distort in (False, True)
                for share in _among_first(demo, subject, phrases, count=count, distort=distort)
            ]
            print("    " + " ".join(f"{share:5.0%}" for share in shares), f" {subject.motif}: {phrase}")


def main() -> None:
    """Print the demo model's figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the model (default: models/demo)")
    parser.add_argument("--repeats", type=int, default=4, help="pictures of each evaluation phrase")
    parser.add_argument("--pictures", type=int, default=550, help="pictures of shapes on backgrounds")
    parser.add_argument("--each", type=int, default=20, help="pictures of each thing in the service's lists")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    demo = Demo(arguments.folder)
    _report_evaluation(demo, arguments.repeats)
    _report_compositions(demo, arguments.pictures)
    _report_pairs(demo, 200)
    _report_lists(demo, arguments.each)


if __name__ == "__main__":
    main()
