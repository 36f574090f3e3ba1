"""Spectral mixture kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.base import NOT_NEGATIVE, POSITIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value, as_value
from mercer.kernels.spectra import Gaussian, StudentT
from mercer.kernels.spectral_measure import Convolution, Mixture, Multiple, OfColumns, SpectralMeasure
from mercer.kernels.waves import Modulated
from mercer.operators.maps import Expression, constant, make
from mercer.operators.statistics import Columns, Difference

ENVELOPES = ("gaussian", "student_t")


class SpectralMixture(Kernel):
    r"""Spectral mixture kernel: a sum of waves, each under an envelope; any stationary kernel in the limit.

    .. math:: k(x, y) = \sum_q w_q \, E\left(\sum_j \frac{z_j^2}{\ell_{qj}^2}\right) \prod_j \cos(2 \pi \mu_{qj} z_j),
        \quad z = x - y, \quad E(s) = e^{-s/2} \text{ or } M_{5/2}(\sqrt{s})

    With ``separable=True`` it is the product over the columns of mixtures of one column,
    :math:`\prod_j \sum_q w_q E(z_j^2 / \ell_{qj}^2) \cos(2 \pi \mu_{qj} z_j)`, which is GPyTorch's
    ``SpectralMixtureKernel`` with ``mixture_scales`` :math:`= 1 / (2 \pi \ell)`. For one column both are the same.

    Args:
        n_components: how many waves, Q.
        max_frequency: where ``frequencies`` is None, they are spread evenly from 0 to this one, which has to exceed
            the highest frequency of the signal: in cycles per unit of X.
        weights: ``(Q,)``, >= 0, in squared units of y: the variance of each wave; None means ``1 / Q`` each.
        frequencies: ``(Q,)``, or ``(Q, d)`` one a column, >= 0, in cycles per unit of X: ``omega / (2 pi)``.
        lengthscale: ``()``, one for all waves; ``(Q,)``; or ``(Q, d)``; > 0, in units of X: how far a wave keeps its
            phase. None means 1 for each wave.
        envelope: ``"gaussian"``, or ``"student_t"``: Matern 5/2, whose heavier spectrum forgives frequencies that
            are a little off.
        separable: see above.

    In a batch, and among ``hyperparameters()``, weights are ``(*batch, Q)``, the others ``(*batch, Q or 1, d or 1)``.

    Raises:
        ValueError: a weight or frequency below 0, a lengthscale that is not positive, an unknown envelope.
        ShapeError: values for another number of waves, or at binding for another number of columns.

    Cost: a pair costs Q exponentials, Q d cosines and one pass a column; one lengthscale for all waves needs one
    exponential. (Phases of points as dot products of two columns, in place of cosines of pairs, need Q statistics in
    the cache at once: 2.1 times slower at Q = 30 in float32, 1.2 in float64, and near pairs would lose the digits of
    a phase as large as the range of the data.)
    Source: Wilson & Adams, Gaussian process kernels for pattern discovery and extrapolation (ICML 2013), eq. 12;
    separable: Wilson et al., Fast kernel learning for multidimensional pattern extrapolation (NIPS 2014); student_t:
    Fang et al., Solving high frequency and multi-scale PDEs with Gaussian processes (ICLR 2024).

    >>> k = SpectralMixture(2, weights=[0.5, 0.5], frequencies=[1.0, 2.0], lengthscale=100.0)
    >>> k(torch.zeros(1, 1), torch.tensor([[0.25], [0.5], [1.0]])).to_dense()
    tensor([[-0.5000,  0.0000,  0.9999]])
    """

    domains: ClassVar[dict[str, Domain]] = {
        "weights": NOT_NEGATIVE,
        "frequencies": NOT_NEGATIVE,
        "lengthscale": POSITIVE,
    }

    def __init__(
        self,
        n_components: int,
        *,
        max_frequency: float = 1.0,
        weights: Value | None = None,
        frequencies: Value | None = None,
        lengthscale: Value | None = None,
        envelope: str = "gaussian",
        separable: bool = False,
    ) -> None:
        self.n_components, self.max_frequency = n_components, max_frequency
        self.weights, self.frequencies, self.lengthscale = weights, frequencies, lengthscale
        self.envelope, self.separable = envelope, separable
        self.check()

    @classmethod
    def from_data(
        cls,
        X: Any,
        y: Any,
        n_components: int,
        *,
        max_frequency: float | Sequence[float] | None = None,
        envelope: str = "gaussian",
    ) -> SpectralMixture:
        """A mixture whose waves are those found in data one after the other: the start of a fit, not its end.

        Each wave is the frequency at which a sinusoid explains most of what the waves before have left over (the
        Lomb-Scargle periodogram, so the points may lie anywhere); its weight is half the squared amplitude, its
        lengthscale follows from the width of its peak. The weights add up to the variance of y.

        Args:
            X: ``(n, d)``; more than 2000 rows are sampled.
            y: ``(n,)``.
            n_components: how many waves.
            max_frequency: the highest frequency to look at, in cycles per unit of X, or one a column; None means half
                the median rate of the points, the Nyquist frequency of regular ones.
            envelope: of the kernel.

        Raises:
            ShapeError: X is no matrix, or y has another length.
            ValueError: fewer than four rows, a constant column, or values that are not finite.

        Cost: n_components passes of ``n`` times some thousand frequencies.
        Source: Lomb, Least-squares frequency analysis of unequally spaced data (1976); the successive subtraction is
        Hogbom's CLEAN (1974).

        >>> x = np.linspace(0.0, 10.0, 200)[:, None]
        >>> wave = SpectralMixture.from_data(x, np.sin(2 * np.pi * 3.0 * x[:, 0]), 1)
        >>> np.round(wave.frequencies, 2)
        array([[3.]])
        """
        from mercer.kernels.periodogram import find_waves

        waves = find_waves(X, y, n_components, max_frequency)
        return cls(
            n_components,
            weights=waves.weights,
            frequencies=waves.frequencies,
            lengthscale=waves.lengthscales,
            envelope=envelope,
        )

    def check(self) -> None:
        """Raise ValueError, TypeError or ShapeError for an argument outside its domain."""
        Q = self.n_components
        if isinstance(Q, bool) or not isinstance(Q, int | np.integer) or Q < 1:
            raise ValueError(f"SpectralMixture(n_components={Q!r}): it must be a whole number >= 1.")
        if self.envelope not in ENVELOPES:
            raise ValueError(f"SpectralMixture(envelope={self.envelope!r}): choose from {', '.join(ENVELOPES)}.")
        if not (self.max_frequency >= 0.0 and math.isfinite(self.max_frequency)):
            raise ValueError(f"SpectralMixture(max_frequency={self.max_frequency!r}): it must be >= 0 and finite.")
        for name, domain in self.domains.items():
            if getattr(self, name) is not None:
                domain.check(name, getattr(self, name), type(self).__name__)
        for name in self.domains:
            value = self.hyperparameter(name)
            count = value.shape[-1 if name == "weights" else -2] if value.dim() else 0
            if count != Q and not (count == 1 and name == "lengthscale"):
                shape = tuple(torch.as_tensor(as_value(getattr(self, name), name)).shape)
                raise ShapeError(f"SpectralMixture({name}=...) has shape {shape}, but {Q} components need {Q} values.")

    def hyperparameter(self, name: str) -> Tensor:
        """A hyperparameter as a float64 tensor: weights ``(*batch, Q)``, others ``(*batch, Q or 1, d or 1)``."""
        Q, given = self.n_components, getattr(self, name)
        if given is None:
            value = torch.full((Q,), 1.0 / Q if name == "weights" else 1.0, dtype=torch.float64)
            if name == "frequencies":
                value = torch.linspace(0.0, self.max_frequency, Q, dtype=torch.float64)
        else:
            value = as_value(given, f"SpectralMixture({name})")
        if name == "weights" or value.dim() > 1:
            return value
        # estimators keep hyperparameters as flat vectors: Q d numbers are the table, row by row
        return value.reshape(Q, -1) if value.numel() % Q == 0 else value.reshape(-1, 1)

    def trace(self, binder: Binder) -> list[Expression]:
        """One term: the waves share the differences of the columns."""
        d = binder.width
        z = [binder.statistic(Difference(Columns((column,)))) for column in binder.all_columns]
        squares = [difference * difference for difference in z]
        weights = self._leaves(binder, "weights", 1)
        frequencies, lengthscales = self._leaves(binder, "frequencies", d), self._leaves(binder, "lengthscale", d)

        def wave(q: int, columns: Sequence[int]) -> Expression:
            s = constant(0.0)
            for j in columns:
                s = s + squares[j] / (lengthscales[q][j] * lengthscales[q][j])
            value = make("exp", -0.5 * s) if self.envelope == "gaussian" else make("matern", s, value=2.5)
            for j in columns:
                value = value * make("cos", (2.0 * math.pi) * (z[j] * frequencies[q][j]))
            return weights[q][0] * value

        groups = [[j] for j in range(d)] if self.separable else [list(range(d))]
        product = constant(1.0)
        for columns in groups:
            mixture = constant(0.0)
            for q in range(self.n_components):
                # what stands second is computed first: the sum so far, so that one wave at a time is held in the cache
                mixture = wave(q, columns) + mixture
            product = product * mixture
        return [product]

    def spectrum(self, d: int) -> SpectralMeasure:
        """The envelope's spectrum around the frequencies of every wave; of a separable kernel, a product of columns."""
        if self.separable and d > 1:
            own = [self._spectrum_of(d, slice(j, j + 1)) for j in range(d)]
            return Convolution(tuple(OfColumns(part, (j,), d) for j, part in enumerate(own)))
        return self._spectrum_of(d, slice(None))

    def _spectrum_of(self, d: int, columns: slice) -> SpectralMeasure:
        weights = self.hyperparameter("weights")
        means, scales = (
            self.hyperparameter(name).expand(self.n_components, d)[:, columns]
            for name in ("frequencies", "lengthscale")
        )
        width = means.shape[1]
        waves: list[SpectralMeasure] = []
        for weight, mean, scale in zip(weights, means, scales, strict=True):
            envelope = Gaussian(scale, width) if self.envelope == "gaussian" else StudentT(scale, width, 2.5)
            waves.append(Multiple(Modulated(envelope, mean), weight))
        return waves[0] if len(waves) == 1 else Mixture(tuple(waves))

    def _leaves(self, binder: Binder, name: str, width: int) -> list[list[Expression]]:
        """For each wave a scalar of the map for each column; one that several share is one leaf."""
        value = self.hyperparameter(name)
        table = value.unsqueeze(-1) if name == "weights" else value
        if table.shape[-1] not in (1, width):
            raise ShapeError(
                f"SpectralMixture({name}=...) has values for {table.shape[-1]} columns, but the kernel sees {width}."
            )
        rows = []
        for q in range(table.shape[-2]):
            own = [binder.scalar(table[..., q, j]) for j in range(table.shape[-1])]
            rows.append(own * width if len(own) == 1 else own)
        return rows * self.n_components if len(rows) == 1 else rows
