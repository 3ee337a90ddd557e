"""What a decoder that was taken over can do to the service: nothing but say that its own picture is broken."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from service.errors import UndecodableImage
from service.images.decode import ImageLimits, PreparedImage
from service.images.isolation import decoder as module
from service.images.isolation.decoder import Decoder
from service.zero_shot.preprocessing.preparation import ImageInputs, Preparation
from tests.conftest import encoded, noise
from tests.support.hostile_decoder import PROGRAM, REACH, SAY, saying

LIMITS = ImageLimits(8 * 1024**2, 50_000_000)
PREPARE = Preparation(2, None, (2, 2), 3, 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
GOOD: dict[str, Any] = {
    "width": 4,
    "height": 3,
    "format": "GIF",
    "decoded_at": None,
    "warnings": [],
    "inputs": {"pixel_values": ["<f4", [3, 2, 2]]},
}
SAMPLES = np.zeros((3, 2, 2), np.float32)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    monkeypatch.setattr(module, "DECODE_SECONDS", 5.0)
    made = Decoder(LIMITS, 2, program=PROGRAM)
    yield made
    made.close()


def whole(prepared: Any, cores: int = 1) -> ImageInputs:
    """Return all samples: what is prepared depends on the picture, so the process is asked for the picture."""
    return {"rgb": np.asarray(prepared)}


def ask(decoder: Decoder, file: bytes, prepare: Any = PREPARE) -> PreparedImage:
    with decoder.slot(file) as decode:
        return decode(prepare)


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def test_a_decoder_that_was_taken_over_reaches_nothing(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAZE_API_KEYS", "secret")
    with pytest.raises(UndecodableImage) as raised:
        ask(decoder, REACH)
    assert raised.value.detail == "Reached: nothing."


def test_its_environment_is_empty(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    before = children()
    ask(decoder, encoded(noise(30, 20), "GIF"))
    [started] = set(children()) - {*before}
    names = [entry.partition(b"=")[0] for entry in Path(f"/proc/{started}/environ").read_bytes().split(b"\0")]
    assert {*names} <= {b"", b"LD_LIBRARY_PATH"}


def test_a_module_of_the_working_folder_is_not_imported(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service").mkdir()
    for name in ("service/__init__", "json", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("HOME", raising=False)
    assert ask(decoder, encoded(noise(30, 20), "GIF")).width == 30


def test_what_it_says_rightly_is_taken(decoder: Decoder) -> None:
    said = ask(decoder, saying(GOOD, SAMPLES.tobytes()))
    assert (said.width, said.height, said.format, len(said.sha256)) == (4, 3, "GIF", 64)
    assert (said.inputs["pixel_values"] == SAMPLES).all()


HUGE = 2**40


@pytest.mark.parametrize(
    "said",
    [
        saying(b"no JSON"),
        saying(b"[" * 60_000),
        saying(b"9" * 60_000),
        saying(b"\xff"),
        saying([]),
        saying({}),
        saying({"needed": -1}),
        saying({"needed": "9"}),
        saying({"needed": 1.5}),
        saying({"needed": True}),
        saying({"needed": 10**30}),
        saying({"error": "not_found", "detail": "No."}),
        saying({"error": ["undecodable_image"], "detail": "No."}),
        saying({"error": "undecodable_image"}),
        saying({"error": "undecodable_image", "detail": {}}),
        saying({"error": "undecodable_image", "detail": "line\nline"}),
        saying({"error": "undecodable_image", "detail": "a" * 501}),
        saying({**GOOD, "width": 0}, SAMPLES.tobytes()),
        saying({**GOOD, "width": None}, SAMPLES.tobytes()),
        saying({**GOOD, "width": 50_000, "height": 50_000}, SAMPLES.tobytes()),
        saying({**GOOD, "decoded_at": [4]}, SAMPLES.tobytes()),
        saying({**GOOD, "decoded_at": [-4, 3]}, SAMPLES.tobytes()),
        saying({**GOOD, "format": 5}, SAMPLES.tobytes()),
        saying({**GOOD, "warnings": "a"}, SAMPLES.tobytes()),
        saying({**GOOD, "warnings": [5]}, SAMPLES.tobytes()),
        saying({**GOOD, "warnings": ["a"] * 11}, SAMPLES.tobytes()),
        saying({**GOOD, "inputs": None}),
        saying({**GOOD, "inputs": {}}),
        saying({**GOOD, "inputs": {"pixel_values": ["<f4", [3, 2]]}}, SAMPLES.tobytes()),
        saying({**GOOD, "inputs": {"pixel_values": ["|O", [3, 2, 2]]}}, SAMPLES.tobytes()),
        saying({**GOOD, "inputs": {"pixel_values": ["<f4", [HUGE, 2, 2]]}}, SAMPLES.tobytes()),
        saying({**GOOD, "inputs": {**GOOD["inputs"], "more": ["<f4", [1]]}}, SAMPLES.tobytes()),
        saying(GOOD, SAMPLES.tobytes()[:-1]),
        saying(GOOD, SAMPLES.tobytes() + b"\0"),
        saying(GOOD, np.full((3, 2, 2), np.nan, np.float32).tobytes()),
        saying(GOOD, np.full((3, 2, 2), np.inf, np.float32).tobytes()),
        saying(GOOD, SAMPLES.tobytes()[:-4] + np.float32(np.nan).tobytes()),
        SAY + struct.pack(">Q", 2**32 - 1),
        saying(GOOD) + struct.pack(">Q", 2**32 - 1),
    ],
)
def test_what_it_says_wrongly_is_a_broken_picture_and_its_end(decoder: Decoder, said: bytes) -> None:
    before, peak = children(), psutil.Process().memory_info().rss
    with pytest.raises(UndecodableImage):
        ask(decoder, said)
    assert children() == before
    assert psutil.Process().memory_info().rss - peak < 50_000_000


@pytest.mark.parametrize("size", [(4, 3), (50_000, 1_001), (2**31, 2**31)])
def test_samples_are_those_of_the_size_that_it_says_and_no_more_than_may_be(
    decoder: Decoder, size: tuple[int, int]
) -> None:
    fields = {**GOOD, "width": size[0], "height": size[1]}
    right = {**fields, "inputs": {"rgb": ["|u1", [size[1], size[0], 3]]}}
    if size == (4, 3):
        assert ask(decoder, saying(right, bytes(36)), whole).inputs["rgb"].shape == (3, 4, 3)
    else:
        with pytest.raises(UndecodableImage):
            ask(decoder, saying(right, bytes(36)), whole)
    with pytest.raises(UndecodableImage):
        ask(decoder, saying({**right, "inputs": {"rgb": ["|u1", [size[1], size[0], 4]]}}, bytes(48)), whole)


def test_what_it_says_more_is_not_taken_for_an_answer_about_the_next_picture(decoder: Decoder) -> None:
    lie = saying(GOOD, np.ones((3, 2, 2), np.float32).tobytes())
    ask(decoder, saying(GOOD, SAMPLES.tobytes()) + lie.removeprefix(SAY))
    next_one = ask(decoder, encoded(noise(30, 20), "GIF"))
    assert (next_one.width, next_one.height) == (30, 20)
