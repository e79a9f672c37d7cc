"""What a part of the benchmarks reports: figures, each with its ratio to a yardstick of the same run and with its target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much a part does. The defaults end in a few minutes on two cores; the smoke tests take far less, --long far more."""

    seconds: float = 2.5
    runs: int = 3
    complaints: int = 3000
    clients: int = 32
    steady_rate: float = 100.0
    steady_seconds: float = 20.0
    flat_after: int = 10_000
    grown_to: int = 100_000
    cache: str = "var/bench"


LONG = Size(seconds=4, runs=5, complaints=10_000, flat_after=100_000, grown_to=1_000_000)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value. ratio: to `beside`, the yardstick. target: of the ratio where there is one, else of the value."""

    part: str
    name: str
    value: float
    unit: str
    beside: str = ""
    ratio: float | None = None
    target: float | None = None
    better: Literal["more", "less"] = "more"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.target if self.better == "more" else judged <= self.target


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed, 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
