"""Another program on the CUDA device, which takes its memory, but for so many bytes, until its standard input ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tests.conftest import REPOSITORY

MIB = 1024**2


@contextmanager
def full_but_for(left: int) -> Iterator[None]:
    """Have another process take the device's memory, but for so many bytes."""
    command = [sys.executable, "-m", "tests.support.full_cuda", str(left)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout
        assert other.stdout.readline() == "full\n"
        yield


def main(left: int) -> None:
    """Take all but `left` bytes, say so, and wait."""
    torch.cuda.init()  # type: ignore[no-untyped-call]
    held = []
    size = 2**40
    while size >= MIB:
        try:
            if torch.cuda.mem_get_info()[0] - left < size:
                raise torch.OutOfMemoryError
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    print("full", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
