"""Functions drawn from a Gaussian process given data, that can be evaluated anywhere, again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, generator
from mercer.errors import ShapeError
from mercer.kernels import Kernel, Scaled, Sum
from mercer.kernels.features import ExactFeatures
from mercer.learn.covariance import MercerCovariance, split_noise
from mercer.learn.fourier_posterior import FourierPosterior
from mercer.learn.posterior import Posterior

__all__ = ["PosteriorFunctions", "draw_functions"]

_ROWS = 1 << 22  # entries of features formed at a time

Evaluate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PosteriorFunctions:
    """Draws of f given the data, as what they are: functions. What ``sample_functions`` of a Gaussian process gives.

    ``functions(X)`` for X ``(m, d)`` is ``(m, n_samples)``, or ``(m, t, n_samples)`` for several targets; the same
    point has the same values at every call. A tensor gives a tensor, differentiable in X.

    Attributes:
        evaluate: the functions in units of the normalised targets, ``(m, d)`` to ``(m, t, n_samples)``.
        location, scale: of the targets, ``(t,)``.
        n_samples: how many.
        n_columns: d.
    """

    evaluate: Evaluate
    location: Tensor
    scale: Tensor
    n_samples: int
    n_columns: int

    def __call__(self, X: Any) -> Any:
        """The values of every function at the rows of X.

        Raises:
            ShapeError: X has another number of columns.
            ValueError: with a Fourier series, points outside of the box for which it was made.
        """
        points = as_tensor(X)
        if points.dim() != 2 or points.shape[1] != self.n_columns:
            raise ShapeError(f"The functions take points (m, {self.n_columns}), but X has shape {tuple(points.shape)}.")
        dtype = points.dtype if points.is_floating_point() else torch.float64
        wide = points.to(torch.float64)
        rows = max(1, _ROWS // max(1, self.n_samples))
        values = torch.cat([self.evaluate(wide[i : i + rows]) for i in range(0, max(1, len(wide)), rows)])
        values = values * self.scale[:, None] + self.location[:, None]  # (m, t, n_samples)
        values = (values.squeeze(1) if values.shape[1] == 1 else values).to(dtype)
        return values if isinstance(X, Tensor) else values.detach().cpu().numpy()


def draw_functions(
    posterior: Posterior | FourierPosterior, Y: Tensor, *, n_samples: int, n_features: int, random_state: Any
) -> Evaluate:
    r"""``x -> (m, t, n_samples)`` in units of the normalised targets.

    With a Fourier series the weights are drawn given the data. Else Matheron's rule: a draw of the prior is moved by
    what the data say of it,

    .. math:: f(x) = g(x) + k(x, X) (K + \sigma^2)^{-1} (y - g(X) - \epsilon).

    Args:
        posterior: what is known.
        Y: the targets, ``(n, t)``.
        n_samples: how many functions.
        n_features: frequencies of each prior draw of a stationary kernel are half as many; each draw has its own, so
            that covariances over draws are right whatever the number. A finite-dimensional kernel is drawn exactly.
        random_state: int, generator or None.

    Raises:
        TypeError: the kernel has neither a spectrum nor finitely many features.

    Source: Wilson et al., Efficiently sampling functions from Gaussian process posteriors (ICML 2020), eq. 13.
    """
    source = generator(random_state)
    if isinstance(posterior, FourierPosterior):
        return _by_weights(posterior, n_samples, source)
    if not isinstance(posterior.covariance, MercerCovariance) or not isinstance(posterior.points, Tensor):
        raise TypeError(
            f"sample_functions draws from kernels of mercer, not {posterior.covariance.kernel!r}. Use sample_y, which "
            f"draws values at stated points."
        )
    points, (n, t) = posterior.points.to(torch.float64), Y.shape
    rest, _ = split_noise(posterior.covariance.own)
    prior = [] if rest is None else _prior(rest, points.shape[1], n_samples * t, n_features, source)

    def of_prior(X: Tensor) -> Tensor:
        values = X.new_zeros(len(X), n_samples * t)
        for draw in prior:
            values = values + draw(X)
        return values.reshape(len(X), t, n_samples)

    deviation = posterior.total_noise().sqrt()
    noise = torch.randn(n, t, n_samples, dtype=torch.float64, generator=source).to(points.device)
    noise = noise * (deviation[:, None, None] if deviation.dim() else deviation)
    missing = Y[:, :, None] - _by_rows(of_prior, points, n_features + n_samples * t) - noise
    weights = posterior.solve(missing.reshape(n, t * n_samples))
    covariance = posterior.covariance

    def evaluate(X: Tensor) -> Tensor:
        moved = covariance.cross(X, points) @ weights
        result: Tensor = of_prior(X) + moved.reshape(len(X), t, n_samples)
        return result

    return evaluate


def _by_weights(posterior: FourierPosterior, n_samples: int, source: torch.Generator) -> Evaluate:
    draws = posterior.draw(n_samples, source)  # (M, t, n_samples)
    modes = posterior.modes

    def evaluate(X: Tensor) -> Tensor:
        if not modes.covers(X.detach()):
            raise ValueError(
                f"Functions drawn from a Fourier series live in the box of the data, {modes.low.tolist()} to "
                f"{modes.high.tolist()}; some points are outside. Give sample_functions(..., within=points), or fit "
                f"without tolerance."
            )

        def some(rows: Tensor) -> Tensor:
            return modes.basis.explicit(rows[:, modes.columns]) @ draws.flatten(1)

        return _by_rows(some, X, modes.basis.size).reshape(len(X), *draws.shape[1:])

    return evaluate


def _prior(kernel: Kernel, d: int, count: int, n_features: int, source: torch.Generator) -> list[Evaluate]:
    """Functions ``(m, d) -> (m, count)`` whose sum is ``count`` independent draws of N(0, k)."""
    match kernel:
        case Sum():
            parts = (kernel.left, kernel.right)
            return [draw for part in parts for draw in _prior(part, d, count, n_features, source)]
        case Scaled():
            root = kernel.hyperparameter("scale").detach().sqrt()
            return [_times(draw, root) for draw in _prior(kernel.kernel, d, count, n_features, source)]
    try:
        kernel.spectrum(d)
    except TypeError:
        return [_of_features(kernel, d, count, source)]
    return [_of_waves(kernel, d, count, n_features, source)]


def _times(draw: Evaluate, root: Tensor) -> Evaluate:
    return lambda X: draw(X) * root.to(X.device)


def _of_features(kernel: Kernel, d: int, count: int, source: torch.Generator) -> Evaluate:
    """Exact, by the features of a kernel of finite rank."""
    features = getattr(kernel, "features", None)
    if features is None:
        try:
            features = ExactFeatures(kernel, d=d)
        except ValueError as error:
            raise TypeError(
                f"sample_functions: {kernel!r} has neither a spectrum nor finitely many features. Use sample_y, which "
                f"draws values at stated points."
            ) from error
    weights = torch.randn(features.n_features, count, dtype=torch.float64, generator=source)
    return lambda X: features(X) @ weights.to(X.device)


def _of_waves(kernel: Kernel, d: int, count: int, n_features: int, source: torch.Generator) -> Evaluate:
    """By random Fourier features, other ones for every draw."""
    m = max(1, n_features // 2)
    omega = kernel.sample_frequencies(m * count, d, random_state=source).reshape(count, m, d)
    size = float(torch.as_tensor(kernel(torch.zeros(1, d, dtype=torch.float64)).diagonal()))
    a, b = torch.randn(2, count, m, dtype=torch.float64, generator=source) * (size / m) ** 0.5

    def evaluate(X: Tensor) -> Tensor:
        columns = []
        for frequencies, cosine, sine in zip(omega.to(X.device), a.to(X.device), b.to(X.device), strict=True):
            phase = X @ frequencies.mT  # (rows, m)
            columns.append(phase.cos() @ cosine + phase.sin() @ sine)
        return torch.stack(columns, 1)

    return evaluate


def _by_rows(function: Evaluate, X: Tensor, width: int) -> Tensor:
    """The function at some rows at a time, ``width`` numbers being formed for each."""
    rows = max(1, _ROWS // max(1, width))
    return torch.cat([function(X[i : i + rows]) for i in range(0, max(1, len(X)), rows)])
