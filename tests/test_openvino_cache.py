"""Converted models in the cache: whole ones are read as they were written, and none that is not whole is used."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.errors import InvalidSettings
from service.zero_shot import model_files
from service.zero_shot.backends import openvino_cache as converted_module
from service.zero_shot.backends.openvino_cache import (
    CachedModel,
    Unconvertible,
    entry_of,
    read_cached,
    write_cached,
    write_unconvertible,
)
from service.zero_shot.backends.openvino_export import ExportedModel, export, save
from service.zero_shot.backends.torch_backend import load_torch
from service.zero_shot.cache import CacheFolder
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.model_files import ModelFiles, fingerprint
from service.zero_shot.preprocessing.preparation import Preparation
from tests.support import tiny_models
from tests.support.tiny_models import load_ours

ENTRY = "converted/entry"
FILES = (
    "image_tower.bin",
    "image_tower.xml",
    "model.json",
    "sample_features.npy",
    "text_tower.bin",
    "text_tower.xml",
    "tokenizer.json",
)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def written(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one converted model."""
    cache = tmp_path_factory.mktemp("cache")
    load_ours(clip_folder, cache, backend="openvino")
    [entry] = (cache / "converted").iterdir()
    assert tuple(sorted(file.name for file in entry.iterdir())) == FILES
    return cache


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """A cache of a test's own with the converted model in it."""
    return Path(shutil.copytree(written, tmp_path / "cache"))


def entry_in(cache: Path) -> Path:
    [entry] = (cache / "converted").iterdir()
    return entry


def read(cache: Path) -> tuple[CachedModel | Unconvertible | None, list[dict[str, Any]]]:
    """Read the one entry of a cache; return what is found, and what is said of it in the log."""
    with capture_logs() as logs:
        found = read_cached(CacheFolder(cache), f"converted/{entry_in(cache).name}")
    return found, [dict(line) for line in logs]


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip 2, fixed size"])
def test_what_is_written_is_read(tmp_path: Path, family: str) -> None:
    folder = tiny_models.FAMILIES[family](tmp_path / "model")
    exported = export(load_torch(model_files.locate(str(folder), None), "cpu", "float32", 1), 1)
    assert isinstance(exported, ExportedModel)
    converted = exported.loaded
    (tmp_path / "cache" / "converted").mkdir(parents=True)
    save(exported, tmp_path / "cache" / ENTRY)
    found = read_cached(CacheFolder(tmp_path / "cache"), ENTRY)
    assert isinstance(converted.preprocess, Preparation)
    has_file = family != "siglip"
    assert found == CachedModel(
        converted.description, converted.preprocess, converted.tokenizer.padding, has_tokenizer_file=has_file
    )
    assert (tmp_path / "cache" / ENTRY / "tokenizer.json").exists() == has_file
    assert (found.padding is None) == (family == "clip")


def test_entry_that_is_not_there_is_no_news(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert read_cached(CacheFolder(tmp_path), ENTRY) is None
    assert logs == []


def removed(file: Path) -> None:
    file.unlink()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def longer(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b" {")


def changed_at(share: float) -> Callable[[Path], None]:
    """Return what changes one bit of a file at a share of its length."""

    def change(file: Path) -> None:
        contents = bytearray(file.read_bytes())
        contents[int(share * (len(contents) - 1))] ^= 1
        file.write_bytes(contents)

    return change


def made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: list[Callable[[Path], None]] = [
    removed,
    emptied,
    cut_short,
    longer,
    *[changed_at(share) for share in (0, 0.35, 0.5, 1)],
    made_a_folder,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_entry_that_is_not_whole_is_not_used(copied: Path, file: str, damage: Callable[[Path], None]) -> None:
    damage(entry_in(copied) / file)
    found, logs = read(copied)
    assert found is None
    if (file, damage) == ("model.json", removed):
        assert logs == []  # no entry at all
        return
    [line] = logs
    assert (line["event"], line["log_level"]) == ("converted model unusable", "warning")
    assert line["folder"] == entry_in(copied).name
    assert line["reason"]


def test_no_changed_bit_of_what_is_known_goes_unnoticed(copied: Path) -> None:
    sound, _ = read(copied)
    file = entry_in(copied) / "model.json"
    contents = file.read_bytes()
    for place in range(len(contents)):
        file.write_bytes(contents[:place] + bytes([contents[place] ^ 1]) + contents[place + 1 :])
        assert read(copied)[0] in (None, sound), contents[place - 20 : place + 1]


@pytest.mark.parametrize("contents", ["", "{", "[]", "null", "7", '"unsuitable"', "{}", '{"checksums": {}}', "\ud800"])
def test_what_is_known_of_a_model_may_be_anything(copied: Path, contents: str) -> None:
    (entry_in(copied) / "model.json").write_bytes(contents.encode(errors="surrogatepass"))
    found, [line] = read(copied)
    assert found is None
    assert line["event"] == "converted model unusable"


@pytest.mark.parametrize("left_out", ["description", "preparation", "padding", "has_tokenizer_file", "checksums"])
def test_entry_of_another_version_is_not_used(copied: Path, left_out: str) -> None:
    # Whole as far as its checksum goes.
    folder = entry_in(copied)
    contents = json.loads((folder / "model.json").read_text())
    del contents["checksum"], contents[left_out]
    converted_module._write_contents(folder, contents)
    found, [line] = read(copied)
    assert found is None
    assert left_out in line["reason"]


@pytest.mark.parametrize("place", ["description", "preparation", "padding"])
def test_entry_with_more_than_this_version_knows_is_not_used(copied: Path, place: str) -> None:
    folder = entry_in(copied)
    contents = json.loads((folder / "model.json").read_text())
    del contents["checksum"]
    contents[place] = {**(contents[place] or {}), "colour": 1}
    converted_module._write_contents(folder, contents)
    found, [line] = read(copied)
    assert found is None
    assert "colour" in line["reason"]


@pytest.mark.parametrize("damage", [removed, cut_short, changed_at(0.5)])
@pytest.mark.parametrize("file", ["text_tower.bin", "model.json", "tokenizer.json"])
def test_model_whose_entry_is_not_whole_is_converted_anew(
    clip_folder: Path, copied: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(entry_in(copied) / file)
    with capture_logs() as logs:
        loaded = load_ours(clip_folder, copied, backend="openvino")
    assert [line["event"] for line in logs][-1] == "model converted"
    sound, logs_of_entry = read(copied)
    assert isinstance(sound, CachedModel)
    assert logs_of_entry == []
    assert tuple(sorted(file.name for file in entry_in(copied).iterdir())) == FILES
    expected = ClipEncoder(load_ours(clip_folder, copied, backend="torch")).encode_text(["stone"]).features
    np.testing.assert_allclose(ClipEncoder(loaded).encode_text(["stone"]).features, expected, atol=1e-6)


def rewritten(cache: Path, change: Callable[[Path], None]) -> None:
    """Let `change` change the files of an entry, and make its checksums right again."""
    known, _ = read(cache)
    assert isinstance(known, CachedModel)
    (entry_in(cache) / "model.json").unlink()
    change(entry_in(cache))
    write_cached(entry_in(cache), known)


def with_features_of_another_machine(share: float) -> Callable[[Path], None]:
    """Return what turns the last sample's features by a share of the way to others."""

    def change(folder: Path) -> None:
        features = np.load(folder / "sample_features.npy")
        features[-1] += share * features[0]
        features[-1] /= np.linalg.norm(features[-1])
        np.save(folder / "sample_features.npy", features)

    return change


def with_features_that_are_no_numbers(folder: Path) -> None:
    features = np.load(folder / "sample_features.npy")
    features[0, 0] = np.nan
    np.save(folder / "sample_features.npy", features)


def with_a_tower_of_another_make(folder: Path) -> None:
    contents = (folder / "text_tower.xml").read_text(encoding="utf-8")
    assert 'type="Gather"' in contents
    (folder / "text_tower.xml").write_text(contents.replace('type="Gather"', 'type="Later"'), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_features_of_another_machine(0.01), "its features differ on this machine (cosine 0.9999"),
        (with_features_that_are_no_numbers, "its features differ on this machine (cosine nan)"),
        (with_a_tower_of_another_make, "it cannot be run (RuntimeError)"),
    ],
)
def test_model_that_does_not_run_here_as_where_it_was_converted_is_left_to_torch(
    clip_folder: Path, copied: Path, change: Callable[[Path], None], reason: str
) -> None:
    rewritten(copied, change)
    with capture_logs() as logs:
        loaded = load_ours(clip_folder, copied)
    assert loaded.description.backend == "torch"
    [line] = logs
    assert line["event"] == "torch runs the model"
    assert line["reason"].startswith(reason)
    # It stays in the cache for machines on which it is right.
    assert isinstance(read(copied)[0], CachedModel)
    with pytest.raises(InvalidSettings, match="GAZE_BACKEND is openvino, which cannot run model") as told:
        load_ours(clip_folder, copied, backend="openvino")
    assert "\n" not in str(told.value)


def test_comparison_that_is_not_asked_for_is_left_out(clip_folder: Path, copied: Path) -> None:
    rewritten(copied, with_features_of_another_machine(0.5))
    assert load_ours(clip_folder, copied, compare=False).description.backend == "openvino"


def test_model_that_was_only_rewritten_runs_here(clip_folder: Path, copied: Path) -> None:
    rewritten(copied, with_features_of_another_machine(1e-5))
    assert load_ours(clip_folder, copied).description.backend == "openvino"


def test_verdict_is_read_as_it_was_written(tmp_path: Path) -> None:
    verdict = Unconvertible("its features would differ (cosine 0.9) – „so“")
    cache = CacheFolder(tmp_path)
    cache.write(ENTRY, lambda folder: write_unconvertible(folder, verdict))
    assert read_cached(cache, ENTRY) == verdict
    file = tmp_path / ENTRY / "model.json"
    file.write_text(file.read_text(encoding="utf-8").replace("0.9", "0.8"), encoding="utf-8")
    assert read_cached(cache, ENTRY) is None


PLAIN = ModelFiles(Path("model"), "museum/clip", "1" * 40)


@pytest.mark.parametrize(
    ("files", "contents", "same"),
    [
        (replace(PLAIN, directory=Path("elsewhere")), "a", True),
        (replace(PLAIN, model_id="museum/other"), "a", False),
        (replace(PLAIN, revision="2" * 40), "a", False),
        (replace(PLAIN, revision=None), "a", False),
        (PLAIN, "b", False),
    ],
)
def test_entry_is_of_a_models_contents(files: ModelFiles, contents: str, *, same: bool) -> None:
    assert (entry_of(files, contents) == entry_of(PLAIN, "a")) == same


@pytest.mark.parametrize("package", ["openvino", "torch", "transformers"])
def test_entry_is_of_the_versions_that_made_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    before = entry_of(PLAIN, "a")
    monkeypatch.setattr(
        "service.zero_shot.backends.openvino_cache.version", lambda name: "0" if name == package else version(name)
    )
    assert entry_of(PLAIN, "a") != before


@pytest.mark.parametrize("file", ["tokenizer_config.json", "preprocessor_config.json", "config.json", "merges.txt"])
def test_entry_changes_with_each_file_of_a_model(clip_folder: Path, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    files = model_files.locate(str(folder), None)
    before = entry_of(files, fingerprint(files))
    with (folder / file).open("a") as stream:
        stream.write("\n")
    assert entry_of(files, fingerprint(files)) != before


def test_entry_changes_with_the_weights_of_a_directory(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    before = model_files.locate(str(folder), None)
    tiny_models.change_weights(folder, lambda weights: weights["logit_scale"].fill_(1))
    after = model_files.locate(str(folder), None)
    assert fingerprint(before) == fingerprint(after)
    assert entry_of(before, fingerprint(before)) != entry_of(after, fingerprint(after))
