"""Finding a filter from records of what went in and what came out."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.nn.convolution.kernel import ConvolutionKernel
from mercer.nn.convolution.long_convolution import long_conv
from mercer.nn.training.loop import train

__all__ = ["identify_filter"]


def identify_filter(kernel: ConvolutionKernel, u: Tensor, y: Tensor, *, n_steps: int = 400) -> Tensor:
    r"""Train a kernel until it maps inputs to outputs, causally and from rest.

    .. math:: \min_k \; \lVert k * u - y \rVert^2

    Least squares has as many unknowns as taps and finds the noise too. What a kernel can be (pieces that decay, damped
    waves, taps that are smoothed or squashed) is what is known of the filter beforehand.

    Args:
        kernel: of one head, with its ``learning_rate`` (1e-2 is a good one here); trained in place, all steps on all
            records.
        u, y: inputs and outputs, ``(records, channels, L)``; a filter a channel.
        n_steps: of Adam.

    Returns:
        The taps found, ``(channels, L)``.

    Raises:
        ShapeError: records that do not fit each other or the kernel.

    >>> from mercer.data import impulse_responses
    >>> from mercer.nn import SGConvKernel
    >>> data = impulse_responses(2, length=512)
    >>> u, y = (torch.from_numpy(part).float() for part in (data.u, data.y))
    >>> kernel = SGConvKernel(2, 512, kernel_dim=16, learning_rate=1e-2, random_state=0)
    >>> found = identify_filter(kernel, u, y, n_steps=200)
    >>> data.error(found.numpy()) < 0.3  # squared, on other records, over the signal's
    True
    """
    heads, channels = kernel.heads, kernel.channels
    if u.dim() != 3 or u.shape != y.shape or u.shape[1] != channels or heads != 1:
        raise ShapeError(
            f"identify_filter: u and y are (records, {channels}, L) and the kernel has one head, but they are "
            f"{tuple(u.shape)} and {tuple(y.shape)}, and it has {heads}."
        )
    L = u.shape[-1]

    def loss(module: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        error: Tensor = (long_conv(batch[0], module(L)[0], layout="bhl") - batch[1]).square().mean()
        return error

    train(kernel, [(u, y)], loss=loss, n_steps=n_steps, optimizer=torch.optim.Adam)
    with torch.no_grad():
        taps: Tensor = kernel(L)[0]
    return taps.detach().clone()  # free taps are the parameters themselves
