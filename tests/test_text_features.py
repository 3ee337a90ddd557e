"""Text features on disk: equal to the last bit, mapped, made anew where anything is wrong with the file."""

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from structlog.testing import capture_logs

from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.cache import CacheFolder
from service.zero_shot.text_features import Progress, TextFeatureFiles, TextFeatures
from tests.conftest import REPOSITORY
from tests.support.hash_encoder import HashEncoder
from tests.support.mounts import on_a_disk

MODEL = HashEncoder().model
# Two that the tokenizer makes the same, and two that are too long.
PHRASES = (
    "hay",
    "Oats",
    "oats",
    "a phrase of more than twenty characters",
    "rye",
    "another phrase that is far too long",
)


class Encoding:
    """Encodes phrases, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0
        self.heard: list[tuple[int, int]] = []

    def __call__(self, phrases: Sequence[str], progress: Progress) -> TextFeatures:
        self.calls += 1
        return HashEncoder().encode_text(phrases, progress)

    def of(self, files: TextFeatureFiles, phrases: Sequence[str] = PHRASES, name: str = "crops") -> TextFeatures:
        return files.features_of(name, phrases, self, lambda *done: self.heard.append(done))


def files_in(folder: Path, model: ModelDescription = MODEL, fingerprint: str = "abc") -> TextFeatureFiles:
    return TextFeatureFiles(CacheFolder(folder), fingerprint, model)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("text-features/*/*.safetensors"))


def contents(file: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return a file's metadata and tensors; safetensors writes the metadata in any order."""
    with safe_open(file, framework="numpy") as opened:
        return opened.metadata(), {name: tensor.tobytes() for name, tensor in load_file(file).items()}


def assert_equal(found: TextFeatures, expected: TextFeatures) -> None:
    """Assert that features are equal to the last bit."""
    assert found.features.dtype == expected.features.dtype == np.float32
    assert found.features.shape == expected.features.shape
    assert found.features.tobytes() == expected.features.tobytes()
    assert found.row_of.dtype == np.dtype(np.intp)
    assert found.row_of.tolist() == expected.row_of.tolist()
    assert found.cut == expected.cut
    assert all(type(index) is int for index in found.cut)


def assert_mapped(array: NDArray[Any], file: Path) -> None:
    """Assert that an array's numbers are a file's own bytes, in memory that cannot be written to."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert base is not None
    assert Path(str(base.filename)) == file
    assert not array.flags.writeable


EXPECTED = HashEncoder().encode_text(PHRASES)


def test_features_are_encoded_once_and_read_from_then_on(tmp_path: Path) -> None:
    encoding = Encoding()
    with capture_logs() as logged:
        first = encoding.of(files_in(tmp_path))
    assert encoding.heard[-1] == (6, 6)
    assert [(line["event"], line["list"], line["phrases"]) for line in logged] == [
        ("text features encoded", "crops", 6)
    ]
    with capture_logs() as logged:
        second = encoding.of(files_in(tmp_path), name="another name")
    assert [(line["event"], line["list"]) for line in logged] == [("text features read", "another name")]
    assert encoding.calls == 1
    [file] = kept(tmp_path)
    for found in (first, second):
        assert_equal(found, EXPECTED)
        assert_mapped(found.features, file)
        assert_mapped(found.row_of, file)


@settings(deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(phrases=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=40))
def test_any_list_is_read_back_to_the_last_bit(tmp_path: Path, phrases: list[str]) -> None:
    encoding = Encoding()
    expected = HashEncoder().encode_text(phrases)
    assert_equal(encoding.of(files_in(tmp_path), phrases), expected)
    before = encoding.calls
    assert_equal(encoding.of(files_in(tmp_path), phrases), expected)
    assert encoding.calls == before <= 1


def test_numbers_that_no_encoder_should_give_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-38, np.finfo(np.float32).max]], dtype=np.float32)
    given_ = TextFeatures(odd, np.zeros(3, dtype=np.intp), (0, 2))
    for _ in range(2):
        found = files_in(tmp_path).features_of("odd", "abc", lambda *_: given_, lambda *_: None)
        assert_equal(found, given_)


def test_a_file_is_safetensors_that_anyone_can_read(tmp_path: Path) -> None:
    Encoding().of(files_in(tmp_path))
    [file] = kept(tmp_path)
    tensors = load_file(file)
    assert set(tensors) == {"features", "row_of", "cut"}
    assert tensors["features"].tobytes() == EXPECTED.features.tobytes()
    assert tensors["row_of"].tolist() == EXPECTED.row_of.tolist()
    assert tensors["cut"].tolist() == [3, 5]
    with safe_open(file, framework="numpy") as opened:
        assert set(opened.metadata()) == {"model", "phrases", "sha256"}


def test_folders_hold_nothing_but_features_and_locks(tmp_path: Path) -> None:
    Encoding().of(files_in(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"locks", "text-features"}
    [of_model] = (tmp_path / "text-features").iterdir()
    assert list(of_model.iterdir()) == kept(tmp_path)


@pytest.mark.parametrize(
    ("model", "fingerprint"),
    [
        (dataclasses.replace(MODEL, id="another"), "abc"),
        (dataclasses.replace(MODEL, revision="a commit"), "abc"),
        (dataclasses.replace(MODEL, precision="bfloat16"), "abc"),
        (dataclasses.replace(MODEL, backend="openvino"), "abc"),
        (dataclasses.replace(MODEL, device="cuda:0"), "abc"),
        (MODEL, "abcd"),
    ],
    ids=["model", "revision", "precision", "backend", "device", "files"],
)
def test_features_are_of_one_model_precision_and_backend(
    tmp_path: Path, model: ModelDescription, fingerprint: str
) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    encoding.of(files_in(tmp_path, model, fingerprint))
    assert encoding.calls == 2
    first, second = kept(tmp_path)
    # Where one lies in the place of the other it is not taken for it.
    own = {file: contents(file) for file in (first, second)}
    first.rename(tmp_path / "first")
    second.rename(first)
    (tmp_path / "first").rename(second)
    for files in (files_in(tmp_path), files_in(tmp_path, model, fingerprint)):
        with capture_logs() as logged:
            encoding.of(files)
        assert_told_and_made_anew(logged)
    assert encoding.calls == 4
    assert {file: contents(file) for file in (first, second)} == own


def test_what_features_do_not_depend_on_does_not_matter(tmp_path: Path) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    encoding.of(files_in(tmp_path, dataclasses.replace(MODEL, logit_scale=1.0, demo=True)))
    assert encoding.calls == 1


# Each pair would be the same text if its phrases were joined in one way or another.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab"], ["a", "b"]),
        (["a", "bc"], ["ab", "c"]),
        (["a", "b"], ["b", "a"]),
        (["a\nb"], ["a", "b"]),
        (["a\0b"], ["a", "b"]),
        (["a,b"], ["a", "b"]),
        (["a", ""], ["a"]),
        (["a", "a"], ["a"]),
        (["a"], ["A"]),
        (["é"], ["e\u0301"]),
        (["a", "b" + 7 * "\0" + "\1c"], ["a", "b", "c"]),
        (["a" + 7 * "\0" + "\1b"], ["a", "b"]),
        ([" a"], ["a"]),
    ],
)
def test_no_list_shares_a_file_with_another(tmp_path: Path, one: list[str], other: list[str]) -> None:
    encoding = Encoding()
    for phrases in (one, other, one, other):
        assert_equal(encoding.of(files_in(tmp_path), phrases), HashEncoder().encode_text(phrases))
    assert encoding.calls == 2
    assert len(kept(tmp_path)) == 2


def assert_told_and_made_anew(logged: Sequence[Any]) -> None:
    told = [(line["event"], line["log_level"]) for line in logged]
    assert told[0] == ("text features unusable", "warning")
    assert told[-1] == ("text features encoded", "info")
    assert logged[0]["reason"]
    assert logged[0]["file"].endswith(".safetensors")


def rewritten(file: Path, **changed: Any) -> None:
    """Write the file anew with another tensor, or with None for one that is left out; its metadata are kept."""
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    tensors = {**load_file(file), **changed}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, file, metadata)


def without_metadata(file: Path) -> None:
    save_file(load_file(file), file)


def of_other_phrases(file: Path) -> None:
    """Put the file of another list of the same length in its place."""
    others = file.with_name("others")
    Encoding().of(files_in(others), [f"{phrase}!" for phrase in PHRASES])
    [other] = kept(others)
    file.write_bytes(other.read_bytes())


def a_folder(file: Path) -> None:
    file.unlink()
    (file / "deep").mkdir(parents=True)
    (file / "deep" / "file").touch()


def a_dead_link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.with_name("nothing"))


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "another format": lambda file: file.write_text("hay, oats, rye"),
    "a header longer than the file": lambda file: file.write_bytes((2**62).to_bytes(8, "little") + b"{}"),
    "a header of 4 GB": lambda file: file.write_bytes((2**32).to_bytes(8, "little") + file.read_bytes()[8:]),
    "more behind it": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "another list's": of_other_phrases,
    "no metadata": without_metadata,
    "no rows": lambda file: rewritten(file, row_of=None),
    "no cut": lambda file: rewritten(file, cut=None),
    "features of 16 bits": lambda file: rewritten(file, features=EXPECTED.features.astype(np.float16)),
    "rows of 32 bits": lambda file: rewritten(file, row_of=EXPECTED.row_of.astype(np.int32)),
    "other rows": lambda file: rewritten(file, row_of=EXPECTED.row_of[::-1].copy()),
    "other phrases cut": lambda file: rewritten(file, cut=np.array([4, 5])),
    "a row too few": lambda file: rewritten(file, features=EXPECTED.features[:-1].copy()),
    "a folder": a_folder,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_is_broken_is_told_and_made_anew(tmp_path: Path, broken: str) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    [file] = kept(tmp_path)
    whole = contents(file)
    BROKEN[broken](file)
    with capture_logs() as logged:
        assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
    assert_told_and_made_anew(logged)
    assert encoding.calls == 2
    assert contents(file) == whole
    assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
    assert encoding.calls == 2


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    [file] = kept(tmp_path)
    a_dead_link(file)
    assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
    assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
    assert encoding.calls == 2
    assert not file.is_symlink()


def test_a_file_cut_short_anywhere_is_told_and_made_anew(tmp_path: Path) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    [file] = kept(tmp_path)
    whole, expected = file.read_bytes(), contents(file)
    for length in [*range(0, len(whole), 29), *range(len(whole) - 9, len(whole))]:
        file.write_bytes(whole[:length])
        with capture_logs() as logged:
            assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
        assert_told_and_made_anew(logged)
        assert contents(file) == expected, length


@pytest.mark.parametrize(("flipped", "step"), [(0x01, 1), (0x20, 7), (0xFF, 11)])
def test_a_byte_that_changed_anywhere_changes_no_feature(tmp_path: Path, flipped: int, step: int) -> None:
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    [file] = kept(tmp_path)
    whole, expected = file.read_bytes(), contents(file)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, len(whole), step):
        changed = bytearray(whole)
        changed[place] ^= flipped
        file.write_bytes(changed)
        before = encoding.calls
        with capture_logs() as logged:
            assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
        # A blank of the header may be another kind of blank, and nothing is wrong with the file then.
        if place >= header or encoding.calls > before:
            assert_told_and_made_anew(logged)
            assert contents(file) == expected, place


@pytest.mark.parametrize("place", ["/proc/gaze", "/dev/null/gaze"])
def test_where_nothing_can_be_kept_there_are_features_all_the_same(place: str) -> None:
    encoding = Encoding()
    for _ in range(2):
        with capture_logs() as logged:
            assert_equal(encoding.of(files_in(Path(place))), EXPECTED)
        assert [line["event"] for line in logged] == ["the cache cannot be written to", "text features encoded"]
    assert encoding.calls == 2


ON_A_DISK = """
import sys
from pathlib import Path
import numpy as np
from structlog.testing import capture_logs
from service.zero_shot.cache import CacheFolder
from service.zero_shot.text_features import TextFeatures
from service.zero_shot.text_features import TextFeatureFiles
from tests.support.hash_encoder import HashEncoder

cache = CacheFolder(Path(sys.argv[1]))
phrases = [str(number) for number in range(int(sys.argv[2]))]
encoded = TextFeatures(np.full((len(phrases), 8), 0.25, np.float32), np.arange(len(phrases)), ())
files = TextFeatureFiles(cache, "abc", HashEncoder().model)
with capture_logs() as logged:
    found = files.features_of("numbers", phrases, lambda *_: encoded, lambda *_: None)
print((found.features == encoded.features).all(), found.features.shape == encoded.features.shape)
print([line["event"] for line in logged])
print(len([path for path in Path(sys.argv[1]).rglob("*") if path.is_file() and "locks" not in path.parts]))
"""
UNWRITABLE = ["text features encoded", "the cache cannot be written to"]


@pytest.mark.parametrize(
    ("options", "phrases", "events", "files"),
    [
        ("size=256k", 20_000, UNWRITABLE, 0),
        ("ro,size=256k", 20, UNWRITABLE[::-1], 0),
        ("size=256k", 20, UNWRITABLE[:1], 1),
    ],
    ids=["full", "read-only", "room enough"],
)
def test_full_or_read_only_disk(tmp_path: Path, options: str, phrases: int, events: list[str], files: int) -> None:
    said = on_a_disk(tmp_path, options, sys.executable, "-c", ON_A_DISK, str(tmp_path), str(phrases))
    assert said == ["True True", str(events), str(files)]


def test_read_only_disk_that_has_them(tmp_path: Path) -> None:
    script = f'"$0" -c "$1" "$2" 20 && mount -o remount,ro "$2" && "$0" -c "$1" "$2" 20; {sys.executable} -V'
    said = on_a_disk(tmp_path, "size=256k", "sh", "-c", script, sys.executable, ON_A_DISK, str(tmp_path))
    assert said[:6] == [
        *("True True", str(["text features encoded"]), "1"),
        *("True True", str(["text features read"]), "1"),
    ]


ENCODES = """
import os, sys
from pathlib import Path
from service.logs import configure_logs
from service.zero_shot.cache import CacheFolder
from service.zero_shot.text_features import TextFeatureFiles
from tests.support.hash_encoder import HashEncoder

configure_logs(sys.stderr)

def encode(phrases, progress):
    print("encodes", flush=True)
    sys.stdin.readline()
    return HashEncoder().encode_text(phrases)

files = TextFeatureFiles(CacheFolder(Path(sys.argv[1])), "abc", HashEncoder().model)
found = files.features_of("crops", sys.argv[2:], encode, lambda *_: None, lambda: print("waits", flush=True))
print(found.features.tobytes().hex(), found.row_of.tolist(), found.cut, flush=True)
sys.stdin.readline()
"""


def started(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", ENCODES, str(folder), *PHRASES]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    print(file=process.stdin, flush=True)


def test_of_two_processes_started_together_one_encodes_and_both_share_the_memory(tmp_path: Path) -> None:
    with started(tmp_path) as first, started(tmp_path) as second:
        try:
            said = {process: line(process) for process in (first, second)}
            assert sorted(said.values()) == ["encodes", "waits"]
            [encoding] = [process for process in said if said[process] == "encodes"]
            go_on(encoding)
            expected = f"{EXPECTED.features.tobytes().hex()} {EXPECTED.row_of.tolist()} {EXPECTED.cut}"
            assert [line(first), line(second)] == [expected, expected]
            [file] = kept(tmp_path)
            for process in (first, second):
                resident, proportional = _mapped_kilobytes(process.pid, file)
                assert 0 < proportional < resident
        finally:
            first.kill()
            second.kill()


def _mapped_kilobytes(pid: int, file: Path) -> tuple[int, int]:
    """Return what a process has of a mapped file in memory, and its share of that (proc(5), Rss and Pss)."""
    lines = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines()
    [start] = [index for index, text in enumerate(lines) if text.endswith(str(file))]
    fields = dict(text.split(":", 1) for text in lines[start + 1 : start + 20])
    return int(fields["Rss"].split()[0]), int(fields["Pss"].split()[0])


def test_who_waited_for_one_that_was_killed_encodes(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        assert line(first) == "encodes"
        with started(tmp_path) as second:
            try:
                assert line(second) == "waits"
                first.kill()
                assert line(second) == "encodes"
                go_on(second)
                assert line(second).startswith(EXPECTED.features.tobytes().hex())
            finally:
                first.kill()
                second.kill()
    assert len(kept(tmp_path)) == 1


def test_threads_of_one_process_encode_once_too(tmp_path: Path) -> None:
    encoding = Encoding()
    files = files_in(tmp_path)
    found: list[TextFeatures] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait(20)
        found.append(encoding.of(files))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert encoding.calls == 1
    assert len(found) == 4
    for each in found:
        assert_equal(each, EXPECTED)


def test_what_encoding_raises_is_raised_and_nothing_is_kept(tmp_path: Path) -> None:
    def fail(_phrases: Sequence[str], _progress: Progress) -> TextFeatures:
        raise MemoryError

    with pytest.raises(MemoryError):
        files_in(tmp_path).features_of("crops", PHRASES, fail, lambda *_: None)
    assert kept(tmp_path) == []
    assert_equal(Encoding().of(files_in(tmp_path)), EXPECTED)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    encoding = Encoding()
    encoding.of(files_in(tmp_path))
    [file] = kept(tmp_path)
    file.chmod(0)
    with capture_logs() as logged:
        assert_equal(encoding.of(files_in(tmp_path)), EXPECTED)
    assert_told_and_made_anew(logged)
