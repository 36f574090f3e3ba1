"""The structured global convolution as a layer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

from torch import Tensor

from mercer.nn.convolution.layer import LongConv
from mercer.nn.convolution.sgconv_kernel import SGConvKernel
from mercer.nn.seeding import seeded

__all__ = ["SGConv"]


class SGConv(LongConv):
    """A :class:`LongConv` with an :class:`SGConvKernel`, whose arguments stand beside the layer's.

    Args:
        channels, length, heads: as in :class:`LongConv`.
        kernel_dim, decay, power, learn_power, layout, init, interpolation, init_scale: as in :class:`SGConvKernel`.
        resample, taper, reference, learning_rate: as there.
        options: all others of :class:`LongConv`.

    Source: Li, Cai, Zhang, Chen & Dey, What Makes Convolutional Models Great on Long Sequence Modeling? (ICLR 2023).

    >>> layer = SGConv(8, 4096, kernel_dim=32, causal=False)
    >>> layer(torch.randn(1, 1000, 8)).shape
    torch.Size([1, 1000, 8])
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        kernel_dim: int | None = None,
        decay: float | Sequence[float] = 2.0,
        power: float | Sequence[float] | None = None,
        learn_power: bool = True,
        layout: Literal["concat", "sum", "hankel"] = "concat",
        init: Literal["normal", "cosine"] = "normal",
        interpolation: Literal["linear", "nearest"] = "linear",
        init_scale: int = 0,
        resample: Literal["length", "sequence"] | None = None,
        taper: bool = False,
        reference: bool = False,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
        **options: Any,
    ) -> None:
        kernel = partial(
            SGConvKernel,
            kernel_dim=kernel_dim,
            decay=decay,
            power=power,
            learn_power=learn_power,
            layout=layout,
            init=init,
            interpolation=interpolation,
            init_scale=init_scale,
            resample=resample,
            taper=taper,
            reference=reference,
            learning_rate=learning_rate,
        )
        with seeded(random_state):
            super().__init__(channels, length, kernel=kernel, **options)

    @classmethod
    def from_official(cls, state_dict: Mapping[str, Tensor], **options: Any) -> Self:
        """A layer with the weights of the official GConv.

        Args:
            state_dict: with ``kernel_list.i``, ``kernel_norm``, ``multiplier``, ``D``, ``output_linear...``, and
                ``decay`` where it is a power, ``eigvecs`` where it is "hankel".
            options: what the weights do not tell: ``layout``, ``interpolation``, ``activation``, ...; ``length``, which
                is its ``l_max``, where kernels are resampled. It also drew ``reference=True``: see there.

        Raises:
            ValueError: weights that are not there or do not fit.
        """
        from mercer.nn.convolution.official import from_gconv

        return from_gconv(cls, state_dict, **options)
