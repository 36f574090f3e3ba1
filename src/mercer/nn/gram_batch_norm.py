"""Batch normalisation of the states of a deep kernel machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mercer.nn.gram_state import GramState

__all__ = ["GramBatchNorm"]


class GramBatchNorm(nn.Module):
    r"""Features of inducing points and of rows to mean square 1, times one learnt scale each.

    .. math:: G_{ii} \to a^2 G_{ii}, \quad G_{ti} \to a b\, G_{ti}, \quad g_t \to b^2 g_t, \qquad
        a = e^\alpha / \sqrt{\operatorname{mean} \operatorname{diag} G_{ii}}, \quad
        b = e^\beta / \sqrt{\operatorname{mean} g_t}

    All inducing points have one factor and all rows another, so the matrix of both together stays positive definite.
    The mean of ``g_t`` is over all rows and places of the batch; in evaluation it is the running average of the
    batches. That of the inducing points depends on no batch and is always the current one.

    Args:
        momentum: weight of a new batch in the running average, in (0, 1]; the first ``1 / momentum`` batches count
            equally, so that where it starts does not matter. None: all batches count equally.
        learn: whether the scales are learnt (in their logarithms); they start at 1.
        dtype: of the scales and of the average; None is torch's default.

    Raises:
        ValueError: another momentum.

    Source: Milsom, Anson & Aitchison, Convolutional deep kernel machines (ICLR 2024): the variant with one mean for all
    places.

    >>> norm = GramBatchNorm()
    >>> norm(GramState(4.0 * torch.eye(2), torch.ones(1, 2), torch.tensor([9.0]))).ti
    tensor([[0.1667, 0.1667]], grad_fn=<MulBackward0>)
    """

    running_mean: Tensor
    num_batches_tracked: Tensor

    def __init__(self, *, momentum: float | None = 0.1, learn: bool = True, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if momentum is not None and not 0.0 < momentum <= 1.0:
            raise ValueError(f"GramBatchNorm: momentum must be in (0, 1] or None, not {momentum!r}.")
        self.momentum = momentum
        self.log_inducing_scale = nn.Parameter(torch.zeros((), dtype=dtype), requires_grad=learn)
        self.log_row_scale = nn.Parameter(torch.zeros((), dtype=dtype), requires_grad=learn)
        self.register_buffer("running_mean", torch.ones((), dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, below: GramState) -> GramState:
        """Of a state, with places or without; a batch without rows leaves the average as it was."""
        mean = self.running_mean
        if self.training and below.t.numel():
            mean = below.t.mean()
            self._track(mean.detach())
        a = self.log_inducing_scale.exp() / _positive(below.ii.diagonal().mean()).sqrt()
        b = self.log_row_scale.exp() / _positive(mean).sqrt()
        return GramState(a * a * below.ii, a * b * below.ti, b * b * below.t)

    def _track(self, mean: Tensor) -> None:
        self.num_batches_tracked += 1
        share = 1.0 / self.num_batches_tracked
        if self.momentum is not None:
            share = share.clamp(min=self.momentum)
        self.running_mean.lerp_(mean.to(self.running_mean), share.to(self.running_mean))

    def extra_repr(self) -> str:
        """Its momentum."""
        return f"momentum={self.momentum}"


def _positive(mean: Tensor) -> Tensor:
    """Where all is zero, as behind black images without jitter, it stays zero."""
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)
