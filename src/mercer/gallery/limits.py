"""How often one visitor may ask."""

import time
from dataclasses import dataclass

__all__ = ["Limit", "Limiter"]

_MOST_VISITORS = 10_000


@dataclass(frozen=True)
class Limit:
    """So many at once, and so many a second after that."""

    burst: float
    per_second: float


class Limiter:
    """A bucket for every visitor, which each request takes from and time fills again.

    Args:
        limit: of one visitor.

    >>> limiter = Limiter(Limit(burst=2, per_second=1.0))
    >>> [limiter.wait("one", at=0.0), limiter.wait("one", at=0.0), limiter.wait("one", at=0.0)]
    [0.0, 0.0, 1.0]
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, visitor: str, *, at: float | None = None) -> float:
        """Seconds to wait; 0 if the request may go ahead, which is counted then.

        Args:
            visitor: an address.
            at: the time in seconds; None takes the clock.
        """
        moment = time.monotonic() if at is None else at
        left, before = self._buckets.get(visitor, (self._limit.burst, moment))
        left = min(self._limit.burst, left + (moment - before) * self._limit.per_second)
        if left < 1.0:
            return (1.0 - left) / self._limit.per_second
        if len(self._buckets) >= _MOST_VISITORS:
            self._buckets.clear()  # they all start anew, which is the lesser harm
        self._buckets[visitor] = left - 1.0, moment
        return 0.0
