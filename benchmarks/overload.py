"""Ten times the load that a service can carry: what it still answers, how fast it refuses, and how it is afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from benchmarks.open_loop import Crowd, Outcome, p99, send
from service.limits.threads import available_cores

CALLERS = 8
TURNS = 4
NEARLY_ALL, FAR_TOO_MUCH = 0.9, 10.0

_Pair = tuple[Outcome, Outcome]


@dataclass(frozen=True)
class Overload:
    """The outcomes of closed loops, with ten times their rate between each two of them, and of 90 % of their rate.

    before: closed loops before all of that, each with one of a like service beside it that is never asked too much
    peaks: one more than `far_too_much` has: each of these has a peak right before it and right after it
    afterwards: the same as before, after all of that
    cores: what the service and the callers have together
    """

    before: Sequence[_Pair]
    peaks: Sequence[Outcome]
    far_too_much: Sequence[Outcome]
    nearly_all: Outcome
    afterwards: Sequence[_Pair]
    cores: int

    @property
    def accepted(self) -> list[float]:
        """Seconds of all that were accepted under overload."""
        return [seconds for each in self.far_too_much for seconds in each.accepted]

    @property
    def refused(self) -> list[float]:
        """Seconds of all that were refused under overload."""
        return [seconds for each in self.far_too_much for seconds in each.refused]

    @property
    def probes(self) -> list[float]:
        """Seconds of all questions for health and metrics under overload."""
        return [seconds for each in self.far_too_much for seconds in each.probes]

    @property
    def hung(self) -> int:
        """How many were not answered."""
        return sum(each.hung for each in self.far_too_much)

    @property
    def odd(self) -> list[str]:
        """What was neither a ranking nor a refusal as it should be."""
        return [odd for each in self.far_too_much for odd in each.odd]

    @property
    def kept(self) -> list[float]:
        """Goodput under overload ÷ peak goodput, which is the mean of before and after, since both vary."""
        return [
            2 * much.goodput / (before.goodput + after.goodput)
            for before, much, after in zip(self.peaks, self.far_too_much, self.peaks[1:], strict=False)
        ]

    @property
    def goodput_kept(self) -> float:
        """The mean of `kept`."""
        return fmean(self.kept)

    @property
    def goodput_kept_beside_callers(self) -> float:
        """The same of the cores that the callers leave: ten times as many take more, and are elsewhere in earnest."""
        left = [self.cores - self._cores_of(outcomes) for outcomes in (self.peaks, self.far_too_much)]
        return self.goodput_kept * left[0] / left[1]

    @property
    def latency_grown(self) -> float:
        """The accepted requests' p99 under overload ÷ their p99 at 90 % of capacity."""
        return p99(self.accepted) / p99(self.nearly_all.accepted)

    @property
    def capacity_kept(self) -> float:
        """Peak goodput after the last overload ÷ that before the first, both in units of a service that had none.

        Machines drift by some hundredths in minutes, which the unit takes out; and of two like processes one is faster
        by some hundredths for all its life, which the division takes out.
        """
        return _beside(self.afterwards) / _beside(self.before)

    def said(self) -> str:
        """Return the figures in one line."""
        seconds = " + ".join(f"{each.seconds:.0f}" for each in self.far_too_much)
        return (
            f"peak {', '.join(f'{peak.goodput:.1f}' for peak in self.peaks)}/s; asked {FAR_TOO_MUCH:.0f} times that "
            f"between them for {seconds} s: goodput {self.goodput_kept:.3f} of peak "
            f"({', '.join(f'{kept:.3f}' for kept in self.kept)}; "
            f"{self.goodput_kept_beside_callers:.3f} by the cores that the callers leave, who take "
            f"{self._cores_of(self.far_too_much):.3f} of them, and {self._cores_of(self.peaks):.3f} at the peak), "
            f"accepted p99 {p99(self.accepted) * 1000:.0f} ms = {self.latency_grown:.2f} x that at 90 % "
            f"({p99(self.nearly_all.accepted) * 1000:.0f} ms), {len(self.refused)} refused with p99 "
            f"{p99(self.refused) * 1000:.0f} ms, health and metrics at most {max(self.probes) * 1000:.0f} ms, "
            f"{self.hung} hung, {len(self.odd)} odd; afterwards {self.capacity_kept:.3f} of what it was "
            f"({_beside(self.before):.3f} of a service beside it before, {_beside(self.afterwards):.3f} after)"
        )

    @staticmethod
    def _cores_of(outcomes: Sequence[Outcome]) -> float:
        return fmean(each.core_seconds / each.seconds for each in outcomes)


def overload(crowd: Crowd, untouched: Crowd, seconds: float, times: int = 3, short: float = 20.0) -> Overload:
    """Measure a service under overload for some seconds, several times, and before and after each for `short` seconds.

    Machines are not equally fast from one minute to the next: so what is compared is measured by turns.

    untouched: the same requests, to a service beside it that has nothing else to do
    """
    loop, other = (replace(each, callers=CALLERS, seconds=short) for each in (crowd, untouched))
    for each in (loop, other):
        send(replace(each, seconds=3.0))
    before = _by_turns(loop, other)
    nearly_all = send(replace(crowd, per_second=NEARLY_ALL * before[-1][0].goodput, seconds=2 * short))
    peaks, far_too_much = [send(loop)], []
    for _ in range(times):
        rate = FAR_TOO_MUCH * peaks[-1].goodput
        far_too_much.append(send(replace(crowd, per_second=rate, seconds=seconds)))
        peaks.append(send(loop))
    return Overload(before, peaks, far_too_much, nearly_all, _by_turns(loop, other), available_cores())


def _by_turns(crowd: Crowd, other: Crowd) -> list[_Pair]:
    """Let both come several times, each as often first as second."""
    own: list[Outcome] = []
    others: list[Outcome] = []
    for turn in range(TURNS):
        for who, outcomes in ((crowd, own), (other, others))[:: -1 if turn % 2 else 1]:
            outcomes.append(send(who))
    return list(zip(own, others, strict=True))


def _beside(pairs: Sequence[_Pair]) -> float:
    """Return the goodput of the first of each pair ÷ that of the second."""
    return fmean(own.goodput for own, _ in pairs) / fmean(other.goodput for _, other in pairs)
