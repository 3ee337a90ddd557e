"""What service/server leans on in gunicorn: no more than this, and as it was when it was written."""

import ast
import inspect
import pkgutil
import re
import socket
from pathlib import Path
from typing import Any

import gunicorn
import pytest
from gunicorn.config import Config

from service import server

MOST = 20
SERVER = Path(server.__file__).parent
DOCUMENTED = server.__doc__ or ""

FUNCTIONS = {
    "workers.base:Worker": ["age", "ppid", "sockets", "app", "timeout", "cfg", "log"],
    "workers.base:Worker.run": ["self"],
    "workers.base:Worker.handle_exit": ["self", "sig", "frame"],
    "workers.base:Worker.notify": ["self"],
    "arbiter:Arbiter.reload": ["self"],
    "arbiter:Arbiter.manage_workers": ["self"],
    "arbiter:Arbiter.spawn_worker": ["self"],
    "http:get_parser": ["cfg", "source", "source_addr", "http2_connection"],
    "http.wsgi:create": ["req", "sock", "client", "server", "cfg", "response_class", "response_args"],
    "http.message:Request.should_close": ["self"],
}
"""What is called, overridden or replaced, and its parameters."""

ATTRIBUTES = {
    "Worker.sockets": ("workers.base:Worker.__init__", "self.sockets = sockets"),
    "Worker.cfg": ("workers.base:Worker.__init__", "self.cfg = cfg"),
    "Worker.wsgi": ("workers.base:Worker.load_wsgi", "self.wsgi = self.app.wsgi()"),
    "Worker.pid": ("arbiter:Arbiter.spawn_worker", "worker.pid = pid"),
    "Arbiter.WORKERS": ("arbiter:Arbiter.spawn_worker", "self.WORKERS[pid] = worker"),
    "Arbiter.num_workers": ("arbiter:Arbiter.manage_workers", "len(self.WORKERS) < self.num_workers"),
}
"""What is read or set, and where gunicorn gives it its meaning."""

ERRORS = ("ParseException", "LimitRequestLine", "LimitRequestHeaders")

USED = [*FUNCTIONS, *ATTRIBUTES, *ERRORS]


def gunicorns(name: str) -> Any:
    """Return something of gunicorn's, by its module and name; fail where a release has it no more."""
    try:
        return pkgutil.resolve_name(f"gunicorn.{name}")
    except (ImportError, AttributeError):
        pytest.fail(because(name, "has no"))


def because(name: str, what: str) -> str:
    return f"gunicorn {gunicorn.__version__} {what} {name}, on which service/server leans; its docstring says for what"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_they_are_given(name: str) -> None:
    parameters = list(inspect.signature(gunicorns(name)).parameters)
    assert parameters == FUNCTIONS[name], because(name, "has other parameters for")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_mean_what_they_meant(name: str) -> None:
    function, code = ATTRIBUTES[name]
    assert code in inspect.getsource(gunicorns(function)), because(name, "may mean something else by")


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_the_parsers(name: str) -> None:
    assert issubclass(gunicorns(f"http.errors:{name}"), gunicorns("http.errors:ParseException"))


def test_parser_takes_pieces_of_bytes_and_gives_a_request() -> None:
    pieces = iter([b"POST /a?b=c HTTP/1.1\r\nHost: gaze\r\nContent-Length: 4\r\n\r\n", b"bo", b"dy"])
    request = next(gunicorns("http:get_parser")(Config(), pieces, ("192.0.2.1", 1)))
    with socket.socket() as unused:
        addresses = ("192.0.2.1", 1), ("127.0.0.1", 2)
        _, environ = gunicorns("http.wsgi:create")(request, unused, *addresses, Config())
    expected = {"SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": "POST", "PATH_INFO": "/a", "REMOTE_ADDR": "192.0.2.1"}
    assert expected.items() <= environ.items(), because("http.wsgi:create", "has another result of")
    assert environ["wsgi.input"].read() == b"body", because("http:get_parser", "has another reader in")
    assert not request.should_close(), because("http.message:Request.should_close", "has another result of")


def test_names_that_are_used_are_watched_and_documented() -> None:
    used = set().union(*(names_in(file) for file in SERVER.glob("*.py")))
    watched = {re.split("[:.]", name)[-1] for name in USED}
    assert used <= watched | {"Arbiter", "Request"}, f"watch these, or do without: {sorted(used - watched)}"
    for name in watched:
        assert re.search(rf"\b{name}\b", DOCUMENTED), f"service/server/__init__.py does not tell of {name}"


def test_names_are_few() -> None:
    assert len(USED) <= MOST, f"{len(USED)} names of gunicorn's are used"


def names_in(file: Path) -> set[str]:
    """Return what a module imports from gunicorn, overrides of its classes, and uses of their instances."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    names = {each.name for node in imports if str(node.module).startswith("gunicorn") for each in node.names}
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for each in classes:
        if names & {base.id for base in each.bases if isinstance(base, ast.Name)}:
            names |= {method.name for method in each.body if isinstance(method, ast.FunctionDef)}
            names |= attributes(each, "self")
    # As the hooks' parameters are called, and the parser's result; the index is ours.
    return names | attributes(tree, "server", "worker", "request") - {"index"}


def attributes(tree: ast.AST, *variables: str) -> set[str]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in found if isinstance(node.value, ast.Name) and node.value.id in variables}
