"""A folder of pictures with object numbers -> gaze bulk -> what a catalogue imports -> read back: the same predictions.

The predictions that it must have are those of the service, asked for each picture by HTTP.
"""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CACHE, noise
from tests.support.gaze_command import gaze
from tests.support.gaze_requests import by_base64
from tests.support.import_readers import Prediction, Record, collectionspace, collectiveaccess, omeka_s, resourcespace

NUMBERS = ("1937.1.84", "inv 12, b", "=3+4", "Ω-7", "\N{SNOWMAN}")
LISTS = ("movements", "surfaces", "artists_by_name")
DATE = "2026-01-31T00:00:00Z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for seed, number in enumerate(NUMBERS):
        noise(320, 240, seed=seed).save(folder / f"{number}.png")
    return folder


def of_the_service(server: str, picture: Path) -> list[Prediction]:
    """Return what the service answers for a picture, as a note tells it."""
    asked = json.dumps({"image": by_base64(picture.read_bytes()), "lists": LISTS, "top_k": 4}).encode()
    request = urllib.request.Request(f"{server}/v1/gaze", asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    model, [result] = answer["model"], answer["results"]
    return [
        {
            "list": name,
            **{key: str(value) for key, value in each.items() if value is not None},
            "model": model["id"],
            "revision": model["revision"],
            "date": DATE,
            "list_hash": ranked["hash"],
            "candidates": str(ranked["count"]),
        }
        for name, ranked in result["lists"].items()
        for each in ranked["predictions"]
    ]


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("csv-omeka-s", omeka_s),
        ("csv-collectionspace", collectionspace),
        ("csv-resourcespace", resourcespace),
        ("csv-collectiveaccess", collectiveaccess),
    ],
)
def test_what_is_imported_is_what_the_service_answers(
    server: str, folder: Path, tmp_path: Path, form: str, read: Callable[[str], list[Record]]
) -> None:
    out = tmp_path / "suggestions.csv"
    options: list[Any] = ["--lists", ",".join(LISTS), "--top-k", "4", "--out", out, "--format", form, "--date", DATE]
    ended = gaze("bulk", folder, *options, "--quiet", GAZE_MODEL="demo", GAZE_CACHE_DIR=str(CACHE))
    assert (ended.returncode, ended.stderr) == (0, "")
    records = read(out.read_bytes().decode())
    assert sorted(record.identifier for record in records) == sorted(NUMBERS)
    for record in records:
        assert record.predictions == of_the_service(server, folder / f"{record.identifier}.png")
