"""A small server on loopback that stands in for the Hugging Face hub: what its client asks for, and what can go wrong.

Repositories are folders on disk. As at the hub, weights lie in a store of their own: a request for them is sent on
to another host, with the hash and the size in the answer's head; small files are answered at once, named by git's hash.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_ABOUT = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")
_TREE = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^/]+)")
_STORED = re.compile(r"/store/(?P<sha256>[0-9a-f]{64})/(?P<file>[^/]+)")


@dataclass
class Repository:
    """A model's files at each commit, and where its branches stand."""

    commits: Mapping[str, Path]
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False


@dataclass
class StandInHub:
    """What the server has, how it misbehaves, and what it was asked."""

    repositories: dict[str, Repository]
    address: str = ""
    requests: list[str] = field(default_factory=list)
    """Each request's method and path, in order."""
    status: int | None = None
    """Answer everything with this status."""
    cut: dict[str, int] = field(default_factory=dict)
    """Close the connection after so many of a file's bytes, however often it is asked for, and wherever it goes on."""
    corrupt: set[str] = field(default_factory=set)
    """Files whose contents are not what their hash says, at the same length."""

    def files_asked_for(self) -> set[str]:
        """Return the names of the files whose contents were asked for."""
        paths = [request.removeprefix("GET ") for request in self.requests if request.startswith("GET ")]
        return {found["file"] for path in paths if (found := _FILE.fullmatch(path) or _STORED.fullmatch(path))}


@contextmanager
def stand_in_hub(repositories: dict[str, Repository]) -> Iterator[StandInHub]:
    """Run a hub with these repositories, by model id, on a free port of loopback."""
    hub = StandInHub(repositories)
    server = _Server(hub)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: StandInHub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def hub(self) -> StandInHub:
        return self.server.hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status is not None:
            self._refuse(self.hub.status, "")
        elif stored := _STORED.fullmatch(path):
            self._store(stored["sha256"], stored["file"])
        elif asked := _ABOUT.fullmatch(path) or _TREE.fullmatch(path) or _FILE.fullmatch(path):
            repository = self.hub.repositories.get(asked["model"])
            revision = asked["revision"]
            commit = repository.branches.get(revision, revision) if repository else ""
            if repository is None:
                # Whoever is not logged in is not told whether a model is private or does not exist.
                self._refuse(401, "RepoNotFound")
            elif commit not in repository.commits:
                self._refuse(404, "RevisionNotFound")
            elif asked.re is _ABOUT:
                names = [{"rfilename": file.name} for file in _listed(repository.commits[commit])]
                self._answer_json({"id": asked["model"], "sha": commit, "siblings": names, "gated": repository.gated})
            elif asked.re is _TREE:
                self._answer_json([_entry(file) for file in _listed(repository.commits[commit])])
            elif repository.gated:
                self._refuse(401, "GatedRepo")
            else:
                self._resolve(repository.commits[commit] / asked["file"], commit)
        else:
            self._refuse(404, "")

    do_HEAD = do_GET  # noqa: N815  # http.server's name for it

    def _resolve(self, file: Path, commit: str) -> None:
        head = {"X-Repo-Commit": commit}
        if not file.is_file():
            self._refuse(404, "EntryNotFound", head)
        elif _is_stored(file):
            # By its name, so that to the client it is another host, as the hub's store is.
            store = self.hub.address.replace("127.0.0.1", "localhost")
            sha256 = _sha256(file)
            self.send_response(302)
            for name, value in {
                **head,
                "Location": f"{store}/store/{sha256}/{file.name}",
                "X-Linked-Etag": f'"{sha256}"',
                "X-Linked-Size": str(file.stat().st_size),
                "Content-Length": "0",
            }.items():
                self.send_header(name, value)
            self.end_headers()
        else:
            self._send_file(file, {**head, "ETag": f'"{_git_hash(file)}"'})

    def _store(self, sha256: str, name: str) -> None:
        folders = [folder for repository in self.hub.repositories.values() for folder in repository.commits.values()]
        files = [folder / name for folder in folders if (folder / name).is_file()]
        file = next((file for file in files if _sha256(file) == sha256), None)
        if file is None:
            self._refuse(404, "")
        else:
            self._send_file(file, {"ETag": f'"{sha256}"'})

    def _send_file(self, file: Path, head: Mapping[str, str]) -> None:
        contents = file.read_bytes()
        if file.name in self.hub.corrupt:
            contents = contents[:-1] + bytes([contents[-1] ^ 1])
        size = len(contents)
        start = 0
        if going_on := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(going_on[1])
        self.send_response(206 if going_on else 200)
        for name, value in head.items():
            self.send_header(name, value)
        if going_on:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = self.hub.cut.get(file.name, size)
        self.wfile.write(contents[start:end])
        self.close_connection = end < size

    def _answer_json(self, contents: Any) -> None:
        body = json.dumps(contents).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        # The hub has its client warn whoever is not logged in.
        self.send_header("X-HF-Warning", "unauthenticated; You are sending unauthenticated requests to the hub.")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str, head: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(head or {}), "X-Error-Code": code, "Content-Length": "0"}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name for it
        """Say nothing: `requests` has it all."""


def _listed(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _entry(file: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "oid": _git_hash(file),
        "size": file.stat().st_size,
        "path": file.name,
    }
    if _is_stored(file):
        entry["lfs"] = {"oid": _sha256(file), "size": file.stat().st_size, "pointerSize": 134}
    return entry


def _is_stored(file: Path) -> bool:
    return file.suffix in (".safetensors", ".bin", ".msgpack", ".h5", ".model")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git_hash(file: Path) -> str:
    contents = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents, usedforsecurity=False).hexdigest()
