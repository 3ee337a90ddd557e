"""Painterly textures made of many marks: strokes, dabs, splashes, spray and washes."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from training.colours import RGB, any_shade, from_hsv

Shades = Callable[[], RGB]
Texture = Callable[[Shades, RGB, tuple[int, int], np.random.Generator], Image.Image]


def _nudge(shade: RGB, amount: float, rng: np.random.Generator) -> RGB:
    """Return the shade (0 to 255) with every channel moved at random by about amount."""
    red, green, blue = np.clip(np.array(shade) + rng.normal(0, amount, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def brush_strokes(shades: Shades, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return long, thick, round-ended strokes in one prevailing direction, with streaks of bristles."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    short = min(size)
    width = short * rng.uniform(0.035, 0.1)
    length = short * rng.uniform(0.2, 0.55)
    count = int(rng.uniform(0.5, 1.6) * size[0] * size[1] / (width * length))
    direction = rng.uniform(0, np.pi)
    spread = rng.choice([0.15, 0.5, 1.5])
    for _ in range(min(count, 250)):
        x, y = rng.uniform(-0.05, 1.05, 2) * size
        angle = direction + rng.normal(0, spread)
        run = length * rng.uniform(0.6, 1.3) / 2
        bend = rng.normal(0, 0.12) * run
        across = np.array([-np.sin(angle), np.cos(angle)])
        along = np.array([np.cos(angle), np.sin(angle)])
        steps = np.linspace(-1, 1, 7)[:, None]
        path = np.array([x, y]) + steps * run * along + (1 - steps**2) * bend * across
        colour = shades()
        half = width * rng.uniform(0.7, 1.2) / 2
        pen.line([(a, b) for a, b in path.tolist()], fill=colour, width=max(2, round(2 * half)), joint="curve")
        for a, b in (path[0].tolist(), path[-1].tolist()):
            pen.ellipse((a - half, b - half, a + half, b + half), fill=colour)
        for offset in rng.uniform(-0.8, 0.8, 3):
            streak = path + offset * half * across
            pen.line([(a, b) for a, b in streak.tolist()], fill=_nudge(colour, 20, rng), width=max(1, round(half / 5)))
    return picture


def dabs(shades: Shades, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return many small round or short dabs, strewn at random."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    short = min(size)
    radius = max(1.0, short * float(np.exp(rng.uniform(np.log(0.006), np.log(0.033)))))
    count = int(min(2200, rng.uniform(0.35, 2.2) * size[0] * size[1] / (np.pi * radius**2)))
    slender = rng.uniform(0.5, 1.0) if rng.random() < 0.4 else 1.0
    uneven = rng.uniform(0, 0.4)
    rectangles = rng.random() < 0.12
    places = rng.uniform(-0.02, 1.02, (count, 2)) * size
    radii = radius * np.exp(rng.normal(0, uneven, count))
    for (x, y), r in zip(places.tolist(), radii.tolist(), strict=True):
        box = (x - r, y - r * slender, x + r, y + r * slender)
        if rectangles:
            pen.rectangle(box, fill=shades())
        else:
            pen.ellipse(box, fill=shades())
    return picture


def splashes(shades: Shades, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return blots with flung droplets, and long dripped threads of paint."""
    picture = Image.new("RGB", size, ground)
    pen = ImageDraw.Draw(picture)
    short = min(size)
    for _ in range(int(rng.integers(4, 12))):
        colour = shades()
        x, y = rng.uniform(0.05, 0.95, 2) * size
        blot = short * rng.uniform(0.03, 0.12)
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ragged = blot * np.exp(rng.normal(0, 0.25, 40))
        pen.polygon(
            np.stack([x + ragged * np.cos(angles), y + ragged * np.sin(angles)], 1).ravel().tolist(), fill=colour
        )
        for _ in range(int(rng.integers(12, 40))):
            angle, away = rng.uniform(0, 2 * np.pi), blot * rng.uniform(0.9, 3.8)
            r = blot * rng.uniform(0.04, 0.22)
            a, b = x + away * np.cos(angle), y + away * np.sin(angle)
            pen.ellipse((a - r, b - r, a + r, b + r), fill=colour)
            if rng.random() < 0.3:
                pen.line((x, y, a, b), fill=colour, width=max(1, round(r)))
    for _ in range(int(rng.integers(0, 12))):
        knots = np.cumsum(rng.normal(0, short * 0.045, (30, 2)) + rng.normal(0, short * 0.03, 2), axis=0)
        path = knots + rng.uniform(0, 1, 2) * size
        pen.line(path.ravel().tolist(), fill=shades(), width=max(1, round(short * rng.uniform(0.004, 0.016))))
    return picture


def spray(shades: Shades, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return soft-edged clouds and lines of sprayed paint with a fine speckle."""
    picture = Image.new("RGB", size, ground)
    short = min(size)
    small = (max(8, size[0] // 4), max(8, size[1] // 4))
    for _ in range(int(rng.integers(3, 8))):
        cloud = Image.new("L", small, 0)
        pen = ImageDraw.Draw(cloud)
        path = rng.uniform(0, 1, (2, 2)) * small
        pen.line(path.ravel().tolist(), fill=255, width=max(2, round(short * rng.uniform(0.02, 0.07))))
        soft = cloud.filter(ImageFilter.GaussianBlur(short * rng.uniform(0.012, 0.03))).resize(size)
        speckle = Image.fromarray(np.where(rng.random((size[1], size[0])) < 0.85, np.uint8(255), np.uint8(0)))
        picture.paste(shades(), mask=ImageChops.multiply(soft, speckle))
    return picture


def washes(shades: Shades, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return translucent, uneven pools of colour that darken towards their edges, on light paper."""
    picture = Image.new("RGB", size, ground)
    short = min(size)
    for _ in range(int(rng.integers(4, 10))):
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        ragged = sum(rng.normal(0, 0.12 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in range(2, 9))
        radius = short * rng.uniform(0.13, 0.33) * (1 + ragged)
        x, y = rng.uniform(0, 1, 2) * size
        pool = Image.new("L", size, 0)
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
        ImageDraw.Draw(pool).polygon(points.ravel().tolist(), fill=255)
        inside = np.asarray(pool.filter(ImageFilter.BoxBlur(short * 0.02)), dtype=np.float32) / 255
        rim = np.clip(1 - np.abs(inside - 0.62) / 0.3, 0, 1)
        strength = rng.uniform(0.25, 0.5) * np.clip(inside * 2 - 0.9, 0, 1) + 0.35 * rim
        picture.paste(shades(), mask=Image.fromarray((255 * np.clip(strength, 0, 1)).astype(np.uint8)))
    return picture


TEXTURES: dict[str, Texture] = {
    "brush strokes": brush_strokes,
    "pointillist dabs": dabs,
    "paint splashes": splashes,
    "spray paint": spray,
    "watercolour washes": washes,
}


def landscape(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a scene of sky above land or water, in short strokes of broken colour."""
    picture = Image.new("RGB", size, from_hsv(rng.uniform(0, 360), 0.3, 0.7))
    pen = ImageDraw.Draw(picture)
    short = min(size)
    width = short * rng.uniform(0.012, 0.026)
    length = width * rng.uniform(2, 4)
    count = int(min(2500, 2.2 * size[0] * size[1] / (width * length)))
    horizon = rng.uniform(0.3, 0.65)
    sky = rng.choice([205.0, 215.0, 35.0, 20.0])
    land = rng.choice([110.0, 90.0, 200.0, 55.0])
    places = rng.uniform(0, 1, (count, 2))
    for x, y in places.tolist():
        above = y < horizon + 0.04 * np.sin(9 * x)
        hue = (sky if above else land) + rng.normal(0, 22)
        value = rng.uniform(0.75, 1.0) if above else rng.uniform(0.3, 0.85)
        angle = rng.normal(0, 0.35 if above else 0.7)
        a, b = x * size[0], y * size[1]
        dx, dy = length / 2 * np.cos(angle), length / 2 * np.sin(angle)
        colour = from_hsv(hue, rng.uniform(0.15, 0.5 if above else 0.75), value)
        pen.line((a - dx, b - dy, a + dx, b + dy), fill=colour, width=max(1, round(width)))
    return picture


def shades_of(palette: list[RGB], rng: np.random.Generator) -> Shades:
    """Return a function that gives a random, slightly varied member of the palette at every call."""
    return lambda: _nudge(palette[rng.integers(len(palette))], 9, rng)


def mixed_shades(rng: np.random.Generator) -> Shades:
    """Return a function that gives one of many colours at every call: from a palette, or any at all."""
    if rng.random() < 0.35:
        return lambda: any_shade(rng)
    return shades_of([any_shade(rng) for _ in range(int(rng.integers(4, 9)))], rng)
