"""Draws the README's sample pictures: python -m training.samples DIR."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from training.colours import RGB
from training.patterns import concentric_rings, horizontal_stripes
from training.shapes import shape_mask
from training.styles import primary_grid
from training.textures import dabs, mixed_shades

SIZE = (640, 480)


def _shape_on(shape: str, colour: RGB, ground: RGB) -> Image.Image:
    """Return a large shape in the middle of a picture."""
    picture = Image.new("RGB", SIZE, ground)
    rng = np.random.default_rng(7)
    picture.paste(colour, mask=shape_mask(shape, SIZE, (SIZE[0] / 2, SIZE[1] / 2), 150, rng))
    return picture


def _at_the_edge() -> Image.Image:
    """Return a wide white picture of which the middle square is empty: its red circle stands at the left."""
    picture = Image.new("RGB", (960, 480), (255, 255, 255))
    rng = np.random.default_rng(7)
    picture.paste((220, 20, 20), mask=shape_mask("circle", picture.size, (122, 240), 112, rng))
    return picture


def _two_shapes() -> Image.Image:
    """Return a white picture of a red circle on the left and a blue square on the right."""
    picture = Image.new("RGB", SIZE, (255, 255, 255))
    rng = np.random.default_rng(7)
    for colour, shape, across in (((220, 20, 20), "circle", 190), ((20, 20, 220), "square", 450)):
        picture.paste(colour, mask=shape_mask(shape, SIZE, (across, 240), 95, rng, spread=0))
    return picture


def sample_pictures() -> dict[str, Image.Image]:
    """Return the sample pictures, 640 x 480 pixels, by the file name each is to have."""
    return {
        "red-circle-on-blue.png": _shape_on("circle", (255, 0, 0), (0, 0, 255)),
        "yellow-star.jpg": _shape_on("star", (255, 221, 0), (20, 20, 20)),
        "green-heart.png": _shape_on("heart", (0, 128, 0), (255, 255, 255)),
        "blue-stripes.png": horizontal_stripes((0, 0, 255), (255, 255, 255), SIZE, np.random.default_rng(1)),
        "grid.png": primary_grid(SIZE, np.random.default_rng(2)),
        "rings.png": concentric_rings((0, 0, 0), (255, 255, 255), SIZE, np.random.default_rng(3)),
        "circle-at-the-edge.png": _at_the_edge(),
        "circle-and-square.png": _two_shapes(),
        "dabs.png": dabs(mixed_shades(np.random.default_rng(4)), (250, 248, 240), SIZE, np.random.default_rng(9)),
    }


def main() -> None:
    """Write the sample pictures into a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write the pictures; made if missing")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in sample_pictures().items():
        picture.save(folder / name, quality=90, optimize=True)
        print(folder / name)


if __name__ == "__main__":
    main()
