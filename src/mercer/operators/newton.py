"""The inverse of many small positive definite matrices by matrix products alone."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from mercer.errors import ApproximationWarning, ShapeError

__all__ = ["NewtonInverse", "newton_inverse"]

MOST_STEPS = 60  # of a run that is stopped by its residual: enough for a condition of 1e15
START = 1.8  # of the first guess, where 2 is the largest that converges: the paper's 2 * 0.9
SAFE = 1.05  # how much larger a ridge may make |A|_1 until the first guess has to know: 1.8 * 1.05^2 < 2


class NewtonInverse(NamedTuple):
    """What :func:`newton_inverse` gives.

    Attributes:
        inverse: ``(*batch, m, m)``, in the dtype of A.
        residual: ``max |I - (A + ridge) inverse|`` of each matrix, ``(*batch,)``, before the cast to A's dtype.
        n_iter: steps of each matrix, ``(*batch,)``.
    """

    inverse: Tensor
    residual: Tensor
    n_iter: Tensor


def newton_inverse(
    A: Tensor, *, n_iter: int | None = None, rtol: float = 1e-3, order: int = 2, ridge: float = 0.0
) -> NewtonInverse:
    r"""The inverse of symmetric positive definite matrices by Newton's iteration, each stopped by its own residual.

    .. math:: R = I - A Y, \qquad Y \leftarrow Y + Y R

    The residual squares with every step once it is below 1, which takes about ``log2`` of the condition. Products are
    in float64 whatever the dtype: in float32 the residual would not fall below 4e-4 at condition 600, nor below 1 at
    2e4. The gradient is the closed form :math:`-Y^T (dL/dY) Y^T`, exact for an inverse and differentiable again; it is
    as wrong as the residual is large.

    Args:
        A: ``(*batch, m, m)``, symmetric positive definite, of any floating dtype.
        n_iter: None stops each matrix at ``rtol``, whatever else is in the batch; what does not get there (round-off
            stops it at condition 1e7, and 60 steps in any case) is inverted by Cholesky, or by eigenvalues where it is
            not positive definite, with a warning. A number does so
            many steps from the start of the SOFT paper, ``1.8 A / |A|_1^2``, without looking at the residual (read it):
            what its checkpoints were trained with, and what can be exported. Of nearly singular matrices this leaves
            out the directions of small eigenvalues.
        rtol: where to stop: the largest entry of ``|I - A Y|``.
        order: 2, or 3 for the cubic iteration of Nystromformer: four products a step for two, and about two thirds of
            the steps.
        ridge: added to the diagonal, in units of its mean.

    Raises:
        ShapeError: A is not square, or empty.
        TypeError: A is not of a floating dtype.
        ValueError: an order, a ridge, a tolerance or a number of steps that cannot be; no ``n_iter`` in an export.

    Cost: ``4 m^3`` flops a step and matrix (``8 m^3`` at order 3).
    Source: Lu et al., Softmax-free Linear Transformers, arXiv 2207.03341; Schulz (1933).

    >>> Y, residual, n_iter = newton_inverse(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), rtol=1e-6)
    >>> Y, int(n_iter)
    (tensor([[ 0.6667, -0.3333],
            [-0.3333,  0.6667]]), 6)
    """
    _check(A, n_iter, rtol, order, ridge)
    dtype, A = A.dtype, A.double()
    norm = _norm(A.detach())
    if ridge:
        mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        A = A + ridge * mean * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        norm = torch.maximum(norm, _norm(A.detach()) / SAFE)
    if torch.compiler.is_exporting():
        if n_iter is None:
            raise ValueError("newton_inverse: an exported graph cannot stop by a residual. Give n_iter, such as 20.")
        Y, residual = _steps(A, norm, n_iter, order)
        return NewtonInverse(Y.to(dtype), residual, torch.full(A.shape[:-2], n_iter, device=A.device))
    if torch.compiler.is_compiling():
        Y, residual, steps = _newton(A, norm, -1 if n_iter is None else n_iter, rtol, order)
    else:
        Y, residual, steps = _Inverse.apply(A, norm, n_iter, rtol, order)  # type: ignore[no-untyped-call]
    return NewtonInverse(Y.to(dtype), residual, steps)


def _check(A: Tensor, n_iter: int | None, rtol: float, order: int, ridge: float) -> None:
    if A.dim() < 2 or A.shape[-1] != A.shape[-2] or A.shape[-1] == 0:
        raise ShapeError(f"newton_inverse: A must be (*batch, m, m) with m >= 1, but has shape {tuple(A.shape)}.")
    if not A.is_floating_point():
        raise TypeError(f"newton_inverse: A must be of a floating dtype, not {A.dtype}.")
    if order not in (2, 3):
        raise ValueError(f"newton_inverse: order is 2 or 3, not {order!r}.")
    if not ridge >= 0.0:
        raise ValueError(f"newton_inverse: ridge must be >= 0, not {ridge!r}.")
    if not 0.0 < rtol < 1.0:
        raise ValueError(f"newton_inverse: rtol must be between 0 and 1, not {rtol!r}.")
    if n_iter is not None and n_iter < 0:
        raise ValueError(f"newton_inverse: n_iter must be >= 0, or None to stop at rtol; not {n_iter!r}.")


class _Inverse(Function):
    """(A, norm, n_iter, rtol, order) -> inverse, residual, steps, with the gradient of an inverse.

    The operator below has the same gradient, but none inside ``torch.func``; and this class cannot be compiled without
    a warning of torch's.
    """

    @staticmethod
    def forward(A: Tensor, norm: Tensor, n_iter: int | None, rtol: float, order: int) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = _newton(A, norm, -1 if n_iter is None else n_iter, rtol, order)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        Y, residual, steps = output
        ctx.mark_non_differentiable(residual, steps)
        ctx.save_for_backward(Y)

    @staticmethod
    def backward(ctx: Any, dY: Tensor, *_: Any) -> tuple[Tensor, None, None, None, None]:
        (Y,) = ctx.saved_tensors
        return -(Y.mT @ dY @ Y.mT), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], A: Tensor, norm: Tensor, *static: Any) -> Any:
        """The rule for torch.vmap: one more batch dimension, which changes no matrix's result."""
        pairs = zip((A, norm), in_dims, strict=False)
        moved = [t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0) for t, dim in pairs]
        return _Inverse.apply(*moved, *static), (0, 0, 0)  # type: ignore[no-untyped-call]


# An operator of its own, so that torch.compile keeps a loop of unknown length as one node of its graph.
@torch.library.custom_op("mercer::newton_inverse", mutates_args=())
def _newton(A: Tensor, norm: Tensor, n_iter: int, rtol: float, order: int) -> tuple[Tensor, Tensor, Tensor]:
    """``n_iter`` is -1 to stop at ``rtol``."""
    batch, m = A.shape[:-2], A.shape[-1]
    A, norm = A.detach().reshape(-1, m, m), norm.reshape(-1, 1, 1)
    if n_iter >= 0:
        Y, residual = _steps(A, norm, n_iter, order)
        steps = torch.full((len(A),), n_iter, device=A.device)
    else:
        Y, residual, steps = _until(A, norm, rtol, order)
    return Y.reshape(*batch, m, m), residual.reshape(batch), steps.reshape(batch)


@_newton.register_fake
def _(A: Tensor, norm: Tensor, n_iter: int, rtol: float, order: int) -> tuple[Tensor, Tensor, Tensor]:
    batch = A.shape[:-2]
    return torch.empty_like(A), A.new_empty(batch), A.new_empty(batch, dtype=torch.int64)


_newton.register_autograd(_Inverse.backward, setup_context=_Inverse.setup_context)


def _steps(A: Tensor, norm: Tensor, n_iter: int, order: int) -> tuple[Tensor, Tensor]:
    """So many steps from the paper's start, ``1.8 A / |A|_1^2``: ``A Y`` has eigenvalues in (0, 2) for any A = A^T."""
    Y = START * A / norm.square()
    for _ in range(n_iter):
        Y = _step(Y, _residual(A, Y), order)
    return Y, _largest(_residual(A, Y))


def _until(A: Tensor, norm: Tensor, rtol: float, order: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps until each matrix has its residual at ``rtol``; those that never get there by other means.

    The start is a multiple of the identity, which needs half of the steps that the paper's start needs: the smallest
    eigenvalue of ``A Y`` is 1.8 / condition at worst, and not its square.
    """
    y = (START / norm) * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    Y, steps = y.clone(), torch.zeros(len(A), dtype=torch.int64, device=A.device)
    R = _residual(A, y)
    residual = _largest(R)
    a, left, size = A, torch.arange(len(A), device=A.device), torch.full_like(residual, torch.inf)
    for step in range(MOST_STEPS + 1):
        now = R.square().sum((-2, -1))
        is_stuck = (size < 0.25) & (now > 0.25 * size)  # in exact arithmetic |R^2| <= |R|^2: this is round-off
        is_done = ~(residual[left] > rtol) | is_stuck | (step == MOST_STEPS)  # also with NaN
        if bool(is_done.any()):
            Y[left[is_done]], steps[left[is_done]] = y[is_done], step
            a, y, R, left, now = (t[~is_done] for t in (a, y, R, left, now))
        if not len(left):
            break
        size, y = now, _step(y, R, order)
        R = _residual(a, y)
        residual[left] = _largest(R)
    failed = (~(residual <= rtol)).nonzero()[:, 0]
    if len(failed):
        Y[failed] = _directly(A[failed])
        residual[failed] = _largest(_residual(A[failed], Y[failed]))
    return Y, residual, steps


def _step(Y: Tensor, R: Tensor, order: int) -> Tensor:
    """One step, given ``R = I - A Y``; symmetrised, as round-off would grow otherwise."""
    if order == 3:
        R = R + R @ (R + 0.25 * (R @ R))  # R' = 3/4 R^3 + R^4/4
    Y = torch.baddbmm(Y, Y, R) if Y.dim() == 3 else Y + Y @ R
    return 0.5 * (Y + Y.mT)


def _residual(A: Tensor, Y: Tensor) -> Tensor:
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device) - A @ Y


def _largest(R: Tensor) -> Tensor:
    return R.abs().amax((-2, -1))


def _norm(A: Tensor) -> Tensor:
    """|A|_1, the largest sum of a row's absolute values, ``(*batch, 1, 1)``: no eigenvalue is larger."""
    return A.abs().sum(-1).amax(-1)[..., None, None]


def _directly(A: Tensor) -> Tensor:
    """By Cholesky, or by eigenvalues where that fails; NaN where A has NaN."""
    warnings.warn(
        f"newton_inverse: {len(A)} of the matrices did not reach rtol by Newton's iteration and were inverted by "
        f"Cholesky, or by eigenvalues where they are not positive definite. A ridge makes them better conditioned.",
        ApproximationWarning,
        stacklevel=2,
    )
    Y = torch.full_like(A, torch.nan)
    finite = A.isfinite().all(-1).all(-1)
    factor, info = torch.linalg.cholesky_ex(A)
    for i in finite.nonzero()[:, 0].tolist():
        Y[i] = torch.cholesky_inverse(factor[i]) if not info[i] else torch.linalg.pinv(A[i], hermitian=True)
    return Y
