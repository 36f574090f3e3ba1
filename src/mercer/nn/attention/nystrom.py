"""Attention by a positive definite kernel of tokens, through a few landmark tokens; and the same without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels import RBF
from mercer.kernels.base import Kernel
from mercer.nn.precision import without_autocast
from mercer.operators.newton import NewtonInverse, newton_inverse
from mercer.operators.tiles.definition import reference_rows
from mercer.operators.watchers import is_transformed

__all__ = ["Solver", "gaussian_attention", "nystrom_attention", "nystrom_with_residual"]

Solver = Literal["newton", "cholesky", "pinv"]

_GAUSSIAN = RBF(1.0)
_TILE = 1 << 18  # entries of P made at once where no gradient is asked for: 1 MB in float32, a core's L2 cache
_RTOL = {torch.float32: 1e-3, torch.float64: 1e-10}  # of Newton, by the type that kernel values are computed in
_KEPT = 1 << 24  # entries of P that are kept between its two uses; beyond, they are made twice


def nystrom_attention(
    q: Tensor,
    landmarks: Tensor,
    v: Tensor,
    *,
    kernel: Kernel = _GAUSSIAN,
    normalize: bool = True,
    inverse: Solver = "newton",
    n_iter: int | None = None,
    ridge: float = 1e-2,
    mask: Tensor | None = None,
    landmark_mask: Tensor | None = None,
) -> Tensor:
    r"""Softmax-free attention in linear time: the kernel matrix of all tokens by the Nystrom method, times v.

    .. math:: P (D^{-1/2} A^{-1} D^{-1/2}) P^T V, \quad P = k(Q, L), \quad A = k(L, L), \quad D = \mathrm{diag}(A 1)

    Queries and keys are the same tokens. Nothing of size n x n is made.

    Args:
        q: ``(*batch, n, e)``; a kernel of distances wants it divided by ``e^(1/4)``, as in the paper.
        landmarks: ``(*batch, m, e)``, m tokens that stand for all; on the scale of q.
        v: ``(*batch, n, w)``.
        kernel: any positive definite kernel of mercer. Plain RBF with one number is the quickest; a hyperparameter of
            each head is a tensor ``(heads, 1)``. Tensors that require a gradient get it.
        normalize: with D (SOFT++): the operator's norm stays near 1 however many landmarks there are. Without (SOFT) it
            grows with m.
        inverse: "newton" (:func:`mercer.operators.newton_inverse`), "cholesky" (quickest on a CPU for m <= 64), or
            "pinv" (by eigenvalues, for a singular A without a ridge).
        n_iter: of Newton; None stops at a residual of 1e-3, or 1e-10 where q and v are in float64. Exports need a
            number.
        ridge: added to the diagonal of A, in units of its mean. Landmarks that nearly coincide make A singular.
        mask: ``(*batch, n)``, bool, True for tokens that are there. The others count nowhere, and their output is 0.
        landmark_mask: ``(*batch, m)``, likewise.

    Returns:
        ``(*batch, n, w)``, in v's dtype. Kernel values are computed in float32 at least, the inverse in float64.

    Raises:
        ShapeError: shapes that do not fit.
        ValueError: an unknown ``inverse``; ``normalize`` with a kernel whose negative values leave a row of A a sum
            that is not positive; "cholesky" of a matrix that is not positive definite (both not seen while compiling
            and inside ``torch.func``, where the result is NaN); other than "newton" in ONNX.

    Cost: ``6 n m e`` flops a head and pass, ``4 m^3`` a step of Newton; memory ``n m`` with gradients, else about 64 MB
    at most.
    Source: Lu et al., Softmax-free Linear Transformers, arXiv 2207.03341.

    >>> q, v = torch.randn(2, 100, 8), torch.randn(2, 100, 4)
    >>> nystrom_attention(q, q[:, ::10], v).shape
    torch.Size([2, 100, 4])
    """
    found, _ = nystrom_with_residual(
        q,
        landmarks,
        v,
        kernel=kernel,
        normalize=normalize,
        inverse=inverse,
        n_iter=n_iter,
        ridge=ridge,
        mask=mask,
        landmark_mask=landmark_mask,
    )
    return found


def nystrom_with_residual(
    q: Tensor,
    landmarks: Tensor,
    v: Tensor,
    *,
    kernel: Kernel,
    normalize: bool,
    inverse: Solver,
    n_iter: int | None,
    ridge: float,
    mask: Tensor | None,
    landmark_mask: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """:func:`nystrom_attention`, and the residual of each matrix's inverse, which only Newton has."""
    _check(q, landmarks, v, inverse)
    with without_autocast(q):  # neither distances nor the inverse survive half precision
        dtype, work = v.dtype, torch.promote_types(torch.promote_types(q.dtype, v.dtype), torch.float32)
        q, landmarks, v = q.to(work), landmarks.to(work), v.to(work)
        if mask is not None:  # P enters only as P' V and as rows of the output; zeros in q keep NaN out of it
            q, v = (t.masked_fill(~mask[..., None], 0.0) for t in (q, v))
        if landmark_mask is not None:
            landmarks = landmarks.masked_fill(~landmark_mask[..., None], 0.0)
        entries = _entries_of(kernel)
        n, size = q.shape[-2], math.prod(landmarks.shape[:-1])
        # Without a graph tile by tile: a tile of P is still in cache when it is used.
        rows = n if _has_graph(kernel, q, landmarks, v) else max(256, _TILE // max(1, size))
        parts = q.split(rows, -2)
        kept: list[Tensor] = []
        S = torch.zeros((), dtype=work, device=q.device)
        for part, values in zip(parts, v.split(rows, -2), strict=True):
            P = entries(part, landmarks)
            S = S + P.mT @ values
            if len(parts) == 1 or n * size <= _KEPT:
                kept.append(P)
        newton = partial(newton_inverse, n_iter=n_iter, rtol=_RTOL[work])
        W, residual = _middle(kernel, landmarks.double(), S.double(), normalize, inverse, newton, ridge, landmark_mask)
        W = W.to(work)
        out = torch.cat([(kept[k] if kept else entries(part, landmarks)) @ W for k, part in enumerate(parts)], -2)
        if mask is not None:
            out = out * mask[..., None]
        return out.to(dtype), residual


def gaussian_attention(
    q: Tensor,
    v: Tensor,
    *,
    kernel: Kernel = _GAUSSIAN,
    normalize_rows: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """What :func:`nystrom_attention` approximates: ``k(Q, Q) V``, with the n x n matrix made. For tests and small n.

    Args:
        q: ``(*batch, n, e)``.
        v: ``(*batch, n, w)``.
        kernel: as there.
        normalize_rows: divide each row by its sum, as softmax does. Without, rows sum to anything from 1 to n, and
            networks train badly.
        mask: ``(*batch, n)``, bool, True for tokens that are there.

    Returns:
        ``(*batch, n, w)``, in v's dtype.

    >>> gaussian_attention(torch.zeros(2, 1), torch.eye(2), normalize_rows=True)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    with without_autocast(q):
        dtype, work = v.dtype, torch.promote_types(torch.promote_types(q.dtype, v.dtype), torch.float32)
        if mask is not None:
            q, v = (t.masked_fill(~mask[..., None], 0.0) for t in (q, v))
        K = _entries_of(kernel)(q.to(work), q.to(work))
        if mask is not None:
            K = K * mask[..., None, :]
        if normalize_rows:
            K = K / K.sum(-1, keepdim=True).clamp(min=torch.finfo(work).tiny)
        out = K @ v.to(work)
        return (out if mask is None else out * mask[..., None]).to(dtype)


def _check(q: Tensor, landmarks: Tensor, v: Tensor, inverse: str) -> None:
    if q.dim() < 2 or v.shape[:-1] != q.shape[:-1]:
        raise ShapeError(
            f"nystrom_attention: q is (*batch, n, e) and v (*batch, n, w) with the same batch and n, but they have "
            f"shapes {tuple(q.shape)} and {tuple(v.shape)}."
        )
    if landmarks.shape[:-2] != q.shape[:-2] or landmarks.shape[-1] != q.shape[-1] or landmarks.shape[-2] == 0:
        raise ShapeError(
            f"nystrom_attention: q has shape {tuple(q.shape)}, so landmarks must be "
            f"{(*q.shape[:-2], 'm', q.shape[-1])} with m >= 1, but have shape {tuple(landmarks.shape)}."
        )
    if inverse not in ("newton", "cholesky", "pinv"):
        raise ValueError(f"nystrom_attention: inverse is 'newton', 'cholesky' or 'pinv', not {inverse!r}.")


def _has_graph(kernel: Kernel, *tensors: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return True
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *kernel.tensors()))


def _entries_of(kernel: Kernel) -> Callable[[Tensor, Tensor], Tensor]:
    """What gives ``k(X, Y)`` as a tensor ``(*batch, n, m)``, differentiable, the whole batch at once."""
    if type(kernel) is RBF and isinstance(kernel.lengthscale, int | float):
        scale = 1.0 / kernel.lengthscale
        return lambda X, Y: gaussian(X * scale, Y * scale) if scale != 1.0 else gaussian(X, Y)

    def entries(X: Tensor, Y: Tensor) -> Tensor:
        # An operator's tiles pay from some thousand points a matrix; here there are many matrices of few columns.
        return reference_rows(kernel(X, Y).operands(), None, 0, X.shape[-2])

    return entries


def gaussian(X: Tensor, Y: Tensor) -> Tensor:
    """exp(-|x - y|^2 / 2), by one GEMM of [x, -|x|^2/2, 1] with [y, 1, -|y|^2/2] of centred points.

    The same as a tile of mercer's operators, for a batch. Exponents stop at -80: below -87 torch's exp is 25 times
    slower, for denormals.
    """
    center = Y.detach().mean(-2, keepdim=True)
    X, Y = X - center, Y - center
    left = torch.cat([X, -0.5 * X.square().sum(-1, keepdim=True), torch.ones_like(X[..., :1])], -1)
    right = torch.cat([Y, torch.ones_like(Y[..., :1]), -0.5 * Y.square().sum(-1, keepdim=True)], -1)
    exponent = left @ right.mT
    if exponent.requires_grad or torch.compiler.is_compiling() or is_transformed():
        return exponent.clamp(min=-80.0, max=0.0).exp()
    return exponent.clamp_(min=-80.0, max=0.0).exp_()


def _middle(
    kernel: Kernel,
    landmarks: Tensor,
    S: Tensor,
    normalize: bool,
    inverse: Solver,
    newton: Callable[..., NewtonInverse],
    ridge: float,
    valid: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The (normalised) inverse of ``k(L, L)`` times S ``(*batch, m, w)``, in float64."""
    A = _entries_of(kernel)(landmarks, landmarks)
    A = 0.5 * (A + A.mT)
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    if valid is not None:  # a landmark that is not there meets nobody but itself
        there = valid.to(A.dtype)
        count = there.sum(-1, keepdim=True)
        mean = (A.diagonal(dim1=-2, dim2=-1) * there).sum(-1, keepdim=True) / count.clamp(min=1.0)
        own = (1.0 - there) * torch.where(count > 0.0, mean, 1.0)  # so that the ridge stays as it is without them
        A = A * there[..., :, None] * there[..., None, :] + eye * own[..., None]
        S = S * there[..., None]
    if normalize:
        root = _inverse_roots(A, kernel)
        S = root * S
    residual = None
    if inverse == "newton":
        Y, residual, _ = newton(A, ridge=ridge)
        W = Y @ S
    else:
        W = _solved(A + ridge * A.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * eye, S, inverse, ridge)
    if valid is not None:
        W = W * there[..., None]
    return (root * W if normalize else W), residual


def _solved(A: Tensor, S: Tensor, inverse: str, ridge: float) -> Tensor:
    """A's inverse times S by LAPACK; a matrix that has NaN gives NaN, and leaves the others of its batch alone."""
    if _is_for_onnx():
        raise ValueError(f"{inverse!r} is not known to ONNX: matrix products are. Use 'newton' with n_iter=20.")
    finite = A.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    A = torch.where(finite, A, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    if inverse == "pinv":
        W = torch.linalg.pinv(A, hermitian=True) @ S
    else:
        factor, info = torch.linalg.cholesky_ex(A)
        failed = (info > 0)[..., None, None]
        if not _is_unseen(A) and bool(failed.any()):
            raise ValueError(
                f"inverse='cholesky': {int(failed.sum())} of the kernel matrices between landmarks are not positive "
                f"definite with ridge={ridge:g}. Give a larger ridge, or 'newton' or 'pinv'."
            )
        W = torch.cholesky_solve(S, factor.masked_fill(failed, torch.nan))
    found: Tensor = W.masked_fill(~finite, torch.nan)
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_for_onnx() -> bool:
    """Dynamo takes torch's own for False; the exporter to ONNX traces a second time with it."""
    return torch.onnx.is_in_onnx_export()


def _is_unseen(x: Tensor) -> bool:
    """Whether nobody can be told what the values of x are: inside a graph or a transform."""
    return x.is_meta or torch.compiler.is_compiling() or torch.compiler.is_exporting() or is_transformed()


def _inverse_roots(A: Tensor, kernel: Kernel) -> Tensor:
    """The diagonal of D^-1/2, ``(*batch, m, 1)``."""
    sums = A.sum(-1, keepdim=True)
    # A Gaussian's sums are at least 1.
    if not isinstance(kernel, RBF) and not _is_unseen(sums) and bool((sums <= 0.0).any()):
        raise ValueError(
            f"normalize=True divides by the root of each row's sum of {kernel!r} between landmarks, but the smallest "
            f"sum is {float(sums.detach().min()):.3g}: the kernel has negative values. Give normalize=False, or a "
            f"kernel that is nowhere negative, such as mercer.kernels.RBF()."
        )
    return sums.rsqrt()
