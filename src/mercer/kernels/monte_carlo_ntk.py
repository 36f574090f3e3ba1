"""The neural tangent kernel of architectures without a closed form, by drawing networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mercer.arrays import generator
from mercer.kernels.empirical_ntk import EmpiricalNTK
from mercer.kernels.parameters import is_count

__all__ = ["MonteCarloNTK", "monte_carlo_ntk"]


class MonteCarloNTK(NamedTuple):
    """The mean over networks and its standard error, both ``(n, m)``."""

    mean: Tensor
    standard_error: Tensor


def monte_carlo_ntk(
    module_factory: Callable[[int], nn.Module],
    X: Any,
    Y: Any = None,
    *,
    n_samples: int,
    random_state: Any = 0,
    **options: Any,
) -> MonteCarloNTK:
    """The mean empirical NTK of networks drawn at random: for layers that have no closed form, such as a maximum.

    The error has two parts: chance, which ``standard_error`` states, and that of the width, which it does not know. Two
    widths show the second.

    Args:
        module_factory: ``module_factory(seed)`` gives a network. torch's global generator is seeded with the same
            number for it (and put back), so plain ``nn`` layers need not look at the seed.
        X, Y: as for :class:`EmpiricalNTK`.
        n_samples: how many networks, >= 2.
        random_state: int, generator or None.
        options: of :class:`EmpiricalNTK`: ``layers``, ``outputs``, ``method``.

    Raises:
        ValueError: fewer than two samples.
        TypeError: a network in place of a function that makes one.

    Cost: ``n_samples`` empirical kernels; the memory of three.

    >>> def factory(seed):
    ...     return torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    >>> found = monte_carlo_ntk(factory, torch.eye(2), n_samples=8)
    >>> found.mean.shape, bool((found.standard_error < 0.2 * found.mean).all())
    (torch.Size([2, 2]), True)
    """
    if isinstance(module_factory, nn.Module):
        raise TypeError(
            f"monte_carlo_ntk needs a function of a seed that makes a network, not a {type(module_factory).__name__}, "
            f"which is one network: EmpiricalNTK(module)(X)."
        )
    if not is_count(n_samples) or n_samples < 2:
        raise ValueError(f"monte_carlo_ntk(n_samples={n_samples!r}): a standard error needs at least two networks.")
    draw = generator(random_state)
    mean = squares = torch.zeros(())
    for count in range(1, n_samples + 1):
        seed = int(torch.randint(2**31 - 1, (), generator=draw))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = module_factory(seed)
        K = EmpiricalNTK(module, **options)(X, Y).to_dense().double()
        change = K - mean
        mean = mean + change / count
        squares = squares + change * (K - mean)  # Welford: no two large numbers are subtracted
    return MonteCarloNTK(mean, (squares / (n_samples - 1)).sqrt() / math.sqrt(n_samples))
