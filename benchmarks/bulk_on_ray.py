"""A collection on a Ray cluster of two machines, of which one is lost half-way, and on one machine for comparison.

    python -m benchmarks.bulk_on_ray

draws the pictures of benchmarks.bulk, looks at them with the local engine and with two raylets of one core each, and
compares the outputs. With --model demo it takes three minutes on two cores, and with a CLIP of full size 22.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.bulk import DATE, LIST, draw, look
from benchmarks.table import rate, table
from benchmarks.workplace import Workplace
from service.bulk.items import Engine, NumberedItem, NumberedOutcome
from service.bulk.on_ray import RayEngine
from service.bulk.output import FORMS
from service.bulk.plan import Plan
from service.bulk.run import Collection, Lists, Output, RunOptions, run
from service.images.decode import ImageLimits
from service.settings import Settings
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.model_files import ModelFiles

_STORE_BYTES = 100_000_000
_RUN_OPTIONS = RunOptions(datetime.fromisoformat(DATE), restart=True, retry_errors=False, quiet=True)


@dataclass
class Machines:
    """A cluster of two machines on this one, each a raylet.

    cluster: Ray's own, which its tests are written with
    second:  the machine that can be lost; the other one is where the job is begun
    """

    cluster: Any
    second: Any

    @property
    def address(self) -> str:
        """Where the cluster answers."""
        return str(self.cluster.address)

    @property
    def alive(self) -> int:
        """How many machines are left, by their processes: Ray itself notices only after a while."""
        return sum(bool(node.any_processes_alive()) for node in (self.cluster.head_node, self.second))

    def lose_one(self) -> None:
        """End the second machine's processes, its actor's with them, as if it had lost its power."""
        self.cluster.remove_node(self.second, allow_graceful=False)


@contextmanager
def two_machines(cores: int = 1) -> Iterator[Machines]:
    """Start Ray on two machines with so many cores each, and end it."""
    import ray  # noqa: PLC0415  # an extra, which takes seconds
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    on_ray: Any = ray
    one: dict[str, Any] = {"num_cpus": cores, "object_store_memory": _STORE_BYTES}
    ours = os.environ.pop("OPENBLAS_NUM_THREADS", None)  # a cluster that others have started has nothing of it
    cluster: Any = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
    second = cluster.add_node(**one)
    if ours is not None:
        os.environ["OPENBLAS_NUM_THREADS"] = ours
    try:
        yield Machines(cluster, second)
    finally:
        on_ray.shutdown()
        cluster.shutdown()


@dataclass
class Losing:
    """An engine on a cluster that loses a machine once `after` outcomes are there.

    cores:   of each actor
    numbers: of the items whose outcomes came, in that order
    """

    plan: Plan
    machines: Machines
    after: int
    cores: int = 1
    numbers: list[int] = field(default_factory=list)

    def start(self, files: ModelFiles, lists: Lists) -> tuple[Engine, ModelDescription]:
        """Start it: what run() is given."""
        self._engine = RayEngine(self.plan, self.plan.facts(lists, files), self.cores, self.machines.address)
        return self, self._engine.model

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield what the engine does."""
        for numbered in self._engine.outcomes(items):
            if len(self.numbers) == self.after:
                self.machines.lose_one()
            self.numbers.append(numbered[0])
            yield numbered


def main() -> None:
    """Look at the pictures in both ways, and print what came of it."""
    asked = _arguments()
    workplace = Workplace(asked.folder.resolve())
    if asked.model is None:
        workplace.make_model()
    settings = Settings(model=asked.model or str(workplace.model), device="cpu", cache_dir=workplace.cache)
    plan = Plan(settings, (LIST,), (), 5, 0.0, ImageLimits(settings.max_image_bytes, settings.max_image_pixels))
    pictures = draw(workplace.folder / "collection", asked.items)
    collection = Collection((str(pictures),), None)
    here, there = (workplace.folder / f"{name}.csv" for name in ("local", "ray"))
    alone = look(workplace, pictures, here, [], model=asked.model)
    begun = time.perf_counter()
    with two_machines() as machines:
        losing = Losing(plan, machines, asked.items // 2)
        failed = run(plan, collection, Output(there, "csv", FORMS[".csv"]["csv"]), _RUN_OPTIONS, losing.start)
        ended = time.perf_counter()
        alive = machines.alive
    rows = [
        ["items, and of these failed", f"{asked.items}, {failed}"],
        ["gaze bulk on all cores, start and output with it", rate(asked.items / alone.seconds)],
        ["on two raylets of a core, one of them for the first half", rate(asked.items / (ended - begun))],
        ["machines left", str(alive)],
        ["outcomes that came, of so many different items", f"{len(losing.numbers)}, {len(set(losing.numbers))}"],
        ["the outputs are the same", "yes" if here.read_bytes() == there.read_bytes() else "NO"],
    ]
    print(table(["", ""], rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bulk_on_ray",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept")
    parser.add_argument("--items", type=int, default=10_000, help="pictures (10,000)")
    parser.add_argument("--model", help="demo, or a directory; else a CLIP of full size")
    return parser.parse_args()


if __name__ == "__main__":
    main()
