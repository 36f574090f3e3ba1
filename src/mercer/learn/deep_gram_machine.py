"""The deep kernel machine without inducing points: all Gram matrices of all rows."""

from __future__ import annotations

import math
import warnings
from typing import Any, Self

import numpy as np
import torch
from scipy.optimize import Bounds, minimize
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, generator
from mercer.kernels import IndefiniteGram
from mercer.learn.deep_linear import deep_linear_gram_matrices
from mercer.learn.deep_network import build_network, check_depth, column_scales, each_nu, layers_of
from mercer.learn.gram_density import add_noise, log_density
from mercer.learn.gram_plots import draw_gram_matrices
from mercer.learn.inputs import Given, as_given, as_targets, check_data
from mercer.learn.saving import Saved
from mercer.nn import GramKernel, GramLayer, gram_divergence, gram_penalty
from mercer.nn.gram_state import gram_factor

__all__ = ["DeepGramMachine"]

_SPREAD = 0.3  # of the entries of a random start
_LEAST_NOISE = 1e-6  # that is learnt, in units of the mean square of y: the floor of other Gaussian likelihoods here


class DeepGramMachine(MultiOutputMixin, RegressorMixin, Saved, BaseEstimator):
    r"""A deep kernel machine of some hundred rows, exactly as the theory has it.

    .. math:: \max_{G_1, \ldots, G_L} \sum_c \log N(y_c; 0, K(G_L) + \sigma^2 I)
        - \sum_l \nu_l\, \mathrm{KL}\bigl(N(0, G_l) \,\Vert\, N(0, K(G_{l-1}))\bigr), \quad G_0 = X X^\top / d

    This is what a deep Gaussian process becomes when its layers grow wide (``nu_l N`` features in layer l) and its
    outputs are copied N times, so that the data keep their say. Every row is an inducing point that stays; L-BFGS moves
    the Gram matrices. For more rows use :class:`DeepKernelMachineRegressor`, which is this where every row is an
    inducing point. Images are rows of pixels here, whose places do not count; with ``image_shape`` that one, and
    :class:`DeepKernelMachineClassifier`, have layers with places.

    Args:
        depth: L, Gram layers.
        kernel: of every layer, as in :class:`DeepKernelMachineRegressor`.
        nu: > 0, one or one a layer; ``math.inf`` fixes Gram matrices at the kernel.
        noise: sigma^2, >= 0, of the scaled y; what is learnt stays above a millionth of the mean square of y.
        learn_hyperparameters: whether the scale of each column, heights and weights of the kernels and the noise are
            learnt too.
        closed_form: solve the linear machine without noise by :func:`deep_linear_gram_matrices`; needs
            ``kernel="linear"``, ``noise=0``, no learnt hyperparameters, ``standardize=False`` (centred targets
            are never independent), and as many independent targets as rows.
        standardize: whether the columns of X and y are centred and divided by their deviation.
        init: "nngp" starts at the fixed kernel, "random" at Gram matrices drawn around it.
        jitter: of the kernels' diagonals, as a share of their mean.
        max_iter: steps of L-BFGS.
        random_state: of a random start.

    Attributes:
        gram_matrices_: G_1 to G_L, ``(n, n)`` each.
        kernel_matrices_: K(G_0) to K(G_L).
        objective_: what was reached, of the scaled y.
        noise_: sigma^2, of the scaled y.
        n_iter_: steps of L-BFGS; 1 where nothing had to move.

    Cost: ``n^3`` a layer and a step.
    Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).

    >>> X = np.linspace(-1.5, 1.5, 8)[:, None]
    >>> model = DeepGramMachine(nu=1.0, learn_hyperparameters=False, standardize=False).fit(X, np.sin(2.5 * X[:, 0]))
    >>> fixed = DeepGramMachine(nu=np.inf, learn_hyperparameters=False, standardize=False).fit(X, np.sin(2.5 * X[:, 0]))
    >>> bool(model.objective_ > fixed.objective_)
    True
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        kernel: str = "rbf",
        nu: Any = 10.0,
        noise: float = 0.1,
        learn_hyperparameters: bool = True,
        closed_form: bool = False,
        standardize: bool = True,
        init: str = "nngp",
        jitter: float | None = None,
        max_iter: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.depth = depth
        self.kernel = kernel
        self.nu = nu
        self.noise = noise
        self.learn_hyperparameters = learn_hyperparameters
        self.closed_form = closed_form
        self.standardize = standardize
        self.init = init
        self.jitter = jitter
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Find the Gram matrices.

        Args:
            X: ``(n, d)``.
            y: ``(n,)`` or ``(n, t)``; targets share the Gram matrices.

        Raises:
            ValueError: arguments out of range, ``closed_form`` where there is none, NaN or infinity.
            IndefiniteGram: a kernel matrix is not positive definite; it says which.
        """
        nus = self._check()
        given, y = check_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        targets, self._is_vector = as_targets(y, given.device)
        self._is_torch = isinstance(given.example, Tensor)
        points = given.points.to(torch.float64)
        self._columns, self._targets = (column_scales(v, standardize=self.standardize) for v in (points, targets))
        Z, Y = self._scaled(points, self._columns), self._scaled(targets, self._targets)
        network = self._build(Z, nus, learn=self.learn_hyperparameters)
        log_noise = torch.tensor(math.log(self.noise) if self.noise else -math.inf, dtype=torch.float64)
        if self.init == "random":
            draw = generator(self.random_state)
            for layer in self._layers(network):
                V = torch.randn(len(Z), len(Z), generator=draw, dtype=torch.float64).to(Z.device) * _SPREAD
                layer.factor.set(V.tril(-1) + torch.diag(V.diagonal().exp()))
        self.n_iter_ = 1
        if self.closed_form:
            self._solve(network, Y, nus)
        else:
            log_noise.requires_grad_(self.learn_hyperparameters and self.noise > 0.0)
            self._climb(network, log_noise, Y)
        self._keep(network, log_noise, Y)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of a new y at each row, ``(m,)`` or ``(m, t)``.

        Args:
            X: ``(m, d)``.
            return_std: also the standard deviation of a new y, noise included, of the same shape.
        """
        check_is_fitted(self)
        given: Given = check_data(self, X, reset=False)
        with torch.no_grad():
            network = self._restored()
            state = network(self._scaled(given.points.to(torch.float64), self._columns))
            lower = gram_factor(add_noise(state.ii, self.noise_), "the covariance of y")
            W = torch.linalg.solve_triangular(lower, state.ti.mT, upper=False)
            mean = W.mT @ torch.linalg.solve_triangular(lower, as_tensor(self._Y), upper=False)
            variance = (state.t - W.square().sum(0)).clamp(min=0.0) + self.noise_
            center, width = self._targets
            mean, deviation = center + width * mean, variance.sqrt()[:, None] * width
        if self._is_vector:
            mean, deviation = mean[:, 0], deviation[:, 0]
        return (given.answer(mean), given.answer(deviation)) if return_std else given.answer(mean)

    def objective(self, gram_matrices: Any = None) -> float:
        """The objective by its definition, with explicit divergences, at the training rows.

        Args:
            gram_matrices: G_1 to G_L, ``(n, n)`` each; None takes those that were found.

        Raises:
            ValueError: another number of matrices than layers.
            IndefiniteGram: one that is not positive definite.
        """
        check_is_fitted(self)
        given = self.gram_matrices_ if gram_matrices is None else list(gram_matrices)
        if len(given) != int(self.depth):
            raise ValueError(f"objective: give {self.depth} Gram matrices, one a layer, not {len(given)}.")
        network = self._restored()
        kernels = [module for module in network if isinstance(module, GramKernel)]
        with torch.no_grad():
            K, total = kernels[0](network[0](self._network["0.inducing"][:0])).ii, torch.zeros(()).double()
            for G, kernel, nu in zip(given, kernels[1:], self.nu_, strict=True):
                matrix = as_tensor(G, dtype=torch.float64, device=K.device)
                # An infinite nu times the round-off of a difference that is 0 would be anything.
                total = total - (nu * gram_divergence(matrix, K) if math.isfinite(nu) else 0.0)
                K = kernel(matrix)
                K = add_noise(K, kernel.jitter * K.diagonal().mean())
            return float(total + log_density(add_noise(K, self.noise_), as_tensor(self._Y)))

    def plot_gram_matrices(self, y: Any = None, *, axes: Any = None) -> Any:
        """Draw how alike the training rows are in each layer; see :class:`DeepKernelMachineRegressor`."""
        check_is_fitted(self)
        Z = self._network["0.inducing"] * self._network["0.log_scale"].exp()
        matrices = [np.asarray(Z @ Z.mT / Z.shape[1]), *(np.asarray(G) for G in self.gram_matrices_)]
        return draw_gram_matrices(matrices, y, axes)

    def _check(self) -> list[float]:
        check_depth(self.depth, self.kernel)
        check_not_negative("noise", self.noise)
        check_whole("max_iter", self.max_iter)
        if self.init not in ("nngp", "random"):
            raise ValueError(f"init must be 'nngp' or 'random', not {self.init!r}.")
        nus = each_nu(self.nu, int(self.depth))
        if self.closed_form and (
            self.kernel not in ("linear", "identity")
            or self.noise
            or self.learn_hyperparameters
            or self.standardize
            or math.inf in nus
        ):
            raise ValueError(
                "closed_form=True needs kernel='linear', noise=0, learn_hyperparameters=False, standardize=False and a "
                "finite nu; otherwise there is no closed form. Leave it out: L-BFGS finds the matrices."
            )
        return nus

    @staticmethod
    def _scaled(values: Tensor, scales: list[Tensor]) -> Tensor:
        return (values.to(scales[0].device) - scales[0]) / scales[1]

    def _build(self, Z: Tensor, nus: list[float], *, learn: bool) -> nn.Sequential:
        return build_network(Z, kernel=self.kernel, nu=nus, learn=learn, learn_inducing=False, jitter=self.jitter)

    @staticmethod
    def _layers(network: nn.Sequential) -> list[GramLayer]:
        return [module for module in network if isinstance(module, GramLayer)]

    def _climb(self, network: nn.Sequential, log_noise: Tensor, Y: Tensor) -> None:
        """L-BFGS over all that can move."""
        moving = [p for p in (*network.parameters(), log_noise) if p.requires_grad]
        if not moving:
            return
        none = _no_rows(network)

        def negative(values: Any) -> tuple[float, Any]:
            _set(moving, values)
            total = log_density(add_noise(network(none).ii, log_noise.exp()), Y) - gram_penalty(network)
            gradients = torch.autograd.grad(total, moving)
            return -float(total.detach()), -torch.cat([g.flatten() for g in gradients]).cpu().numpy()

        start = torch.cat([p.detach().flatten() for p in moving]).cpu().numpy()
        # Targets that can be fitted exactly would make the covariance singular; starts below the floor stay allowed.
        floor = math.log(_LEAST_NOISE * (float(Y.square().mean()) or 1.0))
        lows = np.full(sum(p.numel() for p in moving), -np.inf)
        if log_noise.requires_grad:
            lows[-1] = min(floor, float(log_noise.detach()))
        options = {"maxiter": int(self.max_iter), "maxfun": 2 * int(self.max_iter), "ftol": 1e-14, "gtol": 1e-9}
        # The stubs know only some of the forms of ``options``.
        found: Any = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=Bounds(lows), options=options)  # type: ignore[call-overload]
        _set(moving, found.x)
        self.n_iter_ = max(1, int(found.nit))
        if found.status == 1:
            warnings.warn(
                f"L-BFGS stopped after max_iter={self.max_iter} steps; the Gram matrices may not be the best.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _solve(self, network: nn.Sequential, Y: Tensor, nus: list[float]) -> None:
        """The closed form, and the factors of the layers that belong to it."""
        states = layers_of(network, _no_rows(network))
        below = states[1].ii.detach()
        n_targets, rank = Y.shape[1], int(torch.linalg.matrix_rank(Y))
        if rank < len(Y):
            raise IndefiniteGram(
                f"closed_form=True needs as many independent targets as rows, but of {len(Y)} rows there are "
                f"{n_targets} targets, {rank} of them independent. Leave it out and give noise > 0."
            )
        grams = deep_linear_gram_matrices(below, Y @ Y.mT / n_targets, [*nus, float(n_targets)])
        for layer, kernel, G in zip(self._layers(network), list(network)[3::2], grams, strict=True):
            C = gram_factor(below, layer.name)
            layer.factor.set(torch.linalg.solve_triangular(C, gram_factor(G, layer.name), upper=False))
            below = kernel(G).detach()

    def _keep(self, network: nn.Sequential, log_noise: Tensor, Y: Tensor) -> None:
        self._network = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._Y, self.nu_ = as_given(Y, self._is_torch), [layer.nu for layer in self._layers(network)]
        self.noise_ = float(log_noise.detach().exp())
        with torch.no_grad():
            states = layers_of(network, self._network["0.inducing"][:0])
            matrices = [as_given(state.ii, self._is_torch) for state in states]
            value = log_density(add_noise(states[-1].ii, self.noise_), Y) - gram_penalty(network)
        self.objective_ = float(value)
        self.gram_matrices_, self.kernel_matrices_ = matrices[2::2], matrices[1::2]

    def _restored(self) -> nn.Sequential:
        network = self._build(self._network["0.inducing"], self.nu_, learn=False)
        network.load_state_dict(self._network)
        return network


def _no_rows(network: nn.Sequential) -> Tensor:
    """Points ``(0, d)``: the training rows are the inducing points, and nothing else is asked for."""
    first: Any = network[0]
    none: Tensor = first.inducing[:0].detach()
    return none


@torch.no_grad()
def _set(parameters: list[Tensor], values: Any) -> None:
    at = 0
    for p in parameters:
        p.copy_(torch.from_numpy(values[at : at + p.numel()].copy()).reshape(p.shape))
        at += p.numel()
