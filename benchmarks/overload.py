"""Ten times the load that a service can carry: what it still answers, how fast it refuses, and how it is afterwards."""

from dataclasses import dataclass, replace

from benchmarks.open_loop import Crowd, Outcome, p99, send
from service.cores import available_cores

CALLERS = 8
NEARLY_ALL, FAR_TOO_MUCH = 0.9, 10.0


@dataclass(frozen=True)
class Overload:
    """The outcomes of a closed loop, of 90 % of its rate, of ten times its rate, and of a closed loop again.

    cores: what the service and the callers have together
    """

    peak: Outcome
    nearly_all: Outcome
    far_too_much: Outcome
    afterwards: Outcome
    cores: int

    @property
    def goodput_kept(self) -> float:
        """Goodput under overload ÷ peak goodput, which is the mean of before and after, since both vary."""
        return 2 * self.far_too_much.goodput / (self.peak.goodput + self.afterwards.goodput)

    @property
    def goodput_kept_beside_callers(self) -> float:
        """The same of the cores that the callers leave: ten times as many take more, and are elsewhere in earnest."""
        of_a_core = [each.goodput / (self.cores - each.core_seconds / each.seconds) for each in self._outcomes]
        before, much, after = of_a_core
        return 2 * much / (before + after)

    @property
    def _outcomes(self) -> tuple[Outcome, Outcome, Outcome]:
        return self.peak, self.far_too_much, self.afterwards

    @property
    def latency_grown(self) -> float:
        """The accepted requests' p99 under overload ÷ their p99 at 90 % of capacity."""
        return p99(self.far_too_much.accepted) / p99(self.nearly_all.accepted)

    @property
    def capacity_kept(self) -> float:
        """Peak goodput afterwards ÷ before."""
        return self.afterwards.goodput / self.peak.goodput

    def said(self) -> str:
        """Return the figures in one line."""
        much, latency = self.far_too_much, p99(self.far_too_much.accepted) * 1000
        return (
            f"peak {self.peak.goodput:.1f} and {self.afterwards.goodput:.1f}/s; asked {FAR_TOO_MUCH:.0f} times that for"
            f" {much.seconds:.0f} s: goodput {self.goodput_kept:.3f} of peak "
            f"({self.goodput_kept_beside_callers:.3f} by the cores that the callers leave, who take "
            f"{much.core_seconds / much.seconds:.3f} of them, and {self.peak.core_seconds / self.peak.seconds:.3f} at "
            "the peak), "
            f"accepted p99 {latency:.0f} ms = {self.latency_grown:.2f} x that at 90 % "
            f"({p99(self.nearly_all.accepted) * 1000:.0f} ms), {len(much.refused)} refused with p99 "
            f"{p99(much.refused) * 1000:.0f} ms, health and metrics at most {max(much.probes) * 1000:.0f} ms, "
            f"{much.hung} hung, {len(much.odd)} odd; afterwards {self.capacity_kept:.2f} of peak"
        )


def overload(crowd: Crowd, seconds: float, short: float = 20.0) -> Overload:
    """Measure a service under overload for some seconds, and before and after it for `short` seconds each."""
    loop = replace(crowd, callers=CALLERS, seconds=short)
    send(replace(loop, seconds=3.0))
    peak = send(loop)
    nearly_all = send(replace(crowd, per_second=NEARLY_ALL * peak.goodput, seconds=2 * short))
    far_too_much = send(replace(crowd, per_second=FAR_TOO_MUCH * peak.goodput, seconds=seconds))
    return Overload(peak, nearly_all, far_too_much, send(loop), available_cores())
