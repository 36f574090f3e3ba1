"""The gradients of a kernel expansion at points, by tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators.machine import parallel
from mercer.operators.maps import derivatives, leaf
from mercer.operators.tiles.passes import Tiles

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["point_gradients"]


def point_gradients(K: KernelOperator, v: Tensor) -> Tensor:
    r"""The gradient of ``f_t(x) = sum_j v_jt k(x, y_j)`` at every row point x of K.

    .. math:: G_{itc} = \sum_j v_{jt} \frac{\partial k(x_i, y_j)}{\partial x_{ic}}

    Where k has a kink, between a point and itself, the pair adds nothing, as with square roots in the whole library.

    Args:
        K: ``k(X, Y)`` for X ``(n, d)`` and Y ``(m, d)``, without batch; ``k(X)`` too.
        v: coefficients ``(m,)`` or ``(m, t)``.

    Returns:
        ``(n, d)``, or ``(n, t, d)`` for coefficients ``(m, t)``, in the type of K.

    Raises:
        ShapeError: a batch, or another number of coefficients than columns of K.

    Cost: one pass over all pairs with the derivative of the kernel's map, then for a kernel of distances or dot
    products one GEMM with ``t (r + 1)`` columns a tile; for l1 and other powers elementwise passes a column of X.

    >>> from mercer.kernels import RBF
    >>> point_gradients(RBF()(torch.zeros(1, 1), torch.ones(1, 1)), torch.ones(1))
    tensor([[0.6065]])
    """
    n, m = K.shape[-2:]
    if len(K.batch_shape) or v.dim() not in (1, 2) or len(v) != m:
        raise ShapeError(
            f"point_gradients: K is {tuple(K.shape)}, so v must be ({m},) or ({m}, t) and K have no batch, but v has "
            f"shape {tuple(v.shape)}."
        )
    V = v.detach().reshape(m, -1).to(K.dtype)
    X = K.X.detach().requires_grad_()
    with torch.enable_grad():
        operands = K.of_points(X, K.Y.detach()).operands()
    spec, t = operands.spec, V.shape[1]
    statistics, rows = range(len(operands.left)), range(len(operands.row))
    plain = operands.unflatten([tensor.detach() for tensor in operands.flat()])
    V = V.to(plain.like.dtype)
    targets = [leaf("statistic", g) for g in statistics] + [leaf("row", g) for g in rows]
    tiles = Tiles(plain, roots=tuple(derivatives(spec.total, targets)))
    by_statistic = [E.new_zeros(n, t, E.shape[-1]) for E in plain.left]
    by_row = [a.new_zeros(n, t) for a in plain.row]

    def work(worker: int, check: Callable[[], None]) -> None:  # each has rows of its own
        for block, values in tiles.walk(worker, tiles.workers, check):
            i, j = slice(block.i0, block.i1), slice(block.j0, block.j1)
            for g in statistics:
                E, F = plain.left[g][i], plain.rights[g][j]
                by_statistic[g][i] += spec.statistics[g].slopes(values[g], V[j], E, F, plain.parameters[g])
            for g in rows:
                by_row[g][i] += values[len(statistics) + g] @ V[j]

    parallel.run(work, tiles.workers)
    outputs = (*operands.left, *operands.row)
    slopes = (*by_statistic, *by_row)
    chosen = [o for o, output in enumerate(outputs) if output.requires_grad]
    gradients = [
        torch.autograd.grad(
            [outputs[o] for o in chosen], X, [slopes[o][:, c] for o in chosen], retain_graph=True, allow_unused=True
        )[0]
        if chosen
        else None
        for c in range(t)
    ]
    zero = torch.zeros_like(X)
    found = torch.stack([zero if gradient is None else gradient for gradient in gradients], 1).detach().to(K.dtype)
    return found.squeeze(1) if v.dim() == 1 else found
