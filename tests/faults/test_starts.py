"""Starts: without a model, beside another one on one cache, on broken files, on disks that take nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.faults.callers import answer_to, question
from tests.faults.starting import GUNICORN
from tests.support.gaze_command import gaze, run, sentence
from tests.support.mounts import mounted
from tests.support.running_service import SERVE, served

Seen = Callable[[str], None]


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("environment", "exit_code"),
    [
        ({"GAZE_MODEL": "/nowhere"}, None),
        ({"GAZE_MODEL": "museum/none", "HF_ENDPOINT": "http://127.0.0.1:9"}, 69),
        ({"GAZE_MODEL": "museum/none", "HF_HUB_OFFLINE": "1"}, 69),
    ],
)
def test_a_model_that_is_not_there(
    environment: dict[str, str], exit_code: int | None, tmp_path: Path, seen: Seen
) -> None:
    began = time.monotonic()
    ended = gaze("serve", HF_HOME=tmp_path, **environment)
    assert ended.returncode in ((65, 69, 78) if exit_code is None else (exit_code,))
    assert sentence(ended, ended.returncode)
    assert time.monotonic() - began < 60
    seen(f"one sentence, exit {ended.returncode}")


@pytest.mark.fault(35)
def test_a_model_that_is_gone_when_the_worker_starts_ends_the_master(tmp_path: Path, seen: Seen) -> None:
    port = str(free_port())
    ended = run([*GUNICORN, "service.wsgi:app"], HF_HOME=tmp_path, HF_HUB_OFFLINE="1", GAZE_PORT=port)
    assert ended.returncode == 3
    assert ended.stdout.count("Booting worker") == 1
    assert ended.stdout.count('"start failed"') == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    seen("gone after the check: the master ends with 3 after one worker")


@pytest.mark.fault(36)
@pytest.mark.fault(38)
def test_two_starts_on_one_cache_and_then_broken_text_features(tmp_path: Path, seen: Seen) -> None:
    cache = tmp_path / "cache"
    with served(cache, tmp_path / "1") as first, served(cache, tmp_path / "2") as second:
        first.wait()
        second.wait()
        encoded_by = [service.lists("text features encoded") for service in (first, second)]
        answers = [answer_to(service, "/v1/gaze", question())[2] for service in (first, second)]
        assert answers[0] == answers[1]
    assert len(set(encoded_by[0]) | set(encoded_by[1])) == len(encoded_by[0]) + len(encoded_by[1]) > 0
    files = sorted(cache.glob("text-features/*/*.safetensors"))
    assert not list(cache.rglob(".unfinished*"))
    contents = [file.read_bytes() for file in files]
    broken = {
        0: contents[0][: len(contents[0]) // 2],
        1: bytes(byte ^ 255 for byte in contents[1]),
        2: contents[3],  # of another list
    }
    for number, wrong in broken.items():
        files[number].write_bytes(wrong)
    with served(cache, tmp_path / "3") as third:
        third.wait()
        assert len(third.lists("text features encoded")) == len(broken)
        told = {line["file"] for line in third.lines("text features unusable")}
        assert told == {files[number].name for number in broken}
        assert answer_to(third, "/v1/gaze", question())[2] == answers[0]
    assert [file.stat().st_size for file in files] == [len(whole) for whole in contents]
    seen(f"{len(files)} files whole after two starts at once; 3 broken ones rebuilt and logged, the same answer")


@pytest.mark.fault(37)
@pytest.mark.parametrize("disk", ["full", "read-only", "read-only root"])
def test_a_disk_that_takes_nothing(disk: str, tmp_path: Path, seen: Seen) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    command: tuple[str, ...]
    if disk == "read-only root":
        # As in compose, there is memory for temporary files, which torch cannot do without, and nothing else.
        mounts = (
            'for at in $(findmnt -rno TARGET | grep -Ev "^/(proc|sys|dev)"); do mount -o remount,bind,ro "$at"; done'
        )
        unwritable = '! touch "$0/x" 2>/dev/null'
        script = f'mount --make-rprivate / && {mounts}; {unwritable} && exec "$@"'
        command = ("unshare", "--mount", "sh", "-c", script, str(cache), *SERVE)
    else:
        command = tuple(mounted(cache, {"full": "size=1m", "read-only": "ro,size=1m"}[disk], *SERVE))
    with served(cache, tmp_path / "log", command=command, environment={"TMPDIR": "/dev/shm"}) as service:
        service.wait()
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        assert "the cache cannot be written to" in service.warnings()
        assert service.lines("defect") == []
    seen(f"{disk}: 200, and a warning")
