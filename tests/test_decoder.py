"""Pictures out of the ordinary are decoded in processes that may hang and die, to the same numbers."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from fuzz.bombs import scan_bomb
from fuzz.seeds import VARIANTS, seeds
from service.errors import (
    GazeError,
    ImageDimensions,
    ImageTooLarge,
    Overloaded,
    UndecodableImage,
    UnsupportedImageFormat,
)
from service.images.decode import ImageLimits, decode
from service.images.isolation import decoder as module
from service.images.isolation.child import PROCESS_BYTES, SMALL_BYTES
from service.images.isolation.decoder import Decoder
from service.zero_shot.preprocessing.preparation import ImageInputs
from tests.conftest import encoded, noise
from tests.support.decoding import LIMITS, PREPARE, TIFF, ask, processes


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(LIMITS, 2)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def no_others() -> None:
    """End what decoders of other modules' tests have started: this module looks at all there are."""
    for process in processes():
        process.kill()
        process.wait()


@pytest.mark.parametrize("file_format", VARIANTS)
def test_numbers_are_the_same_to_the_last_bit(decoder: Decoder, file_format: str) -> None:
    for file in seeds(file_format):
        found, expected = ask(decoder, file), decode(file, LIMITS)
        assert (found.inputs["pixel_values"] == PREPARE(expected.rgb)["pixel_values"]).all()
        assert (found.width, found.height, found.format, found.sha256) == (
            *(expected.width, expected.height, expected.format, expected.sha256),
        )


LARGE = (3_100, 4_700)


def turned(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture, file_format, exif=exif, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded(noise(*LARGE, "CMYK"), "TIFF"),
        lambda: turned(noise(*LARGE, "CMYK"), "JPEG", quality=60),
        lambda: turned(noise(*LARGE, "RGBA"), "TIFF"),
        lambda: turned(Image.fromarray(np.arange(14_570_000, dtype=np.uint16).reshape(LARGE)), "PNG", compress_level=1),
        lambda: turned(noise(400, 20_000), "TIFF"),
        lambda: encoded(noise(400, 20_000, "RGBA"), "TIFF"),
    ],
    ids=["CMYK", "CMYK turned", "RGBA turned", "16 bits turned", "wide, turned to be high", "high"],
)
def test_numbers_of_large_pictures_are_the_same_to_the_last_bit(make: Callable[[], bytes]) -> None:
    limits = ImageLimits(100 * 1024**2, 50_000_000)
    decoder, file = Decoder(limits, 2), make()
    found, expected = ask(decoder, file), decode(file, limits)
    decoder.close()
    assert (found.inputs["pixel_values"] == PREPARE(expected.rgb)["pixel_values"]).all()
    assert (found.width, found.height) == (expected.width, expected.height)


@contextlib.contextmanager
def watched(decoder: Decoder) -> Iterator[list[int]]:
    """Give what the decoding processes hold, time after time, above what one holds that has nothing to do, in bytes."""
    ask(decoder, TIFF)
    idle, seen, ended = processes()[0].memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append(sum(child.memory_info().rss for child in processes()) - idle)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        ended.set()
        watching.join()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_the_largest_picture_is_in_memory_once(decoder: Decoder, file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_adobe_deflate"} if file_format == "TIFF" else {}
    file = encoded(Image.new("CMYK", (7_000, 7_100), "red"), file_format, exif=exif, **options)
    with watched(decoder) as seen:
        ask(decoder, file)
    assert 0.9 * 4 * 49_700_000 < max(seen) < 4 * 49_700_000 + 40_000_000


def test_a_webp_that_will_take_too_much_takes_none_of_it(decoder: Decoder) -> None:
    file = encoded(Image.new("RGB", (7_000, 7_000), "red"), "WEBP", method=0)
    with watched(decoder) as seen, pytest.raises(ImageDimensions, match="memory"):
        ask(decoder, file)
    assert max(seen) < 50_000_000


@pytest.mark.parametrize(
    ("file_format", "options", "size"),
    [
        ("JPEG", {"progressive": True, "subsampling": 0}, (6_000, 6_000)),
        ("WEBP", {"lossless": True, "method": 0}, (5_500, 5_500)),
        ("WEBP", {"lossless": True, "method": 0}, (7_000, 7_000)),
        ("JPEG2000", {}, (4_000, 4_000)),
        ("TIFF", {"compression": "tiff_lzw", "strip_size": 3 * 49_000_000}, (7_000, 7_000)),
    ],
)
def test_what_takes_more_memory_than_there_is_is_told_from_what_is_broken(
    decoder: Decoder, file_format: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    file = encoded(Image.new("RGB", size, "red"), file_format, **options)
    with pytest.raises(ImageDimensions, match="memory"):
        ask(decoder, file)
    ample = Decoder(LIMITS, 6)
    assert (ask(ample, file).width, ask(ample, file).height) == size
    ample.close()
    broken = encoded(noise(300, 200), file_format, **options)
    with pytest.raises((UndecodableImage, UnsupportedImageFormat)):
        ask(decoder, broken[: len(broken) // 2])


def test_a_large_tiff_that_is_broken_is_not_said_to_lack_memory(decoder: Decoder) -> None:
    file = bytearray(encoded(Image.new("RGB", (7_000, 7_000), "red"), "TIFF", compression="tiff_adobe_deflate"))
    middle = len(file) // 2
    file[middle : middle + 1_000] = bytes(1_000)
    with pytest.raises(UndecodableImage):
        ask(decoder, bytes(file))


def test_a_webp_of_a_camera_is_decoded(decoder: Decoder) -> None:
    assert ask(decoder, encoded(Image.new("RGB", (4_608, 3_456), "red"), "WEBP", method=0)).width == 4_608


def test_ordinary_pictures_start_no_process(decoder: Decoder) -> None:
    for file in (*seeds("JPEG"), *seeds("PNG")[: len(VARIANTS["PNG"])]):
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
    monkeypatch.setattr(module, "DECODE_SECONDS", 4.0)
    bomb = scan_bomb()
    begun = time.monotonic()
    with pytest.raises(UndecodableImage, match="in time"):
        ask(decoder, bomb)
    assert 3.9 < time.monotonic() - begun < 6
    assert not processes()
    assert ask(decoder, TIFF).width == 300


def test_who_was_let_in_late_is_told_to_come_again(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 2.0)
    with ThreadPoolExecutor(1) as another:
        with decoder.slot(TIFF):
            late = another.submit(ask, decoder, scan_bomb())
            time.sleep(1.3)
        with pytest.raises(Overloaded):
            late.result(10)
    assert not processes()


def test_one_that_waits_for_memory_that_others_have_is_killed(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait on, and take what it is told of the next picture for an answer about this one."""
    ask(decoder, TIFF)
    monkeypatch.setattr(module, "DECODE_SECONDS", 4.0)
    others = decoder._others_bytes - PROCESS_BYTES - SMALL_BYTES  # so that it can begin
    with decoder._memory.acquired(time.monotonic(), others):
        with pytest.raises(Overloaded) as caught:
            ask(decoder, LARGE_TIFF)
        assert not processes(), caught  # which still holds the frames, and with them the process
    assert ask(decoder, TIFF).width == 300


def test_one_that_was_asked_when_a_defect_came_up_is_killed(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(module, "read_answer", defect)
        with pytest.raises(ZeroDivisionError) as caught:
            ask(decoder, TIFF)
        assert not processes(), caught  # which still holds the frames, and with them the process
    assert ask(decoder, TIFF).width == 300


def test_pictures_that_take_minutes_are_killed_and_hold_up_no_other(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 3.0)
    bomb, ordinary = scan_bomb(), encoded(noise(300, 200), "JPEG")
    with ThreadPoolExecutor(2) as others:
        held = [others.submit(ask, decoder, bomb) for _ in range(2)]
        waited = []
        while not all(one.done() for one in held):
            begun = time.monotonic()
            ask(decoder, ordinary)
            waited.append(time.monotonic() - begun)
            time.sleep(0.05)
        assert [type(one.exception()) for one in held].count(UndecodableImage) >= 1
        assert {type(one.exception()) for one in held} <= {UndecodableImage, Overloaded}
    assert len(waited) > 10
    assert max(waited) < 1
    assert not processes()


@pytest.mark.parametrize("slots", [1, 2])
def test_an_odd_picture_leaves_a_slot_to_ordinary_ones(slots: int) -> None:
    decoder = Decoder(LIMITS, slots)
    with decoder.slot(TIFF):
        assert ask(decoder, encoded(noise(300, 200))).width == 300


def test_a_single_slot_has_one_ordinary_picture_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 0.2)
    decoder, ordinary = Decoder(LIMITS, 1), encoded(noise(300, 200))
    with decoder.slot(ordinary), pytest.raises(Overloaded):
        ask(decoder, ordinary)


def test_an_ordinary_picture_waits_for_a_slot_no_longer_than_to_the_deadline(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 0.2)
    ordinary = encoded(noise(300, 200))
    with decoder.slot(ordinary), decoder.slot(ordinary):
        assert decoder.stalled_seconds == 0
        with pytest.raises(Overloaded):
            ask(decoder, ordinary)
        assert 0.2 < decoder.stalled_seconds < 5
    assert decoder.stalled_seconds == 0
    assert ask(decoder, ordinary).width == 300


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP])
def test_a_decoder_that_dies_or_stops_is_a_broken_picture(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    monkeypatch.setattr(module, "DECODE_SECONDS", 6.0)
    raised: list[GazeError] = []

    def look() -> None:
        with pytest.raises(UndecodableImage) as caught:
            ask(decoder, scan_bomb())
        raised.append(caught.value)

    looking = threading.Thread(target=look)
    looking.start()
    while not (found := processes()) or found[0].cpu_times().user < 0.5:
        assert looking.is_alive()
        time.sleep(0.02)
    os.kill(found[0].pid, sent)
    looking.join(10)
    assert len(raised) == 1
    assert not processes()
    assert not psutil.pid_exists(found[0].pid)  # nor as a zombie
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
    assert not psutil.pid_exists(before.pid)  # nor as a zombie


PARENT = """
import sys, time
from tests.support.decoding import LIMITS, PREPARE, TIFF, ask, processes
from service.images.isolation.decoder import Decoder
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
    with contextlib.suppress(psutil.NoSuchProcess):
        while child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_process_holds_no_socket_but_its_own(decoder: Decoder) -> None:
    ask(decoder, TIFF)
    [child] = processes()
    sockets = [link for link in Path(f"/proc/{child.pid}/fd").iterdir() if str(link.readlink()).startswith("socket:")]
    assert len(sockets) == 1
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text(encoding="ascii").strip() == "900"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def stay_here(image: Image.Image, cores: int = 1) -> ImageInputs:
    raise ValueError("defect")


LARGE_TIFF = encoded(Image.new("RGB", (7_000, 4_000), "red"), "TIFF", compression="tiff_adobe_deflate")
WAYS: dict[str, tuple[bytes, Any, type[Exception] | None]] = {
    "answered": (TIFF, PREPARE, None),
    "answered here": (encoded(noise(30, 20)), PREPARE, None),
    "large": (LARGE_TIFF, PREPARE, None),
    "samples": (TIFF, lambda image, **_: {"size": np.array(image.size)}, None),
    "broken": (TIFF[:5000], PREPARE, UndecodableImage),
    "broken here": (encoded(noise(30, 20))[:60], PREPARE, UndecodableImage),
    "too many bytes": (TIFF + bytes(8 * 1024**2), PREPARE, ImageTooLarge),
    "too little memory": (
        encoded(Image.new("RGB", (7_000, 7_000), "red"), "WEBP", method=0),
        PREPARE,
        ImageDimensions,
    ),
    "hangs": (scan_bomb(), PREPARE, UndecodableImage),
    "defect": (TIFF, lambda image, **_: stay_here(image), ValueError),
    "defect here": (encoded(noise(30, 20)), stay_here, ValueError),
}


@pytest.mark.parametrize("way", WAYS)
def test_memory_slots_and_processes_are_given_back(decoder: Decoder, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    file, prepare, error = WAYS[way]
    ask(decoder, TIFF)
    before = descriptors()
    monkeypatch.setattr(module, "DECODE_SECONDS", 2.0 if way == "hangs" else 8.0)
    for _ in range(3):  # what each of them kept would be too much for the next
        with pytest.raises(error) if error else contextlib.nullcontext(), decoder.slot(file) as decode_in_slot:
            decode_in_slot(prepare)
        assert len(processes()) <= 1
    monkeypatch.setattr(module, "DECODE_SECONDS", 8.0)
    with decoder._memory.acquired(time.monotonic(), decoder._others_bytes):
        pass
    with decoder._slots.acquired(time.monotonic(), 2), decoder._others.acquired(time.monotonic()):
        pass
    assert descriptors() <= before
    assert ask(decoder, TIFF).width == 300


def test_what_had_a_large_picture_ends_and_its_memory_returns(decoder: Decoder) -> None:
    ask(decoder, LARGE_TIFF)
    assert not processes()


def test_two_large_pictures_at_once_do_not_wait_for_each_others_memory() -> None:
    decoder = Decoder(LIMITS, 3)
    with ThreadPoolExecutor(2) as callers:
        both = [callers.submit(ask, decoder, LARGE_TIFF) for _ in range(2)]
        assert [one.result(20).width for one in both] == [7_000, 7_000]
    decoder.close()


@pytest.mark.parametrize("end", ["close", "forget"])
def test_processes_end_with_their_decoder(end: str) -> None:
    decoder = Decoder(LIMITS, 2)
    ask(decoder, TIFF)
    assert len(processes()) == 1
    if end == "close":
        decoder.close()
    else:
        del decoder
        gc.collect()
    assert not processes()
