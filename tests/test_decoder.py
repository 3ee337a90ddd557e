"""Pictures out of the ordinary are decoded in processes that may hang and die, to the same numbers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fuzz.bombs import scan_bomb
from fuzz.seeds import VARIANTS, seeds
from service.errors import GazeError, ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat
from service.images import decoder as module
from service.images.decode import ImageLimits, decode
from service.images.decoder import Decoder, PreparedImage
from service.zero_shot.features import ImageInputs
from service.zero_shot.preparation import Preparation
from tests.conftest import encoded, noise

LIMITS = ImageLimits(8 * 1024**2, 50_000_000)
PREPARE = Preparation(224, None, (224, 224), 3, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
TIFF = encoded(noise(300, 200), "TIFF")


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(LIMITS, 2)
    yield made
    made.close()


def ask(decoder: Decoder, file: bytes) -> PreparedImage:
    with decoder.slot(file) as decode_in_slot:
        return decode_in_slot(PREPARE)


def processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "service.images.decoding_process" in child.cmdline()]


@pytest.mark.parametrize("file_format", VARIANTS)
def test_numbers_are_the_same_to_the_last_bit(decoder: Decoder, file_format: str) -> None:
    for file in seeds(file_format):
        found, expected = ask(decoder, file), decode(file, LIMITS)
        assert (found.inputs["pixel_values"] == PREPARE(expected.rgb)["pixel_values"]).all()
        assert (found.width, found.height, found.format, found.sha256) == (
            *(expected.width, expected.height, expected.format, expected.sha256),
        )


def test_ordinary_pictures_start_no_process(decoder: Decoder) -> None:
    for file in (*seeds("JPEG"), *seeds("PNG")):
        ask(decoder, file)
    assert not processes()
    ask(decoder, TIFF)
    assert len(processes()) == 1


def test_a_preparation_that_stays_here_gets_the_same_picture(decoder: Decoder) -> None:
    seen: list[Image.Image] = []

    def prepare(image: Image.Image, cores: int = 1) -> ImageInputs:
        seen.append(image)
        return {"cores": np.array(cores)}

    with decoder.slot(TIFF) as decode_in_slot:
        assert decode_in_slot(prepare, cores=3).inputs["cores"] == 3
    assert seen[0].tobytes() == noise(300, 200).tobytes()


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"A picture of a river.", UnsupportedImageFormat),
        (TIFF[:5000], UndecodableImage),
        (encoded(noise(1, 101), "TIFF"), ImageDimensions),
        (TIFF + bytes(8 * 1024**2), ImageTooLarge),
    ],
)
def test_errors_come_back_and_the_process_stays(decoder: Decoder, file: bytes, error: type[GazeError]) -> None:
    ask(decoder, TIFF)
    [before] = processes()
    with pytest.raises(error):
        ask(decoder, file)
    ask(decoder, TIFF)
    assert processes() == [before]


def test_a_decoder_that_takes_minutes_is_killed(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 2.0)
    begun = time.monotonic()
    with pytest.raises(UndecodableImage, match="in time"):
        ask(decoder, scan_bomb())
    assert 1.9 < time.monotonic() - begun < 4
    assert not processes()
    assert ask(decoder, TIFF).width == 300


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP])
def test_a_decoder_that_dies_or_stops_is_a_broken_picture(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 4.0)
    raised: list[GazeError] = []

    def look() -> None:
        with pytest.raises(UndecodableImage) as caught:
            ask(decoder, scan_bomb())
        raised.append(caught.value)

    looking = threading.Thread(target=look)
    looking.start()
    while not (found := processes()) or found[0].cpu_times().user < 0.5:
        time.sleep(0.02)
    os.kill(found[0].pid, sent)
    looking.join(10)
    assert len(raised) == 1
    assert not processes()
    assert ask(decoder, TIFF).width == 300


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_was_hurt_while_idle(decoder: Decoder, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 2.0)
    ask(decoder, TIFF)
    [before] = processes()
    os.kill(before.pid, sent)
    if sent == signal.SIGSTOP:
        with pytest.raises(UndecodableImage):
            ask(decoder, TIFF)
    else:
        before.wait(5)
    assert ask(decoder, TIFF).width == 300
    assert before not in processes()


PARENT = """
import sys, time
from tests.test_decoder import LIMITS, PREPARE, TIFF, ask, processes
from service.images.decoder import Decoder
decoder = Decoder(LIMITS, 2)
ask(decoder, TIFF)
print(processes()[0].pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_no_process_outlives_its_parent(stopped: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        if stopped:
            child.suspend()
        parent.kill()
    deadline = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_holds_no_socket_but_its_own(decoder: Decoder) -> None:
    ask(decoder, TIFF)
    [child] = processes()
    sockets = [link for link in Path(f"/proc/{child.pid}/fd").iterdir() if str(link.readlink()).startswith("socket:")]
    assert len(sockets) == 1
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text(encoding="ascii").strip() == "900"
