"""How much trained networks of infinite width still differ: the one formula behind every error bar of theirs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["change_by_training"]


def change_by_training(weights: Tensor, across: Tensor, prior: Any, *, whole: bool) -> Tensor:
    r"""What training adds to the covariance of the outputs over random starts, ``(m, m)`` or its diagonal ``(m,)``.

    .. math:: A\, S(X, X) A^\top - A\, S(X, x') - S(x, X) A^\top

    Args:
        weights: A, ``(m, n)``: the mean after training is A y.
        across: S(x, X) of the networks before training, ``(m, n)``.
        prior: S(X, X), as a tensor or an operator; None where ``A = S(x, X) (S(X, X) + alpha)^-1``, the posterior of a
            Gaussian process, of which -A S(X, x') is left.
        whole: whether between all points.

    Source: Lee et al., Wide neural networks of any depth evolve as linear models (NeurIPS 2019), eq. 11 and 16.

    >>> one, half = torch.ones(1, 1), torch.full((1, 1), 0.5)
    >>> change_by_training(half, half, one, whole=False)  # a point that is learnt half
    tensor([-0.2500])
    """
    # (A S - S(x, X)) A' - A S(X, x') as one product
    left = -across if prior is None else torch.as_tensor(prior @ weights.mT).mT - 2.0 * across
    if whole:
        change = left @ weights.mT
        return 0.5 * (change + change.mT)
    return (left * weights).sum(1)
