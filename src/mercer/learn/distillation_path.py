"""All rounds of a fitted self-distillation, to look at."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch

from mercer.learn.distillation_filters import distill_limit
from mercer.learn.saving import Saved
from mercer.nn.distilled_rounds import plot_rounds
from mercer.plots import axes_or_new

__all__ = ["DistillationPath"]

Array = np.ndarray[Any, Any]


class DistillationPath(Saved):
    """The rounds of a :class:`SelfDistillation`, which makes it in ``fit``. Rounds count from 1, the first fit.

    Attributes:
        alphas: the weight of the true targets in each round, ``(T,)``; that of round 1 has no effect.
        proposals: the best weights before they were clipped, ``(T,)``; NaN where none was looked for.
        scores: the mean squared error of each round on rows that it has not seen, ``(T,)``; None without validation
            data. With a share as ``validation``, of models without those rows.
    """

    _not_saved = ("_model",)

    def __init__(
        self,
        model: Any,
        *,
        alphas: Array,
        proposals: Array,
        scores: Array | None,
        eigenvalues: Array | None = None,
        filters: Array | None = None,
        penalty: float | None = None,
    ) -> None:
        self._model = model
        self.alphas, self.proposals, self.scores = alphas, proposals, scores
        self._eigenvalues, self._filters, self._penalty = eigenvalues, filters, penalty

    def __len__(self) -> int:
        """The number of rounds."""
        return len(self.alphas)

    @property
    def filters(self) -> Array:
        """What each round leaves of each eigenvector, ``(T, r)``; see :func:`distill_filter`.

        Raises:
            AttributeError: for models that are refitted, and for more rows than eigenvalues are worth. So do the other
                attributes below, and the plot.
        """
        found: Array = self._known(self._filters)
        return found

    @property
    def eigenvalues(self) -> Array:
        """Of the kernel matrix, or of the normal matrix of features or centres, ``(r,)``."""
        found: Array = self._known(self._eigenvalues)
        return found

    @property
    def penalty(self) -> float:
        """The penalty lambda of the kernel ridge regression."""
        return float(self._known(self._penalty))

    @property
    def degrees_of_freedom(self) -> Array:
        """How many free parameters each round is worth, the sum of its filter, ``(T,)``."""
        return np.asarray(self.filters.sum(1))

    def limit(self) -> Array:
        """The filter of infinitely many more rounds with the last weight, ``(r,)``.

        Raises:
            ValueError: the rounds do not converge.
        """
        alpha = float(self.alphas[-1])
        return np.asarray(distill_limit(self.eigenvalues, self.penalty, alpha, teacher=self._model.teacher))

    def predict(self, X: Any, round: int | None = -1) -> Any:
        """Predictions of a round, as :meth:`SelfDistillation.predict`; of all with ``round=None``, ``(T, m, ...)``."""
        if round is not None:
            return self._model.predict(X, round=round)
        found = [self._model.predict(X, round=t) for t in range(1, len(self) + 1)]
        return torch.stack(found) if isinstance(found[0], torch.Tensor) else np.stack(found)

    def plot_filters(self, axes: Any = None) -> Any:
        """Each round's filter against the eigenvalues, and their limit; returns the matplotlib axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        filters, values = self.filters, self.eigenvalues
        axes = axes_or_new(axes)
        order = np.argsort(values)
        kept = order[values[order] > 1e-12 * values.max()]
        shades = np.linspace(0.25, 1.0, len(filters))
        for t, (filter, shade) in enumerate(zip(filters, shades, strict=True), start=1):
            label = f"round {t}" if t in (1, len(filters)) else None
            axes.plot(values[kept], filter[kept], color="C0", alpha=shade, label=label)
        with suppress(ValueError):  # rounds that do not converge have no limit
            axes.plot(values[kept], self.limit()[kept], "--", color="C1", label="limit")
        axes.set_xscale("log")
        axes.set(xlabel="eigenvalue of the kernel matrix", ylabel="what is left of its eigenvector", ylim=(0.0, 1.02))
        axes.legend()
        return axes

    def plot_path(self, axes: Any = None) -> Any:
        """The error of each round, with the weight of the truth beside it; returns the matplotlib axes.

        Without validation data it shows the degrees of freedom instead of the error.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        if self.scores is None:
            return plot_rounds(self.degrees_of_freedom, self.alphas, ylabel="degrees of freedom", axes=axes)
        return plot_rounds(self.scores, self.alphas, ylabel="mean squared validation error", axes=axes)

    def _known(self, value: Any) -> Any:
        if value is None:
            raise AttributeError(
                "This path has no filters: they are there for kernel ridge regression and Gaussian processes of up to "
                "5000 rows, features or centres. Without them, plot_path needs errors: give validation=(X, y)."
            )
        return value
