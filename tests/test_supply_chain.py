"""What the images install is locked by hash, and nobody is told that all is well when nothing was looked up."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from requirements.audit import LOCKS, main, verdict
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "requirements"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
UNREACHABLE = "http://127.0.0.1:9"


def pinned(requirements: list[str]) -> dict[str, str]:
    return {
        re.sub(r"[-_.]+", "-", name.lower()): version for name, version in (each.split("==") for each in requirements)
    }


def entries(lock: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each package of a lock file: its name, its version and its hashes."""
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.strip().startswith("#")]
    for entry in " ".join(line.rstrip("\\").strip() for line in lines).replace(" --hash", "--hash").split():
        package, *hashes = entry.split("--hash=")
        name, version = package.split("==")
        yield name, version, hashes


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_every_package_has_a_version_and_hashes(lock: Path) -> None:
    found = list(entries(lock))
    assert found
    for name, version, hashes in found:
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_lock_names_no_host_and_no_path_of_a_machine(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--find-links|--trusted|\.(org|com|io)\b|(^|\s)/", text)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_images_have_what_the_project_names(target: str) -> None:
    locked = {
        name: version
        for lock in ("packages", f"torch-{target}")
        for name, version, _ in entries(FOLDER / f"{lock}.txt")
    }
    named = pinned(PROJECT["project"]["dependencies"])
    assert {name: locked.get(name) for name in named} == named


def test_torch_is_locked_apart() -> None:
    assert "torch" not in {name for name, _, _ in entries(FOLDER / "packages.txt")}
    assert [name for name, _, _ in entries(FOLDER / "torch-cpu.txt")] == ["torch"]
    [cpu] = [hashes for _, _, hashes in entries(FOLDER / "torch-cpu.txt")]
    [cuda] = [hashes for name, _, hashes in entries(FOLDER / "torch-cuda.txt") if name == "torch"]
    assert not set(cpu) & set(cuda)


def test_build_backend_is_the_projects() -> None:
    locked = {name: version for name, version, _ in entries(FOLDER / "build.txt")}
    backend = pinned(PROJECT["build-system"]["requires"])
    assert {name: locked.get(name) for name in backend} == backend


def test_image_installs_nothing_without_its_hash() -> None:
    commands = [
        each for each in re.split(r"&&|\nRUN", DOCKERFILE.replace("\\\n", "")) if re.search(r"\bpip\b.* install ", each)
    ]
    assert len(commands) >= 4
    for command in commands:
        # The project itself comes from the folder that is built, with tools that are installed already.
        assert "--require-hashes" in command or "--no-build-isolation" in command
        assert "--no-deps" in command


def test_base_image_may_be_pinned() -> None:
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert froms[0] == "python:3.11-slim-bookworm${BASE_DIGEST:+@$BASE_DIGEST}"
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    assert set(froms[1:]) <= stages


def test_lock_is_what_make_lock_writes(tmp_path: Path) -> None:
    for lock in LOCKS:
        # Without hashes, because uv takes those that it finds for granted.
        pins = [f"{name}=={version}\n" for name, version, _ in entries(lock)]
        (tmp_path / lock.name).write_text("".join(pins), encoding="utf-8")
    made = subprocess.run(
        ["make", "--assume-old=.venv/.installed-dev", "lock", f"LOCKS={tmp_path}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to fetch" in made.stderr or "error sending request" in made.stderr:
        pytest.skip("the package index cannot be reached")
    assert made.returncode == 0, made.stderr
    for lock in set(LOCKS) - {FOLDER / "torch-cpu.txt"}:
        listed = {(name, version): set(hashes) for name, version, hashes in entries(tmp_path / lock.name)}
        locked = {(name, version): set(hashes) for name, version, hashes in entries(lock)}
        assert set(listed) == set(locked)
        # A release may have got files since.
        assert {each for each in locked if not locked[each] <= listed[each]} == set()


SAFE = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
VULNERABLE = {
    "name": "c",
    "version": "2",
    "vulns": [{"id": "X-1", "fix_versions": ["3"]}, {"id": "X-2", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([], os.EX_UNAVAILABLE, "nothing was looked up"),
        ([SKIPPED], os.EX_UNAVAILABLE, "nothing was looked up"),
        ([SAFE, SKIPPED], os.EX_UNAVAILABLE, "did not answer for b"),
        ([SAFE], 0, "No vulnerability is known of these 1 packages"),
        (
            [SAFE, VULNERABLE, SKIPPED],
            1,
            "c 2: X-1, fixed in 3\nc 2: X-2, fixed in no release\nVulnerabilities are known: 2.",
        ),
    ],
)
def test_verdict_of_an_audit(dependencies: list[dict[str, Any]], code: int, said: str) -> None:
    found, lines = verdict(dependencies)
    assert found == code
    assert said in "\n".join(lines)


def test_audit_without_its_database_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", UNREACHABLE)
    assert main(["--cache-dir", str(tmp_path)]) == os.EX_UNAVAILABLE
    assert capfd.readouterr().out == "The database of vulnerabilities could not be reached: nothing was looked up.\n"
