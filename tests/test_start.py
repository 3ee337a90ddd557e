"""Real starts with a cache of their own: what is there is read, what is missing is made once, what is broken anew."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from service.zero_shot.cache import CacheFolder
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import REPOSITORY
from tests.support.gaze_command import by_a_number, environment_of, gaze, run
from tests.support.mounts import mounted
from tests.support.running_service import SERVE, Service, served

ENCODED, READ, CONVERTED = "text features encoded", "text features read", "model converted"
UNWRITABLE = "the cache cannot be written to"

SEES_HIDDEN = os.geteuid() == 0
"""Whether this user sees the memory and the environment of a service, which hides both from others of its own user."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that `gaze prepare` has filled; tests that change it take a copy."""
    cache = tmp_path_factory.mktemp("prepared") / "cache"
    ended = gaze("prepare", GAZE_MODEL="demo", GAZE_CACHE_DIR=cache)
    assert (ended.returncode, ended.stderr) == (0, "")
    return cache


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the filled cache."""
    return Path(shutil.copytree(prepared, tmp_path / "copy"))


def text_features(cache: Path) -> list[Path]:
    return sorted(cache.glob("text-features/*/*.safetensors"))


def assert_whole(cache: Path, lists: dict[str, PhraseList]) -> None:
    """Assert that a cache has all that a start needs, in one piece: nothing is made, and nothing is told of."""
    assert len(text_features(cache)) == len(lists)
    assert not list(cache.rglob(".unfinished*"))
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*/*/*")}
    ended = gaze("prepare", GAZE_MODEL="demo", GAZE_CACHE_DIR=cache)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*/*/*")} == before


def test_what_was_prepared_is_read_and_no_torch_is_needed(
    prepared: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList]
) -> None:
    with served(prepared, tmp_path / "log") as service:
        service.wait()
        assert service.lists(READ) == sorted(phrase_lists)
        for line in service.lines(READ):
            assert line["phrases"] == len(phrase_lists[line["list"]].phrases)
        assert service.lines(ENCODED, CONVERTED) == []
        assert service.warnings() == set()
        [ready] = service.lines("ready")
        assert (ready["backend"], ready["precision"], ready["device"]) == ("openvino", "float32", "cpu")
        [worker] = service.workers()
        if SEES_HIDDEN:
            for pid in (worker, service.process.pid):
                maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
                assert "libtorch" not in maps
            maps = Path(f"/proc/{worker}/maps").read_text(encoding="utf-8")
            assert "libopenvino" in maps
            assert all(str(file) in maps for file in text_features(prepared))


@pytest.mark.skipif(not SEES_HIDDEN, reason="a service shows its environment to root alone")
def test_workers_keep_memory_for_the_next_picture_and_an_operators_choice_counts(
    prepared: Path, tmp_path: Path
) -> None:
    with served(prepared, tmp_path / "log", environment={"MALLOC_ARENA_MAX": "3"}) as service:
        [worker] = service.wait().workers()
        variables = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    about_memory = {variable.decode() for variable in variables if variable.startswith(b"MALLOC_")}
    assert about_memory == {
        "MALLOC_ARENA_MAX=3",
        f"MALLOC_MMAP_THRESHOLD_={32 * 1024**2}",
        f"MALLOC_TRIM_THRESHOLD_={64 * 1024**2}",
    }


def test_event_loop_and_probes_go_first(prepared: Path, tmp_path: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with served(prepared, tmp_path / "log") as service:
        [worker] = service.wait().workers()
        threads = [int(task.name) for task in Path(f"/proc/{worker}/task").iterdir()]
        nice = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
    assert nice[worker] == own
    assert [*nice.values()].count(own) > 1
    assert set(nice.values()) == {own, min(19, own + 10)}


def test_of_two_services_started_together_one_makes_each_thing(
    tmp_path: Path, phrase_lists: dict[str, PhraseList]
) -> None:
    cache = tmp_path / "cache"
    with served(cache, tmp_path / "1") as first, served(cache, tmp_path / "2") as second:
        first.wait()
        second.wait()
        assert len(first.lines(CONVERTED) + second.lines(CONVERTED)) == 1
        assert sorted(first.lists(ENCODED) + second.lists(ENCODED)) == sorted(phrase_lists)
        assert sorted(first.lists(READ) + second.lists(READ)) == sorted(phrase_lists)
        for service in (first, second):
            assert sorted(service.lists(ENCODED) + service.lists(READ)) == sorted(phrase_lists)
            assert service.warnings() == set()
            assert len(service.lines("ready")) == 1
    assert_whole(cache, phrase_lists)


def test_of_two_workers_one_makes_each_thing(copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList]) -> None:
    shutil.rmtree(copy / "text-features")
    with served(copy, tmp_path / "log", environment={"GAZE_WORKERS": "2"}) as service:
        service.wait()
        deadline = time.monotonic() + 120
        while len(service.lines("ready")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(service.workers()) == 2
        assert service.lists(ENCODED) == service.lists(READ) == sorted(phrase_lists)
        assert service.lines(CONVERTED) == []
        assert service.warnings() == set()
    assert_whole(copy, phrase_lists)


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    file.write_bytes(contents)


def cut(file: Path) -> None:
    """Cut a file in half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def by_a_folder(file: Path) -> None:
    """Put a folder in a file's place."""
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("broken", [flip, cut, by_a_folder])
def test_text_features_that_are_broken_are_made_anew(
    copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList], broken: Any
) -> None:
    damaged = text_features(copy)[::3]
    for file in damaged:
        broken(file)
    with served(copy, tmp_path / "log") as service:
        service.wait()
        # Once before the lock is had, and once after.
        told = [line["file"] for line in service.lines("text features unusable")]
        assert set(told) == {file.name for file in damaged}
        assert len(service.lists(ENCODED)) == len(damaged)
        assert sorted(service.lists(ENCODED) + service.lists(READ)) == sorted(phrase_lists)
        assert service.lines(CONVERTED) == []
    assert_whole(copy, phrase_lists)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("model.json", cut),
        ("image_tower.bin", flip),
        ("tokenizer.json", by_a_folder),
    ],
)
def test_a_converted_model_that_is_broken_is_made_anew(
    copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList], name: str, broken: Any
) -> None:
    [folder] = (copy / "converted").iterdir()
    names = {file.name for file in folder.iterdir()}
    broken(folder / name)
    with served(copy, tmp_path / "log") as service:
        service.wait()
        assert {line["folder"] for line in service.lines("converted model unusable")} == {folder.name}
        assert len(service.lines(CONVERTED)) == 1
        # The same model converted twice has the same text features.
        assert service.lists(READ) == sorted(phrase_lists)
        [ready] = service.lines("ready")
        assert ready["backend"] == "openvino"
    assert {file.name for file in folder.iterdir()} == names
    assert_whole(copy, phrase_lists)


def test_a_cache_that_cannot_be_made(tmp_path: Path, phrase_lists: dict[str, PhraseList]) -> None:
    with served(Path("/proc/gaze"), tmp_path / "log") as service:
        service.wait()
        _assert_nothing_was_kept(service, phrase_lists)


@pytest.mark.parametrize("options", ["ro,size=1m", "size=1m"], ids=["read-only", "full"])
def test_a_disk_that_takes_nothing(tmp_path: Path, phrase_lists: dict[str, PhraseList], options: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with served(disk, tmp_path / "log", command=mounted(disk, options, *SERVE)) as service:
        service.wait()
        _assert_nothing_was_kept(service, phrase_lists)


def _assert_nothing_was_kept(service: Service, phrase_lists: dict[str, PhraseList]) -> None:
    """Assert that a service is ready with a cache of no use, and has said so once in each of its two processes."""
    assert service.lists(ENCODED) == sorted(phrase_lists)
    assert service.lists(READ) == []
    assert service.warnings() == {UNWRITABLE}
    told = service.lines(UNWRITABLE)
    assert len(told) == 2
    assert all(line["reason"] and line["folder"] == str(service.cache) for line in told)
    # Each process has converted the model for itself.
    assert len(service.lines(CONVERTED)) == 2
    [ready] = service.lines("ready")
    assert ready["backend"] == "openvino"


def test_a_read_only_disk_that_was_prepared(copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList]) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    beside = tmp_path / "beside"
    beside.mkdir()
    command = mounted(beside, "size=64k", "sh", "-c", script, str(copy), *SERVE)
    with served(copy, tmp_path / "log", command=command) as service:
        service.wait()
        assert service.lists(READ) == sorted(phrase_lists)
        assert service.lines(ENCODED, CONVERTED) == []
        assert service.warnings() == set()


def test_a_user_without_a_name_and_a_home(tmp_path: Path, phrase_lists: dict[str, PhraseList]) -> None:
    with served(tmp_path, tmp_path / "log", command=by_a_number(*SERVE)) as service:
        service.wait()
        # What was converted for the check is there for the worker, and nothing else is warned of.
        assert len(service.lines(CONVERTED)) == 1
        assert service.lists(ENCODED) == sorted(phrase_lists)
        assert service.warnings() == {"this user has no cache; set GAZE_CACHE_DIR to a folder that lasts"}
        [warning] = [line for line in service.lines() if line["level"] == "warning"]
        folder = Path(warning["folder"])
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (54321, 0o700)
    shutil.rmtree(folder)


READ_ONLY = """
mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp || exit 1
mount -t tmpfs -o ro gaze-test /var/tmp && mount -t tmpfs -o ro gaze-test /dev/shm && exec "$@"
"""


@pytest.mark.parametrize(
    "command", [["serve"], ["look", "examples/rings.png", "--phrase", "red"]], ids=["serve", "look"]
)
def test_a_user_who_can_write_nowhere_is_told_in_one_sentence(command: tuple[str, ...]) -> None:
    by_root = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"]
    reader = by_a_number(sys.executable, "-m", "service.cli", *command)
    if subprocess.run([*by_root, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let its root mount")
    ended = run([*by_root, *reader], GAZE_MODEL="demo", TMPDIR="/tmp")
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("gaze: This user can write to no folder for temporary files; let")


def test_a_user_who_can_write_nowhere_looks_where_all_is_prepared(prepared: Path) -> None:
    by_root = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"]
    command = ("look", "examples/rings.png", "--lists", "movements")
    # Without the variable, which is unset for a user who has no cache.
    reader = by_a_number("env", f"GAZE_CACHE_DIR={prepared}", sys.executable, "-m", "service.cli", *command)
    if subprocess.run([*by_root, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let its root mount")
    ended = run([*by_root, *reader], GAZE_MODEL="demo", TMPDIR="/tmp")
    assert ended.returncode == 0, ended.stderr
    assert "op art movement" in ended.stdout


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_a_service_on_all_addresses(prepared: Path, tmp_path: Path, host: str) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    with served(prepared, tmp_path / "log", environment={"GAZE_HOST": host}) as service:
        port = service.wait().address.rpartition(":")[2]  # by IPv4
        with urllib.request.urlopen(f"http://[::1]:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200


def test_prepare_on_a_full_disk_does_not_say_that_all_is_kept(tmp_path: Path) -> None:
    command = mounted(tmp_path, "size=3m", sys.executable, "-m", "service.cli", "prepare")
    environment = environment_of(GAZE_MODEL="demo", GAZE_CACHE_DIR=tmp_path)
    ended = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=150, check=False
    )
    assert "the features of" not in ended.stdout
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert str(tmp_path) in ended.stderr.splitlines()[-1]


def test_readiness_says_that_another_process_is_waited_for(
    copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList]
) -> None:
    gone = text_features(copy)[0]
    gone.unlink()
    with served(copy, tmp_path / "log") as service:
        with CacheFolder(copy).lock(str(gone.relative_to(copy))):
            deadline = time.monotonic() + 120
            while not (stage := service.stage() or "").startswith("waiting for another process"):
                assert service.process.poll() is None
                assert time.monotonic() < deadline, stage
                time.sleep(0.05)
            # It is no nearer to being ready, however often it is asked.
            assert service.stage() == stage
            assert service.lines("ready") == []
        service.wait()
        assert len(service.lists(ENCODED)) == 1
        assert len(service.lists(READ)) == len(phrase_lists) - 1
    assert gone.exists()


def test_a_prepare_that_was_killed_is_finished_by_the_next(
    copy: Path, tmp_path: Path, phrase_lists: dict[str, PhraseList]
) -> None:
    shutil.rmtree(copy / "text-features")
    environment = environment_of(GAZE_MODEL="demo", GAZE_CACHE_DIR=copy)
    with subprocess.Popen([*SERVE[:-1], "prepare"], env=environment, cwd=REPOSITORY) as killed:
        try:
            deadline = time.monotonic() + 120
            while not text_features(copy):
                assert killed.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            killed.send_signal(signal.SIGKILL)
    done = {file: file.stat().st_mtime_ns for file in text_features(copy)}
    assert 0 < len(done) < len(phrase_lists)
    with served(copy, tmp_path / "log") as service:
        service.wait()
        assert len(service.lists(READ)) == len(done)
        assert len(service.lists(ENCODED)) == len(phrase_lists) - len(done)
        assert service.warnings() == set()
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert_whole(copy, phrase_lists)
