"""Record all answers of one checkout, or compare two recordings.

    python -m tests.recorded record --checkout DIR --out FILE [--port 28410] [--only TEXT]
    python -m tests.recorded compare FILE FILE

A checkout is run as `gaze serve` on the demo model, with this Python: three servers one after another, each with other
settings. Ids, dates, durations, ports and the version are masked. `compare` prints what differs and ends with 1 if
anything does; requests that were built otherwise, as from other pictures, are named apart.
"""

import argparse
import difflib
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.recorded.building import KEY, OTHER_KEY, pictures
from tests.recorded.requests import asked_requests
from tests.recorded.serving import gaze, masked, sent
from tests.recorded.web import museum

_SERVERS = ("open", "keys", "own")
_SHOWN = 30  # lines of a difference


def record(checkout: Path, out: Path, port: int, only: str) -> None:
    """Send all requests whose name has the text in it, and write each answer as a line of JSON."""
    origin = port + len(_SERVERS)
    ports = {name: port + number for number, name in enumerate(_SERVERS)}
    asked = [each for each in asked_requests(ports, origin) if only in each.name]
    if len({each.name for each in asked}) != len(asked):
        names = [each.name for each in asked]
        raise SystemExit(f"two requests have one name: {sorted({name for name in names if names.count(name) > 1})}")
    with tempfile.TemporaryDirectory(prefix="recorded-") as temporary, out.open("w", encoding="utf-8") as written:
        folder = Path(temporary)
        with museum(origin, pictures()):
            for server in _SERVERS:
                log = folder / f"{server}.log"
                here = [each for each in asked if each.server == server]
                if not here:
                    continue
                with gaze(checkout, ports[server], _settings(server, origin, folder), log):
                    for each in here:
                        answer = sent(ports[server], each.raw, cut_short=each.cut_short)
                        shown = masked(
                            answer,
                            server=ports[server],
                            origin=origin,
                            names_only=each.names_only,
                            is_file=each.is_file,
                        )
                        fingerprint = hashlib.sha256(_without(each.raw, ports[server], origin)).hexdigest()[:16]
                        line = {"name": each.name, "request": fingerprint, **shown}
                        written.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"{len(asked)} answers are in {out}")


def _without(raw: bytes, *ports: int) -> bytes:
    for port in ports:
        raw = raw.replace(str(port).encode(), b"PORT")
    return raw


def _settings(server: str, origin: int, folder: Path) -> dict[str, str]:
    common = {"GAZE_CACHE_DIR": str(folder / "cache"), "GAZE_URL_FETCH": f"127.0.0.1:{origin}"}
    if server == "open":
        return {**common, "GAZE_CORS_ORIGINS": "https://museum.example"}
    if server == "keys":
        return {
            **common,
            "GAZE_API_KEYS": f"{KEY},{OTHER_KEY}",
            "GAZE_RATE_LIMIT": "14/hour",
            "GAZE_CORS_ORIGINS": "*",
            "GAZE_MAX_REQUEST_BYTES": "300000",
            "GAZE_MAX_IMAGE_BYTES": "100000",
            "GAZE_MAX_IMAGE_PIXELS": "20000",
            "GAZE_MAX_PHRASES": "10",
        }
    lists = folder / "lists"
    lists.mkdir()
    (lists / "techniques.csv").write_text('label,uri\nwoodcut,http://vocab.getty.edu/aat/300041405\n"pen, ink",\n')
    (lists / "plain.txt").write_text("a river\nthe sea\nmountains\n")
    (lists / "lists.toml").write_text('[techniques]\ntitle = "Our techniques"\ntemplate = "{}, a work on paper"\n')
    return {
        **common,
        "GAZE_URL_FETCH": "off",
        "GAZE_DECODE": "fast",
        "GAZE_LISTS_DIR": str(lists),
        "GAZE_PUBLIC_URL": "https://museum.example/gaze",
        "GAZE_HOSTS": "other.example",
        "GAZE_TRUSTED_PROXIES": "127.0.0.1",
    }


def compare(before: Path, after: Path) -> int:
    """Print what differs, and return whether anything does."""
    old, new = _read(before), _read(after)
    counts = dict.fromkeys(("same", "different", "asked otherwise", "only in the first", "only in the second"), 0)
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new or name not in old:
            kind = "only in the first" if name in old else "only in the second"
            print(f"--- {name}: {kind}")
        elif old[name] == new[name]:
            kind = "same"
        elif old[name]["request"] != new[name]["request"]:
            kind = "asked otherwise"
            print(f"--- {name}: {kind}")
        else:
            kind = "different"
            print(f"--- {name}")
            print("\n".join(_difference(old[name], new[name])))
        counts[kind] += 1
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return int(counts["same"] != len(old | new))


def _read(file: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    return {line["name"]: line for line in lines}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    lines = difflib.unified_diff(_lines(old), _lines(new), "before", "after", lineterm="", n=1)
    shown = list(lines)[2:]
    yield from (f"  {line[:300]}" for line in shown[:_SHOWN])
    if len(shown) > _SHOWN:
        yield f"  … and {len(shown) - _SHOWN} lines more"


def _lines(answer: dict[str, Any]) -> list[str]:
    headers = [": ".join(header) for header in answer["headers"]]
    body = answer["body"]
    try:
        told = json.dumps(json.loads(body), indent=1, ensure_ascii=False).splitlines()
    except ValueError:
        told = body.splitlines()
    # What differs in nothing but the spelling of JSON is shown as it is.
    return [answer["status"], *headers, "", *told, "", body]


def main(arguments: list[str]) -> int:
    """Do what the arguments say, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="send the requests to a checkout's service and write the answers")
    recording.add_argument("--checkout", type=Path, default=Path.cwd())
    recording.add_argument("--out", type=Path, required=True)
    recording.add_argument("--port", type=int, default=28410, help="the first of four ports of loopback")
    recording.add_argument("--only", default="", help="a text that the names of the requests have in them")
    comparing = commands.add_parser("compare", help="print what differs between two recordings")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "compare":
        return compare(options.before, options.after)
    record(options.checkout.resolve(), options.out, options.port, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
