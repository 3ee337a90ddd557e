"""`gaze bulk` as a person runs it: what it refuses, what it says, and that a kill at any moment costs nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from service.bulk.command import bulk
from service.bulk.progress import Progress
from tests.conftest import encoded, noise
from tests.support.gaze_command import REPOSITORY, environment_of, gaze, on_a_terminal, sentence
from tests.support.origin import Answer, Origin, http, until_hung_up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, of which one is broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(200):
        noise(40, 40, seed=number % 50).save(folder / f"{number:03}.png")
    (folder / "123.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing argument 'SOURCES...'"),
        (["tests"], "Missing option '--out'"),
        (["tests", "--out", "a.csv"], "Give --lists, --phrase, or both."),
        (["tests", "--out", "a.csv", "--lists", " , "], "Give --lists, --phrase, or both."),
        (["tests", "--out", "a.csv", "--phrase", "  "], "visible character"),
        (["tests", "--out", "a.csv", "--phrase", os.fsdecode(b"caf\xe9")], "UTF-8"),
        (["tests", "--out", "a.xlsx", "--lists", "tools"], "--out must end in one of .csv, .jsonl, .parquet."),
        (["tests", "--out", "no/such/a.csv", "--lists", "tools"], "The folder of --out does not exist."),
        (
            ["tests", "--out", "a.jsonl", "--lists", "tools", "--format", "csv"],
            "does not go with an --out that ends in",
        ),
        (["tests", "--out", "a.csv", "--lists", "tools", "--format", "xml"], "Invalid value for '--format'"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--top-k", "0"], "x>=1"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--min-probability", "2"], "0<=x<=1"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--date", "today"], "does not match the format"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--encoding", "excel"], "There is no such encoding"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--encoding", "base64"], "There is no such encoding"),
        (["tests", "--out", "a.csv", "--lists", "tools", "--engine", "spark"], "Invalid value for '--engine'"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(bulk, arguments)
    assert told in ended.output
    assert ended.exit_code == 2


def test_unknown_list_and_missing_source_are_one_sentence(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "a.csv")
    ended = gaze("bulk", "tests", *out, "--lists", "surfces", GAZE_MODEL="demo")
    assert (ended.returncode, ended.stderr) == (os.EX_DATAERR, "gaze: Unknown list. Did you mean 'surfaces'?\n")
    ended = gaze("bulk", tmp_path / "none", *out, "--lists", "surfaces", GAZE_MODEL="demo")
    assert sentence(ended, os.EX_DATAERR).startswith(f"gaze: There is no {tmp_path}/none: a source is ")


def test_killed_at_random_moments_it_ends_with_the_file_of_an_undisturbed_run(folder: Path, tmp_path: Path) -> None:
    whole, out, objects, chance = tmp_path / "whole.csv", tmp_path / "parts.csv", tmp_path / "o.csv", random.Random(3)
    answers: dict[str, Answer] = {"/last.png": http(encoded(noise(40, 40)))}
    with Origin(answers) as host:
        objects.write_text(f"object_number,url\nlast,http://{host.address}/last.png\n", encoding="utf-8")
        arguments = (folder, objects, "--lists", "surfaces", "--date", "2026-01-31T00:00:00Z", "--quiet")
        settings = {"GAZE_MODEL": "demo", "GAZE_URL_FETCH": "127.0.0.1/32"}
        undisturbed = gaze("bulk", *arguments, "--out", whole, **settings)
        assert undisturbed.returncode == 3, undisturbed.stderr
        assert f"1 images could not be looked at; {whole}.errors.csv says why." in undisturbed.stderr
        answers["/last.png"] = until_hung_up()  # so that no run ends before it is killed
        command = [sys.executable, "-m", "service.cli", "bulk", *map(str, arguments), "--out", str(out)]
        done, patience = [0], 1.0
        while not done[-1]:
            process = subprocess.Popen(
                command, env=environment_of(**settings), cwd=REPOSITORY, stderr=subprocess.DEVNULL
            )
            log = Path(f"{out}.progress-wal")
            while not log.exists():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0, patience))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            with Progress(Path(f"{out}.progress")) as progress:
                done.append(progress.counts().done)
            patience *= 2
            assert patience < 100, done
        assert done == sorted(done)
        assert done[-1] < 201
        answers["/last.png"] = http(encoded(noise(40, 40)))
        assert gaze("bulk", *arguments, "--out", out, **settings).returncode == 3
    assert out.read_bytes() == whole.read_bytes()
    assert Path(f"{out}.errors.csv").read_bytes() == Path(f"{whole}.errors.csv").read_bytes()


def test_what_a_person_should_know_of_a_picture_is_said(tmp_path: Path) -> None:
    scans, out = tmp_path / "scans", tmp_path / "a.jsonl"
    scans.mkdir()
    noise(1_000, 1_000).save(scans / "large.jpg")
    tifffile.imwrite(scans / "dark.tif", np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))  # 12 bits of 16
    arguments = ("bulk", scans, "--lists", "tools", "--limit-pixels", "500000", "--out", out)
    ended = gaze(*arguments, GAZE_MODEL="demo")
    assert ended.returncode == 0, ended.stderr
    assert f"1 images were answered with a warning; {out}.warnings.csv has it.\n" in ended.stderr
    assert "1 images were decoded at a smaller size than their own; JSON Lines have it.\n" in ended.stderr
    dark, large = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert "range that its samples have" in dark["warnings"][0]
    assert dark["warnings"][0] in Path(f"{out}.warnings.csv").read_text(encoding="utf-8")
    assert large["image"]["decoded_at"]["width"] < large["image"]["width"] == 1_000


def test_second_run_on_one_output_is_refused(folder: Path, tmp_path: Path) -> None:
    with Progress(tmp_path / "a.csv.progress"):
        ended = gaze("bulk", folder, "--lists", "tools", "--out", tmp_path / "a.csv", GAZE_MODEL="demo")
    assert sentence(ended, os.EX_DATAERR) == (
        f"gaze: Another run is at work on {tmp_path}/a.csv.progress; wait until it has ended."
    )


def test_interrupted_it_says_at_once_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    out, objects = tmp_path / "a.jsonl", tmp_path / "objects.csv"
    with Origin({"/silent": until_hung_up()}) as host:
        objects.write_text(f"object_number,url\n1,http://{host.address}/silent\n", encoding="utf-8")
        command = [sys.executable, "-m", "service.cli", "bulk", str(objects), str(folder)]
        process = subprocess.Popen(
            [*command, "--lists", "tools", "--out", str(out)],
            env=environment_of(GAZE_MODEL="demo", GAZE_URL_FETCH="127.0.0.1/32"),
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        assert "The demo model answered" in process.stderr.readline()
        while not host.requests:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=5)  # for a host there is more patience
    assert said == f"Stopped. The same command goes on; {out}.progress says where.\n"
    assert process.returncode == 130


def test_bar_on_a_terminal(folder: Path, tmp_path: Path) -> None:
    exit_code, printed, shown = on_a_terminal(
        *("bulk", f"{folder}/00?.png", "--lists", "tools", "--out", f"{tmp_path}/a.parquet"), GAZE_MODEL="demo"
    )
    assert (exit_code, printed) == (0, "")
    assert "Finding images: 10image" in shown
    assert "10/10" in shown
    assert "image/s" in shown
