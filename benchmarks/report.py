"""One run's results as markdown: what docs/performance.md has below its mark."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.compared import GAZE as GAZE_CALL
from benchmarks.compared import Compared
from benchmarks.environments import pinned
from benchmarks.floor import EXACT_PASSES, LATENCY, OTHER_STEPS, PICTURE_STEPS, SINGLE_PASSES, Floor
from benchmarks.growth import LONG_LIST, SHORT_LIST, Growth
from benchmarks.machine import Machine
from benchmarks.memory import WorkersMemory
from benchmarks.results import NotMeasured, Results
from benchmarks.start import Start
from benchmarks.table import NOTHING, duration, megabytes, rate, ratio, table
from benchmarks.targets import targets_table
from benchmarks.throughput import GAZE, GAZE_BFLOAT16, GAZE_FAST, INFINITY, Throughput

_CALLED = {
    "clip_gaze": "clip-gaze, its own call",
    "pipeline": "transformers' zero-shot-image-classification pipeline",
    GAZE_CALL: "**Gaze over HTTP**",
}
_SERVED = {
    INFINITY: "infinity, image embedding",
    GAZE: "**Gaze**",
    GAZE_BFLOAT16: "**Gaze**, GAZE_PRECISION=bfloat16",
    GAZE_FAST: "**Gaze**, GAZE_DECODE=fast as well",
}
_STEPS = {
    "decode": "decode (Pillow)",
    "resize": "resize to 224 and cut (Pillow, bicubic)",
    "normalise": "normalise",
    "product": "product with 5,854 phrases, softmax, first five",
    LATENCY: "encoder, OpenVINO float32, one picture",
    "encoder_streams": "encoder, OpenVINO float32, one picture on each core",
    "encoder_eight": "encoder, OpenVINO float32, eight pictures",
    "encoder_torch": "encoder, torch float32, one picture",
}

MARK = "<!-- make bench writes what stands below this line. -->\n"

_Part = TypeVar("_Part")


def markdown(results: Results) -> str:
    """Return all tables, and a paragraph that names the machine."""
    sections = [
        _section("One picture, one list (medians)", results.compared, _compared),
        _section("Requests per second", results.throughput, _throughput),
        _section("The floor", results.floor, _floor),
        _section("Growth (medians)", results.growth, _growth),
        _section("Start", results.start, _start),
        _section("Memory", results.memory, _memory),
        f"## Targets\n\n{targets_table(results)}",
        f"## The machine, the versions and the pictures\n\n{_machine(results)}",
    ]
    return "\n\n".join(sections) + "\n"


def write_below_mark(page: Path, tables: str) -> None:
    """Replace what a page has below its mark, and keep what was written above it by hand."""
    above, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{page} has lost the line {MARK.strip()}")
    page.write_text(f"{above}{MARK}\n{tables}", encoding="utf-8")


def _section(title: str, part: _Part | NotMeasured, shown: Callable[[_Part], str]) -> str:
    return f"## {title}\n\n{f'Not measured: {part.reason}' if isinstance(part, NotMeasured) else shown(part)}"


def _machine(results: Results) -> str:
    machine: Machine = results.machine
    pictures = ", ".join(f"{name} ({size / 1000:,.0f} kB)" for name, size in results.pictures.items())
    software = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    settings = "".join(f"; {name}={value}" for name, value in machine.blas_settings.items())
    peers = "; ".join(f"{name}: {', '.join(pinned(name))}" for name in ("clip_gaze", "pipeline", "infinity"))
    return (
        f"Measured on {results.date}: {machine.processor} ({', '.join(machine.units)}), {machine.cores} cores, "
        f"{machine.memory / 1e9:.1f} GB, {machine.system}, Python {machine.python}, {software}{settings}; "
        f"{machine.busy:.0%} of its time went elsewhere just before. "
        f"JPEG pictures of {pictures}. The model has the size of ViT-B/32 and random weights. Peers: {peers}."
    )


def _compared(compared: Compared) -> str:
    names = list(compared.times)
    rows = []
    for who, title in _CALLED.items():
        if who in compared.not_measured:
            rows.append([title, *[NOTHING] * (2 * len(names))])
            continue
        cells = [title]
        for name in names:
            ours, theirs = compared.times[name][GAZE_CALL].median, compared.times[name][who].median
            cells += [duration(theirs), NOTHING if who == GAZE_CALL else ratio(theirs / ours)]
        rows.append(cells)
    head = [cell for name in names for cell in (f"{compared.phrases[name]:,} phrases (`{name}`)", "÷ Gaze")]
    counts = "; ".join(
        f"`{name}`: {', '.join(f'{who} {taken.count}' for who, taken in times.items())}"
        for name, times in compared.times.items()
    )
    agreed = "All found the same phrase the likeliest, for both lists."
    if not all(compared.agree.values()):
        agreed = f"They did not agree on the likeliest phrase: {compared.agree}."
    return "\n\n".join(
        [table(["", *head], rows), f"{agreed} Calls: {counts}.", *_reasons(compared.not_measured, _CALLED)]
    )


def _throughput(throughput: Throughput) -> str:
    infinity = throughput.served.get(INFINITY)
    rows = []
    for name, title in _SERVED.items():
        if not (served := throughput.served.get(name)):
            rows.append([title, *[NOTHING] * 6])
            continue
        model = f" ({served.says['backend']}, {served.says['precision']})" if served.says else ""
        rows.append(
            [
                title + model,
                rate(served.mean_per_second),
                ratio(served.mean_per_second / infinity.mean_per_second) if infinity else NOTHING,
                duration(served.latency.median),
                duration(served.latency.percentile_95),
                megabytes(served.peak.rss),
                ratio(served.peak.rss / infinity.peak.rss) if infinity else NOTHING,
            ]
        )
    head = ["", "requests", "÷ infinity", "median wait", "95 % wait less than", "resident", "÷ infinity"]
    how = (
        f"{throughput.callers} callers, each on a connection of its own and asking again once it is answered; "
        f"{throughput.seconds:.0f} s a service, in turns, one service at a time."
    )
    return "\n\n".join([how, table(head, rows), *_reasons(throughput.not_measured, _SERVED)])


def _floor(floor: Floor) -> str:
    rows = []
    for picture in floor.latency:
        rows += [_step(floor, f"{step}, {picture}", f"{_STEPS[step]}, {picture}") for step in PICTURE_STEPS]
    rows += [_step(floor, step, _STEPS[step]) for step in (*OTHER_STEPS, *EXACT_PASSES, "encoder_torch")]
    steps = table(["step, alone", "median", "cores × time per picture"], rows)
    above = []
    for picture, latency in floor.latency.items():
        least = floor.latency_floor(picture)
        per_second = floor.mean_per_second(picture)
        highest = [floor.throughput_floor(picture, passes) for passes in (SINGLE_PASSES, EXACT_PASSES)]
        above.append(
            [
                *(picture, duration(least), duration(latency.median), ratio(latency.median / least)),
                rate(per_second),
                *(f"{rate(floor_rate)}: {ratio(per_second / floor_rate)}" for floor_rate in highest),
            ]
        )
    head = [
        *("", "floor, one caller", "Gaze", "Gaze ÷ floor", "Gaze, 8 callers"),
        *("÷ the floor with passes of one picture", "÷ the floor with passes of eight"),
    ]
    how = (
        "For one caller the floor is decode + resize + one picture's encoder pass. For 8 callers it is "
        f"{floor.cores} cores ÷ the core-time of decode + resize + the cheapest exact pass per picture: of passes that "
        "take one picture, and of all, which would take eight requests that wait for each other."
    )
    return "\n\n".join([steps, table(head, above), how])


def _step(floor: Floor, step: str, title: str) -> list[str]:
    return [title, duration(floor.steps[step].median), duration(floor.core_seconds(step))]


def _growth(growth: Growth) -> str:
    rows = []
    for what, times, many in (
        ("a served list", growth.served, growth.phrases[LONG_LIST]),
        ("a caller's own phrases, from the second request on", growth.own, growth.phrases["own"]),
    ):
        few, much = times[SHORT_LIST].median, times[LONG_LIST].median
        rows.append([what, duration(few), duration(much), f"{many:,}", ratio(much / few)])
    added = growth.with_long_list
    memory = (
        f"The first request with {growth.phrases['own']:,} own phrases takes {duration(growth.own_first)}. The served "
        f"list of {growth.phrases[LONG_LIST]:,} phrases adds {megabytes(added.rss - growth.without.rss)} resident "
        f"({megabytes(added.pss - growth.without.pss)} proportional)."
    )
    head = ["", f"{growth.phrases[SHORT_LIST]} phrases", "many phrases", "how many", "ratio"]
    return f"{table(head, rows)}\n\n{memory}"


def _start(start: Start) -> str:
    rows = [
        ["to ready, model and phrases cached", duration(start.cached.median)],
        ["to ready, nothing cached", duration(start.uncached)],
        ["of which all served phrases are encoded in", NOTHING if start.encoding is None else duration(start.encoding)],
        ["two processes together, nothing cached, until both are ready", duration(start.together)],
        ["phrases that each of the two encoded", " and ".join(f"{count:,}" for count in start.encoded_phrases)],
    ]
    return table(["From the process's start", ""], rows)


def _memory(memory: WorkersMemory) -> str:
    rows = [
        [str(workers), megabytes(peak.rss), megabytes(peak.pss), rate(memory.per_second[workers])]
        for workers, peak in memory.peak.items()
    ]
    return table(["GAZE_WORKERS", "resident", "proportional", "requests, 8 callers"], rows)


def _reasons(not_measured: dict[str, str], titles: dict[str, str]) -> list[str]:
    return [f"Not measured: {titles[name]}: {reason}" for name, reason in not_measured.items()]
