"""What a picture can show, and which phrases are then true, false or unclear."""

import csv
import itertools
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from training.colours import CHROMATIC, COLOURS, NEUTRAL
from training.patterns import PATTERNS
from training.shapes import SHAPES
from training.textures import TEXTURES


@dataclass(frozen=True)
class Subject:
    """What one picture shows: a motif, its colour, and the colour of the ground, "" where it has none of its own.

    motif is a shape, a pattern, a texture, a style or "plain". For two shapes, other is the second one.
    """

    motif: str
    colour: str = ""
    ground: str = ""
    other: "Subject | None" = None


# Patterns in which neither colour is the ground: either may be named first.
SYMMETRIC = {"horizontal stripes", "vertical stripes", "diagonal stripes", "checkerboard", "concentric rings"}
COUNTED = {"checkerboard", "gradient", "grid"}  # named with an article

TEXTURE_PHRASES: dict[str, tuple[str, ...]] = {
    "brush strokes": ("using brush",),
    "pointillist dabs": ("pointillism movement",),
    "paint splashes": ("action painting movement", "using action painting"),
    "spray paint": ("using aerosol paint", "using airbrush"),
    "watercolour washes": ("watercolor medium",),
}

STYLE_PHRASES: dict[str, tuple[str, ...]] = {
    "primary grid": (
        "a grid of black lines and primary colours",
        "de stijl movement",
        "neoplasticism movement",
        "concrete art movement",
        "geometric abstract art movement",
    ),
    "landscape": ("a landscape in short strokes", "impressionism movement"),
    "colour field": ("soft stacked rectangles", "color field movement"),
    "tilted bars": ("tilted bars and blocks", "suprematism movement"),
    "pixel blocks": ("large coloured pixels", "pixel art movement", "pixel medium"),
    "mosaic": ("a mosaic of coloured tiles", "using mosaic"),
    "characters": ("rows of typed characters", "ascii art movement"),
    "glitch": ("torn bands of shifted colour", "glitch art movement"),
    "gouges": ("bold black and white gouge marks", "woodcut printing technique", "linocut printing technique"),
    "hatching": ("fine crossed lines", "engraving printing technique", "etching printing technique"),
    "halftone": ("halftone dots", "offset printing technique"),
    "facets": ("overlapping brown facets", "cubism movement"),
    "colour discs": ("discs of coloured rings", "orphism movement"),
    "weave": ("woven threads", "on canvas"),
    "wood grain": ("wood grain", "on wood"),
    "brick wall": ("a brick wall", "on wall"),
    "pencil": ("pencil strokes", "using pencil", "graphite medium"),
    "ballpoint": ("ballpoint pen strokes", "using ballpoint pen"),
    "chalk": ("chalk strokes", "chalk medium"),
}

# Names that a picture of the motif may or may not deserve: training neither rewards nor punishes them.
STYLE_UNCLEAR: dict[str, tuple[str, ...]] = {
    "primary grid": ("a grid", "a black grid", "suprematism movement", "minimalism movement"),
    "landscape": ("pointillism movement", "using brush"),
    "colour field": ("minimalism movement", "geometric abstract art movement"),
    "tilted bars": ("geometric abstract art movement", "concrete art movement"),
    "colour discs": ("concentric rings",),
    "pointillist dabs": ("impressionism movement",),
    "brush strokes": ("impressionism movement",),
}

GEOMETRIC = (
    "geometric abstract art movement",
    "concrete art movement",
    "minimalism movement",
    "suprematism movement",
)


def with_article(words: str) -> str:
    """Return the words after "a" or "an"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def shape_phrase(colour: str, shape: str, ground: str = "") -> str:
    """Return "a red circle", or with a ground "a red circle on a blue background"."""
    phrase = with_article(f"{colour} {shape}")
    return f"{phrase} on {with_article(ground)} background" if ground else phrase


def _pattern_words(pattern: str, words: str) -> str:
    """Return the pattern after the given colour words, with an article where it takes one."""
    phrase = f"{words} {pattern}".strip()
    return with_article(phrase) if pattern in COUNTED else phrase


def _pattern_phrases(subject: Subject) -> tuple[list[str], list[str]]:
    """Return the true and the unclear phrases of a pattern in two colours."""
    pattern, colour, ground = subject.motif, subject.colour, subject.ground
    true, unclear = [_pattern_words(pattern, "")], list(GEOMETRIC)
    if pattern in SYMMETRIC:
        true += [_pattern_words(pattern, f"{a} and {b}") for a, b in ((colour, ground), (ground, colour))]
    elif pattern == "gradient":
        true += [f"a gradient from {a} to {b}" for a, b in ((colour, ground), (ground, colour))]
    else:
        true += [f"{_pattern_words(pattern, colour)} on {with_article(ground)} background"]
    # "Blue stripes" says nothing of the other colour, which people leave out if it is a neutral one.
    neutral = (colour in NEUTRAL, ground in NEUTRAL)
    names = [_pattern_words(pattern, colour), _pattern_words(pattern, ground)]
    if pattern not in SYMMETRIC and pattern != "gradient":
        true.append(names[0])
    elif neutral == (False, True):
        true, unclear = [*true, names[0]], [*unclear, names[1]]
    elif neutral == (True, False):
        true, unclear = [*true, names[1]], [*unclear, names[0]]
    else:
        unclear += names
    optical = {colour, ground} == {"black", "white"} and pattern != "gradient"
    if optical and pattern in ("concentric rings", "wavy lines", "zigzag lines"):
        true.append("op art movement")
    elif pattern not in ("gradient", "grid", "polka dots") or optical:
        unclear.append("op art movement")
    return true, unclear


def phrases_of(subject: Subject) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the phrases that are true of the subject, and those of which it cannot be said; all others are false."""
    true: list[str]
    unclear: list[str]
    motif, colour, ground = subject.motif, subject.colour, subject.ground
    if subject.other is not None:
        pair = (subject, subject.other)
        names = [shape_phrase(one.colour, one.motif) for one in pair]
        true = [*names, f"{names[0]} and {names[1]}", f"{names[1]} and {names[0]}"]
        true += [with_article(one.motif) for one in pair]
        unclear = [shape_phrase(one.colour, one.motif, back) for one in pair for back in COLOURS if back != one.colour]
        unclear += [*GEOMETRIC, *(f"{with_article(back)} background" for back in COLOURS)]
    elif motif in SHAPES:
        true = [shape_phrase(colour, motif), shape_phrase(colour, motif, ground), with_article(motif)]
        true += [f"{with_article(ground)} background", "geometric abstract art movement"]
        unclear = [*GEOMETRIC[1:]]
    elif motif in PATTERNS:
        true, unclear = _pattern_phrases(subject)
    elif motif == "plain":
        true = [f"plain {colour}", f"{with_article(colour)} background", "minimalism movement"]
        unclear = ["color field movement", *GEOMETRIC]
    elif motif in TEXTURES:
        true = [motif, *TEXTURE_PHRASES[motif]] + ([f"{colour} {motif}"] if colour else [])
        # In many colours at once, each of them may be one of the colours.
        unclear = [*STYLE_UNCLEAR.get(motif, ())] + ([] if colour else [f"{each} {motif}" for each in CHROMATIC])
    else:
        true, unclear = [*STYLE_PHRASES[motif]], [*STYLE_UNCLEAR.get(motif, ())]
    return tuple(true), frozenset(unclear) - frozenset(true)


def _families() -> dict[str, tuple[Subject, ...]]:
    """Return every subject that can be drawn, by family."""
    pairs = list(itertools.permutations(COLOURS, 2))
    single = [Subject(shape, colour) for shape in SHAPES for colour in COLOURS]
    return {
        "one shape": tuple(Subject(shape, colour, ground) for shape in SHAPES for colour, ground in pairs),
        "two shapes": tuple(
            Subject(one.motif, one.colour, other=other)
            for one, other in itertools.combinations(single, 2)
            if one.motif != other.motif and one.colour != other.colour
        ),
        "pattern": tuple(Subject(pattern, colour, ground) for pattern in PATTERNS for colour, ground in pairs),
        "black and white": tuple(
            Subject(pattern, *pair) for pattern in PATTERNS for pair in (("black", "white"), ("white", "black"))
        ),
        "plain": tuple(Subject("plain", colour) for colour in COLOURS),
        "texture": tuple(Subject(texture) for texture in TEXTURES),
        "coloured texture": tuple(Subject(texture, colour) for texture in TEXTURES for colour in CHROMATIC),
        "style": tuple(Subject(style) for style in STYLE_PHRASES),
    }


FAMILIES: dict[str, tuple[Subject, ...]] = _families()


def _shown_by() -> dict[str, tuple[Subject, ...]]:
    """Return, for every phrase that can be drawn, the subjects of which it is true."""
    shown: defaultdict[str, dict[Subject, None]] = defaultdict(dict)
    for family in FAMILIES.values():
        for subject in family:
            for phrase in phrases_of(subject)[0]:
                # For "a red circle" there is no need of a square beside it.
                if subject.other is None or " and " in phrase:
                    shown[phrase][subject] = None
    return {phrase: tuple(subjects) for phrase, subjects in shown.items()}


SHOWN_BY: dict[str, tuple[Subject, ...]] = _shown_by()


def list_phrases(folder: Path, name: str) -> list[str]:
    """Return the phrases of one of the service's lists: each label of folder/NAME.csv in the list's template.

    Raises FileNotFoundError or KeyError if there is no such list in the folder.
    """
    template: str = tomllib.loads((folder / "lists.toml").read_text("utf-8"))[name]["template"]
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [template.replace("{}", row["label"]) for row in csv.DictReader(file)]


def _evaluation_phrases() -> tuple[str, ...]:
    """Return one list of phrases of which at most one is true of any picture drawn for one of them."""
    phrases = []
    for i, colour in enumerate(COLOURS):
        others = [ground for ground in COLOURS if ground != colour]
        for j, shape in enumerate(SHAPES):
            # The shapes with a named ground are others than those without, or both phrases would be right.
            phrases.append(shape_phrase(colour, shape, others[(i + j) % 10] if (i + j) % 2 else ""))
    for n, direction in enumerate(("horizontal", "vertical", "diagonal")):
        phrases += [f"{colour} {direction} stripes" for colour in CHROMATIC[n : n + 4]]
        phrases.append(f"black and white {direction} stripes")
    for colour, ground in (("red", "white"), ("blue", "yellow"), ("green", "pink"), ("white", "black")):
        phrases.append(f"{colour} polka dots on a {ground} background")
    for pattern, colours in (
        ("checkerboard", ("black and white", "red and yellow", "blue and grey")),
        ("concentric rings", ("black and white", "red and blue", "green and white")),
        ("grid", ("blue", "orange", "green")),
        ("gradient", ("red", "blue", "green")),
        ("zigzag lines", ("purple", "black")),
        ("wavy lines", ("pink", "blue")),
    ):
        phrases += [_pattern_words(pattern, words) for words in colours]
    phrases += [f"plain {colour}" for colour in ("red", "blue", "yellow", "brown", "white", "black")]
    phrases += [f"{colour} brush strokes" for colour in ("red", "blue")]
    phrases += ["pointillist dabs", "paint splashes", "using aerosol paint", "watercolor medium"]
    # Of each style one of its names, alternately its description and the last of the service's phrases,
    # but none that may be true of other subjects as well.
    unsure = {*GEOMETRIC, "color field movement", *itertools.chain(*STYLE_UNCLEAR.values())}
    for n, names in enumerate(STYLE_PHRASES.values()):
        phrases.append(names[0] if n % 2 == 0 or names[-1] in unsure else names[-1])
    return tuple(phrases)


EVALUATION_PHRASES: tuple[str, ...] = _evaluation_phrases()
