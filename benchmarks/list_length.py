"""What a long list costs: one image against 5,854 artists and against 7 qualities, over HTTP, side by side.

    python -m benchmarks.list_length IMAGE [ADDRESS]

asks a service that is running, on the model to be measured, and prints the median time of each and their ratio.
"""

import argparse
import statistics
import time
from pathlib import Path

import urllib3

SHORT, LONG = "qualities", "artists_by_name"


def measure(address: str, image: bytes, rounds: int = 40) -> dict[str, float]:
    """Return the median seconds of a request for each list, asked in turns so that both see the same machine."""
    pool = urllib3.PoolManager()
    seconds: dict[str, list[float]] = {SHORT: [], LONG: []}
    for turn in range(rounds + 2):
        for name, taken in seconds.items():
            fields: list[tuple[str, str | bytes | tuple[str, str | bytes]]] = [
                ("image", ("image", image)),
                ("lists", name),
            ]
            started = time.perf_counter()
            response = pool.request("POST", f"{address}/v1/gaze", fields=fields)
            elapsed = time.perf_counter() - started
            if response.status != 200:
                raise RuntimeError(f"the service answered {response.status}: {response.data[:500]!r}")
            if turn >= 2:  # the first ones warm caches up
                taken.append(elapsed)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    medians = measure(arguments.address, arguments.image.read_bytes())
    for name, median in medians.items():
        print(f"{name:20} {median * 1000:7.1f} ms")
    print(f"{'ratio':20} {medians[LONG] / medians[SHORT]:7.2f}")
