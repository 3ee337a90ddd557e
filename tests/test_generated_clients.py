"""Clients that others' generators make of the OpenAPI document, in Python and in TypeScript, ask a real service."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TYPESCRIPT = Path(__file__).parent / "typescript"
PICTURE = REPOSITORY / "examples" / "red-circle-on-blue.png"
BIN = Path(sys.executable).parent

PYTHON_CALLER = """
import base64
import sys
from pathlib import Path

from gaze_client import Client
from gaze_client.api.ranking import gaze
from gaze_client.models.gaze_answer import GazeAnswer
from gaze_client.models.gaze_files_body import GazeFilesBody
from gaze_client.models.gaze_request import GazeRequest
from gaze_client.models.gaze_request_phrases import GazeRequestPhrases
from gaze_client.models.image_by_base_64 import ImageByBase64
from gaze_client.models.problem import Problem
from gaze_client.models.result import Result
from gaze_client.types import File

address, picture = sys.argv[1:]
client = Client(base_url=address)
image = ImageByBase64(base64=base64.b64encode(Path(picture).read_bytes()).decode())


def first_of(answer: GazeAnswer | Problem | None, name: str) -> str:
    assert isinstance(answer, GazeAnswer)
    [result] = answer.results
    assert isinstance(result, Result)
    return result.lists[name].predictions[0].label


phrases = GazeRequestPhrases()
phrases["shape"] = ["a blue square", "a red circle"]
print(first_of(gaze.sync(client=client, body=GazeRequest(image=image, phrases=phrases, top_k=None)), "shape"))
form = GazeFilesBody(
    image=[File(payload=Path(picture).open("rb"), file_name="a.png")], phrases=["a green star", "a red circle"]
)
print(first_of(gaze.sync(client=client, body=form), "phrases"))
refused = gaze.sync(client=client, body=GazeRequest(image=image, lists=["no-such-list"]))
assert isinstance(refused, Problem)
print(refused.status, refused.code)
"""

TYPESCRIPT_CALLER = """
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./gaze.js";

type GazeAnswer = components["schemas"]["GazeAnswer"];
type Problem = components["schemas"]["Problem"];
const [address, picture] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: address });
const image = { base64: readFileSync(picture).toString("base64") };

const { data, error } = await client.POST("/v1/gaze", {
  body: { image, phrases: { shape: ["a blue square", "a red circle"] }, top_k: null },
});
if (error) throw new Error(error.detail);
const answer = data as GazeAnswer; // no other form was asked for
const result = answer.results[0]!;
if (!("lists" in result)) throw new Error(result.error.detail);
console.log(result.lists["shape"]!.predictions[0]!.label);

const refused = await client.POST("/v1/gaze", { body: { image, lists: ["no-such-list"] } });
const problem: Problem = refused.error!;
console.log(problem.status, problem.code);
"""


@pytest.fixture(scope="module")
def document(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    with urllib.request.urlopen(f"{server}/openapi.json", timeout=20) as response:
        file.write_bytes(response.read())
    return file


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, and return all that it printed."""
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))  # generators call ruff
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_python_client_is_typed_and_asks(document: Path, server: str, tmp_path: Path) -> None:
    generate = ("generate", "--path", document, "--meta", "none", "--output-path", tmp_path / "gaze_client")
    printed = run(BIN / "openapi-python-client", *generate, "--fail-on-warning", cwd=tmp_path)
    assert "warning" not in printed.lower()
    caller = tmp_path / "caller.py"
    caller.write_text(PYTHON_CALLER, encoding="utf-8")
    run(BIN / "mypy", "--strict", "--follow-imports=silent", "--cache-dir", tmp_path / "mypy", caller, cwd=tmp_path)
    assert run(sys.executable, caller, server, PICTURE, cwd=tmp_path, PYTHONPATH=str(tmp_path)).splitlines() == [
        "a red circle",
        "a red circle",
        "404 unknown_list",
    ]


def test_a_generator_that_warns_fails_this(document: Path, tmp_path: Path) -> None:
    broken = json.loads(document.read_text(encoding="utf-8"))
    problem = broken["paths"]["/v1/gaze"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    problem["schema"] = {"allOf": [problem["schema"], {"properties": {"status": {"const": 422}}}]}
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(broken), encoding="utf-8")
    generate = ("generate", "--path", file, "--meta", "none", "--output-path", tmp_path / "gaze_client")
    with pytest.raises(AssertionError, match="WARNING"):
        run(BIN / "openapi-python-client", *generate, "--fail-on-warning", cwd=tmp_path)


def test_a_typescript_client_is_typed_and_asks(document: Path, server: str, tmp_path: Path) -> None:
    tools = TYPESCRIPT / "node_modules" / ".bin"
    if shutil.which("node") is None or not tools.is_dir():
        reason = "no Node.js, or no generator in tests/typescript: npm ci --prefix tests/typescript"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    run(tools / "openapi-typescript", document, "--default-non-nullable=false", "--output", "gaze.d.ts", cwd=tmp_path)
    (tmp_path / "node_modules").symlink_to(TYPESCRIPT / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "node.d.ts").write_text(
        'declare module "node:fs" { export function readFileSync(name: string): { toString(as: string): string }; }\n'
        "declare const process: { argv: string[] };\n",
        encoding="utf-8",
    )
    (tmp_path / "caller.ts").write_text(TYPESCRIPT_CALLER, encoding="utf-8")
    options = ("--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext")
    run(tools / "tsc", *options, "--lib", "es2022,dom", "caller.ts", "node.d.ts", cwd=tmp_path)
    assert run("node", "caller.js", server, PICTURE, cwd=tmp_path).splitlines() == ["a red circle", "404 unknown_list"]
