"""Pictures in the manner of an art movement, a printing technique, a tool or a surface."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from training.colours import RGB, any_shade, from_hsv, shade
from training.textures import landscape

Style = Callable[[tuple[int, int], np.random.Generator], Image.Image]


def _smooth(size: tuple[int, int], cells: float, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    """Return smooth random heights from 0 to 1, (height, width), with about so many hills along the short edge."""
    short = min(size)
    coarse = (max(2, round(cells * size[0] / short)), max(2, round(cells * size[1] / short)))
    noise = Image.fromarray(rng.integers(0, 256, (coarse[1], coarse[0]), dtype=np.uint8))
    return np.asarray(noise.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255


def primary_grid(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return rectangles in white and primary colours between straight black lines, as Mondrian painted."""
    width, height = size
    white, black = shade("white", rng), shade("black", rng)
    picture = Image.new("RGB", size, white)
    pen = ImageDraw.Draw(picture)
    cuts = []
    for edge in size:
        count = int(rng.integers(1, 8))
        even = np.arange(1, count + 1) / (count + 1)
        free = np.sort(rng.uniform(0.06, 0.94, count))
        cuts.append([0, *(edge * (even if rng.random() < 0.35 else free)).astype(int).tolist(), edge])
    spans = list(pairwise(cuts[0]))
    rows = list(pairwise(cuts[1]))
    cells = [(left, top, right, bottom) for left, right in spans for top, bottom in rows]
    rng.shuffle(cells)
    primary = [shade("red", rng), shade("blue", rng), shade("yellow", rng)]
    coloured = max(2, round(len(cells) * rng.uniform(0.2, 1.0)))
    for number, cell in enumerate(cells[:coloured]):
        pen.rectangle(tuple(cell), fill=primary[number % 3] if number < 3 or rng.random() < 0.9 else black)
    line = max(2, round(min(size) * rng.uniform(0.004, 0.045)))
    for x in cuts[0][1:-1]:
        pen.line((x, 0, x, height), fill=black, width=line)
    for y in cuts[1][1:-1]:
        pen.line((0, y, width, y), fill=black, width=line)
    if rng.random() < 0.3:
        pen.rectangle((0, 0, width - 1, height - 1), outline=black, width=line)
    return picture


def colour_field(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return two or three large soft-edged rectangles stacked on a related colour, as Rothko painted."""
    width, height = size
    short = min(size)
    hue = rng.uniform(0, 360)
    picture = Image.new("RGB", size, from_hsv(hue, rng.uniform(0.5, 0.95), rng.uniform(0.3, 0.85)))
    left = width / 2 - short * rng.uniform(0.36, 0.44)
    bounds = np.cumsum([0.0, *rng.dirichlet([4] * int(rng.integers(2, 4)))]) * 0.86 + 0.07
    for top, bottom in pairwise(bounds.tolist()):
        mask = Image.new("L", size, 0)
        box = (left, height * (top + 0.015), width - left, height * (bottom - 0.015))
        ImageDraw.Draw(mask).rectangle(box, fill=int(rng.integers(200, 250)))
        colour = from_hsv(hue + rng.uniform(-60, 60), rng.uniform(0.4, 1.0), rng.uniform(0.25, 1.0))
        picture.paste(colour, mask=mask.filter(ImageFilter.BoxBlur(short * rng.uniform(0.015, 0.03))))
    return picture


def tilted_bars(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a few tilted bars and blocks floating on an off-white ground, as Malevich painted."""
    short = min(size)
    picture = Image.new("RGB", size, from_hsv(rng.uniform(30, 60), rng.uniform(0, 0.15), rng.uniform(0.88, 1.0)))
    pen = ImageDraw.Draw(picture)
    tilt = rng.uniform(0.25, 1.3)
    for number in range(int(rng.integers(5, 11))):
        angle = tilt + rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1)
        half = short * np.array([rng.uniform(0.1, 0.36), rng.uniform(0.008, 0.08 if number else 0.16)])
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        middle = np.array(size) / 2 + rng.normal(0, 0.2, 2) * short
        corners = [middle + a * half[0] * along + b * half[1] * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        colour = shade(str(rng.choice(["black", "red", "blue", "yellow", "black", "green"])), rng)
        pen.polygon(np.concatenate(corners).tolist(), fill=colour)
    return picture


def pixel_blocks(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a coarse symmetrical sprite, or scene, of large square pixels in few colours."""
    cells = int(rng.integers(9, 22))
    palette = np.array([any_shade(rng) for _ in range(int(rng.integers(3, 7)))], dtype=np.uint8)
    chosen = (_smooth((cells, cells), cells * rng.uniform(0.4, 1.0), rng) * 0.999 * len(palette)).astype(int)
    if rng.random() < 0.6:
        chosen = np.minimum(chosen, chosen[:, ::-1])
    edge = max(size)
    picture = Image.fromarray(palette[chosen]).resize((edge, edge), Image.Resampling.NEAREST)
    return picture.crop((0, 0, *size))


def mosaic(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return uneven tiles in varied colours with grout between them."""
    short = min(size)
    tile = short / rng.uniform(9, 22)
    picture = Image.new("RGB", size, from_hsv(40, 0.08, rng.choice([0.2, 0.55, 0.85])))
    pen = ImageDraw.Draw(picture)
    hues = rng.uniform(0, 360, 3)
    field = _smooth(size, 4, rng)
    gap = tile * rng.uniform(0.06, 0.14)
    for row in range(int(size[1] / tile) + 1):
        shift = rng.uniform(-0.5, 0.5) * tile
        for column in range(-1, int(size[0] / tile) + 2):
            x, y = column * tile + shift, row * tile
            corners = np.array([(gap, gap), (tile - gap, gap), (tile - gap, tile - gap), (gap, tile - gap)])
            corners += rng.normal((x, y), tile * 0.05, (4, 2))
            height = field[min(int(y), size[1] - 1), int(np.clip(x, 0, size[0] - 1))]
            hue = hues[min(2, int(height * 3))] + rng.normal(0, 10)
            pen.polygon(corners.ravel().tolist(), fill=from_hsv(hue, rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.95)))
    return picture


def characters(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return rows of typed characters whose density makes light and dark, as ASCII art does."""
    short = min(size)
    letter = max(7, round(short / rng.uniform(16, 32)))
    dark = rng.random() < 0.5
    ground, ink = ((0, 0, 0), (230, 230, 230)) if dark else ((255, 255, 255), (20, 20, 20))
    if dark and rng.random() < 0.4:
        ink = (60, 230, 80)
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(letter)
    ramp = " .:-=+*#%@"
    tone = _smooth(size, 3, rng)
    for y in range(0, size[1], letter):
        for x in range(0, size[0], max(4, round(letter * 0.62))):
            pen.text((x, y - 2), ramp[min(9, int(tone[y, x] * 11))], fill=ink, font=font)
    return picture


def glitch(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a picture torn into sideways-shifted bands with parted colour channels."""
    scene = (
        landscape(size, rng)
        if rng.random() < 0.2
        else pixel_blocks(size, rng).filter(ImageFilter.BoxBlur(min(size) / 20))
    )
    pixels = np.asarray(scene).copy()
    y = 0
    while y < size[1]:
        band = max(2, int(size[1] * rng.uniform(0.01, 0.09)))
        if rng.random() < 0.7:
            pixels[y : y + band] = np.roll(pixels[y : y + band], int(size[0] * rng.normal(0, 0.12)), axis=1)
        if rng.random() < 0.25:
            pixels[y : y + max(2, band // 3)] = any_shade(rng)
        y += band
    apart = max(2, int(size[0] * rng.uniform(0.015, 0.05)))
    pixels[..., 0] = np.roll(pixels[..., 0], apart, axis=1)
    pixels[..., 2] = np.roll(pixels[..., 2], -apart, axis=1)
    return Image.fromarray(pixels)


def gouges(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return bold black and white gouge marks that follow a form, as a woodcut shows."""
    short = min(size)
    tone = _smooth(size, 3, rng)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / short
    angle = rng.uniform(0, np.pi)
    flow = x * np.cos(angle) + y * np.sin(angle) + 0.25 * _smooth(size, 3, rng)
    along = y * np.cos(angle) - x * np.sin(angle)
    lines = rng.uniform(13, 24)
    width = 0.15 + 0.85 * tone + 0.3 * np.sin(along * rng.uniform(14, 26) + 5 * np.floor(flow * lines))
    marks = np.abs((flow * lines) % 1 - 0.5) * 2 < width
    return Image.fromarray(np.where(marks, np.uint8(245), np.uint8(12))).convert("RGB")


def hatching(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return fine crossed lines that shade a round form, as an engraving shows."""
    short = min(size)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / short
    away = np.hypot(x - size[0] / short / 2, y - size[1] / short / 2) / rng.uniform(0.3, 0.45)
    tone = np.where(away < 1, 0.15 + 0.65 * np.clip(away + 0.5 * (x - 0.5), 0, 1), 0.3)
    paper = np.ones_like(tone)
    lines = rng.uniform(30, 48)
    angle = rng.uniform(0, np.pi)
    for number, turn in enumerate((angle, angle + rng.uniform(0.9, 1.6))):
        across = x * np.cos(turn) + y * np.sin(turn) + 0.03 * np.sin(4 * (y * np.cos(turn) - x * np.sin(turn)))
        line = np.abs((across * lines) % 1 - 0.5) * 2 < np.clip(tone - 0.3 * number, 0, 1)
        paper[line] = 0
    ink = np.float32(rng.uniform(0, 50))
    return Image.fromarray((ink + paper * (rng.uniform(235, 255) - ink)).astype(np.uint8)).convert("RGB")


def halftone(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return screens of cyan, magenta, yellow and black dots that vary in size, as an offset print shows."""
    short = min(size)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / short
    pixels = np.full((size[1], size[0], 3), 250, dtype=np.uint8)
    lines = rng.uniform(14, 30)
    for ink, degrees in (((1, 0, 0), 15), ((0, 1, 0), 75), ((0, 0, 1), 0)):
        angle = np.radians(degrees + rng.uniform(-3, 3))
        a, b = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        tone = 0.15 + 0.55 * _smooth(size, 3, rng)
        dots = ((a * lines) % 1 - 0.5) ** 2 + ((b * lines) % 1 - 0.5) ** 2 < tone**2
        pixels[dots] = np.minimum(pixels[dots], 250 - 235 * np.array(ink, dtype=np.uint8))
    return Image.fromarray(pixels)


def facets(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return overlapping shaded facets in browns and greys, as early cubists painted."""
    short = min(size)
    picture = Image.new("RGB", size, from_hsv(30, 0.3, 0.5))
    for _ in range(int(rng.integers(22, 40))):
        middle = rng.uniform(0, 1, 2) * size
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 5))))
        radius = short * rng.uniform(0.1, 0.3)
        points = middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(points.ravel().tolist(), fill=int(rng.integers(150, 255)))
        picture.paste(from_hsv(rng.uniform(20, 48), rng.uniform(0.05, 0.5), rng.uniform(0.2, 0.85)), mask=mask)
        ImageDraw.Draw(picture).line(
            [*points.ravel().tolist(), *points[0].tolist()], fill=(40, 30, 25), width=max(1, short // 150)
        )
    return picture


def colour_discs(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return discs of coloured rings whose quarters change colour, as the Delaunays painted."""
    short = min(size)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / short
    pixels = np.empty((size[1], size[0], 3), dtype=np.uint8)
    pixels[:] = any_shade(rng)
    for number in range(int(rng.integers(1, 4))):
        middle = np.array(size) / short * (rng.uniform(0.4, 0.6, 2) if number == 0 else rng.uniform(0.1, 0.9, 2))
        radius = rng.uniform(0.35, 0.5) if number == 0 else rng.uniform(0.15, 0.3)
        rings = int(rng.integers(4, 8))
        sectors = int(rng.choice([2, 4, 4, 8]))
        away = np.hypot(x - middle[0], y - middle[1])
        around = (np.arctan2(y - middle[1], x - middle[0]) / (2 * np.pi) + rng.random()) % 1
        chosen = np.minimum((away / radius * rings).astype(int), rings) * sectors + (around * sectors).astype(int)
        palette = np.array(
            [
                from_hsv(rng.uniform(0, 360), rng.uniform(0.6, 1), rng.uniform(0.6, 1))
                for _ in range((rings + 1) * (sectors + 1))
            ]
        )
        inside = away < radius
        pixels[inside] = palette[chosen[inside]]
    return Image.fromarray(pixels)


def weave(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return the over and under of canvas threads, seen closely."""
    short = min(size)
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / short
    threads = rng.uniform(16, 34)
    over = (np.floor(x * threads) + np.floor(y * threads)) % 2
    light = np.where(over == 0, np.sin(np.pi * ((x * threads) % 1)), np.sin(np.pi * ((y * threads) % 1)))
    value = (0.5 + 0.5 * light + 0.1 * (_smooth(size, 60, rng) - 0.5))[..., None]
    cloth = np.array(from_hsv(rng.uniform(30, 50), rng.uniform(0.05, 0.3), rng.uniform(0.75, 0.95)), dtype=np.float32)
    return Image.fromarray(np.clip(cloth * value, 0, 255).astype(np.uint8))


def wood_grain(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return brown boards with long wavering grain."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / min(size)
    if rng.random() < 0.5:
        x, y = y, x
    bend = 0.16 * _smooth(size, 3, rng)
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * (y + bend) * rng.uniform(10, 20) + 2 * np.sin(x * rng.uniform(1, 3)))
    value = 0.75 + 0.25 * grain + 0.08 * (_smooth(size, 70, rng) - 0.5)
    if rng.random() < 0.5:
        boards = rng.uniform(2, 5)
        value = np.where((y * boards) % 1 < 0.03, 0.3, value)
    wood = np.array(from_hsv(rng.uniform(22, 34), rng.uniform(0.45, 0.75), rng.uniform(0.45, 0.8)), dtype=np.float32)
    return Image.fromarray(np.clip(wood * value[..., None], 0, 255).astype(np.uint8))


def brick_wall(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return courses of bricks with mortar between them."""
    short = min(size)
    picture = Image.new("RGB", size, from_hsv(35, 0.08, rng.uniform(0.55, 0.85)))
    pen = ImageDraw.Draw(picture)
    tall = short / rng.uniform(7, 13)
    wide = tall * rng.uniform(2, 2.7)
    gap = tall * rng.uniform(0.08, 0.2)
    hue = rng.uniform(5, 25)
    for row in range(int(size[1] / tall) + 1):
        for column in range(-1, int(size[0] / wide) + 2):
            x, y = (column + 0.5 * (row % 2)) * wide, row * tall
            colour = from_hsv(hue + rng.normal(0, 4), rng.uniform(0.5, 0.8), rng.uniform(0.4, 0.75))
            pen.rectangle((x, y, x + wide - gap, y + tall - gap), fill=colour)
    return picture


def _scribble(ground: RGB, ink: RGB, width: float, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return close scribbled strokes; width is in hundredths of the short edge."""
    short = min(size)
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(4, 9))):
        x, y = rng.uniform(0.1, 0.9, 2) * size
        angle = rng.uniform(0, np.pi)
        run, step = short * rng.uniform(0.12, 0.3), short * rng.uniform(0.008, 0.02) * max(1.0, width)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        turns = int(rng.integers(14, 36))
        path = [
            (x, y) + (n - turns / 2) * step * across + (-1) ** n * run * rng.uniform(0.6, 1.0) * along
            for n in range(turns)
        ]
        pen.line(np.concatenate(path).tolist(), fill=ink, width=max(1, round(width * short / 100)))
    return picture


def pencil(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return grey scribbled strokes on white paper."""
    level = int(rng.integers(70, 140))
    return _scribble(shade("white", rng), (level, level, level), rng.uniform(0.4, 0.9), size, rng)


def ballpoint(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return blue scribbled strokes on white paper."""
    return _scribble(shade("white", rng), from_hsv(rng.uniform(220, 240), 0.85, 0.7), rng.uniform(0.4, 0.9), size, rng)


def chalk(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return broad, crumbling white strokes on a dark board."""
    board = from_hsv(rng.uniform(120, 200), rng.uniform(0.0, 0.35), rng.uniform(0.15, 0.3))
    picture = _scribble(board, (240, 240, 235), rng.uniform(1.6, 2.6), size, rng)
    holes = Image.fromarray(np.where(_smooth(size, 110, rng) > 0.68, np.uint8(255), np.uint8(0)))
    picture.paste(board, mask=holes)
    return picture


STYLES: dict[str, Style] = {
    "primary grid": primary_grid,
    "landscape": landscape,
    "colour field": colour_field,
    "tilted bars": tilted_bars,
    "pixel blocks": pixel_blocks,
    "mosaic": mosaic,
    "characters": characters,
    "glitch": glitch,
    "gouges": gouges,
    "hatching": hatching,
    "halftone": halftone,
    "facets": facets,
    "colour discs": colour_discs,
    "weave": weave,
    "wood grain": wood_grain,
    "brick wall": brick_wall,
    "pencil": pencil,
    "ballpoint": ballpoint,
    "chalk": chalk,
}
