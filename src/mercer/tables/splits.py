"""Three parts of a table: to learn from, to choose with, and to report on. At random, in time, or by group."""

from dataclasses import dataclass

import numpy as np

from mercer.errors import TableError

__all__ = ["Split", "require_rows", "split_by_group", "split_in_time", "split_randomly"]

MIN_ROWS = 50  # a fifth of them is just enough for an interval at level 0.9
_LARGE = 5000  # from here on a tenth of the rows gives scores that are sharp enough
_MIN_GROUPS = 6


@dataclass(frozen=True)
class Split:
    """How the parts were chosen, in words, and the row numbers of each, ascending."""

    how: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_randomly(n_rows: int, *, labels: np.ndarray | None = None, random_state: int) -> Split:
    """Every row falls into a part by chance; with ``labels`` (n,) each class in the same shares.

    Raises:
        TableError: too few rows.
    """
    require_rows(n_rows)
    generator = np.random.default_rng(random_state)
    order = generator.permutation(n_rows)
    if labels is not None:
        # Sorted by class, and by chance within it, every tenth row or so goes to validation or test.
        order = order[np.argsort(labels[order], kind="stable")]
        place = np.arange(n_rows) % 10
        share = round(10 * _share(n_rows))
        parts = [order[place >= 2 * share], order[place < share], order[(place >= share) & (place < 2 * share)]]
        how = "at random, each class in the same shares"
    else:
        n_each = round(_share(n_rows) * n_rows)
        parts = [order[2 * n_each :], order[:n_each], order[n_each : 2 * n_each]]
        how = "at random"
    return Split(how, *(np.sort(part) for part in parts))


def split_in_time(times: np.ndarray, *, name: str) -> Split:
    """Train on what came first, validate on what came next, test on what came last; equal times stay together.

    Args:
        times: ``(n,)`` numbers, no NaN.
        name: of the column, for messages.

    Raises:
        TableError: too few rows, or too few different times.
    """
    require_rows(len(times))
    share = _share(len(times))
    in_order = np.sort(times)
    starts = [in_order[int((1.0 - k * share) * len(times))] for k in (2, 1)]
    train, validation = times < starts[0], (times >= starts[0]) & (times < starts[1])
    test = times >= starts[1]
    if min(train.sum(), validation.sum(), test.sum()) < 2:
        raise TableError(f"Column {name!r} has too few different times to split by: one part would be empty.")
    how = f"in time, by column {name!r}: trained on what came first, tested on what came last"
    return Split(how, *(np.flatnonzero(part) for part in (train, validation, test)))


def split_by_group(groups: np.ndarray, *, name: str, random_state: int) -> Split:
    """Rows of one group stay in one part; groups fall into parts by chance, until a part has its share of the rows.

    Args:
        groups: ``(n,)`` labels.
        name: of the column, for messages.

    Raises:
        TableError: too few rows, or fewer than six groups.
    """
    require_rows(len(groups))
    labels, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(labels) < _MIN_GROUPS:
        raise TableError(f"Column {name!r} has {len(labels)} groups, but a split by group needs {_MIN_GROUPS} or more.")
    order = np.random.default_rng(random_state).permutation(len(labels))
    before = np.cumsum(counts[order]) - counts[order]  # rows of the groups that were drawn earlier
    share = _share(len(groups)) * len(groups)
    part_of_group = np.empty(len(labels), dtype=int)
    part_of_group[order] = np.where(before < share, 1, np.where(before < 2 * share, 2, 0))
    parts = [np.flatnonzero(part_of_group[codes] == part) for part in (0, 1, 2)]
    if min(len(part) for part in parts) < 2:
        raise TableError(f"Column {name!r} has a group with so many rows that nothing is left for the other parts.")
    return Split(f"by group, so that rows with the same {name!r} are in the same part", *parts)


def _share(n_rows: int) -> float:
    """What validation and test get each."""
    return 0.1 if n_rows >= _LARGE else 0.2


def require_rows(n_rows: int) -> None:
    """Raise TableError for a table that is too short to be split into three."""
    if n_rows < MIN_ROWS:
        rows = "1 row" if n_rows == 1 else f"{n_rows} rows"
        raise TableError(f"The table has {rows} to use, but a model needs {MIN_ROWS} or more.")
