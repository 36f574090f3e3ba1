"""Regression data whose columns have a few large directions that matter and many small ones that do not."""

from collections.abc import Sequence

import numpy as np

from mercer.data.bunch import Bunch
from mercer.errors import MissingExtra

__all__ = ["spiked_regression"]


def spiked_regression(
    n_rows: int,
    *,
    spikes: Sequence[float] = (50.0, 5.0, 5.0, 5.0),
    weights: Sequence[float] = (0.0, 0.5, 0.5, 0.5),
    n_columns: int = 60,
    background: float = 0.3,
    noise: float = 2.0,
    random_state: int = 0,
) -> Bunch:
    """Independent normal columns, ``y = sum_j weights_j x_j`` plus normal noise: the spiked covariance model.

    Ridge regression shrinks every direction by its variance, so it cannot keep the spikes and drop the rest at once.

    Args:
        n_rows: how many.
        spikes: variances of the first columns.
        weights: of the same columns in y; all others have none.
        n_columns: in all.
        background: variance of the other columns.
        noise: standard deviation of the noise in y.
        random_state: seed.

    Returns:
        A table with the columns x0, x1, ..., the target y, and ``mean``, which is y without the noise.

    Raises:
        ValueError: spikes and weights are not as many, or more than the columns.
        MissingExtra: pandas is not installed.

    >>> spiked_regression(200).frame.shape
    (200, 62)
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("Generated data are tables and need pandas: pip install 'mercer[tables]'") from None
    if len(spikes) != len(weights) or len(spikes) > n_columns:
        raise ValueError(
            f"spiked_regression: {len(spikes)} spikes and {len(weights)} weights for {n_columns} columns; give a "
            f"weight for each spike, and no more of them than columns."
        )
    draw = np.random.default_rng(random_state)
    variances = np.full(n_columns, background)
    variances[: len(spikes)] = spikes
    X = draw.normal(size=(n_rows, n_columns)) * np.sqrt(variances)
    mean = X[:, : len(weights)] @ np.asarray(weights)
    frame = pandas.DataFrame(X, columns=[f"x{j}" for j in range(n_columns)])
    frame["y"], frame["mean"] = mean + noise * draw.normal(size=n_rows), mean
    return Bunch(
        frame=frame,
        target="y",
        source="generated; the model of Johnstone (2001)",
        licence="none needed",
        description="One row a draw: independent normal columns, y their weighted sum plus noise, mean y without it.",
    )
