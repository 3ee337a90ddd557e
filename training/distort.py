"""Makes a clean picture look as if it had been photographed, copied and compressed."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    """Return the picture turned by a few degrees and cropped so that no corner is empty."""
    width, height = image.size
    turned = image.rotate(degrees, Image.Resampling.BILINEAR)
    lost = abs(np.sin(np.radians(degrees))) / 2
    left, top = int(height * lost), int(width * lost)
    return turned.crop((left, top, width - left, height - top))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return the picture after JPEG compression at a quality from 1 to 95."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def distorted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with some of: a turn, a stretch, scaling, blur, uneven exposure, noise and JPEG artefacts.

    Each happens at random and is mild enough that the picture still shows what it showed.
    """
    short = min(image.size)
    if rng.random() < 0.35:
        image = _turned(image, rng.uniform(-6, 6))
    if rng.random() < 0.5:
        stretch = np.exp(rng.uniform(-0.17, 0.17))
        width, height = round(image.width * stretch), round(image.height / stretch)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.3:
        scale = rng.uniform(0.6, 1.5) if short < 400 else rng.uniform(0.4, 1.0)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(min(image.size) * rng.uniform(0.001, 0.007)))
    if rng.random() < 0.3:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.92, 1.06))
    if rng.random() < 0.45:
        noise = rng.standard_normal((image.height, image.width, 3), dtype=np.float32) * np.float32(rng.uniform(3, 18))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        image = _compressed(image, int(rng.integers(25, 90)))
    return image
