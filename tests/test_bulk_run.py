"""A job from its sources to its output, in one run or in several: each picture once, and always the same file."""

import csv
import io
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.bulk.items import Engine, NumberedItem, NumberedOutcome
from service.bulk.local import LocalEngine
from service.bulk.output import FORMS
from service.bulk.plan import Plan
from service.bulk.rankings import RankingPacker
from service.bulk.reading import ItemReader
from service.bulk.run import Collection, Lists, Output, RunOptions, run
from service.errors import JobError, UnknownList
from service.images.decode import ImageLimits
from service.images.isolation.decoder import Decoder
from service.images.loader import ImageLoader
from service.settings import Settings
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.model_files import ModelFiles
from tests.conftest import CACHE, encoded, noise
from tests.support.iiif_tree import StaticHost
from tests.support.origin import Answer, Origin, http

RUN_OPTIONS = RunOptions(datetime(2026, 1, 31, tzinfo=UTC), restart=False, retry_errors=False, quiet=True)
PICTURES = 48


class Killed(BaseException):
    """What no code catches, as no code catches a kill."""


@dataclass
class Engines:
    """Starts engines on one model, and may end them after so many outcomes.

    looked_at: the numbers of all items that had an outcome, in order
    """

    classifier: ZeroShotClassifier
    plan: Plan
    looked_at: list[int] = field(default_factory=list)
    started: int = 0
    most: int | None = None

    def start(self, _files: ModelFiles, lists: Lists) -> tuple[Engine, ModelDescription]:
        self.started += 1
        fetcher, iiif = self.plan.fetcher(), self.plan.iiif()
        reader = ItemReader(
            ImageLoader(fetcher, Decoder(self.plan.limits, 3)), lambda uri: iiif.fetch_image(uri, 224), 448
        )
        named = self.classifier.lists_named([one.name for one in lists])
        ranking = RankingPacker(self.classifier, named, self.plan.top_k, self.plan.min_probability)
        return _Watched(LocalEngine(reader, self.classifier, ranking, 2), self), self.classifier.model


@dataclass
class _Watched:
    engine: Engine
    engines: Engines

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        for count, numbered in enumerate(self.engine.outcomes(items)):
            if count == self.engines.most:
                raise Killed
            self.engines.looked_at.append(numbered[0])
            yield numbered


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, of which two are broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        noise(40, 40, seed=number).save(folder / f"{number:03}.png")
    for number in (7, 40):
        path = folder / f"{number:03}.png"
        path.write_bytes(path.read_bytes()[:200])
    return folder


@pytest.fixture
def plan() -> Plan:
    settings = Settings(model="demo", url_fetch="127.0.0.0/8", cache_dir=CACHE)
    return Plan(settings, ("surfaces", "tools"), (), 3, 0.0, ImageLimits(10_000_000, 10_000_000))


@pytest.fixture
def engines(classifier: ZeroShotClassifier, plan: Plan) -> Engines:
    return Engines(classifier, plan)


def to(path: Path, form: str | None = None) -> Output:
    forms = FORMS[path.suffix]
    form = form or next(iter(forms))
    return Output(path, form, forms[form])


def numbers(path: Path) -> list[str]:
    """Return the object numbers in a CSV, each as often as it stands there."""
    return [row["object_number"] for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))]


def test_folder_becomes_a_table_and_what_failed_a_table_of_its_own(
    folder: Path, plan: Plan, engines: Engines, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    assert run(plan, Collection((str(folder),), None), to(out), RUN_OPTIONS, engines.start) == 2
    good = [f"{number:03}" for number in range(PICTURES) if number not in (7, 40)]
    assert numbers(out) == [number for number in good for _ in range(2 * 3)]
    assert numbers(tmp_path / "results.csv.errors.csv") == ["007", "040"]
    assert sorted(engines.looked_at) == list(range(1, PICTURES + 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("results.csv", "results.csv.errors.csv", "results.csv.progress")
    ]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_stopped_again_and_again_the_file_is_that_of_an_undisturbed_run(
    folder: Path, plan: Plan, engines: Engines, tmp_path: Path, ending: str
) -> None:
    collection = Collection((str(folder),), None)
    undisturbed, disturbed = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    run(plan, collection, to(undisturbed), RUN_OPTIONS, engines.start)
    engines.looked_at.clear()
    chance = random.Random(ending)
    for _ in range(4):
        engines.most = chance.randrange(0, 12)
        with pytest.raises(Killed):
            run(plan, collection, to(disturbed), RUN_OPTIONS, engines.start)
        assert not disturbed.exists()
    engines.most = None
    # Begun on one day and ended on another: the date is that of the beginning.
    later = replace(RUN_OPTIONS, date=datetime(2026, 2, 1, tzinfo=UTC))
    run(plan, collection, to(disturbed), later, engines.start)
    assert disturbed.read_bytes() == undisturbed.read_bytes()
    assert sorted(engines.looked_at) == list(range(1, PICTURES + 1))


def test_job_that_is_done_is_not_done_again(
    folder: Path, plan: Plan, engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, collection = tmp_path / "results.csv", Collection((str(folder),), 3)
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 0
    before, changed = out.read_bytes(), out.stat().st_mtime_ns
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 0
    assert capsys.readouterr().err == ""
    assert run(plan, collection, to(out), replace(RUN_OPTIONS, quiet=False), engines.start) == 0
    assert "is done: 3 images, 0 failed" in capsys.readouterr().err
    assert out.stat().st_mtime_ns == changed
    out.unlink()
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 0
    assert out.read_bytes() == before
    assert engines.started == 1


def test_every_file_of_a_folder_is_ranked_failed_or_counted(
    plan: Plan, engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans, out, loud = tmp_path / "scans", tmp_path / "results.csv", replace(RUN_OPTIONS, quiet=False)
    scans.mkdir()
    for name, file_format in (
        ("a.jpg", "JPEG"),
        ("b.mpo", "MPO"),
        ("c.jp2", "JPEG2000"),
        ("d", "PNG"),
        ("e.TIF", "TIFF"),
    ):
        noise(40, 40).save(scans / name, file_format)
    for name in ("f.dng", "g.jxl", "h.psd", "i.pdf", "j.PDF", "a.xmp", ".DS_Store", "Thumbs.db", "k.jpeg"):
        (scans / name).write_bytes(b"no picture")
    (scans / "objects.csv").write_text("object_number,file,title\n1,a.jpg,Bowl\n,,\n")
    told = "Passed over in the sources: 2 .pdf, 1 .csv, 1 .db, 1 .dng, 1 .jxl, 1 .psd, 1 .xmp, 1 blank rows, 1 hidden."
    collection = Collection((str(scans), str(scans / "objects.csv")), None)
    engines.most = 2
    with pytest.raises(Killed):
        run(plan, collection, to(out), loud, engines.start)
    capsys.readouterr()
    engines.most = None
    assert run(plan, collection, to(out), loud, engines.start) == 1
    assert sorted(set(numbers(out))) == ["1", "a", "b", "c", "d", "e"]
    assert numbers(tmp_path / "results.csv.errors.csv") == ["k"]
    assert capsys.readouterr().err.endswith(f"{told}\n")
    assert run(plan, collection, to(out), loud, engines.start) == 1
    assert capsys.readouterr().err.endswith(f"{told}\n")
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 1
    assert capsys.readouterr().err == ""


def test_folder_of_other_things_says_what_it_has(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(30):
        (scans / f"a.x{number:02}").touch()
    (scans / "b.x07").touch()
    with pytest.raises(
        JobError, match=r"There is no picture in the sources. Passed over: 2 \.x07, 1 \.x00, .* 10 others\.$"
    ):
        run(plan, Collection((str(scans),), None), to(tmp_path / "results.csv"), RUN_OPTIONS, engines.start)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"encoding": "cp1252"}, "--encoding"),
        ({"top_k": 4}, "--top-k"),
        ({"min_probability": 0.5}, "--min-probability"),
        ({"list_names": ("tools",)}, "lists"),
        ({"phrases": ("a river",)}, "lists"),
        ({"limits": ImageLimits(1_000_000, 10)}, "limits"),
        ({"sources": ("README.md",)}, "sources"),
        ({"most": 2}, "--limit-items"),
        ({"form": "csv-omeka-s"}, "--format"),
    ],
)
def test_another_job_does_not_go_on_with_this_one(
    engines: Engines, folder: Path, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    out, collection, plan = tmp_path / "results.csv", Collection((str(folder),), 3), engines.plan
    run(plan, collection, to(out), RUN_OPTIONS, engines.start)
    before = out.read_bytes()
    of_plan = {name: value for name, value in changed.items() if hasattr(plan, name)}
    of_collection = {name: value for name, value in changed.items() if hasattr(collection, name)}
    output = to(out, changed.get("form"))
    with pytest.raises(JobError, match=f"is of a job that differs in {told}"):
        run(replace(plan, **of_plan), replace(collection, **of_collection), output, RUN_OPTIONS, engines.start)
    assert out.read_bytes() == before


def test_restart_begins_anew(folder: Path, plan: Plan, engines: Engines, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    run(plan, Collection((str(folder),), 3), to(out), RUN_OPTIONS, engines.start)
    restart = replace(RUN_OPTIONS, restart=True)
    engines.plan = replace(plan, top_k=1)
    run(engines.plan, Collection((str(folder),), 4), to(out), restart, engines.start)
    assert numbers(out) == [f"{number:03}" for number in range(4) for _ in range(2)]


def test_what_failed_is_looked_at_once_more_if_that_is_asked_for(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    picture, out = tmp_path / "scans" / "a.png", tmp_path / "results.csv"
    picture.parent.mkdir()
    picture.write_bytes(b"not yet")
    collection = Collection((str(picture.parent),), None)
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 1
    noise(40, 40).save(picture)
    assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 1
    assert run(plan, collection, to(out), replace(RUN_OPTIONS, retry_errors=True), engines.start) == 0
    assert numbers(out) == ["a"] * 6
    assert not (tmp_path / "results.csv.errors.csv").exists()


def test_pictures_that_came_later_are_not_of_the_job(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "results.csv"
    scans.mkdir()
    for name in "ab":
        noise(40, 40).save(scans / f"{name}.png")
    engines.most = 0
    with pytest.raises(Killed):
        run(plan, Collection((str(scans),), None), to(out), RUN_OPTIONS, engines.start)
    noise(40, 40).save(scans / "c.png")
    engines.most = None
    run(plan, Collection((str(scans),), None), to(out), RUN_OPTIONS, engines.start)
    assert set(numbers(out)) == {"a", "b"}


def test_model_that_runs_in_another_way_does_not_go_on(
    folder: Path, plan: Plan, engines: Engines, tmp_path: Path
) -> None:
    collection, output = Collection((str(folder),), None), to(tmp_path / "results.csv")
    engines.most = 20
    with pytest.raises(Killed):
        run(plan, collection, output, RUN_OPTIONS, engines.start)

    def start(files: ModelFiles, lists: Lists) -> tuple[Engine, ModelDescription]:
        engine, model = engines.start(files, lists)
        return engine, replace(model, precision="bfloat16")

    with pytest.raises(JobError, match="differs in precision"):
        run(plan, collection, output, RUN_OPTIONS, start)


@pytest.mark.parametrize("sources", [("empty",), ("empty", "none.jpg")])
def test_sources_without_a_picture(plan: Plan, engines: Engines, tmp_path: Path, sources: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    collection = Collection(tuple(str(tmp_path / source) for source in sources), None)
    with pytest.raises(JobError, match=r"There is no "):
        run(plan, collection, to(tmp_path / "results.csv"), RUN_OPTIONS, engines.start)
    # Who corrects what was wrong need not say --restart.
    (tmp_path / "a.jpg").write_bytes(encoded(noise(20, 20), "JPEG"))
    corrected = Collection((str(tmp_path / "a.jpg"),), None)
    assert run(plan, corrected, to(tmp_path / "results.csv"), RUN_OPTIONS, engines.start) == 0


def test_unknown_list_is_told_before_anything_is_begun(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    unknown, output = replace(plan, list_names=("surfces",)), to(tmp_path / "a.csv")
    with pytest.raises(UnknownList):
        run(unknown, Collection(("x",), None), output, RUN_OPTIONS, engines.start)
    assert list(tmp_path.iterdir()) == []


def _canvas(address: str, number: int, body: dict[str, object]) -> dict[str, object]:
    own = f"http://{address}/canvas/{number}"
    annotation = {"id": f"{own}/a", "type": "Annotation", "motivation": "painting", "target": own, "body": body}
    page = {"id": f"{own}/p", "type": "AnnotationPage", "items": [annotation]}
    return {"id": own, "type": "Canvas", "height": 40, "width": 40, "items": [page]}


def _served(address: Callable[[], str]) -> dict[str, Answer]:
    """Return a host that has a collection of one manifest of three canvases, and pictures."""
    picture = encoded(noise(300, 300), "JPEG")

    def document(make: Callable[[str], dict[str, object]]) -> Answer:
        return lambda connection: connection.sendall(http(json.dumps(make(address())).encode()))

    presentation, image = ("http://iiif.io/api/presentation/3/context.json", "http://iiif.io/api/image/3/context.json")
    return {
        "/collection": document(
            lambda at: {
                "@context": presentation,
                "id": f"http://{at}/collection",
                "type": "Collection",
                "items": [{"id": f"http://{at}/manifest", "type": "Manifest"}],
            }
        ),
        "/manifest": document(
            lambda at: {
                "@context": presentation,
                "id": f"http://{at}/manifest",
                "type": "Manifest",
                "items": [
                    _canvas(at, 1, {"id": f"http://{at}/plain.jpg", "type": "Image"}),
                    _canvas(at, 2, {"type": "Image", "service": [{"id": f"http://{at}/x", "type": "ImageService3"}]}),
                    _canvas(at, 3, {"type": "Sound"}),
                ],
            }
        ),
        "/x/info.json": document(
            lambda at: {
                "@context": image,
                "id": f"http://{at}/x",
                "type": "ImageService3",
                "profile": "level0",
                "protocol": "http://iiif.io/api/image",
                "width": 3000,
                "height": 3000,
                "sizes": [{"width": 300, "height": 300}],
            }
        ),
        "/x/full/300,300/0/default.jpg": http(picture),
        "/plain.jpg": http(picture),
        "/none.jpg": http(b"", status="404 Gone"),
    }


def test_table_of_urls_and_iiif_collection(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    place: list[str] = []
    with Origin(_served(lambda: place[0])) as origin:
        place.append(origin.address)
        table = tmp_path / "objects.csv"
        table.write_text(
            f"object_number,url\n1999.7,http://{origin.address}/plain.jpg\n1999.8,http://{origin.address}/none.jpg\n"
            f"2000.1,http://{origin.address}/x/info.json\n"
        )
        collection = Collection((str(table), f"http://{origin.address}/collection"), None)
        out = tmp_path / "results.jsonl"
        assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 2
        base = f"http://{origin.address}"
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["object_number"] for line in lines] == [
        *("1999.7", "1999.8", "2000.1", f"{base}/canvas/1", f"{base}/canvas/2", f"{base}/canvas/3")
    ]
    assert [line["error"]["code"] if "error" in line else None for line in lines] == [
        *(None, "image_fetch_failed", None, None, None, "image_fetch_failed")
    ]
    good = [line for line in lines if "error" not in line]
    assert len({json.dumps(line["lists"]) for line in good}) == 1
    assert [line["image"]["manifest"] for line in good] == [None, None, f"{base}/manifest", f"{base}/manifest"]
    assert [line["image"]["width"] for line in good] == [300] * 4


def test_urls_of_a_table_are_fetched_as_browsers_do(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    picture = http(encoded(noise(40, 40), "JPEG"))
    paths = ("/bilder/%C3%96l%20auf%20Holz/gr%C3%B6%C3%9Fe%201.png", "/bilder/%C3%96l.png")
    with Origin(StaticHost(dict.fromkeys(paths, picture))) as origin:
        base = f"http://{origin.address}/bilder"
        places = [f"{base}/Öl auf Holz/größe 1.png", f"{base}/%C3%96l%20auf%20Holz/gr%C3%B6%C3%9Fe%201.png"]
        places += [f"{base}/Öl.png", f"HTTP{base[4:]}/Öl.png ", f" {base}/Öl.png\N{NO-BREAK SPACE}"]
        table = tmp_path / "urls.csv"
        rows = (f"{number},{place}\n" for number, place in enumerate(places, start=1))
        table.write_text("".join(("object_number,url\n", *rows)), encoding="utf-8")
        out = tmp_path / "results.csv"
        assert run(plan, Collection((str(table),), None), to(out), RUN_OPTIONS, engines.start) == 0
    assert sorted(set(numbers(out))) == ["1", "2", "3", "4", "5"]


def test_manifest_that_was_away_is_read_once_more(plan: Plan, engines: Engines, tmp_path: Path) -> None:
    place: list[str] = []
    answers = StaticHost(_served(lambda: place[0]))
    manifest = answers.pop("/manifest")
    answers["/manifest"] = http(b"", status="404 Away")
    with Origin(answers) as origin:
        place.append(origin.address)
        collection, out = Collection((f"http://{origin.address}/collection",), None), tmp_path / "results.csv"
        assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 1
        again = replace(RUN_OPTIONS, retry_errors=True)
        assert run(plan, collection, to(out), again, engines.start) == 1
        answers["/manifest"] = manifest
        assert run(plan, collection, to(out), again, engines.start) == 1  # its third canvas has no picture
        assert sorted(set(numbers(out))) == [f"http://{origin.address}/canvas/{number}" for number in (1, 2)]
        asked = len(origin.requests)
        assert run(plan, collection, to(out), RUN_OPTIONS, engines.start) == 1
        assert len(origin.requests) == asked
