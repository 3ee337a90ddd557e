"""The `gaze` command: what it prints, and with which exit code it ends."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service import __version__
from service.api.schemas.responses import RankedPhrase
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import noise
from tests.support import tiny_models
from tests.support.gaze_command import REPOSITORY, environment_of, gaze, on_a_terminal, sentence


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP's folder."""
    return tiny_models.write_clip(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    noise(60, 40, seed=0).save(folder / "first.png")
    noise(40, 60, seed=1).save(folder / "second.jpg")
    (folder / "broken.png").write_bytes((folder / "first.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def looked(model: Path, pictures: Path) -> "subprocess.CompletedProcess[str]":
    """What `gaze look --json` makes of three files, one of them broken, with its output in pipes."""
    return gaze(
        "look",
        *(pictures / name for name in ("first.png", "broken.png", "second.jpg")),
        *("--lists", "surfaces, tools", "--phrase", "a river", "--phrase", "a bridge", "--top-k", "30", "--json"),
        GAZE_MODEL=model,
    )


def test_version() -> None:
    ended = gaze("--version")
    assert ended.stdout == f"gaze, version {__version__}\n"
    assert ended.returncode == 0


def test_help_names_the_commands() -> None:
    ended = gaze("--help")
    assert ended.returncode == 0
    assert all(f"\n  {name} " in ended.stdout for name in ("serve", "look", "lists", "prepare"))


def test_lists_are_named_with_their_sizes(phrase_lists: dict[str, PhraseList]) -> None:
    ended = gaze("lists")
    rows = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]
    assert rows == [[one.name, str(len(one.labels)), one.title] for one in phrase_lists.values()]
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["surfaces", "movements", "artists_by_name"])
def test_phrases_of_a_list(phrase_lists: dict[str, PhraseList], name: str) -> None:
    ended = gaze("lists", name)
    assert ended.stdout.split("\n") == [*phrase_lists[name].phrases, ""]
    assert (ended.returncode, ended.stderr) == (0, "")


def test_own_list_of_a_museum_is_named_and_shown(tmp_path: Path) -> None:
    (tmp_path / "rooms.csv").write_text("label\nred room\nblue room\n")
    (tmp_path / "lists.toml").write_text('[rooms]\ntemplate = "a view of the {}"\n')
    assert gaze("lists", GAZE_LISTS_DIR=tmp_path).stdout.splitlines()[-1].split() == ["rooms", "2", "rooms"]
    shown = gaze("lists", "rooms", GAZE_LISTS_DIR=tmp_path).stdout
    assert shown == "a view of the red room\na view of the blue room\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lists", "movments"], "gaze: Unknown list. Did you mean 'movements'?"),
        (["lists", "zzzz"], "gaze: Unknown list. 'gaze lists' names the lists that there are."),
        (["look", "README.md", "--lists", "movements,surfces"], "gaze: Unknown list. Did you mean 'surfaces'?"),
    ],
)
def test_unknown_list(arguments: list[str], told: str) -> None:
    ended = gaze(*arguments)
    assert ended.stderr == f"{told}\n"
    assert (ended.returncode, ended.stdout) == (65, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Usage:"),
        (["paint"], "No such command 'paint'"),
        (["look"], "Missing argument 'IMAGES...'"),
        (["look", "no-such-file.png", "--phrase", "a river"], "does not exist"),
        (["look", "tests", "--phrase", "a river"], "is a directory"),
        (["look", "README.md"], "Give --lists, --phrase, or both."),
        (["look", "README.md", "--lists", " , "], "Give --lists, --phrase, or both."),
        (["look", "README.md", "--phrase", "  "], "visible character"),
        (["look", "README.md", "--phrase", os.fsdecode(b"caf\xe9")], "UTF-8"),
        (["look", "README.md", "--phrase", "a river", "--top-k", "0"], "x>=1"),
        (["look", "README.md", "--phrase", "a river", "--colour"], "No such option"),
        (["serve", "now"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str) -> None:
    ended = gaze(*arguments)
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (ended.returncode, ended.stdout) == (2, "")


def test_own_list_and_served_list_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "phrases.csv").write_text("label\nred room\n")
    ended = gaze("look", "README.md", "--lists", "phrases", "--phrase", "a river", GAZE_LISTS_DIR=tmp_path)
    assert "the name 'phrases' is kept for phrases that callers send" in sentence(ended, os.EX_CONFIG)


def test_broken_picture_is_told_and_the_others_are_answered(
    looked: "subprocess.CompletedProcess[str]", pictures: Path
) -> None:
    first, broken, second = json.loads(looked.stdout)
    assert looked.returncode == 65
    assert broken == {
        "image": str(pictures / "broken.png"),
        "error": "The image is broken or cut short and could not be decoded.",
    }
    assert [first["image"], second["image"]] == [str(pictures / "first.png"), str(pictures / "second.jpg")]
    assert list(first["lists"]) == list(second["lists"]) == ["surfaces", "tools", "phrases"]
    assert first["lists"] != second["lists"]


def test_predictions_have_the_fields_and_numbers_of_the_contract(
    looked: "subprocess.CompletedProcess[str]", phrase_lists: dict[str, PhraseList]
) -> None:
    (first, _, _) = json.loads(looked.stdout)
    for name, size in (("surfaces", len(phrase_lists["surfaces"].labels)), ("phrases", 2)):
        predictions: list[dict[str, Any]] = first["lists"][name]
        fields = {name for name, field in RankedPhrase.model_fields.items() if field.is_required()}
        assert all(set(found) == fields for found in predictions)
        assert [found["rank"] for found in predictions] == list(range(1, size + 1))
        weights = [math.exp(tiny_models.LOGIT_SCALE * found["similarity"]) for found in predictions]
        expected = [weight / sum(weights) for weight in weights]
        assert [found["probability"] for found in predictions] == pytest.approx(expected, rel=1e-5)
        assert expected == sorted(expected, reverse=True)
    surfaces = phrase_lists["surfaces"]
    for found in first["lists"]["surfaces"]:
        index = surfaces.labels.index(found["label"])
        assert (found["phrase"], found["uri"]) == (surfaces.phrases[index], surfaces.uris[index])


def test_nothing_but_the_answer_is_printed_in_a_pipe(looked: "subprocess.CompletedProcess[str]") -> None:
    assert looked.stderr == ""
    assert looked.stdout.startswith("[\n")
    assert looked.stdout.endswith("]\n")


def test_table_with_progress_on_a_terminal(model: Path, pictures: Path, tmp_path: Path) -> None:
    # Its name is in Latin-1, as on many an old disk.
    picture = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(picture)).write_bytes((pictures / "first.png").read_bytes())
    arguments = [os.fsdecode(picture), str(pictures / "second.jpg"), "--phrase", "a river", "--phrase", "a bridge"]
    exit_code, printed, shown = on_a_terminal("look", *arguments, "--top-k", "1", GAZE_MODEL=str(model))
    assert exit_code == 0, shown
    lines = printed.splitlines()
    assert lines[0] == f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}.png"
    assert lines[1] == "  phrases"
    assert lines[3:5] == [str(pictures / "second.jpg"), "  phrases"]
    assert len(lines) == 6
    for line in (lines[2], lines[5]):
        assert line.endswith(("%  a river", "%  a bridge"))
        assert 50 <= float(line.split("%")[0]) <= 100
    assert "Encoding phrases: 100%" in shown
    assert "2/2" in shown


def test_prepare_shows_progress_on_a_terminal(model: Path, phrase_lists: dict[str, PhraseList], tmp_path: Path) -> None:
    exit_code, printed, shown = on_a_terminal(
        "prepare", GAZE_MODEL=str(model), HF_HOME=str(tmp_path), GAZE_CACHE_DIR=str(tmp_path / "cache")
    )
    total = sum(len(one.labels) for one in phrase_lists.values())
    assert exit_code == 0, shown
    assert printed.startswith("tiny sha256:")
    assert " is ready to run on openvino in float32; " in printed
    assert printed.endswith(f"the features of {total} phrases are in {tmp_path / 'cache'}.\n")
    assert f"{total}/{total}" in shown
    assert "Traceback" not in shown


def test_prepare_of_the_model_alone_encodes_nothing(model: Path, tmp_path: Path) -> None:
    ended = gaze("prepare", "--model-only", GAZE_MODEL=model, GAZE_CACHE_DIR=tmp_path / "cache")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"tiny sha256:[0-9a-f]{64} is on this machine\.\n", ended.stdout)
    assert not (tmp_path / "cache").exists()


def test_prepare_says_where_nothing_can_be_kept(model: Path) -> None:
    ended = gaze("prepare", GAZE_MODEL=model, GAZE_CACHE_DIR="/proc/gaze")
    *logged, told = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (os.EX_CONFIG, "")
    assert told == (
        "gaze: Not everything could be kept in /proc/gaze (No such file or directory); make room, or set "
        "GAZE_CACHE_DIR."
    )
    [warning] = [json.loads(line) for line in logged]
    assert (warning["event"], warning["level"]) == ("the cache cannot be written to", "warning")


@pytest.mark.parametrize("asked", [("--phrase", "a river", "--phrase", "a bridge"), ("--lists", "surfaces,tools")])
def test_look_prints_its_answer_alone_with_nothing_in_the_cache(
    pictures: Path, model: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    shown = {
        place: gaze("look", pictures / "first.png", *asked, "--json", GAZE_MODEL=model, GAZE_CACHE_DIR=place)
        for place in (tmp_path / "cache", tmp_path / "cache", "/proc/gaze")
    }
    answers = [json.loads(ended.stdout) for ended in shown.values()]
    assert [ended.returncode for ended in shown.values()] == [0, 0]
    assert answers[0] == answers[1]
    # What was worth a word, and nothing else, is told apart.
    assert [ended.stderr.count("\n") for ended in shown.values()] == [0, 1]


def test_own_phrases_are_not_kept_on_disk(pictures: Path, model: Path, tmp_path: Path) -> None:
    arguments = ("--phrase", "zyxwvq qvwxyz", "--lists", "tools", "--json")
    assert gaze("look", pictures / "first.png", *arguments, GAZE_MODEL=model, GAZE_CACHE_DIR=tmp_path).returncode == 0
    assert len(list(tmp_path.glob("text-features/*/*.safetensors"))) == 1
    assert not any(b"zyxwvq" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_demo_model_says_what_it_is(pictures: Path) -> None:
    ended = gaze("look", pictures / "first.png", "--phrase", "a river", GAZE_MODEL="demo")
    assert "The demo model answered" in ended.stderr
    assert "100.00%  a river" in ended.stdout
    assert ended.returncode == 0


def test_error_on_a_terminal_is_one_sentence(tmp_path: Path) -> None:
    exit_code, printed, shown = on_a_terminal("prepare", GAZE_MODEL=str(tmp_path / "none"))
    assert (exit_code, printed) == (69, "")
    assert shown.splitlines() == [
        f"gaze: GAZE_MODEL names the directory {tmp_path}/none, and there is none; correct the path."
    ]
    assert sentence(gaze("prepare", GAZE_MODEL=tmp_path / "none"), 69) == shown.strip()


LETTERS = ("Gemälde", "絵画", "🎨 picture")


@pytest.mark.parametrize(
    ("environment", "encoding", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "ascii", ("Gem?lde", "??", "? picture")),
        ({"PYTHONIOENCODING": "latin-1:strict"}, "latin-1", ("Gemälde", "??", "? picture")),
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252", ("Gemälde", "??", "? picture")),
        ({"PYTHONIOENCODING": "utf-8"}, "utf-8", LETTERS),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "ascii", ("Gem?lde", "??", "? picture")),
        ({"LC_ALL": "C"}, "utf-8", LETTERS),
    ],
)
def test_terminal_that_lacks_letters_shows_question_marks(
    pictures: Path, tmp_path: Path, environment: dict[str, str], encoding: str, shown: tuple[str, ...]
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "kunst.txt").write_text("\n".join(LETTERS), encoding="utf-8")
    settings = environment_of(GAZE_LISTS_DIR=tmp_path / "lists", GAZE_MODEL="demo", **environment)
    command = [sys.executable, "-m", "service.cli"]

    def said(*arguments: str) -> str:
        asked = [*command, *arguments]
        ended = subprocess.run(asked, env=settings, cwd=REPOSITORY, capture_output=True, check=False, timeout=150)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.decode(encoding)

    assert said("lists", "kunst").splitlines() == list(shown)
    assert said("lists").splitlines()[-1].startswith("kunst ")
    picture = str(pictures / "first.png")
    table = said("look", picture, "--lists", "kunst")
    assert all(line in table for line in shown)
    [answer] = json.loads(said("look", picture, "--lists", "kunst", "--json"))
    assert {found["phrase"] for found in answer["lists"]["kunst"]} == set(LETTERS)
