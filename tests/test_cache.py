"""CacheFolder: entries are whole or not there, one process makes one, and a disk that does not help is no error."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.zero_shot.cache import CacheFolder, digest_of
from tests.conftest import REPOSITORY
from tests.support.mounts import on_a_disk

HELD = """
import sys, time
from pathlib import Path
from service.zero_shot.cache import CacheFolder

cache = CacheFolder(Path(sys.argv[1]))

def half(path):
    if sys.argv[2] == "folder":
        path.mkdir()
        (path / "first").write_bytes(b"whole")
        path = path / "second"
    path.write_bytes(b"ha")
    print("half", flush=True)
    time.sleep(600)

with cache.lock("kind/entry", waiting=lambda: print("waiting", flush=True)):
    print("locked", flush=True)
    if sys.argv[2] == "lock":
        sys.stdin.readline()
    else:
        cache.write("kind/entry", half)
print("released", flush=True)
"""


@contextmanager
def process(folder: Path, what: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a process that takes the lock of an entry and then waits, or stops in the middle of a file or folder."""
    command = [sys.executable, "-c", HELD, str(folder), what]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) as started:  # type: ignore[call-overload]
        try:
            yield started
        finally:
            started.kill()


def said(running: "subprocess.Popen[str]") -> str:
    assert running.stdout
    return running.stdout.readline().strip()


def text(contents: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(contents)


def folder_of(**contents: str) -> Callable[[Path], object]:
    def fill(path: Path) -> None:
        for name, each in contents.items():
            file = path / "deep" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(each)

    return fill


def there(folder: Path) -> set[str]:
    """Return the files of a cache, without its locks."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and "locks" not in file.parts}


def test_a_file_and_a_folder_are_written_under_their_names(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "made" / "anew")
    assert cache.write("texts/one", text("1"))
    assert cache.write("texts/two", text("2"))
    assert cache.write("folders/one", folder_of(a="3", b="4"))
    assert (cache / "texts/one").read_text() == "1"
    files = {"texts/one", "texts/two", "folders/one/deep/a", "folders/one/deep/b"}
    assert there(tmp_path / "made" / "anew") == files
    assert (cache / "texts/three") == tmp_path / "made" / "anew" / "texts" / "three"
    assert not (cache / "texts/three").exists()


FORMS: dict[str, Callable[[Path], object]] = {"file": text("before"), "folder": folder_of(before="before")}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("file", text("after"), {"kind/entry"}),
        ("folder", folder_of(after="after"), {"kind/entry/deep/after"}),
        ("folder", text("after"), {"kind/entry"}),
        ("file", folder_of(after="after"), {"kind/entry/deep/after"}),
    ],
    ids=["a file by a file", "a folder by a folder", "a folder by a file", "a file by a folder"],
)
def test_what_is_there_is_replaced(
    tmp_path: Path, before: str, after: Callable[[Path], object], expected: set[str]
) -> None:
    cache = CacheFolder(tmp_path)
    assert cache.write("kind/entry", FORMS[before])
    assert cache.write("kind/entry", after)
    assert there(tmp_path) == expected
    [file] = expected
    assert (tmp_path / file).read_text() == "after"


def test_who_has_a_file_open_keeps_what_it_was(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.write("entry", text("before"))
    with (cache / "entry").open() as opened:
        cache.write("entry", text("after"))
        assert opened.read() == "before"
    assert (cache / "entry").read_text() == "after"


def test_nothing_is_under_the_name_while_it_is_being_made(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)

    def fill(path: Path) -> None:
        path.write_text("half")
        assert not (cache / "kind/entry").exists()
        path.write_text("whole")

    assert cache.write("kind/entry", fill)
    assert (cache / "kind/entry").read_text() == "whole"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    flushed: list[str] = []
    flush, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        flush(descriptor)

    def renamed(made: Path, target: Path) -> Path:
        whole = {path.name for path in [made, *made.rglob("*")]}
        assert sorted(flushed) == sorted(whole)
        return replace(made, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    assert CacheFolder(tmp_path).write("kind/entry", FORMS[kind])
    assert sorted(flushed) == (["entry"] if kind == "file" else ["before", "deep", "entry"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("said in words alone")])
def test_what_fails_halfway_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: OSError) -> None:
    cache = CacheFolder(tmp_path)
    cache.write("kind/entry", text("before"))

    def fill(path: Path) -> None:
        path.write_text("half")
        raise error

    with capture_logs() as logged:
        assert not cache.write("kind/entry", fill)
    assert (cache / "kind/entry").read_text() == "before"
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["entry"]
    [line] = logged
    assert (line["event"], line["log_level"]) == ("the cache cannot be written to", "warning")
    assert line["reason"] == (error.strerror or str(error))


def test_what_was_not_made_is_not_there(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    with capture_logs() as logged:
        assert not cache.write("kind/entry", lambda _path: None)
    assert len(logged) == 1
    assert there(tmp_path) == set()


def test_what_is_kept_can_be_read_by_whoever_serves(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        (path / "deep").mkdir(parents=True, mode=0o700)
        (path / "deep" / "file").touch(mode=0o600)

    cache = CacheFolder(tmp_path)
    assert cache.write("folder", fill)
    assert cache.write("file", lambda path: path.touch(mode=0o600))
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"folder": 0o755, "folder/deep": 0o755, "folder/deep/file": 0o644, "file": 0o644}


def test_the_cache_says_what_it_could_not_keep_once_that_has_happened(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    assert cache.path == tmp_path
    assert cache.write("entry", text("1"))
    with cache.lock("entry"):
        pass
    assert cache.complaint is None
    (tmp_path / "file").touch()
    assert not cache.write("file/entry", text("1"))
    assert cache.complaint == "File exists"
    assert cache.write("entry", text("2"))
    assert cache.complaint == "File exists"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_process_killed_in_the_middle_leaves_nothing_under_the_name(tmp_path: Path, what: str) -> None:
    with process(tmp_path, what) as killed:
        assert (said(killed), said(killed)) == ("locked", "half")
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
    assert not (tmp_path / "kind" / "entry").exists()
    unfinished = list((tmp_path / "kind").iterdir())
    assert len(unfinished) == 1
    beside = tmp_path / "kind" / "entry-of-another"
    beside.touch()
    cache = CacheFolder(tmp_path)
    with cache.lock("kind/other"):
        assert set((tmp_path / "kind").iterdir()) == {beside, *unfinished}
    with cache.lock("kind/entry"):
        assert list((tmp_path / "kind").iterdir()) == [beside]
        assert cache.write("kind/entry", text("whole"))
    assert there(tmp_path) == {"kind/entry", "kind/entry-of-another"}


def test_one_process_holds_the_right_and_the_other_says_once_that_it_waits(tmp_path: Path) -> None:
    with process(tmp_path, "lock") as first:
        assert said(first) == "locked"
        with process(tmp_path, "lock") as second:
            assert said(second) == "waiting"
            # The first goes on only now, so the second cannot have been let in before.
            print(file=first.stdin, flush=True)
            assert said(first) == "released"
            assert said(second) == "locked"
            print(file=second.stdin, flush=True)
            assert said(second) == "released"


def test_the_right_ends_with_its_process(tmp_path: Path) -> None:
    with process(tmp_path, "lock") as killed:
        assert said(killed) == "locked"
        with CacheFolder(tmp_path).lock("kind/entry", killed.kill):
            # The one that held it was killed for being waited for, and would else be there for minutes.
            assert killed.wait(20) == -signal.SIGKILL


def test_nobody_says_that_it_waits_for_a_right_that_is_free(tmp_path: Path) -> None:
    waiting: list[str] = []
    cache = CacheFolder(tmp_path)
    for _ in range(2):
        with cache.lock("kind/entry", lambda: waiting.append("entry")):
            # Another entry's right is another one.
            with cache.lock("kind/other", lambda: waiting.append("other")):
                pass
            with cache.lock("kind", lambda: waiting.append("kind")):
                pass
    assert waiting == []


def test_threads_wait_for_each_other_too(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    inside: list[int] = []
    at_once: list[int] = []

    def make(waiting: Callable[[], object]) -> None:
        with cache.lock("kind/entry", waiting):
            inside.append(1)
            at_once.append(len(inside))
            inside.pop()

    waiting = threading.Semaphore(0)
    threads = [threading.Thread(target=make, args=(waiting.release,)) for _ in range(4)]
    with cache.lock("kind/entry"):
        for thread in threads:
            thread.start()
        for _ in threads:
            assert waiting.acquire(timeout=20)
        assert at_once == []
    for thread in threads:
        thread.join(20)
    assert at_once == [1] * 4


def test_what_is_raised_while_the_right_is_held_is_raised_and_gives_it_back(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    for error in (ValueError("of the caller"), OSError("of the caller")):
        with pytest.raises(type(error), match="of the caller"), cache.lock("kind/entry"):
            raise error
    waiting: list[None] = []
    with cache.lock("kind/entry", lambda: waiting.append(None)):
        assert waiting == []


@pytest.mark.parametrize("place", ["/proc/gaze", "/dev/null/gaze"])
def test_a_folder_that_cannot_be_made(place: str) -> None:
    _assert_of_no_use(CacheFolder(Path(place)))


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    _assert_of_no_use(CacheFolder(tmp_path / "cache"))
    assert (tmp_path / "cache").read_text() == "a file"


def _assert_of_no_use(cache: CacheFolder) -> None:
    waiting: list[None] = []
    with capture_logs() as logged:
        with cache.lock("kind/entry", lambda: waiting.append(None)):
            assert not cache.write("kind/entry", text("1"))
            assert not cache.write("kind/entry", folder_of(a="1"))
        assert not (cache / "kind/entry").exists()
    assert waiting == []
    # Once is enough: a start makes a dozen entries.
    [line] = logged
    assert (line["event"], line["log_level"]) == ("the cache cannot be written to", "warning")
    assert line["reason"]
    assert line["folder"] == str(cache / ".")


ON_A_DISK = """
import sys
from pathlib import Path
from structlog.testing import capture_logs
from service.zero_shot.cache import CacheFolder

cache = CacheFolder(Path(sys.argv[1]))
with capture_logs() as logged:
    with cache.lock("kind/entry"):
        print(cache.write("kind/entry", lambda path: path.write_bytes(bytes(int(sys.argv[2])))))
print([(line["log_level"], line["reason"]) for line in logged])
print(sorted(path.name for path in Path(sys.argv[1]).rglob("*") if path.is_file() and "locks" not in path.parts))
"""


def test_full_disk(tmp_path: Path) -> None:
    written = on_a_disk(tmp_path, "size=64k", sys.executable, "-c", ON_A_DISK, str(tmp_path), "100000")
    assert written == ["False", "[('warning', 'No space left on device')]", "[]"]
    written = on_a_disk(tmp_path, "size=64k", sys.executable, "-c", ON_A_DISK, str(tmp_path), "10000")
    assert written == ["True", "[]", "['entry']"]


def test_read_only_disk(tmp_path: Path) -> None:
    written = on_a_disk(tmp_path, "ro,size=64k", sys.executable, "-c", ON_A_DISK, str(tmp_path), "10")
    assert written == ["False", "[('warning', 'Read-only file system')]", "[]"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(["ab"], ["a", "b"]), (["a", "b"], ["b", "a"]), ([""], []), (["a", ""], ["a"]), (["a\0b"], ["a", "b"])],
)
def test_digest_is_of_the_texts_and_of_where_each_ends(one: list[str], other: list[str]) -> None:
    assert digest_of(*one) != digest_of(*other)
    assert digest_of(*one) == digest_of(*one)
    assert len(digest_of(*one)) == 64
