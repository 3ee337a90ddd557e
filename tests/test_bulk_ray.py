"""A job on a Ray cluster of two machines, of which one is lost half-way. Skipped where Ray is not installed."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bulk import DATE
from benchmarks.bulk_on_ray import Losing, Machines, two_machines
from service.bulk.command import SOME_FAILED
from service.bulk.on_ray import RayEngine, Share, shares
from service.bulk.output import FORMS
from service.bulk.plan import Plan
from service.bulk.run import Collection, Output, RunOptions, run
from service.errors import InvalidSettings, JobError
from service.images.decode import ImageLimits
from service.settings import Settings
from tests.conftest import CACHE, REPOSITORY, noise
from tests.support.gaze_command import gaze

# Ray leaves files and sockets open when it ends.
pytestmark = pytest.mark.filterwarnings("ignore")

PICTURES = 320
CORES = 2
RUN_OPTIONS = RunOptions(datetime.fromisoformat(DATE), restart=False, retry_errors=False, quiet=True)
PLAN = Plan(
    Settings(model="demo", device="cpu", cache_dir=CACHE),
    ("surfaces", "artists_by_name"),
    (),
    3,
    0.0,
    ImageLimits(2**20, 10**6),
)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """Two raylets with two cores each, of which Ray tells numpy."""
    pytest.importorskip("ray", reason="Ray is an extra, and is not installed")
    with two_machines(CORES) as machines:
        yield machines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, of which two are broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        noise(40, 40, seed=number).save(folder / f"{number:03}.png")
    for number in (7, 250):
        (folder / f"{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_machine_is_lost_and_every_item_is_there_once(machines: Machines, folder: Path, tmp_path: Path) -> None:
    wanted = ["--lists", ",".join(PLAN.list_names), "--top-k", PLAN.top_k, "--date", DATE]
    limits = ["--limit-bytes", PLAN.limits.max_bytes, "--limit-pixels", PLAN.limits.max_pixels]
    here = gaze("bulk", folder, *map(str, wanted + limits), "--out", tmp_path / "here.csv", GAZE_MODEL="demo")
    assert here.returncode == SOME_FAILED, here.stderr
    losing = Losing(PLAN, machines, PICTURES // 2, CORES)
    output = Output(tmp_path / "ray.csv", "csv", FORMS[".csv"]["csv"])
    assert run(PLAN, Collection((str(folder),), None), output, RUN_OPTIONS, losing.start) == 2
    assert output.path.read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert set(losing.numbers) == set(range(1, PICTURES + 1))
    assert machines.alive == 1


def test_machine_with_other_lists_is_refused(machines: Machines) -> None:
    facts = PLAN.facts(PLAN.lists(), PLAN.model_files())
    with pytest.raises(InvalidSettings, match="another state than this one: lists is not the same"):
        RayEngine(PLAN, facts | {"lists": []}, 1, machines.address)


@pytest.mark.parametrize(
    ("machines", "device", "threads", "cores", "expected"),
    [
        ([{"CPU": 32.0}], "auto", None, None, (Share(2, 0), 16)),
        ([{"CPU": 32.0}], "auto", 8, None, (Share(8, 0), 4)),
        ([{"CPU": 32.0}], "auto", 8, 4, (Share(4, 0), 8)),
        ([{"CPU": 1.0}], "cpu", None, None, (Share(1, 0), 1)),
        ([{"CPU": 1.0}, {"CPU": 1.0}], "cpu", None, None, (Share(1, 0), 2)),
        ([{"CPU": 3.0}, {"CPU": 5.0}, {}], "cpu", None, None, (Share(2, 0), 3)),
        ([{"CPU": 32.0, "GPU": 2.0}], "auto", None, None, (Share(16, 1), 2)),
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 2.0}], "auto", None, None, (Share(4, 1), 2)),
        ([{"CPU": 32.0, "GPU": 2.0}], "cuda", None, 4, (Share(4, 1), 2)),
        ([{"CPU": 32.0, "GPU": 2.0}], "cpu", None, None, (Share(2, 0), 16)),
    ],
)
def test_shares_of_a_cluster(
    machines: list[dict[str, float]], device: Any, threads: int | None, cores: int | None, expected: tuple[Share, int]
) -> None:
    plan = replace(PLAN, settings=Settings(model="demo", device=device, threads=threads))
    assert shares(machines, plan, cores) == expected


@pytest.mark.parametrize("machines", [[{"CPU": 2.0}, {"CPU": 2.0}], [{"CPU": 2.0, "GPU": 1.0}], []])
def test_more_cores_than_any_machine_has_are_refused(machines: list[dict[str, float]]) -> None:
    with pytest.raises(JobError, match="3 cores"):
        shares(machines, replace(PLAN, settings=Settings(model="demo")), 3)


def test_without_ray_there_is_a_sentence() -> None:
    script = ["import sys", "sys.modules['ray'] = None", "from service.bulk import on_ray", "on_ray.connected(None)"]
    command = [sys.executable, "-c", "\n".join(script)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "--engine ray needs Ray, which is not installed: pip install 'gaze[ray]'." in ended.stderr
