"""Universal random features: a layer with any activation as a dot product of features of inputs and of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels.features.base import require_count
from mercer.kernels.features.layer_features import LayerFeatures
from mercer.kernels.features.maclaurin import SERIES, PowerSeries
from mercer.kernels.features.projection import PROJECTIONS, draw_projection, project, row_squares
from mercer.kernels.features.sign_products import draw_sign_products, shifted_coefficients, sign_products
from mercer.kernels.features.spectrum import SPECTRA, WaveSpectrum
from mercer.kernels.points import as_points

__all__ = ["UniversalRandomFeatures"]

SPLITS = ("input", "weight", "both")


class UniversalRandomFeatures(LayerFeatures):
    r"""Features of inputs and of weights whose dot product is a layer's output, on average.

    .. math:: f(w \cdot x + b) = \mathrm{Re} \, \mathrm{E} \left[ c \, e^{i \omega b}
        L_g(\rho x) \, L_g(\eta w) \right], \quad \rho \eta = i \omega, \quad g \sim N(0, I)

    .. math:: L_g(u) = (1 + 4M)^{d/4} \exp\left(-M |g|^2 + \sqrt{1 + 4M} \, g \cdot u - \tfrac12 u \cdot u\right)

    with waves (omega, c) drawn from the spectrum of f (:class:`mercer.kernels.features.GridSpectrum` explains it).
    Everything is real: complex features are two columns. An f with a power series instead takes products of random
    signs, a degree a feature. Unbiased, with an error of ``1 / sqrt(n_features)`` that grows with ``exp(|w| |x|)``, and
    of a power series much faster from ``|w| |x|`` about 1 on (:meth:`deviation`): normalise inputs.

    Args:
        activation: "cos", "sin", "gaussian" (``exp(-z^2 / 2)``), "sinc" (``sin(pi z) / (pi z)``), "sinc2"; "gelu",
            "tanh", "sigmoid", "exp" by their power series (tanh for ``|z| < pi / 2`` and sigmoid for ``|z| < pi``
            only); a :class:`GridSpectrum` or :class:`PowerSeries` of your own.
        n_features: columns; even where ``split`` is "weight" or "both", which need two a draw.
        d: columns of the inputs.
        gaussian_scale: M, of the order of ``1 / d``; lowers the variance a little. Not used by a power series.
        split: which side has the real exponent: "input" (features of inputs are positive, one column a draw),
            "weight" (they are waves, of size ``exp(omega^2 |x|^2 / 2)``), "both" (the root of i omega on each side).
            Not used by a power series.
        balance: typical ``|w| / |x|``: the sides are scaled so that both exponents are equally large there, which is
            where the variance is least. :meth:`for_layer` measures it.
        bias: whether units have biases; only a power series needs to know, since it then draws all degrees.
        method: "orthogonal" (the default), "iid", "quasi" or "hadamard", as in :class:`ArcCosineFeatures`. Power
            series draw signs.
        random_state: int, generator or None.

    Raises:
        ValueError: an activation without a known transform (the message lists those known), an M outside its domain:
            >= 0, with ``split="both"`` > -1/8; an odd number of features for two columns a draw.

    Cost: ``n * d * n_features`` multiply-adds and as many exponentials as numbers.
    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), derived anew; L: Likhosherstov et al.,
    Chefs' random tables (NeurIPS 2022); signs: Kar & Karnick, Random feature maps for dot product kernels (AISTATS
    2012).

    >>> features = UniversalRandomFeatures("cos", 20_000, d=2, random_state=0)
    >>> X, W = torch.tensor([[0.6, 0.0]]), torch.tensor([[1.0, 0.5]])
    >>> features.estimate(X, W, torch.tensor([0.4]))  # cos(1.0) = 0.5403
    tensor([[0.5...]])
    """

    def __init__(
        self,
        activation: str | WaveSpectrum | PowerSeries,
        n_features: int,
        *,
        d: int,
        gaussian_scale: float = 0.0,
        split: str = "input",
        balance: float = 1.0,
        bias: bool = True,
        method: str = "orthogonal",
        random_state: Any = None,
    ) -> None:
        self.activation, self.n_features, self.d = activation, n_features, d
        self.gaussian_scale, self.split, self.balance = gaussian_scale, split, balance
        self.bias, self.method, self.random_state = bias, method, random_state
        self.check()

    @classmethod
    def for_layer(cls, activation: Any, n_features: int, X: Any, W: Any, **arguments: Any) -> Self:
        """The features with the ``balance`` of typical inputs ``(n, d)`` and weights ``(o, d)``; see the constructor.

        It is the ratio of the root mean squares of their lengths.
        """
        weights = as_points(W, "W")
        points = as_points(X, "X", like=weights)
        ratio = float((weights.square().sum(-1).mean() / points.square().sum(-1).mean()).sqrt())
        is_usable = math.isfinite(ratio) and ratio > 0.0
        return cls(activation, n_features, d=points.shape[-1], balance=ratio if is_usable else 1.0, **arguments)

    def check(self) -> None:
        """Raise for an argument outside its domain; draw anew where another draw is asked for."""
        name = type(self).__name__
        self._source = _resolve(self.activation)
        is_series = isinstance(self._source, PowerSeries)
        if self.split not in SPLITS:
            raise ValueError(f"{name}(split={self.split!r}): choose from: {', '.join(SPLITS)}.")
        self._pairs = not is_series and self.split != "input"
        require_count(name, "d", self.d)
        require_count(name, "n_features", self.n_features, multiple=2 if self._pairs else 1)
        if self.method not in PROJECTIONS:
            raise ValueError(f"{name}(method={self.method!r}): choose from: {', '.join(PROJECTIONS)}.")
        if not (math.isfinite(self.balance) and self.balance > 0.0):
            raise ValueError(f"{name}(balance={self.balance!r}): balance must be a finite number > 0.")
        least = -0.125 if self.split == "both" else 0.0
        if not (math.isfinite(self.gaussian_scale) and self.gaussian_scale >= least and self.gaussian_scale > -0.125):
            raise ValueError(
                f"{name}(gaussian_scale={self.gaussian_scale!r}): M must be >= 0 where one side has real features, and "
                f"> -1/8 with split='both': below, the variance is infinite."
            )
        drawn_by = (self.activation, self.n_features, self.d, self.gaussian_scale, self._pairs, self.bias, self.method)
        asked = (*drawn_by, self.random_state)
        if asked != getattr(self, "_asked", None):
            self._asked = asked
            self._state = self._drawn()

    def function(self, z: Tensor) -> Tensor:
        """The activation itself, elementwise."""
        return self._source.function(z)

    def expected(self, X: Any, W: Any, b: Any = None) -> Tensor:
        """``f(X W' + b)``, ``(*batch, n, o)``."""
        weights, bias = self._layer(W, b)
        z = as_points(X, "X", like=weights) @ weights.mT
        return self.function(z if bias is None else z + bias.to(z))

    def deviation(self, reach: float) -> float | None:
        """About how far :meth:`estimate` is off where ``|w| |x|`` is ``reach`` and b is 0; None for waves.

        A power series has an end to its use: at 1.5 a single feature of tanh is off by 2e3, at 3 one of GELU by 1e3.
        """
        if not isinstance(self._source, PowerSeries):
            return None
        return self._source.deviation(reach, all_degrees=self.bias) / math.sqrt(self.n_features)

    def input_map(self, state: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """``L_g(rho x) / sqrt(m)``, or the products of signs."""
        if isinstance(self._source, PowerSeries):
            return sign_products(state, self._counts, X) * state["size"].to(X)
        omega = state["frequency"].to(X)
        return self._side(state, X, omega * self.balance, 0.0 * omega, is_real=self.split == "input", sign=1.0)

    def weight_map(self, state: Mapping[str, Tensor], W: Tensor, b: Tensor | None) -> Tensor:
        """``Re c exp(i omega b) L_g(eta w) / sqrt(m)``, or the products of signs with the series around b."""
        if isinstance(self._source, PowerSeries):
            if b is not None and not self.bias:
                raise ValueError(f"{type(self).__name__}(bias=False) takes no b: make it with bias=True.")
            table = shifted_coefficients(self._source.coefficients, W.new_zeros(len(W)) if b is None else b)
            return sign_products(state, self._counts, W) * state["size"].to(W) * table[:, self._degrees]
        omega, phase = state["frequency"].to(W), state["phase"].to(W)
        phase = phase.expand(len(W), -1) if b is None else omega * b[:, None] + phase
        psi = self._side(state, W, omega / self.balance, phase, is_real=self.split == "weight", sign=-1.0)
        amplitude = state["amplitude"].to(W)
        return psi * (torch.cat([amplitude, amplitude]) if self._pairs else amplitude)

    def _side(
        self, state: Mapping[str, Tensor], X: Tensor, squares: Tensor, phase: Tensor, *, is_real: bool, sign: float
    ) -> Tensor:
        r"""One side, with ``u = sqrt(squares) x`` times 1, i or the root of i.

        Columns: the real parts, then ``sign`` times the imaginary ones. A product of conjugate halves is the real part
        of the product, so the weights' sign is -1. With one column a draw the input is real and its phase 0.
        """
        waves = project(state, X) * (squares * (1.0 + 4.0 * self.gaussian_scale)).sqrt()
        half = 0.5 * squares * X.square().sum(-1, keepdim=True)
        if self.split == "both":
            waves = waves * math.sqrt(0.5)
            size, angle = waves, waves - half + phase
        elif is_real:
            size, angle = waves - half, phase
        else:
            size, angle = half, waves + phase
        if "level" in state:
            size = size + state["level"].to(X)
        size = torch.exp(size) * (len(squares) ** -0.5)
        if self._pairs:
            return torch.cat([size * torch.cos(angle), sign * (size * torch.sin(angle))], -1)
        single: Tensor = size if is_real else size * torch.cos(angle)
        return single

    def _drawn(self) -> dict[str, Tensor]:
        """All that is random."""
        source = generator(self.random_state)
        if isinstance(self._source, PowerSeries):
            state, self._degrees, self._counts = draw_sign_products(
                self._source, self.n_features, self.d, all_degrees=self.bias, source=source
            )
            return state
        m = self.n_features // 2 if self._pairs else self.n_features
        state = draw_projection(m, self.d, method=self.method, random_state=source)
        M = float(self.gaussian_scale)
        if M != 0.0:
            # In logarithms: (1 + 4M)^(d/4) alone overflows at large d.
            squares, n_normals = row_squares(state)
            state["level"] = 0.25 * n_normals * math.log1p(4.0 * M) - M * squares
        waves = self._source.draw(m, source)
        return state | {"frequency": waves.frequency, "amplitude": waves.amplitude, "phase": waves.phase}


def _resolve(activation: Any) -> WaveSpectrum | PowerSeries:
    """A spectrum or series by its name, or as it is."""
    if isinstance(activation, WaveSpectrum | PowerSeries):
        return activation
    if activation in SPECTRA:
        return SPECTRA[activation]()
    if activation in SERIES:
        return PowerSeries.of(activation)
    hint = " relu has no transform: use ArcCosineFeatures." if activation == "relu" else ""
    raise ValueError(
        f"UniversalRandomFeatures(activation={activation!r}): there is no such transform. Known are "
        f"{', '.join([*SPECTRA, *SERIES])}; or give a GridSpectrum (custom) or a PowerSeries.{hint}"
    )
