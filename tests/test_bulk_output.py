"""What a job has found is written whole, in the order of the items, and reads back as it was found."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from service.bulk.items import Answer, Failure, Item, Outcome
from service.bulk.output import FORMS, Findings, write_errors, write_output, write_warnings
from service.bulk.rankings import RankingPacker
from service.documents.finding import Provenance
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.ranking import Prediction
from tests.conftest import REPOSITORY
from tests.support.rankings import rank_list

MODEL = {"id": "demo", "revision": "1", "backend": "openvino", "precision": "float32", "demo": True}
PROVENANCE = Provenance("demo", "1", "0.1.0", "http://127.0.0.1:8000", datetime(2026, 1, 31, tzinfo=UTC))
FILE = Item("=1+1", "file", "/scans/=1+1.jpg")
CANVAS = Item("http://a/c", "service", "http://a/iiif/x", "http://a/c", "http://a/m")
BROKEN = Item("7", "url", "http://a/7.jpg")
FAILURE = Failure("image_fetch_failed", "The image could not be fetched from its host.")


@pytest.fixture
def expected(classifier: ZeroShotClassifier) -> dict[str, tuple[Prediction, ...]]:
    """The ranking of each of two lists."""
    features = _features(classifier)
    return {one.phrase_list.name: rank_list(classifier, features, one, 4) for one in _lists(classifier)}


@pytest.fixture
def findings(classifier: ZeroShotClassifier) -> Findings:
    """Two pictures that were answered, and one that failed between them."""
    packed = RankingPacker(classifier, _lists(classifier), 4, 0.0).pack(_features(classifier))
    answer = Answer("ab" * 32, "JPEG", 640, 480, packed)
    outcomes: list[tuple[Item, Outcome]] = [(FILE, answer), (BROKEN, FAILURE), (CANVAS, answer)]
    return Findings(lambda: iter(outcomes), [one.phrase_list for one in _lists(classifier)], PROVENANCE, MODEL)


def _lists(classifier: ZeroShotClassifier) -> list[EncodedList]:
    return list(classifier.lists_named(["surfaces", "artists_by_name"]))


def _features(classifier: ZeroShotClassifier) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    features = np.random.default_rng(0).standard_normal(classifier.model.feature_size).astype(np.float32)
    return features / np.linalg.norm(features)


def written(tmp_path: Path, findings: Findings, ending: str, form: str) -> Path:
    path = tmp_path / f"results{ending}"
    write_output(path, FORMS[ending][form], findings)
    return path


def test_plain_csv(tmp_path: Path, findings: Findings, expected: dict[str, tuple[Prediction, ...]]) -> None:
    with written(tmp_path, findings, ".csv", "csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["object_number"] for row in rows] == ["'=1+1"] * 8 + ["http://a/c"] * 8
    for found in (rows[:8], rows[8:]):
        of_lists = [(name, one) for name, ranking in expected.items() for one in ranking]
        for row, (name, one) in zip(found, of_lists, strict=True):
            assert (row["list"], int(row["rank"]), row["label"], row["phrase"]) == (
                name,
                one.rank,
                one.label,
                one.phrase,
            )
            assert (float(row["probability"]), float(row["similarity"])) == (one.probability, one.similarity)
            assert (row["uri"] or None) == one.uri
            assert (row["model"], row["revision"], row["date"]) == ("demo", "1", "2026-01-31T00:00:00Z")


def test_json_lines_have_what_the_service_answers(
    tmp_path: Path, findings: Findings, expected: dict[str, tuple[Prediction, ...]], phrase_lists: dict[str, PhraseList]
) -> None:
    lines = written(tmp_path, findings, ".jsonl", "jsonl").read_text(encoding="utf-8").splitlines()
    first, failed, canvas = map(json.loads, lines)
    assert first["image"] == {
        "source": "file",
        "place": "/scans/=1+1.jpg",
        "canvas": None,
        "manifest": None,
        "sha256": "ab" * 32,
        "format": "JPEG",
        "width": 640,
        "height": 480,
    }
    for name, ranking in expected.items():
        of_list = first["lists"][name]
        assert of_list["predictions"] == [told(one) for one in ranking]
        assert (of_list["count"], of_list["hash"]) == (len(phrase_lists[name].labels), phrase_lists[name].hash)
    assert (first["model"], first["date"]) == (MODEL, "2026-01-31T00:00:00Z")
    assert (canvas["image"]["canvas"], canvas["image"]["manifest"]) == ("http://a/c", "http://a/m")
    assert failed["error"] == {"code": FAILURE.code, "detail": FAILURE.detail}
    assert "lists" not in failed


def told(one: Prediction) -> dict[str, Any]:
    """Return what is always told of a prediction."""
    return {name: value for name, value in vars(one).items() if value is not None or name == "uri"}


def test_parquet(tmp_path: Path, findings: Findings, expected: dict[str, tuple[Prediction, ...]]) -> None:
    rows = pq.read_table(written(tmp_path, findings, ".parquet", "parquet")).to_pylist()
    assert [row["object_number"] for row in rows] == ["=1+1"] * 8 + ["http://a/c"] * 8
    of_lists = [(name, one) for name, ranking in expected.items() for one in ranking] * 2
    for row, (name, one) in zip(rows, of_lists, strict=True):
        assert row["list"] == name
        assert {field: row[field] for field in told(one)} == told(one)
        assert row["date"] == PROVENANCE.created


def test_parquet_of_many_pictures_is_in_groups_of_rows(tmp_path: Path, findings: Findings) -> None:
    outcomes = [findings.outcomes()]
    first = next(outcomes[0])
    many = Findings(lambda: iter([first] * 9_000), findings.lists, PROVENANCE, MODEL)
    found = pq.ParquetFile(written(tmp_path, many, ".parquet", "parquet"))
    assert found.metadata.num_rows == 72_000
    assert [found.metadata.row_group(number).num_rows for number in range(2)] == [65_536, 6_464]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_collection_in_which_nothing_could_be_looked_at(tmp_path: Path, findings: Findings, ending: str) -> None:
    nothing = Findings(lambda: iter([(BROKEN, FAILURE)]), findings.lists, PROVENANCE, MODEL)
    path = written(tmp_path, nothing, ending, next(iter(FORMS[ending])))
    if ending == ".parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.read_text(encoding="utf-8").count("\n") == 1


def test_every_form_of_csv_is_written(tmp_path: Path, findings: Findings) -> None:
    for form in FORMS[".csv"]:
        text = written(tmp_path, findings, ".csv", form).read_text(encoding="utf-8")
        assert "http://a/c" in text
        assert FAILURE.detail not in text


def test_output_takes_its_name_when_it_is_whole(tmp_path: Path, findings: Findings) -> None:
    path = written(tmp_path, findings, ".csv", "csv")
    before = path.read_bytes()

    def stop(file: IO[bytes], _findings: Findings) -> None:
        file.write(b"half of i")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_output(path, stop, findings)
    assert path.read_bytes() == before


def test_what_a_person_should_know_is_written_beside_it_and_in_json_lines(tmp_path: Path, findings: Findings) -> None:
    outcomes = list(findings.outcomes())
    answer = outcomes[0][1]
    assert isinstance(answer, Answer)
    odd = replace(answer, decoded_at=(320, 240), warnings=("It is dark.", "=It is small."))
    warned = replace(findings, outcomes=lambda: iter([(FILE, odd), *outcomes[1:]]))
    path = tmp_path / "results.csv.warnings.csv"
    write_warnings(path, warned)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["object_number", "place", "canvas", "warning"],
            ["'=1+1", "/scans/=1+1.jpg", "", "It is dark."],
            ["'=1+1", "/scans/=1+1.jpg", "", "'=It is small."],
        ]
    first, *others = map(json.loads, written(tmp_path, warned, ".jsonl", "jsonl").read_text("utf-8").splitlines())
    assert first["image"]["decoded_at"] == {"width": 320, "height": 240}
    assert first["warnings"] == ["It is dark.", "=It is small."]
    assert not any("warnings" in other or "decoded_at" in other["image"] for other in others)
    write_warnings(path, findings)
    assert not path.exists()


@pytest.mark.parametrize("link", ["symbolic", "hard", "dangling"])
def test_link_where_the_unfinished_file_will_be_is_not_followed(tmp_path: Path, findings: Findings, link: str) -> None:
    others = tmp_path / "another's"
    if link != "dangling":
        others.write_bytes(b"not to be touched")
    for name in ("results.csv.unfinished", "results.csv.errors.csv.unfinished"):
        (tmp_path / name).hardlink_to(others) if link == "hard" else (tmp_path / name).symlink_to(others)
    path = written(tmp_path, findings, ".csv", "csv")
    write_errors(tmp_path / "results.csv.errors.csv", findings)
    assert others.exists() == (link != "dangling")
    if others.exists():
        assert others.read_bytes() == b"not to be touched"
    for made in (path, tmp_path / "results.csv.errors.csv"):
        assert not made.is_symlink()
        assert made.read_bytes().startswith(b"object_number")


def test_link_that_comes_back_at_once_is_not_followed(
    tmp_path: Path, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, unlink = tmp_path / "another's", Path.unlink

    def unlink_and_be_late(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        path.symlink_to(others)

    monkeypatch.setattr(Path, "unlink", unlink_and_be_late)
    with pytest.raises(FileExistsError):
        written(tmp_path, findings, ".csv", "csv")
    assert not others.exists()


def test_link_in_the_place_of_the_output_gives_way_to_it(tmp_path: Path, findings: Findings) -> None:
    others = tmp_path / "another's"
    others.write_bytes(b"not to be touched")
    (tmp_path / "results.csv").symlink_to(others)
    assert not written(tmp_path, findings, ".csv", "csv").is_symlink()
    assert others.read_bytes() == b"not to be touched"


def test_what_a_kill_has_left_is_no_part_of_the_output(tmp_path: Path, findings: Findings) -> None:
    (tmp_path / "results.csv.unfinished").write_bytes(b"x" * 1_000_000)
    assert written(tmp_path, findings, ".csv", "csv").stat().st_size < 100_000
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]


def test_it_is_on_the_disk_before_it_takes_its_name_and_then_its_name_is(
    tmp_path: Path, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str, int]] = []
    fsync, replace = os.fsync, Path.replace

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        flushed = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(("flush", flushed.name, 0 if flushed.is_dir() else flushed.stat().st_size))

    def rename(unfinished: Path, path: Path) -> Path:
        done.append(("rename", path.name, unfinished.stat().st_size))
        return replace(unfinished, path)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    size = written(tmp_path, findings, ".csv", "csv").stat().st_size
    assert done == [
        ("flush", "results.csv.unfinished", size),
        ("rename", "results.csv", size),
        ("flush", tmp_path.name, 0),
    ]


def test_errors_are_written_beside_it_and_go_when_there_are_none(tmp_path: Path, findings: Findings) -> None:
    path = tmp_path / "results.csv.errors.csv"
    write_errors(path, findings)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["object_number", "place", "canvas", "code", "detail"],
        ["7", "http://a/7.jpg", "", FAILURE.code, FAILURE.detail],
    ]
    write_errors(path, Findings(lambda: iter([]), findings.lists, PROVENANCE, MODEL))
    assert not path.exists()


def test_phrases_that_are_less_probable_are_left_out(classifier: ZeroShotClassifier, tmp_path: Path) -> None:
    features, lists = _features(classifier), _lists(classifier)
    least = rank_list(classifier, features, lists[0], 2)[1].probability
    packed = RankingPacker(classifier, lists[:1], 5, least).pack(features)
    outcomes: list[tuple[Item, Outcome]] = [(FILE, Answer("ab" * 32, "JPEG", 1, 1, packed))]
    findings = Findings(lambda: iter(outcomes), [lists[0].phrase_list], PROVENANCE, MODEL)
    [line] = written(tmp_path, findings, ".jsonl", "jsonl").read_text(encoding="utf-8").splitlines()
    assert [one["rank"] for one in json.loads(line)["lists"]["surfaces"]["predictions"]] == [1, 2]


def test_without_pyarrow_there_is_a_sentence() -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\nfrom service.bulk.output import require_pyarrow\nrequire_pyarrow()"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "Parquet needs pyarrow, which is not installed: pip install 'gaze[bulk]'" in ended.stderr
