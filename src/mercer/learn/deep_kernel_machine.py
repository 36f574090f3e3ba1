"""Regression by a deep kernel machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from sklearn.base import MultiOutputMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.deep_kernel_model import N_INDUCING, DeepKernelModel
from mercer.learn.deep_network import DeepState
from mercer.learn.likelihoods import likelihood
from mercer.learn.sparse_response import SparseResponse

__all__ = ["DeepKernelMachineRegressor"]


class DeepKernelMachineRegressor(MultiOutputMixin, SparseResponse, DeepKernelModel):
    r"""Regression by a kernel machine that learns its kernel, layer by layer, with a forecast's uncertainty.

    .. math:: \max_{G_1, \ldots, G_L} \log P(y \mid G_L) - \sum_l \nu_l\,
        \mathrm{KL}\bigl(N(0, G_l) \,\Vert\, N(0, K(G_{l-1}))\bigr)

    Each layer replaces the kernel matrix below by a Gram matrix of its own and pays for the difference. With infinite
    ``nu`` none is made: that is the Gaussian process of an infinitely wide network, fixed but for its scales. The
    matrices are of ``n_inducing`` points, so that cost is linear in the rows. The values at these points have a
    Gaussian posterior: the best one in closed form where the likelihood is Gaussian and all rows are one batch, else by
    natural gradients.

    Args:
        depth: L, Gram layers.
        kernel: of every layer: "rbf", "relu", "normalized_gaussian", "erf", "gelu", "linear" or "identity" (the
            same as linear).
        nu: how strongly each Gram matrix is held at the kernel, > 0; one, or one a layer. ``math.inf`` is the fixed
            kernel. "auto" goes from inf to 1, each model from the one before, takes what forecasts a fifth of the rows
            best, and goes on with all rows: about seven fits. On small data a small ``nu`` is over-confident.
        likelihood, likelihood_params: as in :class:`SparseGaussianProcessRegressor`.
        n_inducing: how many. Where there are fewer rows, all of them, with a warning unless it is the default.
        inducing: where they start: "kmeans++", or the points ``(P, d)``.
        learn_inducing: whether they move.
        learn_hyperparameters: whether the scale of each column, the kernels' heights and weights, and the likelihood's
            parameters are learnt.
        standardize: whether columns are centred and divided by their deviation, and y alike; False takes the numbers as
            they are. Pixels of images share one centre and deviation a channel.
        image_shape: ``(height, width)`` or ``(channels, height, width)`` of rows that are pixels of images. Inducing
            points are then patches, each layer has a place for every pixel and a convolution in front of it, and the
            last kernel is the mean over all places.
        patch_size: side of the patches and of the convolutions, odd.
        batch_size: rows of a minibatch; None is all rows up to 4096, else 1024, and of images as many as have 16 384
            pixels.
        max_epochs: passes over the rows.
        learning_rate: of Adam.
        natural_rate: of the natural gradients, up to 1; None as in :class:`SparseGaussianProcessRegressor`.
        tol, n_iter_no_change: stop when the objective of an epoch has not grown by ``tol`` a row for so many epochs.
        random_state: of the inducing points and the order of rows.

    Attributes:
        gram_matrices_: G_1 to G_L of the inducing points, ``(P, P)`` each.
        kernel_matrices_: K(G_0) to K(G_L).
        inducing_points_: ``(P, d)``, in units of X; of images patches ``(P, channels, size, size)``.
        nu_: of each layer.
        nu_path_: with "auto", pairs of ``nu`` and the mean log density of the rows left out (of the scaled y).
        objective_curve_: of every epoch, of the scaled y.
        objective_: of all rows at what was learnt.
        likelihood_params_: the learnt parameters of the likelihood, in the units of y.
        n_iter_: epochs.

    Cost: ``n P^2 + P^3`` multiply-adds a layer and an epoch, and as many a target; of images
    ``n h w (1 + size^2) P^2``.
    Source: Yang, Robeyns, Milsom, Anson, Schoots & Aitchison, A theory of representation learning gives a deep
    generalisation of kernel methods (ICML 2023); whitened here. Images: Milsom, Anson & Aitchison, Convolutional deep
    kernel machines (ICLR 2024).

    >>> X = np.linspace(0.0, 6.0, 100)[:, None]
    >>> model = DeepKernelMachineRegressor(depth=1, n_inducing=15, max_epochs=100, random_state=0)
    >>> model = model.fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict([[1.5]])[0] - np.sin(1.5)) < 0.05)
    True
    >>> model.gram_matrices_[0].shape
    (15, 15)
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        kernel: str = "rbf",
        nu: Any = 10.0,
        likelihood: str = "gaussian",
        likelihood_params: Mapping[str, float] | None = None,
        n_inducing: int = N_INDUCING,
        inducing: Any = "kmeans++",
        learn_inducing: bool = True,
        learn_hyperparameters: bool = True,
        standardize: bool = True,
        image_shape: Sequence[int] | None = None,
        patch_size: int = 3,
        batch_size: int | None = None,
        max_epochs: int = 300,
        learning_rate: float = 0.02,
        natural_rate: float | None = None,
        tol: float = 1e-5,
        n_iter_no_change: int = 20,
        random_state: Any = None,
    ) -> None:
        self.depth = depth
        self.kernel = kernel
        self.nu = nu
        self.likelihood = likelihood
        self.likelihood_params = likelihood_params
        self.n_inducing = n_inducing
        self.inducing = inducing
        self.learn_inducing = learn_inducing
        self.learn_hyperparameters = learn_hyperparameters
        self.standardize = standardize
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.natural_rate = natural_rate
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)``.
            y: ``(n,)``, or ``(n, t)``: targets that share the learnt kernel and the likelihood's parameters, each in
                units of its own deviation. Whole numbers >= 0 where the likelihood is of counts.

        Raises:
            ValueError: arguments out of range, y that cannot be of this likelihood, NaN or infinity.
            IndefiniteGram: a layer's kernel matrix is not positive definite; it says which.
        """
        self._check_options()
        start = likelihood(self.likelihood, self.likelihood_params, allowed=self._allowed)
        given, y = self._check_training(X, y, multi_output=True)
        targets = self._first_targets(start, y, given.device)
        self._is_vector = targets.dim() == 1
        if not self.standardize and not start.is_count:
            self._scale = [0.0, 1.0]
        self._learn(given, self._scaled(targets), 1 if self._is_vector else targets.shape[1])
        return self

    def objective(self, X: Any, y: Any) -> float:
        """The objective of these rows (of the scaled y) at what was learnt: the bound less ``nu`` times divergences."""
        check_is_fitted(self)
        given, y = self._check_training(X, y, reset=False, multi_output=not self._is_vector)
        targets = as_tensor(y, dtype=torch.float64, device=self._columns[0].device)
        self._likelihood().check(targets)
        return self._objective(given, self._scaled(targets))

    def _log_density(self, state: DeepState, X: Tensor, y: Tensor) -> Tensor:
        made = type(self._likelihood())(state.log_parameters)
        mean, variance = state.q.moments(*state.whitened(X))
        offset = self._scale[0] if made.is_count else 0.0
        return made.log_predictive_density(y.reshape(mean.shape), mean + offset, variance).sum(-1)
