"""Training of a three-layer network one layer after the other: two convex problems in a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, check_finite, generator
from mercer.errors import ShapeError
from mercer.nn.bottleneck import BottleneckResidualMLP
from mercer.nn.training.loop import History, train

__all__ = ["LayerwiseHistory", "train_layerwise"]

_STEPS_OF_AN_EPOCH = 50  # what the history has one loss for; an epoch costs as much as several small steps


@dataclass(frozen=True)
class LayerwiseHistory:
    """What :func:`train_layerwise` has done: the histories of both stages.

    Attributes:
        first: of the bottleneck's weights u.
        second: of the link's weights c.
    """

    first: History
    second: History


def train_layerwise(
    net: BottleneckResidualMLP,
    X: Any,
    y: Any,
    *,
    steps: int = 1000,
    learning_rate: float | None = None,
    weight_decay: float | tuple[float, float] = 1e-3,
    split: bool = True,
    random_state: int = 0,
) -> LayerwiseHistory:
    r"""Train the bottleneck as if it were the output, then, with it frozen, the link: the paper's algorithm.

    Full-batch gradient descent on :math:`\frac1n \sum (g(x_i) - y_i)^2 + \xi_1 |u|^2` from one half of the rows, then
    on :math:`\frac1n \sum (f(x_i) - y_i)^2 + \xi_2 |c|^2` from the other. Between the stages the mean and the scale
    of the bottleneck are those of its values on the second half, and the knots b are put at quantiles of them.

    Args:
        net: trained in place, on the device and in the type that it has.
        X: ``(n, in_features)``.
        y: ``(n,)``; centre it, since the network has no output bias of its own.
        steps: of each stage.
        learning_rate: None is the largest that is safe, one over the largest curvature of each stage.
        weight_decay: xi of both stages, or of each.
        split: whether the stages have rows of their own; otherwise all rows train both.
        random_state: of the halves.

    Raises:
        NotConverged: a learning rate so large that the loss became infinite.
        ShapeError: as many rows of X and y are needed, and at least two.
        ValueError: arguments out of range, NaN or infinity.
        TypeError: another network, or one of a half type.

    Cost: ``4 n m`` multiply-adds a step, m the units of the stage.

    >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> y = x[:, 0] * x[:, 1]
    >>> net = mc.nn.BottleneckResidualMLP(3, 100, 20, "hermite2")
    >>> history = train_layerwise(net, x, y, steps=200)
    >>> float((net(x).detach() - y).square().mean()) < 0.1
    True
    """
    if not isinstance(net, BottleneckResidualMLP):
        raise TypeError(f"train_layerwise trains a BottleneckResidualMLP, not {type(net).__name__}.")
    check_whole("steps", steps)
    decays = weight_decay if isinstance(weight_decay, tuple) else (weight_decay, weight_decay)
    if len(decays) != 2:
        raise ValueError(f"weight_decay must be one number, or a pair for the two stages, not {weight_decay!r}.")
    for decay in decays:
        check_not_negative("weight_decay", decay)
    if learning_rate is not None:
        check_not_negative("learning_rate", learning_rate)
    example = net.u.detach()
    if example.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(f"train_layerwise: {example.dtype} is too coarse to train in. Use net.float().")
    points, target = (as_tensor(v, dtype=example.dtype, device=example.device) for v in (X, y))
    n = len(points)
    if target.shape != (n,) or n < 2:
        raise ShapeError(
            f"train_layerwise: X has {n} rows, so y must be ({n},) with n >= 2, not {tuple(target.shape)}."
        )
    check_finite(points, "X")
    check_finite(target, "y")
    order = torch.randperm(n, generator=generator(random_state)).to(points.device)
    first, second = order.tensor_split(2) if split else (order, order)
    with torch.no_grad():
        hidden = net.hidden(points)
    history = _descend(net, "u", hidden[first], target[first], decays[0], int(steps), learning_rate)
    with torch.no_grad():
        g = net.bottleneck(points[second])
        _place(net, g)
        units = net.units(g)
    return LayerwiseHistory(
        history, _descend(net, "c", units, target[second] - g, decays[1], int(steps), learning_rate)
    )


def _place(net: BottleneckResidualMLP, g: Tensor) -> None:
    """Mean, scale and knots from the values of the bottleneck."""
    net.mean.copy_(g.mean())
    spread = g.std(correction=0)
    net.scale.copy_(spread if float(spread) > 0.0 else torch.ones_like(spread))
    t = (g - net.mean) / net.scale
    levels = (torch.arange(len(net.b), dtype=g.dtype, device=g.device) + 0.5) / len(net.b)
    net.b.copy_(net.a * torch.quantile(t, levels))  # a unit a t - b bends where a t = b


def _descend(
    net: BottleneckResidualMLP,
    name: str,
    F: Tensor,
    y: Tensor,
    decay: float,
    steps: int,
    learning_rate: float | None,
) -> History:
    """Descent on ``mean (F w - y)^2 + decay |w|^2`` for one parameter w of the network."""
    if learning_rate is None:
        curvature = torch.linalg.matrix_norm(F.mT @ F / len(F), ord=2) + decay
        learning_rate = float(0.5 / curvature)

    def loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        w = getattr(model, name)
        penalised: Tensor = (batch[0] @ w - batch[1]).square().mean() + decay * w.square().sum()
        return penalised

    optimizer = partial(torch.optim.SGD, lr=learning_rate)
    batches = [(F, y)] * min(steps, _STEPS_OF_AN_EPOCH)
    return train(net, batches, loss=loss, n_steps=steps, optimizer=optimizer, description=f"layer {name}")
