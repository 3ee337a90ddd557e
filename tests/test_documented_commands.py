"""What README and the documents tell to type: what a command names is there, and what can be run here is run."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from service.cli import main
from service.documents.formats import FORMATS
from service.errors import GazeError
from service.settings import PREFIX, Settings
from service.zero_shot.phrase_lists import built_in_folder, read_lists
from tests.conftest import CACHE, REPOSITORY, encoded, noise, serving
from tests.support.deploy_kustomize import built, pod_of
from tests.support.documented import DOCUMENTS, Command, blocks, commands_in, parsed, spans
from tests.support.gaze_command import environment_of, gaze, run_in
from tests.support.iiif_museum import canvas
from tests.support.iiif_tree import StaticHost
from tests.support.openapi_reader import document_of_built_in_lists
from tests.support.origin import Answer, Origin, http

SERVICE, MUSEUM = "http://127.0.0.1:8000", "https://museum.example"
PROGRAMS = frozenset(("gaze", "curl", "docker", "make", "python", "kubectl", "pip", ".ci/run"))
OF_OTHERS = frozenset(("bin/caUtils", "npx", "openapi-python-client"))
"""Programs of other systems; tests/test_generated_clients.py makes clients with the last two."""

NAMES_OF_OTHERS = {
    *(
        "weights_only",
        "model_type",
        "kube_pod_container_status_restarts_total",
    ),  # torch, transformers, Prometheus
    # Of a CollectiveAccess that was set up as the recipe says.
    *("machine_suggestion", "machine_suggestion_label", "machine_suggestion_note", "machine_suggestion_uri"),
    "review_state",
}

COMMANDS = [command for path in DOCUMENTS for command in commands_in(path, PROGRAMS)]
BY_HAND = [command for command in COMMANDS if command.in_block]

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PAGES = REPOSITORY / "docs"
RECIPES = (PAGES / "recipes.md").read_text(encoding="utf-8")
ASKING = (PAGES / "asking.md").read_text(encoding="utf-8")
LISTS = (PAGES / "lists.md").read_text(encoding="utf-8")
OBJECTS = [one for name in ("cpu", "cuda") for one in built(REPOSITORY / "deploy" / "kubernetes" / "overlays" / name)]

_DOCKER = frozenset(("build", "push", "run", "compose up", "compose build", "network inspect"))
_KUBERNETES_KINDS = {"job": "Job", "deployment": "Deployment", "service": "Service", "configmap": "ConfigMap"}


# --- what a command names is there ---


def of(*programs: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", [each for each in COMMANDS if each.program in programs], ids=str)


def check(command: Command) -> None:
    """Assert that what a command names is there."""
    _CHECKS[command.program](command)


def check_gaze(command: Command) -> None:
    """Let click itself read the command, as it stands or, of one that is only named, as far as it goes."""
    _, *arguments = command.words
    context = click.Context(main)
    with context:
        name, subcommand, rest = main.resolve_command(context, arguments) if arguments[0][0] != "-" else ("", main, [])
        assert subcommand is not None
        if rest or command.in_block:
            subcommand.make_context(name, [_plain(word) for word in rest], parent=context)


def check_docker(command: Command) -> None:
    name = " ".join(command.words[1:3] if command.words[1] in ("compose", "network") else command.words[1:2])
    assert name in _DOCKER
    if name.startswith("compose"):
        for service in (word for word in command.words[3:] if word[0] != "-"):
            assert service in COMPOSE["services"]
        for setting in command.settings:
            assert f"${{{setting.partition('=')[0]}" in COMPOSE_TEXT
    check_docker_options(str(command))


def check_docker_options(text: str) -> None:
    for target in re.findall(r"--target[ =]([a-z]\S*)", text):
        assert re.search(rf"^FROM \w+ AS {re.escape(target)}$", DOCKERFILE, re.MULTILINE), target
    for argument in re.findall(r"--build-arg[ =]['\"]?(\w+)", text):
        assert re.search(rf"^ARG {argument}=", DOCKERFILE, re.MULTILINE), argument


def check_make(command: Command) -> None:
    variables = [word for word in command.words[1:] if "=" in word]
    for target in command.words[1:]:
        if target not in variables:
            assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), target
    for setting in (*variables, *command.settings):
        name = setting.partition("=")[0]
        assert name in settings() or re.search(rf"\b{name} \?=|\$\({name}\)", MAKEFILE), name


def check_python(command: Command) -> None:
    flag, module, *_ = command.words[1:]
    assert flag == "-m"
    assert importlib.util.find_spec(module)
    for setting in command.settings:
        assert setting.partition("=")[0] in settings()


def check_pip(command: Command) -> None:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    name, _, extra = command.words[-1].rstrip("]").partition("[")
    assert command.words[1] == "install"
    assert name == project["name"]
    assert not extra or extra in project["optional-dependencies"]


def check_kubectl(command: Command) -> None:
    named = re.findall(r"\b(job|deployment|service|configmap)[/ ]([\w-]+)", str(command))
    for kind, name in named:
        assert any((one["kind"], one["metadata"]["name"]) == (_KUBERNETES_KINDS[kind], name) for one in OBJECTS), name
    for namespace in re.findall(r" -n (\S+)| create namespace (\S+)", str(command)):
        assert "".join(namespace) in {one["metadata"].get("namespace") for one in OBJECTS}
    for secret, key in re.findall(r"secret generic (\S+) '?--from-literal=([\w-]+)=", str(command)):
        containers = [each for one in OBJECTS if pod_of(one) for each in pod_of(one)["containers"]]
        references = [each.get("valueFrom", {}).get("secretKeyRef", {}) for one in containers for each in one["env"]]
        assert (secret, key) in {(each.get("name"), each.get("key")) for each in references}


def check_path(command: Command) -> None:
    assert (REPOSITORY / command.words[0]).is_file()


def check_curl(command: Command) -> None:
    assert command.words[1:], "curl of nothing"


_CHECKS: dict[str, Callable[[Command], None]] = {
    "gaze": check_gaze,
    "docker": check_docker,
    "make": check_make,
    "python": check_python,
    "pip": check_pip,
    "kubectl": check_kubectl,
    ".ci/run": check_path,
    "curl": check_curl,
}


def settings() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def _plain(word: str) -> str:
    return re.sub(r"\$\w+", "x", word)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the files which the documents' commands speak of, and is where they are run."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    for name in ("painting.jpg", "1937.1.84.jpg", "scans/inv1.jpg", "scans/inv2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(noise(300, 240, seed=len(name)), "JPEG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_one_that_is_looked_at() -> None:
    assert {command.program for command in BY_HAND} <= PROGRAMS | OF_OTHERS
    counted = {program: sum(each.program == program for each in COMMANDS) for program in PROGRAMS}
    assert counted["gaze"] > 10
    assert counted["curl"] > 7
    assert all(counted.values())


@of(*PROGRAMS)
def test_what_a_command_names_is_there(command: Command, place: Path) -> None:
    check(command)


@pytest.mark.parametrize("path", [*DOCUMENTS, REPOSITORY / "Dockerfile", REPOSITORY / "docker-compose.yml"], ids=str)
def test_targets_arguments_and_settings_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check_docker_options(text)
    of_kubernetes = {"GAZE_SERVICE_HOST"}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) <= settings() | of_kubernetes
    for word in re.findall(r"\bmake ([a-z-]+)`", text):
        assert re.search(rf"^{word}:", MAKEFILE, re.MULTILINE), word


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_options_that_are_named_are_there(path: Path) -> None:
    known = {option for command in main.commands.values() for each in command.params for option in each.opts}
    source = "".join(each.read_text(encoding="utf-8") for each in (REPOSITORY / "benchmarks").glob("*.py"))
    for span in spans(path.read_text(encoding="utf-8")):
        if span.startswith("--") and not span.startswith(("--build-arg ", "--target ")):
            name, *value = span.split(" ")
            assert name in known or f'"{name}"' in source, span
            for each in (each for each in main.commands["bulk"].params if name in each.opts and value):
                each.process_value(click.Context(main.commands["bulk"]), value[0])


@pytest.mark.parametrize(
    "typed",
    [
        "gaze bulk scans --lists tools --out a.csv --fast",
        "gaze bulk scans --lists tools --out a.csv --engine spark",
        "gaze bulk scans --lists tools --out a.csv --top-k many",
        "gaze bulk --lists tools --out a.csv",
        "gaze look nowhere.jpg --lists tools",
        "gaze show",
        "docker build --target gpu .",
        "docker build --build-arg MODEL=demo .",
        "docker compose up gaze-gpu",
        "docker compose start",
        "PORT=80 docker compose up",
        "make tests",
        "make run INDEX=x",
        "GAZE_SPEED=1 make run",
        "python -m benchmarks.nothing",
        "pip install 'gaze[all]'",
        "kubectl -n gaze rollout status deployment/gauze",
        "kubectl -n museum get pods",
        "kubectl -n gaze create secret generic gaze-key --from-literal=api-keys=x",
        ".ci/walk",
    ],
)
def test_command_that_names_what_is_not_there_is_noticed(typed: str, place: Path) -> None:
    [(variables, words)] = parsed(typed)
    command = Command("", words, variables)
    program = ".ci/run" if words[0].startswith(".ci") else command.program
    with pytest.raises((AssertionError, click.UsageError)):
        _CHECKS[program](command)


def names_of_the_interface() -> set[str]:
    """Return fields, values, codes, columns, metrics and names of lists, as the service itself has them."""
    lists = read_lists(built_in_folder())
    columns = {column for form in FORMATS.values() if form.table for column in form.table.columns}
    metrics = re.findall(r'"(gaze_\w+)"', (REPOSITORY / "service" / "api" / "metrics.py").read_text(encoding="utf-8"))
    codes = {kind.code for kind in GazeError.__subclasses__()}
    return _names_in(document_of_built_in_lists()) | codes | set(lists) | set(FORMATS) | columns | set(metrics)


def _names_in(node: Any) -> set[str]:
    if isinstance(node, dict):
        return set(node).union(*map(_names_in, node.values()))
    if isinstance(node, list):
        return set[str]().union(*map(_names_in, node))
    return {node} if isinstance(node, str) else set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_names_between_backticks_are_there(path: Path) -> None:
    named = {span for span in spans(path.read_text(encoding="utf-8")) if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", span)}
    assert named - names_of_the_interface() <= NAMES_OF_OTHERS


# --- and it is run ---


class _Museum(StaticHost):
    """A host that has whatever picture, manifest or collection is asked for."""

    address = ""

    def __missing__(self, path: str) -> Answer:
        root = f"http://{self.address}"
        if path.endswith(".jpg"):
            return http(encoded(noise(300, 240), "JPEG"))
        document: dict[str, Any] = {"@context": "http://iiif.io/api/presentation/3/context.json", "id": root + path}
        if path.endswith("/manifest"):
            document |= {"type": "Manifest", "items": [canvas(root, 1, f"{root}/3/a")]}
        elif path.endswith("/collection"):
            document |= {"type": "Collection", "items": [{"id": f"{root}/iiif/a/manifest", "type": "Manifest"}]}
        elif path.endswith("/info.json"):
            document = {"@context": "http://iiif.io/api/image/3/context.json", "id": root + path[: -len("/info.json")]}
            document |= {"type": "ImageService3", "protocol": "http://iiif.io/api/image", "profile": "level0"}
            document |= {"width": 300, "height": 240, "sizes": [{"width": 300, "height": 240}]}
        else:
            return super().__missing__(path)
        return http(json.dumps(document).encode())


@dataclass(frozen=True)
class World:
    """Where the documents' addresses lead in a test."""

    service: str
    museum: str

    def here(self, text: str) -> str:
        """Return a text with the addresses that are here."""
        return text.replace(SERVICE, self.service).replace(MUSEUM, self.museum)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    files = _Museum()
    with Origin(files) as origin:
        files.address = origin.address
        with serving(GAZE_MODEL="demo", GAZE_URL_FETCH="127.0.0.0/8") as address:
            yield World(address, f"http://{origin.address}")


def asked(world: World, words: tuple[str, ...]) -> tuple[int, str]:
    """Run curl, and return the status and the answer."""
    if not (shutil.which("curl") or os.environ.get("CI")):
        pytest.skip("there is no curl on this machine")
    ended = subprocess.run(
        ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *map(world.here, words[1:])],
        env=environment_of(NO_PROXY="*"),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer, _, status = ended.stdout.rpartition("\n")
    if "-o" in words:
        answer = Path(words[words.index("-o") + 1]).read_text(encoding="utf-8")
    return int(status), answer


@of("curl")
def test_curl_is_answered(command: Command, world: World, place: Path) -> None:
    status, answer = asked(world, command.words)
    assert status == 200, answer
    assert answer
    assert '"error"' not in answer


@pytest.mark.parametrize(
    "typed",
    [
        f"curl -F picture=@painting.jpg -F lists=movements {SERVICE}/v1/gaze",
        f"curl -F image=@painting.jpg -F list=movements {SERVICE}/v1/gaze",
        f"curl -F image=@painting.jpg -F lists=movements -F top_k=many {SERVICE}/v1/gaze",
        f"curl -F image=@painting.jpg -F lists=movements {SERVICE}/v1/look",
        f"curl -F image=@painting.jpg -F lists=movements '{SERVICE}/v1/gaze?format=csv-omeka'",
        f"""curl -H 'Content-Type: application/json' {SERVICE}/v1/gaze -d '{{"picture": {{"url": "http://a"}}}}'""",
    ],
)
def test_curl_with_a_false_field_is_noticed(typed: str, world: World, place: Path) -> None:
    [(_, words)] = parsed(typed)
    assert 400 <= asked(world, words)[0] < 500


RUN_HERE = [each for each in BY_HAND if each.program == "gaze" and not any("$" in word for word in each.words)]


@pytest.mark.parametrize("command", RUN_HERE, ids=str)
def test_gaze_does_what_it_is_told(command: Command, world: World, place: Path) -> None:
    (place / "objects.csv").write_text(world.here(blocks(RECIPES, "csv")[0]), encoding="utf-8")
    variables = {"GAZE_MODEL": "demo", "GAZE_URL_FETCH": "127.0.0.0/8", "GAZE_CACHE_DIR": str(CACHE)}
    words = [world.here(word) for word in command.words[1:]]
    # In a process of its own, because `gaze` sets the logs of its process up.
    ended = run_in(place, [sys.executable, "-m", "service.cli", *words], **variables)
    assert ended.returncode == 0, ended.stderr
    if "--out" in command.words:
        assert (place / command.words[command.words.index("--out") + 1]).stat().st_size > 1_000
    else:
        assert ended.stdout


def test_script_for_every_night_does_what_it_says(place: Path) -> None:
    [script] = [each for each in blocks(RECIPES, "sh") if "#!" in each]
    shutil.move(place / "scans", place / "2026-01-30")
    (place / "srv" / "scans").mkdir(parents=True)
    shutil.move(place / "2026-01-30", place / "srv" / "scans" / "2026-01-30")
    program = place / "srv" / "gaze" / ".venv" / "bin" / "gaze"
    program.parent.mkdir(parents=True)
    (place / "srv" / "gaze" / "out").mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m service.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))
    for _ in range(2):
        ended = subprocess.run(
            ["sh", "-c", script.replace("/srv/", f"{place}/srv/")],
            env=environment_of(GAZE_MODEL="demo", PYTHONPATH=path),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        written = (place / "srv" / "gaze" / "out" / "2026-01-30.csv").read_text(encoding="utf-8")
        assert "inv1" in written


def test_pythons_recipe_prints_what_it_says(world: World) -> None:
    [recipe] = blocks(ASKING, "python")
    ended = subprocess.run(
        [sys.executable, "-c", world.here(recipe)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = ended.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["movements", "subject", "colour"] * 2
    assert lines[1].startswith("subject a red circle ")


def test_javascripts_recipe_prints_phrases(world: World, place: Path) -> None:
    if not (shutil.which("node") or os.environ.get("CI")):
        pytest.skip("there is no node on this machine")
    [recipe] = blocks(ASKING, "js")
    (place / "ask.mjs").write_text(world.here(recipe), encoding="utf-8")
    ended = subprocess.run(
        ["node", "ask.mjs", "painting.jpg"], cwd=place, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(re.findall(r"^.+ movement \d", ended.stdout, re.MULTILINE)) == 5


def test_museums_own_list_is_served(place: Path) -> None:
    lists = place / "our-lists"
    lists.mkdir()
    (lists / "techniques.csv").write_text(blocks(LISTS, "csv")[0], encoding="utf-8")
    (lists / "lists.toml").write_text(blocks(LISTS, "toml")[0], encoding="utf-8")
    ended = gaze("lists", "techniques", GAZE_LISTS_DIR=lists)
    assert ended.stdout == "woodcut, a work on paper\npen, ink and wash, a work on paper\n"
    [override] = [yaml.safe_load(each) for each in blocks(LISTS, "yaml")]
    assert set(override["services"]) <= set(COMPOSE["services"])
    given = dict(each.split("=") for service in override["services"].values() for each in service["environment"])
    assert set(given) <= settings()
