"""Networks that are shown how single bits move, and asked about whole patterns: everything in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from mercer.arguments import check_whole
from mercer.learn.ensemble.counting import check_delta, check_method, fewest, log_failure

__all__ = ["THRESHOLDS", "PermutationLaw"]

Array = NDArray[np.float64]
REGIMES = ("ntk", "last_layer")
THRESHOLDS = ("zero", "midpoint")


class PermutationLaw:
    r"""The law of wide networks trained on the k unit vectors to permute bits, at any input with m ones.

    The networks have one hidden ReLU layer, no biases and k outputs, and see inputs of norm 1. With the kernel
    T(cosine) of the regime, a = T(1), b = T(0), f = T(1 / sqrt(m)), d = a - b and D = d + k b, the Gram matrix is
    d I + b 11', and the mean output is

    .. math:: \mu_{off} = \frac{b\,(d - m (f - b))}{d D}, \qquad \mu_{on} = \mu_{off} + \frac{f - b}{d}

    where the permuted input has a 0 and where it has a 1. The variance is the same for all outputs; these are
    independent. For 2 <= m the two means have the signs of the right answer, for m = 1 they are the targets 0 and 1.

    Args:
        k: bits, >= 2.
        regime: "ntk", where all layers learn, or "last_layer", where only the last one does, as happens to very wide
            networks whose initial weights, not whose forward pass, is scaled by 1 / sqrt(width).

    Raises:
        ValueError: k below 2, an unknown regime.

    Cost: a formula for each m, for k up to 1e6 and more; exact sizes are searched by bisection.
    Source: Giapitzakis, Back de Luca & Fountoulakis 2025, arXiv 2502.16763; these closed forms are derived here.

    >>> law = PermutationLaw(10)
    >>> [round(float(value), 4) for value in (*law.levels(2), law.std(2))]
    [0.5654, -0.0099, 0.0807]
    >>> law.ensemble_size(2, delta=0.1), law.ensemble_size(2, delta=0.1, threshold="midpoint")
    (333, 1)
    """

    def __init__(self, k: int, regime: str = "ntk") -> None:
        check_whole("k", k, least=2)
        if regime not in REGIMES:
            raise ValueError(f"regime={regime!r}: choose one of {', '.join(REGIMES)}.")
        self.k, self.regime = int(k), regime
        ends = np.array([1.0, 0.0])
        self._a, self._b = (float(value) for value in self._tangent(ends))
        self._d = self._a - self._b
        self._D = self._d + self.k * self._b

    def __repr__(self) -> str:
        return f"PermutationLaw(k={self.k}, regime={self.regime!r})"

    @property
    def training_size(self) -> int:
        """Examples that suffice: the k unit vectors."""
        return self.k

    @property
    def n_inputs(self) -> int:
        """All inputs but the one without a single 1: 2^k - 1."""
        return (1 << self.k) - 1

    @property
    def largest_learning_rate(self) -> float:
        """Up to where gradient descent on half the sum of squares is stable at infinite width: 2k / D."""
        return 2.0 * self.k / self._D

    def levels(self, m: Any) -> tuple[Array, Array]:
        """The mean outputs (on, off) for bits that must be 1 and 0, each of the shape of ``m``."""
        ones = self._ones(m)
        rise = (self._tangent(1.0 / np.sqrt(ones)) - self._b) / self._d
        # S - D = m (f - b) - d, so that m = 1 gives 0 and not a difference of nearly equal numbers.
        off = self._b * (1.0 - ones * rise) / self._D
        return off + rise, off

    def std(self, m: Any) -> Array:
        """The standard deviation of one output of one network, of the shape of ``m``; 0 for m = 1."""
        ones = self._ones(m)
        zeros = self.k - ones
        on, off = self.levels(m)  # the weights of the training points are these two values again
        a, b = self._prior(np.array([1.0, 0.0]))
        total = ones * on + zeros * off
        spread = a + (a - b) * (ones * on**2 + zeros * off**2) + b * total**2
        variance = spread - 2.0 * (ones * on * self._prior(1.0 / np.sqrt(ones)) + zeros * off * b)
        return np.where(ones > 1, np.sqrt(np.maximum(variance, 0.0) / self.k), 0.0)

    def threshold(self, m: Any, rule: str = "zero") -> Array:
        """Above which an average counts as a 1: 0, or half-way between the two levels; of the shape of ``m``."""
        if rule not in THRESHOLDS:
            raise ValueError(f"threshold={rule!r}: choose one of {', '.join(THRESHOLDS)}.")
        on, off = self.levels(m)
        return 0.5 * (on + off) if rule == "midpoint" else np.zeros_like(on)

    def smallest_gap(self, rule: str = "zero") -> float:
        """The least distance of a mean output from its threshold, over all inputs.

        At training points and threshold 0 it is that of the ones: their zeros lie on it, exactly.
        """
        ones = np.arange(1.0, self.k + 1.0)
        (on, off), level = self.levels(ones), self.threshold(ones, rule)
        return float(min((on - level).min(), (level - off)[1:-1].min(initial=np.inf)))

    def accuracy(self, m: Any, n_models: int, *, threshold: str = "zero") -> Array:
        """The probability that the average of ``n_models`` networks has all k bits right, of the shape of ``m``.

        >>> [round(float(PermutationLaw(10).accuracy(2, n)), 2) for n in (10, 100, 1000)]
        [0.03, 0.39, 1.0]
        """
        return -np.expm1(self.log_failure(m, n_models, threshold=threshold))

    def log_failure(self, m: Any, n_models: int, *, threshold: str = "zero") -> Array:
        """log of 1 - :meth:`accuracy`, which keeps its digits where the accuracy is 1 to round-off."""
        check_whole("n_models", n_models)
        ones = self._ones(m)
        counts = np.stack([ones, self.k - ones], axis=-1)
        return log_failure(self._gaps(ones, threshold) * math.sqrt(n_models), counts)

    def ensemble_size(
        self,
        m: Any = None,
        *,
        delta: float = 0.05,
        threshold: str = "zero",
        method: str = "exact",
        simultaneous: bool = False,
    ) -> int:
        r"""How many networks to average until all k bits are right with probability 1 - delta.

        Args:
            m: ones of the input, one number or several; None: any number, the worst counts.
            delta: probability of a mistake.
            threshold: "zero" as in the paper, or "midpoint", half-way between the two levels.
            method: "exact" from the Gaussian law; "bound" is the paper's form,
                :math:`2 \sigma^2 / \gamma^2 (\log(\text{inputs}) + \log(2 k / \delta))` for the worst m.
            simultaneous: all inputs with these m right at once, by a union bound over them; False: any one input.

        Raises:
            ValueError: an m outside 1 to k, a ``delta`` outside (0, 1), an unknown threshold or method.
        """
        check_delta(delta)
        check_method(method)
        ones = np.atleast_1d(self._ones(np.arange(1, self.k + 1) if m is None else m))
        if ones.size == 0:
            raise ValueError("m is empty: give at least one number of ones.")
        inputs = gammaln(self.k + 1) - gammaln(ones + 1) - gammaln(self.k - ones + 1)  # log of how many have m ones
        gaps = self._gaps(ones, threshold)
        rates = 2.0 / np.square(gaps.min(axis=-1))
        if method == "bound":
            joined = 0.0 if not simultaneous else self.k * math.log(2.0) if m is None else float(logsumexp(inputs))
            return max(1, math.ceil(float(rates.max()) * (joined + math.log(2.0 * self.k / delta))))
        counts = np.stack([ones, self.k - ones], axis=-1)

        def failure(n: int) -> float:
            each = log_failure(gaps * math.sqrt(n), counts)
            return float(logsumexp(each + inputs) if simultaneous else each.max())

        guess = (rates * ((inputs if simultaneous else 0.0) + math.log(self.k / delta))).max()
        return fewest(failure, delta, guess=max(1, round(float(guess))))

    def _gaps(self, ones: Array, threshold: str) -> Array:
        """Distances of the two levels from the threshold in standard deviations, ``(..., 2)``: on, off."""
        (on, off), level = self.levels(ones), self.threshold(ones, threshold)
        std = self.std(ones)
        gaps = np.stack([on - level, np.where(ones < self.k, level - off, np.inf)], axis=-1)
        # Training points are interpolated: their variance is 0, and with it their distance from any threshold infinite.
        return np.where(std[..., None] > 0.0, gaps / np.where(std > 0.0, std, 1.0)[..., None], np.inf)

    def _ones(self, m: Any) -> Array:
        ones = np.asarray(m, dtype=np.float64)
        if not bool(((ones >= 1) & (ones <= self.k) & (ones == np.floor(ones))).all()):
            raise ValueError(f"m={m!r}: the ones of an input are a whole number from 1 to k = {self.k}.")
        return ones

    def _tangent(self, cosine: Any) -> Array:
        return _nngp(cosine) + (0.5 * cosine * _kappa(cosine) if self.regime == "ntk" else 0.0)

    def _prior(self, cosine: Any) -> Array:
        return _nngp(cosine)


def _kappa(cosine: Any) -> Array:
    """The share of ReLU units that two inputs switch on together, twice."""
    found: Array = 1.0 - np.arccos(np.minimum(cosine, 1.0)) / math.pi
    return found


def _nngp(cosine: Any) -> Array:
    """k times the covariance of an output at two inputs of norm 1, before training."""
    cosine = np.minimum(cosine, 1.0)
    found: Array = (np.sqrt(1.0 - cosine**2) + (math.pi - np.arccos(cosine)) * cosine) / (2.0 * math.pi)
    return found
