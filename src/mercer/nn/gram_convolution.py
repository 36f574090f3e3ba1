"""Layers of deep kernel machines on images: inner products of patches, their convolution, and pooling over places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.nn.gram_state import GramState
from mercer.nn.seeding import seeded

__all__ = ["GramConvolution", "GramPooling", "GramStandardization", "PatchesToGram"]


class PatchesToGram(nn.Module):
    r"""Inner products of the patches of images with inducing patches, ``G_0 = z' x_r / d`` at every place r.

    Around the images are zeros, so that every pixel is the middle of a patch.

    Args:
        inducing: where the inducing patches start, ``(P, d)`` with ``d = channels * size^2``, or ``(P, channels, size,
            size)``: patches of the data, for instance. They are copied.
        shape: of an image, ``(channels, height, width)``.
        reference: rows ``(m, channels * height * width)`` that are put in front of all others, for
            :class:`GramStandardization`.
        learn: whether the scale of each pixel of a patch is learnt.
        learn_inducing: whether the inducing patches move.
        dtype: None is that of ``inducing``.

    Raises:
        ShapeError: patches that are not square, of odd side, and of these channels.

    >>> PatchesToGram(torch.eye(9), shape=(1, 8, 8))(torch.ones(2, 64)).ti.shape
    torch.Size([2, 8, 8, 9])
    """

    def __init__(
        self,
        inducing: Any,
        *,
        shape: Sequence[int],
        reference: Tensor | None = None,
        learn: bool = True,
        learn_inducing: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        patches = as_tensor(inducing, dtype=dtype).detach().clone()
        self.shape = tuple(int(s) for s in shape)
        width = math.prod(patches.shape[1:])
        side = math.isqrt(width // self.shape[0]) if len(self.shape) == 3 and self.shape[0] > 0 else 0
        if patches.dim() not in (2, 4) or side % 2 == 0 or self.shape[0] * side**2 != width:
            raise ShapeError(
                f"PatchesToGram: inducing must be (P, channels * size^2) patches of odd size for images of shape "
                f"(channels, height, width), not {tuple(patches.shape)} for images of {self.shape}."
            )
        self.size = side
        self.inducing = nn.Parameter(patches.reshape(len(patches), width), requires_grad=learn_inducing)
        self.log_scale = nn.Parameter(patches.new_zeros(width), requires_grad=learn)
        self.reference: Tensor | None
        self.register_buffer("reference", None if reference is None else reference.to(patches, copy=True))

    def forward(self, X: Tensor) -> GramState:
        """Of images ``(n, channels, height, width)``, or as rows ``(n, channels * height * width)``.

        Raises:
            ShapeError: images of another shape.
        """
        if tuple(X.shape[1:]) not in (self.shape, (math.prod(self.shape),)):
            raise ShapeError(f"PatchesToGram: X must be images of shape {self.shape}, not {tuple(X.shape[1:])}.")
        images = X.to(self.inducing.dtype).reshape(len(X), *self.shape)
        if self.reference is not None:
            images = torch.cat([self.reference.reshape(-1, *self.shape), images])
        squares = (2.0 * self.log_scale).exp() / len(self.log_scale)
        scaled = self.inducing * squares
        kernel, weights = (v.reshape(-1, self.shape[0], self.size, self.size) for v in (scaled, squares))
        ti = functional.conv2d(images, kernel, padding=self.size // 2)
        t = functional.conv2d(images.square(), weights, padding=self.size // 2)[:, 0]
        return GramState(scaled @ self.inducing.mT, ti.movedim(1, -1), t)


class GramConvolution(nn.Module):
    r"""A layer of weights over neighbouring places, infinitely wide: covariances of what it gives.

    With independent weights for each of the D offsets a of a neighbourhood, the covariance of two places is the mean of
    those of their neighbours. Inducing points have no place: each new one is made of the old ones at every offset, by
    coefficients ``C_a`` that are learnt as inducing points are,

    .. math:: M_{ii} = \tfrac1D \sum_a C_a K_{ii} C_a^\top, \quad M_{ri} = \tfrac1D \sum_a K_{r + a, i} C_a^\top, \quad
        m_r = \tfrac1D \sum_a k_{r + a}

    and zero beyond the border.

    Args:
        n_inducing: P, of what comes in and, without ``n_outputs``, of what goes out.
        n_outputs: inducing points that go out.
        size: of the neighbourhood, odd: D is its square.
        stride: places from one to the next.
        learn: whether the coefficients move.
        dtype: of the coefficients; None is torch's default.
        random_state: of where they start.

    Raises:
        ValueError: an even size, or a stride below 1.

    Cost: ``n h w D P^2`` multiply-adds.
    Source: Milsom, Anson & Aitchison, Convolutional deep kernel machines (ICLR 2024), section 4.

    >>> K = GramState(torch.eye(5), torch.zeros(2, 8, 8, 5), torch.ones(2, 8, 8))
    >>> GramConvolution(5, stride=2)(K).ti.shape
    torch.Size([2, 4, 4, 5])
    """

    def __init__(
        self,
        n_inducing: int,
        n_outputs: int | None = None,
        *,
        size: int = 3,
        stride: int = 1,
        learn: bool = True,
        dtype: torch.dtype | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0 or stride < 1:
            raise ValueError(f"GramConvolution: size must be odd and stride >= 1, not {size!r} and {stride!r}.")
        self.size, self.stride = size, stride
        shape = (n_inducing if n_outputs is None else n_outputs, n_inducing, size, size)
        with seeded(random_state):
            start = torch.randn(shape, dtype=dtype) / n_inducing**0.5
        self.coefficients = nn.Parameter(start, requires_grad=learn)

    def forward(self, below: GramState) -> GramState:
        """Of kernel matrices at places, ``ti`` of shape ``(n, h, w, P)``.

        Raises:
            ShapeError: rows without places, or another number of inducing points.
        """
        C = self.coefficients
        if below.ti.dim() != 4 or below.n_inducing != C.shape[1]:
            raise ShapeError(
                f"GramConvolution: ti must be (n, h, w, {C.shape[1]}) like its inducing points, not "
                f"{tuple(below.ti.shape)}."
            )
        D, stride, around = self.size**2, self.stride, self.size // 2
        each = C.movedim((2, 3), (0, 1)).flatten(0, 1)  # (D, outputs, P)
        ti = functional.conv2d(below.ti.movedim(-1, 1), C, stride=stride, padding=around).movedim(1, -1) / D
        t = functional.avg_pool2d(below.t[:, None], self.size, stride, around)[:, 0]  # zeros beyond the border count
        return GramState((each @ below.ii @ each.mT).mean(0), ti, t)

    def extra_repr(self) -> str:
        """Its sizes."""
        outputs, inputs = self.coefficients.shape[:2]
        return f"{inputs}, {outputs}, size={self.size}, stride={self.stride}"


class GramPooling(nn.Module):
    r"""The mean over all places of each row: its inner products with the inducing points and with itself.

    The covariance of two places is known through the inducing points; what they leave of each place is taken as
    independent of the others. The inner products of two rows follow by the same rule, so that all remain consistent.

    Args:
        remainder: whether what the inducing points leave counts. It is a noise of its own for each image, larger than
            what small images differ in; without it two images are compared by what the inducing points know of them.

    Source: Milsom, Anson & Aitchison, Convolutional deep kernel machines (ICLR 2024), appendix on pooling.

    >>> pooled = GramPooling()(GramState(torch.eye(5), torch.zeros(2, 8, 8, 5), torch.ones(2, 8, 8)))
    >>> pooled.ti.shape, pooled.t
    (torch.Size([2, 5]), tensor([0.0156, 0.0156]))
    """

    def __init__(self, *, remainder: bool = True) -> None:
        super().__init__()
        self.remainder = remainder

    def forward(self, below: GramState) -> GramState:
        """Of a state with places; a state without has one place.

        Raises:
            IndefiniteGram: the kernel matrix of the inducing points is not positive definite.
        """
        _, W, left = below.whitened("GramPooling")
        places = tuple(range(1, left.dim()))
        mean, ti = (v.mean(places) if places else v for v in (W, below.ti))
        left = left.sum(places) / math.prod(left.shape[1:]) ** 2 if places else left
        t = mean.square().sum(-1)
        return GramState(below.ii, ti, t + left if self.remainder else t)


class GramStandardization(nn.Module):
    r"""Rows as differences from the mean of reference rows, in units of their spread.

    Means over many places are nearly the same for all images; what a kernel has to tell apart is the small rest. The
    reference rows come first in every state (:class:`PatchesToGram` puts them there) and go no further.

    Args:
        n_reference: how many they are, at least 2.
        height: variance of the reference rows behind this layer, where it starts.
        learn: whether the height is learnt (in its logarithm).
        dtype: of the height; None is torch's default.

    Raises:
        ValueError: fewer than two rows, or a height that is not positive.

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> GramStandardization(2)(GramState(torch.eye(2), rows, torch.tensor([1.0, 1.0, 2.0]))).t
    tensor([1.], grad_fn=<MulBackward0>)
    """

    def __init__(
        self, n_reference: int, *, height: float = 1.0, learn: bool = True, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        if n_reference < 2 or not height > 0.0:
            raise ValueError(
                f"GramStandardization needs two rows or more and a positive height, not {n_reference!r} and {height!r}."
            )
        self.n_reference = n_reference
        self.log_height = nn.Parameter(torch.tensor(math.log(height), dtype=dtype), requires_grad=learn)

    def forward(self, below: GramState) -> GramState:
        """Of a state without places.

        Raises:
            ShapeError: rows with places, or fewer than the reference.
            IndefiniteGram: the kernel matrix of the inducing points is not positive definite.
        """
        R = self.n_reference
        if below.t.dim() != 1 or len(below.t) < R:
            raise ShapeError(
                f"GramStandardization: t must be (rows,), of which the first {R} are the reference, not "
                f"{tuple(below.t.shape)}."
            )
        C, W, left = below.whitened("GramStandardization")
        center = W[:R].mean(0)
        t = (W - center).square().sum(1) + left
        scale = self.log_height.exp() / t[:R].mean()
        ti = below.ti[R:] - C @ center
        return GramState(scale * below.ii, scale * ti, scale * t[R:])

    def extra_repr(self) -> str:
        """Its size."""
        return f"n_reference={self.n_reference}"
