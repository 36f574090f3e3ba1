"""ListOps: nested operations on lists of digits, generated as in the Long Range Arena, and as tokens."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mercer.progress import Progress, track
from mercer.store import replacing

__all__ = ["LISTOPS_TOKENS", "ListOps", "encode_listops", "make_listops", "save_listops"]

Array = np.ndarray[Any, Any]

# Their numbers are their places here, from 1 on; 0 is padding. The official code numbers them in the order of a set.
LISTOPS_TOKENS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "[MIN", "[MAX", "[MED", "[SM", "]")
_PLACES = {token: place for place, token in enumerate(LISTOPS_TOKENS, start=1)}
_OPERATORS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(np.median(values)),  # of an even number the mean of the middle two, rounded down
    "[SM": lambda values: sum(values) % 10,
}
_SHARE_OF_OPERATORS = 0.25


class ListOps(NamedTuple):
    """Expressions and their values.

    Attributes:
        inputs: tokens ``(n, max_length)``, padded with 0, int16.
        targets: values ``(n,)``, 0 to 9.
        sources: the expressions as the official files have them.
    """

    inputs: Array
    targets: Array
    sources: list[str]


def make_listops(
    n_samples: int,
    *,
    min_length: int = 500,
    max_length: int = 2000,
    max_depth: int = 10,
    max_args: int = 10,
    random_state: int = 0,
) -> ListOps:
    """Expressions such as ``[MAX 4 [SM 3 9 ] 7 ]`` and their values, by the official rules.

    A node is an operator (smallest, largest, median rounded down, sum modulo 10) with a chance of 1/4, above
    ``max_depth``, and a digit otherwise; an operator has 2 to ``max_args`` arguments. Expressions of other lengths are
    drawn again, and none occurs twice. Values are not balanced.

    Args:
        n_samples: how many.
        min_length: every expression has more tokens than this (operator, digits and closing brackets).
        max_length: and fewer than this; sequences are padded to it.
        max_depth: of nesting, counted from 1.
        max_args: of an operator, >= 2.
        random_state: seed.

    Raises:
        ValueError: lengths that no expression can have, or another number below its least.

    Source: Nangia & Bowman, ListOps (NAACL 2018); lengths and rules: google-research/long-range-arena,
    lra_benchmarks/data/listops.py.

    >>> found = make_listops(2, min_length=4, max_length=12, random_state=3)
    >>> found.inputs.shape, [len(source.split()) > 4 for source in found.sources]
    ((2, 12), [True, True])
    """
    longest = max_args  # of the deepest lists, and so on upwards
    for _ in range(max_depth - 1):
        longest = min(longest * max_args + 2, max_length)
    if n_samples < 0 or max_depth < 2 or max_args < 2 or not 0 <= min_length < max_length - 1 or longest <= min_length:
        raise ValueError(
            f"make_listops(min_length={min_length}, max_length={max_length}, max_depth={max_depth}, "
            f"max_args={max_args}): no expression has a length between these. Give max_depth >= 2, max_args >= 2 and "
            f"room between the lengths."
        )
    draw = random.Random(random_state)
    found: dict[tuple[str, ...], int] = {}
    progress: Progress[int] = track(None, description="drawing expressions", total=n_samples)
    with progress:
        while len(found) < n_samples:
            tokens: list[str] = []
            value = _node(draw, 1, max_depth, max_args, tokens, max_length)
            if min_length < len(tokens) < max_length and value is not None and tuple(tokens) not in found:
                found[tuple(tokens)] = value
                progress.advance()
    sources = [_bracketed(tokens) for tokens in found]
    y = np.fromiter(found.values(), np.int64, len(found))
    return ListOps(encode_listops(sources, max_length), y, sources)


def encode_listops(sources: Iterable[str], max_length: int = 2000) -> Array:
    """Expressions as tokens ``(n, max_length)``, int16, padded with 0 and cut off; round brackets are left out.

    Raises:
        ValueError: a token that ListOps has not.

    >>> encode_listops(["( ( ( [MAX 4 ) 7 ) ] )"], 6)
    array([[12,  5,  8, 15,  0,  0]], dtype=int16)
    """
    rows = []
    for source in sources:
        tokens = source.replace("(", " ").replace(")", " ").split()
        strange = set(tokens) - _PLACES.keys()
        if strange:
            raise ValueError(f"ListOps has no token {min(strange)!r}: {source[:60]!r}. It has: {' '.join(_PLACES)}.")
        row = np.zeros(max_length, dtype=np.int16)
        numbers = [_PLACES[token] for token in tokens[:max_length]]
        row[: len(numbers)] = numbers
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, max_length), dtype=np.int16)


def save_listops(path: str | os.PathLike[str], data: ListOps) -> None:
    """Write expressions and values as the official tab-separated file, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["Source", "Target"])
        writer.writerows(zip(data.sources, data.targets.tolist(), strict=True))


def _node(
    draw: random.Random, depth: int, max_depth: int, max_args: int, tokens: list[str], max_length: int
) -> int | None:
    """Draw a node, add its tokens, and give its value; None once there are too many tokens."""
    if depth >= max_depth or draw.random() > _SHARE_OF_OPERATORS:
        digit = draw.randrange(10)
        tokens.append(str(digit))
        return digit
    name = draw.choice(list(_OPERATORS))
    tokens.append(name)
    values = []
    for _ in range(draw.randint(2, max_args)):
        value = _node(draw, depth + 1, max_depth, max_args, tokens, max_length)
        if value is None or len(tokens) > max_length:
            return None
        values.append(value)
    tokens.append("]")
    return _OPERATORS[name](values)


def _bracketed(tokens: Iterable[str]) -> str:
    """With the official brackets: ``[MAX 4 7 ]`` is ``( ( ( [MAX 4 ) 7 ) ] )``."""
    return _expression(iter(tokens))


def _expression(tokens: Iterator[str]) -> str:
    token = next(tokens)
    if token not in _OPERATORS:
        return token
    parts = [token]
    while parts[-1] != "]":
        parts.append(_expression(tokens))
    return "( " * (len(parts) - 1) + parts[0] + "".join(f" {part} )" for part in parts[1:])
