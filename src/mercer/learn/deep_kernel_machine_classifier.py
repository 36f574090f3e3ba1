"""Classification by a deep kernel machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.learn.deep_kernel_model import N_INDUCING, DeepKernelModel
from mercer.learn.deep_network import DeepState
from mercer.learn.latent_classifier import LatentClassifier

__all__ = ["DeepKernelMachineClassifier"]


class DeepKernelMachineClassifier(LatentClassifier, DeepKernelModel):
    """Classification by a kernel machine that learns its kernel, layer by layer.

    Two classes have one latent function and a logistic response; more have one latent function each, of the same learnt
    kernel, and a softmax of them. Their posterior at the inducing points is found by natural gradients, Adam moves Gram
    matrices, scales and inducing points.

    Args:
        depth: and all other arguments as in :class:`DeepKernelMachineRegressor`. Images are rows of pixels,
            ``images.reshape(len(images), -1)``; with ``image_shape`` their places are known.

    Attributes:
        classes_: the classes, sorted.
        gram_matrices_, kernel_matrices_, inducing_points_, nu_, nu_path_, objective_curve_, objective_, n_iter_: as in
            :class:`DeepKernelMachineRegressor`.

    Cost: ``n P^2 + P^3`` multiply-adds a layer and as many a latent function.
    Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).

    >>> X = np.linspace(0.0, 6.0, 100)[:, None]
    >>> y = np.where(np.sin(X[:, 0]) > 0, "up", "down")
    >>> model = DeepKernelMachineClassifier(depth=1, n_inducing=10, max_epochs=50, random_state=0).fit(X, y)
    >>> model.predict([[1.5], [4.5]])
    array(['up', 'down'], dtype='<U4')
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        kernel: str = "rbf",
        nu: Any = 10.0,
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
            y: ``(n,)`` classes: numbers or text.

        Raises:
            ValueError: arguments out of range, fewer than two classes, NaN or infinity.
            IndefiniteGram: a layer's kernel matrix is not positive definite; it says which.
        """
        self._check_options()
        given, codes = self._begin_classes(X, y, None)
        self._learn(given, codes, self._n_latent())
        return self

    def objective(self, X: Any, y: Any) -> float:
        """The objective of these rows, at what was learnt: the bound less ``nu`` times divergences."""
        check_is_fitted(self)
        given, y = self._check_training(X, y, reset=False, y_numeric=False)
        return self._objective(given, self._codes(y, given))

    def _log_density(self, state: DeepState, X: Tensor, y: Tensor) -> Tensor:
        probabilities = self._class_probabilities(*state.q.moments(*state.whitened(X)))
        chosen: Tensor = probabilities.gather(1, y[:, None].long()).squeeze(1)
        return chosen.clamp(min=torch.finfo(torch.float64).tiny).log()
