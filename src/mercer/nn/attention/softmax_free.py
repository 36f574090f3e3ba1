"""The attention layer of SOFT."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import RBF
from mercer.kernels.base import Kernel
from mercer.nn.attention.landmarks import (
    from_grid,
    segment_means,
    to_grid,
    window_mask,
    window_means,
    window_starts,
)
from mercer.nn.attention.nystrom import Solver, nystrom_with_residual
from mercer.operators.watchers import is_transformed

__all__ = ["SoftmaxFreeAttention"]

Pooling = Literal["conv", "average", "strided"]

_LARGE_RESIDUAL = 0.1


class SoftmaxFreeAttention(nn.Module):
    r"""Attention by a Gaussian kernel of tokens through landmarks: linear in the number of tokens, without softmax.

    .. math:: k(a, b) = \exp\left(-\frac{|a - b|^2}{2 \sqrt{e}}\right), \qquad
        \mathrm{out} = W_o \left( P (D^{-1/2} A^{-1} D^{-1/2}) P^T V + \mathrm{conv}(V) \right)

    with e the width of a head, P the kernel between tokens and landmarks and A that between landmarks. Queries and keys
    are one projection. It has no causal form: landmarks see the future.

    Args:
        width: of tokens.
        heads: how many; they divide the width.
        landmarks: a number (means of so many segments of any sequence); "conv" (a convolution with windows of ``ratio``
            x ``ratio``, layer norm and GELU: the paper's, for grids); "average" or "strided" (means or first tokens of
            such windows, of ``ratio`` tokens in a sequence; under a mask of those that are there).
        ratio: side of a window; what does not divide the grid is padded.
        normalize: SOFT++; False is SOFT.
        value_conv: odd size of a depthwise convolution of the values, one filter a head, for grids; None for none.
        solver: "newton" (matrix products only), "cholesky" (quickest on a CPU up to 64 landmarks) or "pinv".
        n_iter: steps of Newton. None stops each matrix by its residual; official checkpoints and exports want a number.
        ridge: on the diagonal of A. Without, landmarks that coincide make it singular.
        kernel: any positive definite kernel in place of the Gaussian, of tokens divided by ``e^(1/4)``. Its
            hyperparameters are no parameters of the layer.
        learn_lengthscale: whether each head learns a length by which its tokens are divided.
        causal: only False.

    Attributes:
        last_residual: of the last forward with Newton, the largest entry of ``|I - A Y|``; above 0.1 it is warned of.
            Inside ``torch.func`` and exported graphs it is left as it was.

    Raises:
        ValueError: an argument that cannot be; ``causal=True``.
        TypeError: a kernel that is none of mercer's.

    Parameter names are those of the official checkpoints.
    Source: Lu et al., Softmax-free Linear Transformers, arXiv 2207.03341.

    >>> layer = SoftmaxFreeAttention(64, 2, landmarks="conv", ratio=4, value_conv=3)
    >>> layer(torch.randn(1, 14 * 15, 64), grid=(14, 15)).shape
    torch.Size([1, 210, 64])
    """

    last_residual: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        landmarks: int | Pooling = 49,
        ratio: int = 8,
        normalize: bool = True,
        value_conv: int | None = None,
        solver: Solver = "newton",
        n_iter: int | None = None,
        ridge: float = 1e-2,
        kernel: Kernel | None = None,
        learn_lengthscale: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        _check(width, heads, landmarks, ratio, value_conv, solver, causal)
        _check_inverse(n_iter, ridge, kernel)
        self.width, self.heads, self.ratio, self.pooling = width, heads, ratio, landmarks
        self.normalize, self.solver, self.n_iter, self.ridge = normalize, solver, n_iter, ridge
        self.kernel = RBF(1.0) if kernel is None else kernel
        self.W_q, self.W_v = nn.Linear(width, width), nn.Linear(width, width)
        self.attn = _Filters(width // heads, heads, ratio if landmarks == "conv" else None, value_conv)
        self.ff = nn.Linear(width, width)
        self.log_lengthscale = nn.Parameter(torch.zeros(heads)) if learn_lengthscale else None
        self.register_buffer("last_residual", torch.tensor(math.nan, dtype=torch.float64), persistent=False)

    def forward(
        self,
        x: Tensor,
        *,
        grid: tuple[int, int] | None = None,
        mask: Tensor | None = None,
        landmarks: Tensor | None = None,
    ) -> Tensor:
        """Attention of all tokens to all.

        Args:
            x: ``(B, n, width)``.
            grid: rows and columns, where the tokens are those of an image, row by row.
            mask: ``(B, n)``, bool, True for tokens that are there. The others count nowhere; their output is the bias.
            landmarks: to be used in place of those of x, such as the previous frame's; see :meth:`find_landmarks`.
                Rows of NaN stand for none.

        Raises:
            ShapeError: shapes that do not fit, or no grid where one is needed.
            TypeError: a mask that is not bool.
            ValueError: ``normalize`` and a kernel whose negative values make a row sum that is not positive; "cholesky"
                of landmarks that coincide without a ridge; another solver than "newton" in an export to ONNX.
        """
        self._check_input(x, grid, mask)
        x = _without_padding(x, mask)
        values = self.W_v(x)
        out = self._mix(x, self._split(values), grid, mask, landmarks).transpose(1, 2).flatten(2)
        if self.attn.conv is not None:
            assert grid is not None
            out = out + self._convolve(values, grid, mask)
        found: Tensor = self.ff(out)
        return found

    def weights(
        self,
        x: Tensor,
        *,
        grid: tuple[int, int] | None = None,
        mask: Tensor | None = None,
        landmarks: Tensor | None = None,
    ) -> Tensor:
        """What each token takes of each value, ``(B, heads, n, n)``, the convolution apart: to look at, for small n.

        Arguments and errors as of :meth:`forward`.
        """
        self._check_input(x, grid, mask)
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(x.shape[0], self.heads, -1, -1)
        return self._mix(_without_padding(x, mask), eye, grid, mask, landmarks)

    def _mix(
        self, x: Tensor, v: Tensor, grid: tuple[int, int] | None, mask: Tensor | None, landmarks: Tensor | None
    ) -> Tensor:
        """Values ``(B, heads, n, w)`` as tokens see them through landmarks."""
        q = self._queries(x)
        if landmarks is None:
            landmarks, valid = self._pool(q, grid, mask)
        else:
            valid = ~landmarks.isnan().any(-1).any(1)
        mixed, residual = nystrom_with_residual(
            q,
            landmarks,
            v,
            kernel=self.kernel,
            normalize=self.normalize,
            inverse=self.solver,
            n_iter=self.n_iter,
            ridge=self.ridge,
            mask=None if mask is None else mask[:, None],
            landmark_mask=None if valid is None else valid[:, None],
        )
        if residual is not None:
            self._note(residual)
        return mixed

    def find_landmarks(self, x: Tensor, *, grid: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """The landmarks of x, ``(B, heads, m, width / heads)``, to be reused for tokens that are alike.

        Those of windows without any token that is there are NaN.
        """
        self._check_input(x, grid, mask)
        landmarks, valid = self._pool(self._queries(_without_padding(x, mask)), grid, mask)
        return landmarks if valid is None else landmarks.masked_fill(~valid[:, None, :, None], torch.nan)

    def extra_repr(self) -> str:
        """The arguments."""
        parts = [f"{self.width}, {self.heads}, landmarks={self.pooling!r}", f"normalize={self.normalize}"]
        parts.append(f"solver={self.solver!r}, n_iter={self.n_iter}, ridge={self.ridge:g}")
        return ", ".join(parts)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, n, e)
        return heads

    def _queries(self, x: Tensor) -> Tensor:
        q: Tensor = self._split(self.W_q(x)) / (self.width // self.heads) ** 0.25
        return q if self.log_lengthscale is None else q * (-self.log_lengthscale).exp()[:, None, None]

    def _pool(self, q: Tensor, grid: tuple[int, int] | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Landmarks ``(B, heads, m, e)``, and which are there ``(B, m)``."""
        if isinstance(self.pooling, int):
            return segment_means(q, self.pooling, mask)
        window = (1, self.ratio) if grid is None else (self.ratio, self.ratio)
        grid = (1, q.shape[-2]) if grid is None else grid
        images = to_grid(q, grid)
        there = None if mask is None else mask.reshape(-1, 1, *grid)
        by_head = None if there is None else there.repeat_interleave(self.heads, 0)
        valid = None if there is None else window_mask(there, window)
        if self.pooling == "strided":
            return from_grid(window_starts(images, window, by_head), q), valid
        if self.pooling == "average":
            return from_grid(window_means(images, window, by_head), q), valid
        if by_head is not None:
            images = images * by_head
        below, beside = (-side % self.ratio for side in grid)
        assert self.attn.Qlandmark_op is not None
        assert self.attn.Qnorm_act is not None
        found = self.attn.Qlandmark_op(F.pad(images, (0, beside, 0, below)))
        return self.attn.Qnorm_act(from_grid(found, q)), valid

    def _convolve(self, values: Tensor, grid: tuple[int, int], mask: Tensor | None) -> Tensor:
        """The depthwise convolution of values ``(B, n, width)``, whose filters all columns of a head share."""
        if mask is not None:
            values = values * mask[..., None]
        assert self.attn.conv is not None
        weight = self.attn.conv.weight.repeat_interleave(self.width // self.heads, 0)
        images = values.unflatten(1, grid).permute(0, 3, 1, 2)
        return F.conv2d(images, weight, padding=weight.shape[-1] // 2, groups=self.width).flatten(2).mT

    def _note(self, residual: Tensor) -> None:
        """Keep the residual, and warn of a large one; inside a graph or a transform there is nobody to warn."""
        if torch.compiler.is_exporting() or residual.is_meta or is_transformed():
            return
        if residual.numel() == 0:  # no samples
            return
        self.last_residual = residual.detach().amax()
        if not torch.compiler.is_compiling() and bool(self.last_residual > _LARGE_RESIDUAL):
            advice = "" if self.n_iter is None else "n_iter=None stops by the residual; "
            warnings.warn(
                f"SoftmaxFreeAttention: Newton has left |I - A Y| at {float(self.last_residual):.2g} (n_iter="
                f"{self.n_iter}). What helps: {advice}solver='cholesky'; a larger ridge.",
                ApproximationWarning,
                stacklevel=4,
            )

    def _check_input(self, x: Tensor, grid: tuple[int, int] | None, mask: Tensor | None) -> None:
        if x.dim() != 3 or x.shape[-1] != self.width or x.shape[1] == 0:
            raise ShapeError(f"SoftmaxFreeAttention: x must be (B, n, {self.width}), but has shape {tuple(x.shape)}.")
        if grid is not None and grid[0] * grid[1] != x.shape[1]:
            raise ShapeError(f"SoftmaxFreeAttention: a grid of {grid[0]} x {grid[1]} is not of {x.shape[1]} tokens.")
        if grid is None and (self.pooling == "conv" or self.attn.conv is not None):
            raise ShapeError(
                "SoftmaxFreeAttention: landmarks='conv' and value_conv look at neighbours on a grid: give "
                "grid=(rows, columns), or build the layer with landmarks=49 and value_conv=None for sequences."
            )
        if mask is not None and mask.dtype != torch.bool:
            raise TypeError(f"SoftmaxFreeAttention: mask must be bool, True where there is a token, not {mask.dtype}.")
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(
                f"SoftmaxFreeAttention: x has shape {tuple(x.shape)}, so mask must be {tuple(x.shape[:2])}, but has "
                f"shape {tuple(mask.shape)}."
            )


class _Filters(nn.Module):
    """The learnt filters of landmarks and values, under the names that official checkpoints give them."""

    def __init__(self, head_width: int, heads: int, ratio: int | None, value_conv: int | None) -> None:
        super().__init__()
        self.Qlandmark_op: nn.Conv2d | None = None
        self.Qnorm_act: nn.Sequential | None = None
        self.conv: nn.Conv2d | None = None
        if ratio is not None:
            self.Qlandmark_op = nn.Conv2d(head_width, head_width, ratio, stride=ratio, bias=False)
            self.Qnorm_act = nn.Sequential(nn.LayerNorm(head_width), nn.GELU())
        if value_conv is not None:
            self.conv = nn.Conv2d(heads, heads, value_conv, padding=value_conv // 2, groups=heads, bias=False)


def _without_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """x with zeros for tokens that are not there, so that not even NaN in them reaches one that is."""
    return x if mask is None else x.masked_fill(~mask[..., None], 0.0)


def _check(
    width: int, heads: int, landmarks: int | str, ratio: int, value_conv: int | None, solver: str, causal: bool
) -> None:
    if causal:
        raise ValueError(
            "SoftmaxFreeAttention has no causal form: its landmarks see the future. Use mercer.nn.NormAttention."
        )
    if heads < 1 or width % heads:
        raise ValueError(f"SoftmaxFreeAttention: {heads} heads do not divide a width of {width}.")
    if landmarks not in ("conv", "average", "strided") and not (isinstance(landmarks, int) and landmarks >= 1):
        raise ValueError(
            f"SoftmaxFreeAttention: landmarks is a number >= 1, 'conv', 'average' or 'strided', not {landmarks!r}."
        )
    if ratio < 1:
        raise ValueError(f"SoftmaxFreeAttention: ratio must be >= 1, not {ratio!r}.")
    if value_conv is not None and (value_conv < 1 or value_conv % 2 == 0):
        raise ValueError(f"SoftmaxFreeAttention: value_conv is an odd size or None, not {value_conv!r}.")
    if solver not in ("newton", "cholesky", "pinv"):
        raise ValueError(f"SoftmaxFreeAttention: solver is 'newton', 'cholesky' or 'pinv', not {solver!r}.")


def _check_inverse(n_iter: Any, ridge: Any, kernel: Any) -> None:
    if n_iter is not None and (isinstance(n_iter, bool) or not isinstance(n_iter, Integral) or n_iter < 1):
        raise ValueError(f"SoftmaxFreeAttention: n_iter is a whole number >= 1 or None, not {n_iter!r}.")
    if not isinstance(ridge, Real) or not float(ridge) >= 0.0:
        raise ValueError(f"SoftmaxFreeAttention: ridge is a number >= 0, not {ridge!r}.")
    if kernel is not None and not isinstance(kernel, Kernel):
        raise TypeError(f"SoftmaxFreeAttention: kernel is one of mercer.kernels, such as RBF(), not {kernel!r}.")
