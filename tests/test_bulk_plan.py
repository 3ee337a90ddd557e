"""Plan: an engine of a job has more patience than the service has with a request."""

from pathlib import Path

import pytest

from fuzz.bombs import scan_bomb
from service.bulk.items import Answer, Item
from service.bulk.plan import Plan
from service.errors import UndecodableImage
from service.images.decode import ImageLimits
from service.images.isolation import decoder
from service.images.isolation.decoder import Decoder
from service.settings import Settings
from tests.conftest import CACHE

LIMITS = ImageLimits(10_000_000, 10_000_000)


def test_a_picture_may_take_longer_to_decode_than_one_of_a_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(decoder, "DECODE_SECONDS", 2.0)
    path = tmp_path / "slow.jpg"
    path.write_bytes(scan_bomb(3_000, 1_200))
    with pytest.raises(UndecodableImage, match="in time"), Decoder(LIMITS, 2).slot(path.read_bytes()) as decode_in_slot:
        decode_in_slot(lambda _image, **_options: {})
    plan = Plan(Settings(model="demo", cache_dir=CACHE), ("surfaces",), (), 3, 0.0, LIMITS)
    engine = plan.engine(plan.model_files(), plan.lists(), 1).local
    [(number, outcome)] = engine.outcomes([(0, Item("slow", "file", str(path)))])
    assert number == 0
    assert isinstance(outcome, Answer)
    assert (outcome.width, outcome.height) == (3_000, 3_000)
