"""Regression by a bundled network: fixed random features, and the best matrix on top in closed form."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import MultiOutputMixin, RegressorMixin

from mercer.learn.bundled_network_model import BundledNetworkModel
from mercer.learn.inputs import as_targets, as_weights, check_data

__all__ = ["BundledNetworkRegressor"]


class BundledNetworkRegressor(MultiOutputMixin, RegressorMixin, BundledNetworkModel):
    r"""A network all of whose hidden layers are bundled into random features: trained without backpropagation.

    .. math:: f(x) = V \Phi_L(\ldots \Phi_1(x)) + c, \quad \min_{V, c} \; |f(X) - Y|^2 + \alpha |V|^2

    Rows can be added one at a time or in batches with :meth:`partial_fit`: the model is then the same as from all rows
    at once.

    Args:
        layers: features of each hidden layer.
        activation: "relu", or one of :class:`mercer.kernels.features.UniversalRandomFeatures`, which want a ``length``.
        alpha: > 0.
        length: to which the inputs of each layer are scaled; None leaves them. Columns should be standardised then.
        method: "orthogonal", "iid", "quasi" or "hadamard" projections.
        random_state: int, generator or None.

    Attributes:
        coef_: of the features, ``(features,)`` or ``(targets, features)``, float64.
        intercept_: a number, or one a target.
        n_samples_seen_: rows so far.

    Raises:
        ValueError: in ``fit``: alpha is not > 0, or no layer.

    Cost: ``n r^2`` for r features in the last layer; a further row ``2 r^2``.
    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), section 3.3; updates: ours.

    >>> X = np.linspace(-2.0, 2.0, 200)[:, None]
    >>> model = BundledNetworkRegressor(layers=(64, 64), alpha=1e-4).fit(X, np.sin(2.0 * X[:, 0]))
    >>> bool(abs(model.predict([[0.5]])[0] - np.sin(1.0)) < 0.01)
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)`` or ``(n, t)``.
            sample_weight: ``(n,)``, >= 0; a row of weight 2 counts as two rows.
        """
        self.__dict__.pop("n_samples_seen_", None)
        return self.partial_fit(X, y, sample_weight)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from further rows as well; see :meth:`fit`.

        After ``set_params(alpha=...)`` the result is that of all rows with the new alpha.

        Raises:
            ValueError: an argument other than alpha has been changed since the first rows.
        """
        is_first = not getattr(self, "n_samples_seen_", 0)
        if not is_first:
            self._go_on()
        given, y = check_data(self, X, y, reset=is_first, multi_output=True, y_numeric=True)
        Y, is_vector = as_targets(y, given.device)
        if is_first:
            self._is_vector = is_vector
            self._begin(given, Y.shape[1])
        self._absorb(given, Y, as_weights(sample_weight, given))
        return self

    def predict(self, X: Any) -> Any:
        """The function at each row of X, ``(m,)`` or ``(m, t)``."""
        given, values = self._regressions(X)
        return given.answer(values.squeeze(-1) if self._is_vector else values)
