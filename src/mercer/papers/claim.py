"""What a paper claims, in a form that can come out false, and the verdict on a measurement of it."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

from mercer.errors import MercerError

if TYPE_CHECKING:
    from mercer.papers.measuring import Run

__all__ = ["Claim", "Effort", "NotMeasured", "Quantity", "Verdict", "deciding", "judge", "number", "verdict_of"]

Mode = Literal["quick", "full"]
Kind = Literal["quality", "speed"]
OverSeeds = Literal["mean", "median", "worst"]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class NotMeasured(MercerError, RuntimeError):
    """Raised by a claim that cannot be measured here: data, a device, a package. Its text is the reason."""


class Verdict(StrEnum):
    """What came out; only :func:`judge` gives one, from numbers and bounds."""

    HOLDS = "holds"
    PROTOCOL_ONLY = "holds in the paper's protocol only"
    DOES_NOT_HOLD = "does not hold"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Quantity:
    """One number that is measured for every seed, and the bounds within which it has to lie.

    Args:
        name: the keyword under which ``run.record`` takes it.
        text: what it is, with its unit: ``"test accuracy of the student minus the teacher's, in points"``.
        at_most: upper bound, inclusive; None for none.
        at_least: lower bound, inclusive; None for none. Without both it is reported and not judged.
        over_seeds: which number of all seeds the bounds are for: the mean, the median, or the worst seed.

    Raises:
        ValueError: a name that is no keyword, no text, bounds that exclude everything, or ``"worst"`` without exactly
            one bound.

    >>> Quantity("gain", "accuracy after six rounds minus the first fit's", at_least=0.03).summary([0.02, 0.06])
    0.04
    """

    name: str
    text: str
    at_most: float | None = None
    at_least: float | None = None
    over_seeds: OverSeeds = "mean"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"Quantity: the name is a keyword in small letters, such as 'gain', not {self.name!r}.")
        if not self.text.strip():
            raise ValueError(f"Quantity {self.name!r}: say in the text what is measured.")
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds):
            raise ValueError(f"Quantity {self.name!r}: nothing lies between {self.at_least} and {self.at_most}.")
        if self.over_seeds == "worst" and len(bounds) != 1:
            raise ValueError(f"Quantity {self.name!r}: 'worst' needs exactly one bound, or no seed is the worst.")

    @property
    def has_bound(self) -> bool:
        """Whether it is judged at all."""
        return self.at_most is not None or self.at_least is not None

    @property
    def bound(self) -> str:
        """The bounds as text: ``≤ 0.01``, ``0.9 to 1.1``, or nothing."""
        if self.at_most is not None and self.at_least is not None:
            return f"{number(self.at_least)} to {number(self.at_most)}"
        if self.at_most is not None:
            return f"≤ {number(self.at_most)}"
        return f"≥ {number(self.at_least)}" if self.at_least is not None else ""

    def summary(self, values: Sequence[float]) -> float:
        """The number over all seeds that the bounds are for; NaN as soon as one value is NaN."""
        if not values or any(math.isnan(value) for value in values):
            return math.nan
        if self.over_seeds == "worst":
            return max(values) if self.at_most is not None else min(values)
        return median(values) if self.over_seeds == "median" else fmean(values)

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the bounds are kept. NaN keeps no bound."""
        value = self.summary(values)
        below = self.at_most is None or value <= self.at_most
        return below and (self.at_least is None or value >= self.at_least)


@dataclass(frozen=True)
class Effort:
    """What a claim may cost.

    Args:
        seeds: how many seeds. What is too slow gets fewer of them, never a looser bound.
        seconds: budget of the whole claim on 2 cores. No further seed is begun that would exceed it.
        limit_seconds: when the process is stopped as hanging; default: 4 times the budget, at least 60.

    Raises:
        ValueError: no seed, or no time.
    """

    seeds: int = 1
    seconds: float = 20.0
    limit_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.seconds > 0 or (self.limit_seconds is not None and not self.limit_seconds > 0):
            raise ValueError(f"Effort needs at least one seed and more than 0 seconds, but is {self}.")

    @property
    def limit(self) -> float:
        """Seconds after which the claim counts as hanging."""
        return self.limit_seconds if self.limit_seconds is not None else max(60.0, 4.0 * self.seconds)


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and how it is measured. Made by :meth:`mercer.papers.Paper.claim`, which documents it."""

    id: str
    says: str
    measure: Callable[["Run"], None]
    measures: tuple[Quantity, ...]
    controls: tuple[Quantity, ...] = ()
    rivals: tuple[Quantity, ...] = ()
    reported: str | None = None
    where: str | None = None
    kind: Kind = "quality"
    identity: bool = False
    quick: Effort | str = field(default_factory=Effort)
    full: Effort | str | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        place = f"Claim {self.id!r}"
        if not _ID.fullmatch(self.id):
            raise ValueError(f"{place}: an id is made of small letters, digits and hyphens.")
        if not self.says.strip():
            raise ValueError(f"{place}: say what the paper claims.")
        judged = [quantity.name for quantity in (*self.measures, *self.controls) if quantity.has_bound]
        if not any(quantity.has_bound for quantity in self.measures):
            raise ValueError(f"{place} cannot come out false: give one of its measures a bound.")
        if any(quantity.name not in judged for quantity in self.controls):
            raise ValueError(f"{place}: a control needs a bound; what is only reported goes under rivals.")
        if any(quantity.has_bound for quantity in self.rivals):
            raise ValueError(f"{place}: a rival is reported and not judged; with a bound it is a control.")
        names = [quantity.name for quantity in self.quantities]
        if len(set(names)) < len(names):
            raise ValueError(f"{place}: two quantities have the same name: {', '.join(names)}.")
        if self.kind == "speed" and not self.controls:
            raise ValueError(f"{place}: a speed claim needs a control, the strongest baseline there is.")
        for reason in (self.quick, self.full):
            if isinstance(reason, str) and not reason.strip():
                raise ValueError(f"{place}: say why it is not measured in this mode.")

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All that ``run.record`` takes: measures, controls, rivals."""
        return self.measures + self.controls + self.rivals

    def effort(self, mode: Mode) -> Effort | str:
        """What it may cost in this mode, or the reason why it is not measured in it."""
        if mode == "full" and self.full is not None:
            return self.full
        return self.quick


def judge(claim: Claim, values: Mapping[str, Sequence[float]]) -> Verdict:
    """The verdict that follows from the numbers: values by the name of the quantity, one a seed.

    A claim holds where every bounded measure keeps its bounds. If it does and a control does not, the effect is there
    but comes from elsewhere: it holds in the paper's protocol only. A quantity that was not recorded keeps no bound.
    """
    return verdict_of(claim.measures, claim.controls, values)


def deciding(claim: Claim, values: Mapping[str, Sequence[float]]) -> Quantity:
    """The quantity behind the verdict: the first measure out of bounds, else such a control, else the main measure."""
    judged = [quantity for quantity in (*claim.measures, *claim.controls) if quantity.has_bound]
    return next((quantity for quantity in judged if not quantity.holds(values.get(quantity.name, ()))), judged[0])


def number(value: float) -> str:
    """Four digits at most: ``0.04``, ``1.5e-10``."""
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.4g}")


def verdict_of(
    measures: Iterable[Quantity], controls: Iterable[Quantity], values: Mapping[str, Sequence[float]]
) -> Verdict:
    """What :func:`judge` says, for bounds that come from a file."""
    if not all(quantity.holds(values.get(quantity.name, ())) for quantity in measures if quantity.has_bound):
        return Verdict.DOES_NOT_HOLD
    is_controlled = all(quantity.holds(values.get(quantity.name, ())) for quantity in controls)
    return Verdict.HOLDS if is_controlled else Verdict.PROTOCOL_ONLY
