"""LocalEngine: every item has one outcome, the same that the service answers with, and only so many are under way."""

import base64
import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.bulk.items import Answer, Failure, Item, NumberedItem
from service.bulk.local import FETCHES, LocalEngine, pass_size
from service.bulk.rankings import RankingPacker, unpack
from service.bulk.reading import ItemReader, RetryingFetcher
from service.images.decode import ImageLimits
from service.images.fetch.addresses import FetchPolicy
from service.images.fetch.fetcher import FetchLimits
from service.images.isolation.decoder import Decoder
from service.images.loader import ImageLoader
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.preprocessing.preparation import ImageInputs
from tests.conftest import encoded, noise
from tests.support.origin import Origin, http

LIMITS = ImageLimits(1_000_000, 1_000_000)
LISTS = ("surfaces", "movements")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nineteen pictures of many forms, so that a pass is left unfilled, and some that are none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(14):
        noise(60 + number, 90 - number, seed=number).save(folder / f"{number:02}.png")
    noise(400, 300, seed=20).save(folder / "14.jpg", quality=85)
    noise(90, 200, mode="L", seed=21).save(folder / "15.tif")
    noise(90, 200, mode="RGBA", seed=22).save(folder / "16.webp")
    noise(90, 200, mode="CMYK", seed=23).save(folder / "17.tif")
    noise(90, 200, seed=24).convert("P").save(folder / "18.gif")
    (folder / "broken.jpg").write_bytes((folder / "14.jpg").read_bytes()[:2_000])
    (folder / "broken.tif").write_bytes((folder / "15.tif").read_bytes()[:2_000])
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    (folder / "heavy.png").write_bytes(encoded(noise(700, 700, seed=3), "BMP"))
    (folder / "large.png").write_bytes(encoded(Image.new("1", (1_200, 1_000)), "PNG"))
    return folder


@pytest.fixture(scope="module")
def engine(classifier: ZeroShotClassifier) -> Iterator[LocalEngine]:
    decoder = Decoder(LIMITS, 3)
    fetcher = RetryingFetcher(FetchPolicy.parse("127.0.0.0/8"), FetchLimits(LIMITS.max_bytes, 5.0), ())
    reader = ItemReader(ImageLoader(fetcher, decoder), lambda uri: fetcher.fetch(f"{uri}/full/max/0/default.jpg"), 448)
    ranking = RankingPacker(classifier, classifier.lists_named(LISTS), 5, 0.0)
    yield LocalEngine(reader, classifier, ranking, 2)
    decoder.close()


def in_folder(folder: Path) -> list[NumberedItem]:
    return list(enumerate(Item(file.name, "file", str(file)) for file in sorted(folder.iterdir())))


def answered_by(server: str, files: list[Path]) -> list[dict[str, Any]]:
    """Return the service's results for some files, in requests of eight."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(files), 8):
        images = [{"base64": base64.b64encode(file.read_bytes()).decode()} for file in files[start : start + 8]]
        question = json.dumps({"images": images, "lists": LISTS}).encode()
        request = urllib.request.Request(f"{server}/v1/gaze", question, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            results += json.load(response)["results"]
    return results


def test_answers_are_those_of_the_running_service_to_the_last_bit(
    engine: LocalEngine, folder: Path, server: str, phrase_lists: dict[str, PhraseList]
) -> None:
    good = [numbered for numbered in in_folder(folder) if numbered[1].object_number[0].isdigit()]
    outcomes = dict(engine.outcomes(good))
    answers = answered_by(server, [Path(item.place) for _, item in good])
    for (number, _), answer in zip(good, answers, strict=True):
        outcome = outcomes[number]
        assert isinstance(outcome, Answer)
        sent = {name: getattr(outcome, name) for name in ("sha256", "format", "width", "height")}
        assert sent == {name: answer["image"][name] for name in sent}
        for ranked in unpack(outcome.rankings, [phrase_lists[name] for name in LISTS]):
            assert [vars(term) for term in ranked.terms] == answer["lists"][ranked.list_name]["predictions"]
            assert ranked.hash == answer["lists"][ranked.list_name]["hash"]
            assert ranked.candidates == answer["lists"][ranked.list_name]["count"]
    assert len(outcomes) == 19


def test_every_pass_has_the_same_shape_the_last_one_too(
    engine: LocalEngine, classifier: ZeroShotClassifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode_images = classifier.encode_images

    def watched(inputs: Sequence[ImageInputs]) -> NDArray[np.float32]:
        sizes.append(len(inputs))
        return encode_images(inputs)

    monkeypatch.setattr(classifier, "encode_images", watched)
    outcomes = dict(engine.outcomes((number, Item("a", "file", str(folder / "00.png"))) for number in range(19)))
    assert sizes == [pass_size("cpu")] * 3
    assert all(isinstance(outcome, Answer) for outcome in outcomes.values())
    assert len(outcomes) == 19
    # What fills the last pass changes nothing of what was asked.
    assert len(set(outcomes.values())) == 1


def test_each_item_has_one_outcome_and_broken_ones_say_why(engine: LocalEngine, folder: Path) -> None:
    items = in_folder(folder)
    outcomes = list(engine.outcomes([*items, (99, Item("gone", "file", str(folder / "gone.png")))]))
    assert sorted(number for number, _ in outcomes) == [*range(len(items)), 99]
    failures = {number: outcome.code for number, outcome in outcomes if isinstance(outcome, Failure)}
    codes = {item.object_number: failures[number] for number, item in items if number in failures}
    assert codes == {
        "broken.jpg": "undecodable_image",
        "broken.tif": "undecodable_image",
        "empty.png": "unsupported_image_format",
        "folder.png": "unreadable_file",
        "heavy.png": "image_too_large",
        "large.png": "image_dimensions",
    }
    assert dict(outcomes)[99] == Failure("unreadable_file", "The file cannot be read (No such file or directory).")


def test_item_that_its_source_knows_to_be_broken_is_not_looked_at(engine: LocalEngine) -> None:
    failure = Failure("no_picture", "There is none.")
    assert list(engine.outcomes([(7, Item("a", "file", "", failure=failure))])) == [(7, failure)]


def test_urls_and_image_services_are_fetched(engine: LocalEngine, folder: Path) -> None:
    picture = (folder / "14.jpg").read_bytes()
    answers = {"/a.jpg": http(picture), "/iiif/a/full/max/0/default.jpg": http(picture)}
    with Origin({**answers, "/none.jpg": http(b"", status="404 Gone")}) as origin:
        places = [("url", "a.jpg"), ("service", "iiif/a"), ("url", "none.jpg")]
        items = [Item(place, kind, f"http://{origin.address}/{place}") for kind, place in places]  # type: ignore[arg-type]
        items.append(Item("metadata", "url", "http://169.254.169.254/latest"))
        by_file = dict(engine.outcomes([(0, Item("a", "file", str(folder / "14.jpg")))]))[0]
        outcomes = dict(engine.outcomes(enumerate(items)))
    assert outcomes[0] == outcomes[1] == by_file
    assert [outcome.code for outcome in (outcomes[2], outcomes[3]) if isinstance(outcome, Failure)] == [
        *("image_fetch_failed", "url_not_allowed")
    ]


def test_nothing_is_nothing(engine: LocalEngine) -> None:
    assert list(engine.outcomes([])) == []


def test_only_so_many_items_are_under_way(engine: LocalEngine, folder: Path) -> None:
    taken, done = 0, 0

    def items() -> Iterator[NumberedItem]:
        nonlocal taken
        for number in range(150):
            taken += 1
            assert taken - done <= 4 * 8 + FETCHES + 8
            yield number, Item(str(number), "file", str(folder / f"{number % 14:02}.png"))

    for _ in engine.outcomes(items()):
        done += 1
    assert (taken, done) == (150, 150)


def test_what_no_picture_is_to_blame_for_ends_it(engine: LocalEngine, folder: Path) -> None:
    def items() -> Iterator[NumberedItem]:
        yield from in_folder(folder)
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="gone"):
        list(engine.outcomes(items()))


def test_who_stops_listening_leaves_no_thread(engine: LocalEngine, folder: Path) -> None:
    before = threading.active_count()
    outcomes = engine.outcomes(in_folder(folder) * 10)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    threads = [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
    for thread in threads:
        thread.join(10)
    assert threading.active_count() <= before


def test_no_fetch_begins_while_too_much_waits_to_be_decoded(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.bulk.local._FETCHED_BYTES", 1)
    picture = encoded(noise(60, 40), "PNG")
    with Origin({"/a.png": http(picture)}) as origin:
        url = f"http://{origin.address}/a.png"
        outcomes = dict(engine.outcomes((number, Item(f"{number}", "url", url)) for number in range(100)))
    assert len(outcomes) == 100
    assert all(isinstance(outcome, Answer) for outcome in outcomes.values())
