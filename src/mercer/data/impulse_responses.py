"""Noise through filters that ring and fade: what comes out, from which the filters are to be found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImpulseResponses", "impulse_responses"]

Array = NDArray[np.float64]


class ImpulseResponses(NamedTuple):
    """Records of filters at work.

    Attributes:
        kernels: the impulse responses, ``(channels, length)``, of norm 1.
        u: white noise, ``(records, channels, length)``.
        y: u filtered causally from rest, plus noise.
        u_test: more white noise, ``(records, channels, length)``.
        y_test: the same filtered, without noise.
    """

    kernels: Array
    u: Array
    y: Array
    u_test: Array
    y_test: Array

    def error(self, kernels: Array) -> float:
        """What other impulse responses ``(channels, length)`` leave of the test records: squared, over the signal's."""
        gap = _filtered(self.u_test, kernels) - self.y_test
        return float(np.square(gap).sum() / np.square(self.y_test).sum())


def impulse_responses(
    n_channels: int = 4,
    *,
    length: int = 512,
    n_records: int = 3,
    n_test: int = 20,
    snr: float = 1.0,
    random_state: int = 0,
) -> ImpulseResponses:
    """Damped cosines as unknown filters, one a channel, and noisy records of white noise through them.

    Args:
        n_channels: filters.
        length: taps of a filter, and steps of a record. Filters have 2 to 20 periods in it and time constants of 5 to
            30 % of it, drawn uniformly.
        n_records, n_test: records to learn from and to test on.
        snr: variance of the signal over that of the noise in the output.
        random_state: seed.

    Raises:
        ValueError: a number that is not positive.

    >>> data = impulse_responses(2, length=100)
    >>> data.kernels.shape, data.y.shape
    ((2, 100), (3, 2, 100))
    """
    if min(n_channels, length, n_records, n_test) < 1 or not snr > 0.0:
        raise ValueError(
            f"impulse_responses(n_channels={n_channels}, length={length}, n_records={n_records}, n_test={n_test}, "
            f"snr={snr}): all are above 0."
        )
    draw = np.random.default_rng(random_state)
    t, shape = np.arange(length), (n_channels, 1)
    fading = np.exp(-t / (length * draw.uniform(0.05, 0.3, size=shape)))
    kernels = fading * np.cos(
        2.0 * np.pi * draw.uniform(2.0, 20.0, size=shape) * t / length + draw.uniform(0.0, 2.0 * np.pi, size=shape)
    )
    kernels /= np.linalg.norm(kernels, axis=1, keepdims=True)
    u, u_test = (draw.normal(size=(n, n_channels, length)) for n in (n_records, n_test))
    y, y_test = (_filtered(x, kernels) for x in (u, u_test))
    y += y.std() / np.sqrt(snr) * draw.normal(size=y.shape)
    return ImpulseResponses(kernels, u, y, u_test, y_test)


def _filtered(u: Array, kernels: Array) -> Array:
    """``(records, channels, length)``, causally and from rest."""
    n = 2 * u.shape[-1]
    y: Array = np.fft.irfft(np.fft.rfft(u, n) * np.fft.rfft(kernels, n), n)
    return y[..., : u.shape[-1]]
