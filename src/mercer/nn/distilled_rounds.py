"""All rounds of self-distillation, to look at: what networks and kernel models both report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mercer.nn.distilled_round import DistilledRound
from mercer.plots import axes_or_new

__all__ = ["DistilledRounds", "plot_rounds"]

Array = np.ndarray[Any, Any]


class DistilledRounds(list[DistilledRound]):
    """The rounds of :func:`self_distill`, first to last, with the report that
    :class:`mercer.learn.DistillationPath` gives of kernel models."""

    @property
    def alphas(self) -> Array:
        """The weight of the labels in each round, ``(T,)``; that of round 1 has no effect."""
        return np.array([found.alpha for found in self])

    @property
    def proposals(self) -> Array:
        """The best weights before they were clipped, ``(T,)``; NaN where none was looked for."""
        return np.array([found.proposal for found in self])

    @property
    def scores(self) -> Array | None:
        """The validation loss of each round, ``(T,)``; None without validation data."""
        losses = np.array([found.valid_loss for found in self])
        return None if np.isnan(losses).any() else losses

    def plot_path(self, axes: Any = None) -> Any:
        """The validation loss of each round, with the weight of the labels beside it; returns the matplotlib axes.

        Raises:
            ValueError: there was no validation data.
            MissingExtra: matplotlib is not installed.
        """
        if self.scores is None:
            raise ValueError("plot_path: these rounds have no validation loss: give self_distill a valid_loader.")
        return plot_rounds(self.scores, self.alphas, ylabel="validation loss", axes=axes)


def plot_rounds(values: Sequence[float] | Array, alphas: Array, *, ylabel: str, axes: Any = None) -> Any:
    """One value a round, with the weight of the truth beside it; returns the matplotlib axes."""
    axes = axes_or_new(axes)
    rounds = np.arange(1, len(values) + 1)
    axes.plot(rounds, values, "o-", color="C0")
    for t in range(2, len(values) + 1):
        axes.annotate(
            f"α = {alphas[t - 1]:.2f}",
            (t, values[t - 1]),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.margins(y=0.15)
    axes.set_xticks(rounds)
    axes.set(xlabel="round", ylabel=ylabel)
    return axes
