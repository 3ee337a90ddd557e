"""What many measured times come to: a median, and how far they spread."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Times:
    """Seconds of one thing measured `count` times."""

    median: float
    lowest: float
    highest: float
    percentile_95: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Sum up seconds, of which there must be at least one."""
        return cls(
            median=statistics.median(seconds),
            lowest=min(seconds),
            highest=max(seconds),
            percentile_95=percentile(seconds, 95),
            count=len(seconds),
        )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed (the nearest rank)."""
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]
