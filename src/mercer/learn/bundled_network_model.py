"""What the estimators of bundled networks share: features of random layers, and a ridge that rows can be added to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor, generator
from mercer.config import require_memory
from mercer.errors import ShapeError
from mercer.learn.cholesky_update import cholesky_update
from mercer.learn.inputs import Given, check_data
from mercer.learn.saving import Saved
from mercer.nn import BundledNetwork

__all__ = ["ROWS", "BundledNetworkModel"]

ROWS = 4096  # whose features are held at a time


class BundledNetworkModel(Saved, BaseEstimator):
    """Base of :class:`BundledNetworkRegressor`, where the arguments are explained, and its classifier.

    Attributes:
        coef_: of the features, ``(features,)`` or ``(targets, features)``, float64.
        intercept_: a number, or one a target.
        n_samples_seen_: rows so far.
    """

    coef_: Any
    intercept_: Any

    _not_saved = ("_network",)

    def __init__(
        self,
        layers: Sequence[int] = (256, 256),
        activation: Any = "relu",
        alpha: float = 1e-3,
        *,
        length: float | None = None,
        method: str = "orthogonal",
        random_state: Any = 0,
    ) -> None:
        self.layers = layers
        self.activation = activation
        self.alpha = alpha
        self.length = length
        self.method = method
        self.random_state = random_state

    # fitting

    def _begin(self, given: Given, n_targets: int) -> None:
        """Draw the network, and start from no rows."""
        self._draw(given)
        r = self._network.output.in_features + 1
        # A constant first column, without penalty, for the intercept.
        self._factor = torch.zeros(r, r, dtype=torch.float64)
        self._products = torch.zeros(r, n_targets, dtype=torch.float64)

    def _draw(self, given: Given) -> None:
        """The network for such points."""
        self._check_alpha()
        if not isinstance(self.layers, list | tuple) or not self.layers:
            raise ValueError(f"layers={self.layers!r}: give the number of features of each hidden layer, as a tuple.")
        require_memory(
            24 * (self.layers[-1] + 1) ** 2,
            asked=f"A ridge with {self.layers[-1]} features",
            instead="Use fewer features in the last of layers.",
        )
        seed = int(torch.randint(2**31 - 1, (), generator=generator(self.random_state)))
        self._network = self._built(given.points.shape[1], seed)
        self._drawn = dict(self._network.maps.state_dict().items())
        self._begun_with = self._arguments()
        self.n_samples_seen_ = 0

    def _go_on(self) -> None:
        """Before further rows: follow a changed alpha, and refuse what would need the rows before again.

        Raises:
            ValueError: another argument has changed.
        """
        now, before = self._arguments(), self._begun_with
        changed = [name for name in now if not (now[name] is before[name] or now[name] == before[name])]
        if changed == ["alpha"]:
            self._check_alpha()
            H = self._factor @ self._factor.mT
            H.diagonal()[1:] += float(self.alpha) - float(before["alpha"])
            self._factor, failed = torch.linalg.cholesky_ex(H)
            if int(failed):
                raise ValueError(
                    f"partial_fit: alpha was {before['alpha']!r} for the rows before, and at {self.alpha!r} the "
                    f"features depend on each other. Take a larger alpha, or call fit with all rows."
                )
        elif changed:
            pairs = "; ".join(f"{name} was {before[name]!r} and is {now[name]!r}" for name in changed)
            raise ValueError(
                f"partial_fit adds to what the rows before have made with other arguments: {pairs}. Set them back, or "
                f"call fit, which begins anew."
            )
        self._begun_with = now

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get_params(deep=False)
        return found | {"layers": tuple(self.layers) if isinstance(self.layers, list) else self.layers}

    def _check_alpha(self) -> None:
        alpha: Any = self.alpha
        if not (isinstance(alpha, Real) and not isinstance(alpha, bool) and 0.0 < float(alpha) < math.inf):
            raise ValueError(f"alpha must be > 0, not {alpha!r}: without it features may depend on each other.")

    def _built(self, width: int, seed: int) -> BundledNetwork:
        self._seed = seed
        network = BundledNetwork(
            width,
            1,
            layers=tuple(self.layers),
            activation=self.activation,
            length=self.length,
            method=self.method,
            random_state=seed,
        )
        return network.double()

    def _absorb(self, given: Given, Y: Tensor, weights: Tensor | None) -> None:
        """Add rows to the sums, and solve."""
        if Y.shape[1] != self._products.shape[1]:
            raise ShapeError(f"y has {Y.shape[1]} targets, but the rows before had {self._products.shape[1]}.")
        for rows in torch.arange(len(Y)).split(ROWS):
            F = self._columns(given.points[rows])
            own = None if weights is None else weights[rows].to("cpu", torch.float64)
            scaled = F if own is None else F * own.sqrt()[:, None]
            targets = Y[rows].to("cpu", torch.float64)
            self._products += F.mT @ (targets if own is None else targets * own[:, None])
            if self.n_samples_seen_ == 0:
                H = scaled.mT @ scaled
                H.diagonal()[1:] += self.alpha
                H[0, 0] = H[0, 0].clamp(min=1e-300)  # all weights 0: nothing to fit, and no error
                self._factor = torch.linalg.cholesky(H)
            else:
                self._factor = cholesky_update(self._factor, scaled)
            self.n_samples_seen_ += len(rows)
        self._keep(given, torch.cholesky_solve(self._products, self._factor))

    def _keep(self, given: Given, solution: Tensor) -> None:
        """The solution ``(1 + features, targets)``, and what users see of it."""
        self._solution = solution
        coefficients, intercept = solution[1:].mT, solution[0]
        is_single = getattr(self, "_is_vector", False)
        self.coef_ = given.coefficients(coefficients[0] if is_single else coefficients)
        self.intercept_ = float(intercept[0]) if is_single else given.coefficients(intercept)

    def _restore(self) -> None:
        if hasattr(self, "n_samples_seen_"):
            self.__dict__.setdefault("_begun_with", self._arguments())  # which older files lack
        if hasattr(self, "_seed"):
            self._network = self._built(self.n_features_in_, self._seed)
            self._network.maps.load_state_dict(self._drawn)

    # predicting

    @torch.no_grad()
    def _columns(self, points: Any) -> Tensor:
        """One and the features of points, ``(n, 1 + features)``, float64."""
        Z = self._network.features(points.to("cpu", torch.float64))
        return torch.cat([Z.new_ones(len(Z), 1), Z], 1)

    def _regressions(self, X: Any) -> tuple[Given, Tensor]:
        """Checked points, and the network's outputs there, ``(m, targets)``."""
        check_is_fitted(self, "coef_")
        given: Given = check_data(self, X, reset=False)
        parts = [self._columns(rows) @ self._solution for rows in as_tensor(given.points).split(ROWS)]
        return given, torch.cat(parts).to(given.device)

    def hidden_features(self, X: Any) -> Any:
        """What the last matrix sees: ``(m, layers[-1])``."""
        check_is_fitted(self, "coef_")
        given: Given = check_data(self, X, reset=False)
        return given.answer(self._columns(given.points)[:, 1:])
