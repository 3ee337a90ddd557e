"""A decoding process in which a picture has taken over its decoder: the real one, but for Pillow's codec of GIF.

A GIF whose comment begins with REACH makes the decoder try what it should not be able to do, and say in its answer what
it could. One with SAY makes it answer the bytes behind that, and hang.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from PIL import GifImagePlugin, Image, ImageFile

from service.errors import UndecodableImage

PROGRAM = """
import os, sys
sys.path[:] = sys.argv[2:]
from tests.support.hostile_decoder import take_over
from service.images.isolation.child import main
take_over()
main()
"""

REACH, SAY = b"GIF89aREACH", b"GIF89aSAY"

_LIBC = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE = 0x4206  # the one that stops nobody
_PROCESS_VM_READV, _PIDFD_OPEN, _IO_URING_SETUP, _CLONE3 = 310, 434, 425, 435
_X32 = 0x4000_0000
_PARAMETERS = ctypes.create_string_buffer(120)


def _called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _system_call(number: int, *arguments: int) -> None:
    _called(_LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))


def _ptrace() -> None:
    _called(_LIBC.ptrace(_PTRACE_SEIZE, os.getppid(), 0, 0))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _raise_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, before[1]))


def _environment() -> None:
    if not Path("/proc/self/environ").read_bytes():
        raise OSError("empty")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "environment": _environment,
    "environment of the parent": lambda: Path(f"/proc/{os.getppid() or 1}/environ").read_bytes(),
    "memory of the parent": lambda: Path(f"/proc/{os.getppid() or 1}/maps").read_bytes(),
    "any process": lambda: list(Path("/proc").iterdir()),
    "reading a file": lambda: Path("/etc/hostname").read_bytes(),
    "the source": lambda: Path(__file__).read_bytes(),
    "writing a file": lambda: Path("/tmp/gaze-hostile").write_bytes(b"x"),  # it is to fail
    "removing a file": lambda: Path("/tmp/gaze-hostile").unlink(),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "socket": socket.socket,
    "signal": lambda: os.kill(os.getppid() or 1, 0),
    "ptrace": _ptrace,
    "process_vm_readv": lambda: _system_call(_PROCESS_VM_READV, os.getppid(), 0, 0, 0, 0, 0),
    "pidfd": lambda: _system_call(_PIDFD_OPEN, os.getpid(), 0),
    "io_uring": lambda: _system_call(_IO_URING_SETUP, 1, ctypes.addressof(_PARAMETERS)),
    "x32": lambda: _system_call(_X32 + 39),
    "fork": _fork,
    "exec": lambda: subprocess.run([sys.executable, "-c", ""], check=True, env={}),
    "code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "memory file": lambda: os.memfd_create("hostile"),
    "another descriptor": lambda: os.dup(1),
    "limits": _raise_limit,
    "outliving the parent": lambda: os.dup2(1, 0),
    "outliving it without standard input": lambda: os.close(0),
}
"""What a decoder that was taken over would do, by name; each raises where it cannot."""


def reached(*names: str) -> list[str]:
    """Return which of the attempts go through, or of all."""
    through = []
    for name in names or ATTEMPTS:
        try:
            ATTEMPTS[name]()
        except Exception:  # noqa: BLE001  # whatever the reason
            continue
        through.append(name)
    return through


def _open(file: IO[bytes], filename: str | bytes) -> ImageFile.ImageFile:
    contents = file.read()
    if contents.startswith(REACH):
        raise UndecodableImage(f"Reached: {', '.join(reached()) or 'nothing'}.")
    if contents.startswith(SAY):
        os.write(int(sys.argv[1]), contents.removeprefix(SAY))
        time.sleep(60)
    file.seek(0)
    return GifImagePlugin.GifImageFile(file, filename)


def saying(fields: object, *arrays: bytes) -> bytes:
    """Return a GIF that makes its decoder answer these fields, or bytes in their place, and arrays."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return SAY + b"".join(struct.pack(">Q", len(contents)) + contents for contents in (text, *arrays))


def take_over() -> None:
    """Put this in place of Pillow's codec of GIF."""
    Image.register_open("GIF", _open, lambda prefix: prefix.startswith(b"GIF8"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
