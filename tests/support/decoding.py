"""What tests of the decoder decode, and the processes that it starts."""

import contextlib

import psutil

from service.images.decode import ImageLimits, PreparedImage
from service.images.isolation.decoder import Decoder
from service.zero_shot.preprocessing.preparation import Preparation
from tests.conftest import encoded, noise

LIMITS = ImageLimits(8 * 1024**2, 50_000_000)

PREPARE = Preparation(224, None, (224, 224), 3, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))

TIFF = encoded(noise(300, 200), "TIFF")


def ask(decoder: Decoder, file: bytes) -> PreparedImage:
    with decoder.slot(file) as decode_in_slot:
        return decode_in_slot(PREPARE)


def processes() -> list[psutil.Process]:
    """Return the decoding processes that run. Another module may hold one that ended when it had nothing to do."""
    running = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one too
            if any("service.images.isolation.child" in argument for argument in child.cmdline()):
                running.append(child)
    return running
