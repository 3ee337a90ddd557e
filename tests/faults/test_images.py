"""Pictures that are none, are broken, are huge, or hang and kill their decoder."""

import io
import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms

from fuzz.bombs import gif, gif_of_frames, hand_made, scan_bomb, white_png
from fuzz.images import Processes, mutations, send
from fuzz.seeds import VARIANTS, picture, seeds
from tests.conftest import encoded, noise
from tests.faults.images import DEADLINE_SECONDS, ask, ranked, refused, result
from tests.support.problem_shape import checked_problem
from tests.support.profiled_pictures import GREY_PAPER, STORED, UPRIGHT, WIDE_RGB
from tests.support.running_service import Service
from tests.support.wire import exchange


def decoders(service: Service) -> list[psutil.Process]:
    return [child for pid in service.workers() for child in psutil.Process(pid).children()]


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "file",
    [
        b"A picture of a river.",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"<!DOCTYPE html><title>Not found</title>",
        encoded(noise(16, 16), "PPM"),
    ],
    ids=["text", "SVG", "PDF", "EPS", "HTML", "PPM"],
)
def test_what_is_no_image(service: Service, seen: Callable[[str], None], file: bytes) -> None:
    refused(service, file, 415, "unsupported_image_format")
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    body = form + file + b'\r\n--b\r\nContent-Disposition: form-data; name="phrases"\r\n\r\na river\r\n--b--\r\n'
    head = f"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    answer = exchange(service.address, head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body)
    checked_problem(415, answer.headers, answer.body, "unsupported_image_format")
    seen("415")


@pytest.mark.fault(13)
def test_small_files_of_huge_pictures(service: Service, seen: Callable[[str], None]) -> None:
    # The decoding process that answers these is there before.
    ranked(service, encoded(noise(61, 47), "GIF"))
    with Processes(service.address) as processes:
        before = processes.resident_bytes()
        for file in (white_png(13_400, 13_200), gif((10, 10), (60_000, 60_000)), gif((60_000, 60_000), (10, 10))):
            refused(service, file, 422, "image_dimensions")
        assert ranked(service, gif_of_frames(10_000)) == ranked(service, gif((10, 10), (10, 10)))
        time.sleep(0.1)
    rise = (processes.peak - before) / 1_000_000
    assert processes.peak > 0
    assert rise < 50
    seen(f"422, {rise:.0f} MB more; first frame")


@pytest.mark.fault(14)
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg(service: Service, seen: Callable[[str], None], progressive: bool) -> None:
    file = encoded(noise(800, 600), "JPEG", progressive=progressive)
    for part in (0.3, 0.5, 0.9):
        refused(service, file[: int(len(file) * part)], 422, "undecodable_image")
    seen("422")


def _reference(image: Image.Image, icc: bytes) -> Image.Image:
    found = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert found is not None
    return found


def _pairs() -> dict[str, tuple[bytes, Image.Image]]:
    """Return files, each with the picture that a person sees."""
    samples = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    grey = Image.fromarray(np.floor(samples / 257 + 0.5).astype(np.uint8))
    clear = noise(61, 47, "RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((61, 47)))
    on_white = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    lab = Image.new("LAB", (20, 20), (180, 150, 100))
    of_lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = noise(61, 47, "CMYK")
    palette = noise(61, 47, "P")
    return {
        "CMYK": (encoded(cmyk, "TIFF"), cmyk),
        "16 bits": (encoded(Image.fromarray(samples)), grey),
        "16 bits, TIFF": (encoded(Image.fromarray(samples), "TIFF"), grey),
        "alpha": (encoded(clear), on_white),
        "palette": (encoded(palette, transparency=bytes([255] * 256)), palette),
        "1 bit": (encoded(noise(61, 47, "1")), noise(61, 47, "1")),
        "LAB": (encoded(lab, "TIFF"), _reference(lab, of_lab)),
        "EXIF": (encoded(STORED[6], exif=exif), UPRIGHT),
        "ICC": (encoded(noise(61, 47), icc_profile=WIDE_RGB), _reference(noise(61, 47), WIDE_RGB)),
        "CMYK with ICC": (encoded(cmyk, "TIFF", icc_profile=GREY_PAPER), _reference(cmyk, GREY_PAPER)),
    }


PAIRS = _pairs()


@pytest.mark.fault(15)
@pytest.mark.parametrize("name", PAIRS)
def test_odd_modes_are_what_a_person_sees(service: Service, seen: Callable[[str], None], name: str) -> None:
    file, expected = PAIRS[name]
    assert ranked(service, file) == ranked(service, encoded(expected.convert("RGB")))
    assert ranked(service, file) != ranked(service, encoded(noise(61, 47, seed=9)))
    seen("answers equal those of a plain RGB reference")


@pytest.mark.fault(16)
def test_small_and_long(service: Service, seen: Callable[[str], None]) -> None:
    assert ranked(service, encoded(Image.new("RGB", (1, 1))))
    refused(service, encoded(Image.new("RGB", (1, 50_000))), 422, "image_dimensions")
    seen("an answer; 422")


@pytest.mark.fault(17)
def test_a_corpus_of_odd_files(service: Service, seen: Callable[[str], None]) -> None:
    files = list(hand_made())
    assert len(files) >= 200
    for file_format in VARIANTS:
        files += mutations(file_format, 100, seed=17)
    assert len(files) >= 1_000
    workers = service.workers()
    outcome = send(service.address, files)
    assert outcome.answers.total() == len(files)
    assert not outcome.faults
    assert service.workers() == workers
    assert outcome.answers["200"] > 50
    assert outcome.answers["422 undecodable_image"] > 200
    seen(f"{len(files)} files, slowest {outcome.slowest:.1f} s, no worker died")


def _large() -> Iterator[tuple[str, bytes, str]]:
    """Yield pictures near the limit of pixels, and how each is answered where there are two cores."""
    exif = Image.Exif()
    exif[0x0112] = 6
    size = (7_000, 7_100)
    for mode, file_format, options in (
        ("RGB", "JPEG", {"exif": exif}),
        ("CMYK", "JPEG", {}),
        ("CMYK", "JPEG", {"exif": exif}),
        ("RGBA", "PNG", {"exif": exif, "compress_level": 1}),
        ("I;16", "PNG", {"exif": exif, "compress_level": 1}),
        ("P", "GIF", {}),
        ("1", "BMP", {}),
        ("CMYK", "TIFF", {"exif": exif, "compression": "tiff_adobe_deflate"}),
        ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
        ("LAB", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("F", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ):
        yield f"{mode} {file_format}", encoded(Image.new(mode, size), file_format, **options), "200"
    too_much = "422 image_dimensions"
    yield "progressive", encoded(Image.new("CMYK", size), "JPEG", progressive=True), too_much
    yield "WebP", encoded(Image.new("RGB", size), "WEBP", method=0), too_much
    yield "JPEG 2000", encoded(Image.new("RGB", (4_600, 3_450)), "JPEG2000"), too_much
    for file_format in ("WEBP", "AVIF"):
        yield f"16 MP {file_format}", encoded(Image.new("RGB", (4_600, 3_450)), file_format, method=0, speed=10), "200"


@pytest.mark.fault(17)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) != 2, reason="what is too much depends on the cores")
def test_pictures_near_the_limit_of_pixels(service: Service, seen: Callable[[str], None]) -> None:
    ranked(service, encoded(noise(61, 47)))
    workers = service.workers()
    with Processes(service.address) as processes:
        before, slowest = processes.resident_bytes(), 0.0
        for name, file, expected in _large():
            outcome = send(service.address, [(name, file)] * 2)
            assert outcome.answers == {expected: 2}, name
            assert not outcome.faults
            slowest = max(slowest, outcome.slowest)
    rise = (processes.peak - before) / 1_000_000
    assert service.workers() == workers
    assert 150 < rise < 400
    seen(f"49 MP in 16 kinds, two at a time: slowest {slowest:.1f} s, {rise:.0f} MB more")


@pytest.mark.fault(18)
def test_a_decoder_that_takes_minutes(service: Service, seen: Callable[[str], None]) -> None:
    good = encoded(picture("RGB"), "TIFF")
    before = ranked(service, good)
    begun = time.monotonic()
    refused(service, scan_bomb(), 422, "undecodable_image")
    seconds = time.monotonic() - begun
    assert 5 < seconds < DEADLINE_SECONDS
    assert ranked(service, good) == before
    seen(f"hangs: 422 after {seconds:.1f} s")


@pytest.mark.fault(18)
@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGSTOP])
def test_a_decoder_that_dies_or_stops(service: Service, seen: Callable[[str], None], sent: signal.Signals) -> None:
    file, problems = scan_bomb(), []

    def look() -> None:
        problems.append(refused(service, file, 422, "undecodable_image"))

    idle = {child.pid: sum(child.cpu_times()[:2]) for child in decoders(service)}
    begun = time.monotonic()
    looking = threading.Thread(target=look)
    looking.start()

    def busy() -> list[psutil.Process]:
        return [child for child in decoders(service) if sum(child.cpu_times()[:2]) > idle.get(child.pid, 0) + 1]

    while not (found := busy()):
        assert time.monotonic() - begun < DEADLINE_SECONDS
        time.sleep(0.05)
    os.kill(found[0].pid, sent)
    looking.join(2 * DEADLINE_SECONDS)
    seconds = time.monotonic() - begun
    assert len(problems) == 1
    assert seconds < DEADLINE_SECONDS
    for next_one in (encoded(picture("RGB"), "TIFF"), encoded(picture("RGB"))):
        ranked(service, next_one)
    assert found[0].pid not in [child.pid for child in decoders(service)]
    seen(f"{sent.name}: 422 after {seconds:.1f} s, the next answered")


@pytest.mark.fault(32)
def test_one_bad_image_among_32(service: Service, seen: Callable[[str], None]) -> None:
    formats = list(VARIANTS)
    files = [encoded(picture("RGB", seed), formats[seed % len(formats)]) for seed in range(32)]
    alone = [result(service, file)["lists"] for file in files]
    files[13] = struct.pack(">I", 13) + seeds("JPEG")[0]
    answer = ask(service, *files)
    assert answer.status == 200
    results = json.loads(answer.body)["results"]
    assert results[13]["error"]["code"] == "unsupported_image_format"
    assert "lists" not in results[13]
    assert len(results) == 32
    for number, found in enumerate(results):
        if number != 13:
            assert found["lists"] == alone[number], number
    seen("its own error; 31 equal to being asked alone")
