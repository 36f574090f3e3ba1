"""What the estimators of deep kernel machines share: their network, its training, and a look inside."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mercer.arguments import check_not_negative
from mercer.arrays import as_tensor
from mercer.kernels import RBF
from mercer.learn.deep_images import Images, images_of
from mercer.learn.deep_network import (
    DeepState,
    build_network,
    check_depth,
    column_scales,
    each_nu,
    layers_of,
)
from mercer.learn.gram_plots import draw_gram_matrices
from mercer.learn.inducing import choose_inducing
from mercer.learn.inputs import Given, as_given, check_data
from mercer.learn.minibatch_model import MinibatchModel
from mercer.learn.saving import Saved
from mercer.learn.variational import Variational
from mercer.nn import GramPooling, GramStandardization, GramState

__all__ = ["N_INDUCING", "DeepKernelModel"]

N_INDUCING = 100  # by default: as many, or all points where there are fewer
_AT_ONCE = 4096  # rows up to which all of them are one batch
_REFERENCE_ROWS = 32  # of images, whose mean and spread stand for those of all
_PLACES_AT_ONCE = 16_384  # of images, in a minibatch: 100 MB at 100 inducing points and two layers
_PATH = (math.inf, 100.0, 30.0, 10.0, 3.0, 1.0)  # of nu="auto"
_HELD_OUT = 0.2  # of the rows, to choose nu by


class DeepKernelModel(MinibatchModel, Saved, BaseEstimator):
    """Base of the deep kernel machines; a subclass's ``__init__`` stores the arguments read here."""

    _description = "deep kernel machine"

    depth: int
    kernel: str
    nu: Any
    n_inducing: int
    inducing: Any
    learn_inducing: bool
    learn_hyperparameters: bool
    standardize: bool
    image_shape: Any
    patch_size: int
    _log_parameters: list[float]

    def _check_training(
        self, X: Any, y: Any, *, reset: bool = True, y_numeric: bool = True, multi_output: bool = False
    ) -> tuple[Given, Any]:
        kinds = {"y_numeric": y_numeric, "multi_output": multi_output}
        checked: tuple[Given, Any] = check_data(self, X, y, reset=reset, **kinds)
        return checked

    def _check_points(self, X: Any) -> Given:
        given: Given = check_data(self, X, reset=False)
        return given

    def _check_options(self) -> None:
        check_depth(self.depth, self.kernel)
        self._nus()
        images_of(self.image_shape, self.patch_size)
        check_not_negative("learning_rate", self.learning_rate)
        self._check_minibatches()

    def _nus(self) -> list[float]:
        """Of the layers; the first of the path where nu is to be chosen."""
        return each_nu(_PATH[0] if isinstance(self.nu, str) and self.nu == "auto" else self.nu, int(self.depth))

    @property
    def _images(self) -> Images | None:
        return images_of(self.image_shape, self.patch_size)

    def _batch(self, n: int) -> int:
        images = self._images
        if images is not None and self.batch_size is None:
            return min(n, max(1, _PLACES_AT_ONCE // images.places))
        return n if self.batch_size is None and n <= _AT_ONCE else super()._batch(n)

    def _rows_at_once(self) -> int:
        images = self._images
        return super()._rows_at_once() if images is None else max(1, _PLACES_AT_ONCE // images.places)

    def _log_density(self, state: DeepState, X: Tensor, y: Tensor) -> Tensor:
        """``log p(y | x)`` of held-out rows, ``(m,)``."""
        raise NotImplementedError

    def _learn(self, given: Given, y: Tensor, n_latent: int) -> None:
        """Fit to checked rows."""
        points, rng = given.points.to(torch.float64), self._rng()
        self._is_torch = isinstance(given.example, Tensor)
        images = self._images
        if images is None:
            self._columns = column_scales(points, standardize=self.standardize)
        else:
            images.check_rows(points.shape[1])
            self._columns = images.column_scales(points, standardize=self.standardize)
        X = self._standardised(points)
        candidates = X if images is None else images.candidates(X, rng)
        how = self.inducing
        if not isinstance(how, str):
            how = as_tensor(how, dtype=torch.float64, device=points.device)
            how = how if images is None or how.dim() != 4 else how.flatten(1)
            if how.dim() == 2 and how.shape[1] == candidates.shape[1]:  # others are refused below
                center, width = self._scales_of_inducing()
                how = (how - center) / width
        Z = choose_inducing(RBF(), candidates, self.n_inducing, how, rng)
        if isinstance(how, str) and len(candidates) < self.n_inducing != N_INDUCING:
            warnings.warn(
                f"n_inducing={self.n_inducing}, but there are {len(candidates)} points to choose from: all of them are "
                f"used.",
                UserWarning,
                stacklevel=3,
            )
        nus, start = self._nus(), None
        if isinstance(self.nu, str):
            nus, start = self._choose_nu(X, y, Z, n_latent, rng)
        state = self._start(X, Z, nus, n_latent, start)
        self.objective_curve_ = self._climb(state, X, y, rng)
        self.objective_, self.n_iter_ = self._objective(given, y), len(self.objective_curve_)

    def _climb(self, state: DeepState, X: Tensor, y: Tensor, rng: np.random.RandomState) -> list[float]:
        """Train; the objective of each epoch."""
        found = self._train(state, X, y, rng, n=len(y), max_epochs=self.max_epochs)
        if self._is_conjugate() and self._batch(len(y)) == len(y):
            with torch.no_grad():  # the best q of the last network, which Adam has moved since
                state.improve(*state.whitened(X), y, len(y), 1.0)
            self._keep(state)
        return found

    def _choose_nu(
        self, X: Tensor, y: Tensor, Z: Tensor, n_latent: int, rng: np.random.RandomState
    ) -> tuple[list[float], DeepState]:
        """From the fixed kernel to the free one, each model from the one before; the best on rows left out."""
        if len(y) < 2:
            raise ValueError("Found array with 1 sample(s), but nu='auto' needs at least 2, since it leaves some out.")
        order = torch.from_numpy(rng.permutation(len(y))).to(X.device)
        out, rows = order.tensor_split([max(1, int(_HELD_OUT * len(y)))])
        found: list[tuple[float, float, DeepState]] = []
        for nu in _PATH:
            before = found[-1][2] if found else None
            state = self._start(X, Z, [nu] * int(self.depth), n_latent, before)
            self._climb(state, X[rows], y[rows], rng)
            with torch.no_grad():
                found.append((nu, float(self._log_density(state, X[out], y[out]).mean()), state))
        self.nu_path_ = [(nu, score) for nu, score, _ in found]
        nu, _, state = max(found, key=lambda one: one[1])
        return [nu] * int(self.depth), state

    def _start(self, X: Tensor, Z: Tensor, nus: list[float], n_latent: int, before: DeepState | None) -> DeepState:
        """Before the first step: the fixed kernel, or where another model has ended."""
        network = build_network(
            Z,
            kernel=self.kernel,
            nu=nus,
            learn=self.learn_hyperparameters,
            learn_inducing=self.learn_inducing,
            images=self._images,
            reference=None if self._images is None else X[:: max(1, len(X) // _REFERENCE_ROWS)][:_REFERENCE_ROWS],
            seed=0 if self._images is None else int(self._rng().randint(2**30)),
        )
        log_parameters = torch.tensor(self._log_parameters, dtype=torch.float64)
        q = Variational.prior(len(Z), n_latent, Z)
        if before is not None:
            network.load_state_dict(before.network.state_dict())
            log_parameters, q = before.log_parameters.detach().clone(), before.q
        log_parameters.requires_grad_(self.learn_hyperparameters and bool(log_parameters.numel()))
        state = DeepState(network, log_parameters, q, self._expected)
        state.start_adam(self.learning_rate)
        self.nu_ = nus
        return state

    def _keep(self, state: DeepState) -> None:
        """Fitted attributes from a state."""
        self._network = {name: value.detach().clone() for name, value in state.network.state_dict().items()}
        self._log_parameters = state.log_parameters.detach().tolist()
        self._q = state.q.parts()
        center, width = self._scales_of_inducing()
        Z, images = self._network["0.inducing"] * width + center, self._images
        Z = Z if images is None else Z.reshape(-1, images.shape[0], images.size, images.size)
        self.inducing_points_ = as_given(Z, self._is_torch)
        with torch.no_grad():
            no_rows = self._columns[0].new_empty(0, len(self._columns[0]))
            matrices = [as_given(state.ii, self._is_torch) for state in layers_of(state.network, no_rows)]
        self.gram_matrices_, self.kernel_matrices_ = matrices[2::2], matrices[1::2]

    def _state(self) -> DeepState:
        network = build_network(
            self._network["0.inducing"],
            kernel=self.kernel,
            nu=self.nu_,
            learn=False,
            learn_inducing=False,
            images=self._images,
            reference=self._network.get("0.reference"),
        )
        network.load_state_dict(self._network)
        log_parameters = torch.tensor(self._log_parameters, dtype=torch.float64)
        return DeepState(network, log_parameters, Variational(*self._q), self._expected)

    def _moments(self, points: Tensor) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        return super()._moments(self._standardised(points))

    def _standardised(self, points: Tensor) -> Tensor:
        center, width = self._columns
        result: Tensor = (points.to(center.device, torch.float64) - center) / width
        return result

    def _scales_of_inducing(self) -> list[Tensor]:
        """Center and width of the columns of inducing points."""
        images = self._images
        return self._columns if images is None else [images.of_patches(v) for v in self._columns]

    @torch.no_grad()
    def _objective(self, given: Given, y: Tensor) -> float:
        X, n, rows = self._standardised(given.points), len(y), self._rows_at_once()
        state, y = self._state(), y.to(X.device)
        parts = zip(X.split(rows), y.split(rows), strict=True)
        return sum(len(part) / n * float(state.bound(part, of_part, n)) for part, of_part in parts)

    @torch.no_grad()
    def features(self, X: Any, *, layer: int = -1) -> Any:
        """Coordinates in which the inner products of rows are those of a layer's Gram matrix, ``(m, P)``.

        They are exact between a row and an inducing point, and between two rows what the inducing points know of them.
        Of images they are means over all places, less those of a few training rows, in units of their spread. Use them
        wherever columns are wanted: clustering, a picture, another model.

        Args:
            X: ``(m, d)``.
            layer: 1 to ``depth``, or counted from the last, -1.

        Raises:
            ValueError: there is no such layer.
        """
        given, state = self._layer(X, layer)
        _, W, _ = state.whitened(f"layer {layer}")
        return given.answer(W)

    @torch.no_grad()
    def gram_matrix(self, X: Any, *, layer: int = -1) -> Any:
        """Inner products of rows in a layer, ``(m, m)``; layer 0 is the inputs.

        The diagonal is exact, the rest as in :meth:`features`.

        Raises:
            ValueError: there is no such layer.
        """
        if layer == 0:
            check_is_fitted(self)
            given = self._check_points(X)
            points = self._standardised(given.points)
            points = points if self._images else points * self._network["0.log_scale"].exp()
            return given.answer(points @ points.mT / points.shape[1])
        given, state = self._layer(X, layer)
        _, W, left = state.whitened(f"layer {layer}")
        return given.answer(W @ W.mT + torch.diag(left))

    def plot_gram_matrices(self, X: Any, y: Any = None, *, axes: Any = None) -> Any:
        """Draw how alike rows are in each layer, from the inputs to the last: cosines, -1 to 1.

        Args:
            X: ``(m, d)``; some hundred rows.
            y: ``(m,)``; rows are sorted by it, so that what belongs together stands together.
            axes: ``depth + 1`` matplotlib axes; None makes a figure.

        Returns:
            The axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        matrices = [np.asarray(self.gram_matrix(X, layer=layer)) for layer in range(int(self.depth) + 1)]
        return draw_gram_matrices(matrices, y, axes)

    def _layer(self, X: Any, layer: int) -> tuple[Given, Any]:
        check_is_fitted(self)
        depth = int(self.depth)
        if isinstance(layer, bool) or not isinstance(layer, int) or layer == 0 or not -depth <= layer <= depth:
            raise ValueError(f"layer must be 1 to {depth}, or -1 for the last, not {layer!r}.")
        given = self._check_points(X)
        number = layer if layer > 0 else depth + 1 + layer
        network, points = self._state().network, self._standardised(given.points)
        of_rows = nn.Sequential()
        if self._images is not None:  # as the last kernel sees them
            of_rows.extend([GramPooling(remainder=False), GramStandardization(len(self._network["0.reference"]))])
        parts = [of_rows(layers_of(network, part)[2 * number]) for part in points.split(self._rows_at_once())]
        ti, t = torch.cat([part.ti for part in parts]), torch.cat([part.t for part in parts])
        return given, GramState(parts[0].ii, ti, t)
