"""RayEngine: a collection on all machines of a Ray cluster, with Ray Data.

Each model is an actor with a GPU or a group of cores, around the engine of one machine. Actors read files and fetch
URLs themselves, so folders must be shared. Tasks of a lost machine are repeated elsewhere. The progress file and the
output stay on the machine that began the job.
"""

import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import structlog

from service.bulk.items import NumberedItem, NumberedOutcome
from service.bulk.plan import Plan, ReadyEngine
from service.errors import GazeError, InvalidSettings, JobError, StartError
from service.zero_shot.backends.base import ModelDescription

log = structlog.get_logger()

ITEMS_A_TASK = 64
"""Items in a task; so many may be computed twice for each lost machine."""

CORES = 2
"""Default for an actor without a GPU."""

# As in service/__init__.py. Ray imports numpy before us, with the actor's number of threads, with which a long list's
# similarities differ in their last bit.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}

# Before Ray is imported, which would otherwise report usage statistics.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@dataclass(frozen=True)
class Share:
    """The share of a machine that one actor has."""

    cores: int
    gpus: int

    @property
    def options(self) -> dict[str, Any]:
        """The share in Ray's terms."""
        return {"num_cpus": self.cores, "num_gpus": self.gpus, "runtime_env": {"env_vars": _ENVIRONMENT}}


class RayEngine:
    """Processes pictures on a Ray cluster, which is started on this machine if no address is given."""

    def __init__(self, plan: Plan, facts: dict[str, Any], cores: int | None, address: str | None) -> None:
        """Connect, and load the model on one machine as a check. Raises JobError and StartError.

        facts: of the plan, on the machine that began the job
        """
        self._ray = connected(address)
        # Workers need no API keys.
        self._plan = replace(plan, settings=plan.settings.model_copy(update={"api_keys": ()}))
        self._facts = facts
        self._share, self._actors = shares(
            [machine["Resources"] for machine in self._ray.nodes() if machine["Alive"]], plan, cores
        )
        self.model = self._described()

    def outcomes(self, items: Iterable[NumberedItem]) -> Iterator[NumberedOutcome]:
        """Yield the outcome of each item, in any order; of one more than once if a machine was lost.

        Raises JobError if Ray gives up, as it does if no machine is left.
        """
        from ray.data import ActorPoolStrategy, from_arrow  # noqa: PLC0415  # an extra, which takes seconds
        from ray.data.context import DataContext  # noqa: PLC0415

        context = DataContext.get_current()
        context.enable_progress_bars = False
        tasks = _tables(items)
        if not tasks:
            return
        found: Any = from_arrow(tasks)
        found = found.map_batches(
            BatchActor,
            fn_constructor_args=(self._plan, self._facts, self._share, self.model),
            batch_size=ITEMS_A_TASK,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=self._actors, initial_size=self._actors),
            **self._share.options,
        )
        try:
            for batch in found.iter_batches(batch_size=None, batch_format="pyarrow"):
                for outcome in batch.column("pickled").to_pylist():
                    yield pickle.loads(outcome)  # noqa: S301  # of an actor of our own
        except self._ray.exceptions.RayError as error:
            log.exception("Ray ended the job")
            raise JobError(
                f"Ray could not go on ({type(error).__name__}); the log has the details, and the same command goes on."
            ) from None

    def _described(self) -> ModelDescription:
        """Return the model's description on a worker."""
        arguments = self._plan, self._facts, self._share
        try:
            model: ModelDescription = self._ray.get(
                self._ray.remote(_describe).options(**self._share.options).remote(*arguments)
            )
        except self._ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, StartError | GazeError | JobError):
                raise cause from None
            raise
        return model


class BatchActor:
    """An actor: one model in an engine of one machine."""

    def __init__(self, plan: Plan, facts: dict[str, Any], share: Share, model: ModelDescription) -> None:
        ready = _ready(plan, facts, share)
        if ready.model != model:
            raise InvalidSettings("The machines of the Ray cluster do not run the same model in the same way.")
        self._engine = ready.local

    def __call__(self, task: Any) -> Any:
        """Return the outcomes of a table of items."""
        items = (pickle.loads(item) for item in task.column("pickled").to_pylist())  # noqa: S301  # from who began it
        return _table(self._engine.outcomes(items))


def _describe(plan: Plan, facts: dict[str, Any], share: Share) -> ModelDescription:
    return _ready(plan, facts, share).model


def _ready(plan: Plan, facts: dict[str, Any], share: Share) -> ReadyEngine:
    """Return the engine of one actor. Raises InvalidSettings if this machine has other lists, or another model."""
    lists, files = plan.lists(), plan.model_files()
    found = plan.facts(lists, files)
    other = next((name for name in facts if found.get(name) != facts[name]), None)
    if other:
        raise InvalidSettings(f"A machine of the Ray cluster has another state than this one: {other} is not the same.")
    settings = plan.settings.model_copy(update={"threads": share.cores})
    return replace(plan, settings=settings).engine(files, lists, share.cores)


def connected(address: str | None) -> Any:
    """Return Ray, connected. Raises JobError if it is not installed, or no cluster responds at the address."""
    try:
        import ray  # noqa: PLC0415  # an extra, which takes seconds
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise JobError("--engine ray needs Ray, which is not installed: pip install 'gaze[ray]'.") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if not ray.is_initialized():
        quietly: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            ray.init(address=address, **quietly) if address else ray.init("local", include_dashboard=False, **quietly)
        except (ConnectionError, ValueError, RuntimeError):
            raise JobError("There is no Ray cluster that answers at --ray-address.") from None
    return ray


def shares(machines: Sequence[Mapping[str, float]], plan: Plan, cores: int | None) -> tuple[Share, int]:
    """Return each actor's share of a machine, and how many actors fit on all machines.

    An actor has a GPU and its part of the cores; without GPUs, a group of cores.
    Raises JobError if no machine has room for one.
    """
    of_machines = [(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in machines]
    with_gpus = [(in_all, gpus) for in_all, gpus in of_machines if gpus]
    if with_gpus and plan.settings.device != "cpu":
        cores = cores or max(1, min(in_all // gpus for in_all, gpus in with_gpus))
        share, room = Share(cores, 1), sum(min(gpus, in_all // cores) for in_all, gpus in with_gpus)
    else:
        largest = max((in_all for in_all, _ in of_machines), default=0)
        cores = cores or max(1, min(plan.settings.threads or CORES, largest))
        share, room = Share(cores, 0), sum(in_all // cores for in_all, _ in of_machines)
    if not room:
        raise JobError(f"No machine of the Ray cluster has the {cores} cores that one model is to have.")
    return share, room


def _tables(items: Iterable[NumberedItem]) -> list[Any]:
    """Return all items as tables, one a task."""
    items = iter(items)
    tables = []
    while share := list(islice(items, ITEMS_A_TASK)):
        tables.append(_table(share))
    return tables


def _table(rows: Iterable[NumberedItem] | Iterable[NumberedOutcome]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  # comes with Ray

    return pa.table({"pickled": pa.array([pickle.dumps(row) for row in rows], pa.binary())})
