"""A network at hand as the kernel machine that it is near its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.kernels import EmpiricalNTK
from mercer.operators import GradientFlow

__all__ = ["LinearizedNetwork"]


class LinearizedNetwork:
    r"""What gradient descent would make of a network if it were linear in its parameters; nothing is trained.

    .. math:: f_t(x) = f_0(x) + \Theta(x, X)\, V \frac{1 - e^{-\eta \lambda t / N}}{\lambda} V^T (y - f_0(X)),
        \quad \Theta(X, X) = V \lambda V^T

    Theta is the network's empirical NTK as it stands. Wide networks in the NTK parametrisation follow it to the end;
    for others it is the first stretch of training, and :class:`mercer.nn.diagnostics.NTKDrift` shows how long.

    Args:
        module: any network of one argument, in evaluation mode where that matters.
        X: ``(n, ...)`` training inputs.
        y: ``(n,)`` or ``(n, o)``, as the network's outputs.
        learning_rate: eta of the loss ``((f - y)**2).sum() / (2 n)``. With torch's ``mse_loss``, which is the mean over
            outputs as well, ``2 / o`` times the rate of the optimiser.
        discrete: count whole steps of that rate (of plain SGD on all rows) instead of a continuous time.
        alpha: a ridge on the distance from the first parameters.
        options: of :class:`mercer.kernels.EmpiricalNTK`: ``layers``, ``method``.

    Attributes:
        flow: the dynamics, a :class:`mercer.operators.GradientFlow`: eigenvalues, learning times, stable rate.

    Raises:
        ShapeError: y does not have the shape of the network's outputs.
        ValueError: a rate of discrete steps above the stable one.

    Cost: the empirical NTK of ``n o`` rows, and its eigenvalues, ``9 (n o)^3``.
    Source: Lee et al., Wide neural networks of any depth evolve as linear models (NeurIPS 2019).

    >>> x = torch.linspace(-1.0, 1.0, 8)[:, None]
    >>> linear = LinearizedNetwork(torch.nn.Linear(1, 1), x, 3.0 * x[:, 0] + 1.0)
    >>> bool(abs(linear.predict(torch.tensor([[2.0]]), time=1000.0) - 7.0) < 1e-5)  # a linear network is itself
    True
    """

    def __init__(
        self,
        module: nn.Module,
        X: Any,
        y: Any,
        *,
        learning_rate: float = 1.0,
        discrete: bool = False,
        alpha: float = 0.0,
        **options: Any,
    ) -> None:
        self._kernel = EmpiricalNTK(module, outputs="full", **options)
        self._parameters = {name: p.detach().clone() for name, p in module.named_parameters()}
        self._parameters |= {name: b.detach().clone() for name, b in module.named_buffers()}
        like = next(iter(self._parameters.values()))
        self._X = self._points(X, like)
        outputs = self._outputs(self._X)
        targets = as_tensor(y, dtype=torch.float64, device=like.device)
        check_finite(targets, "y")
        self._is_vector = targets.dim() == 1
        columns = targets.unsqueeze(-1) if self._is_vector else targets
        if columns.shape != outputs.shape:
            raise ShapeError(
                f"LinearizedNetwork: y has shape {tuple(targets.shape)}, but the network gives {tuple(outputs.shape)} "
                f"for X. Give one number for each output."
            )
        K = self._kernel(self._X, parameters=self._parameters)
        self.flow = GradientFlow.of(
            K, n_points=len(self._X), learning_rate=learning_rate, alpha=alpha, discrete=discrete
        )
        self._missing = (columns - outputs).flatten()

    def predict(self, X: Any, time: float | None = None) -> Tensor:
        """Outputs after training for some time; None is the end.

        Args:
            X: ``(m, ...)``.
            time: in steps of the rate, >= 0.

        Returns:
            ``(m,)`` or ``(m, o)``, as y, in the type of the network.

        Raises:
            ValueError: the end of training where the kernel matrix is singular and ``alpha`` is 0: give a time.
        """
        return self.predict_curve(X, [time])[0]

    def predict_curve(self, X: Any, times: Sequence[float | None]) -> Tensor:
        """The same at several times, ``(times, m)`` or ``(times, m, o)``."""
        X = self._points(X, self._X)
        start = self._outputs(X)
        weights = torch.stack([self.flow.coefficients(self._missing, time) for time in times], 1)
        moved = self._kernel(X, self._X, parameters=self._parameters).double() @ weights
        values: Tensor = (start.flatten()[:, None] + moved).mT.reshape(len(times), *start.shape).to(self._dtype)
        return values.squeeze(-1) if self._is_vector else values

    @property
    def _dtype(self) -> torch.dtype:
        return next(iter(self._parameters.values())).dtype

    def _points(self, X: Any, like: Tensor) -> Tensor:
        X = as_tensor(X, device=like.device) if not isinstance(X, Tensor) else X.to(like.device)
        points: Tensor = X.to(self._dtype) if X.is_floating_point() else X
        return points

    @torch.no_grad()
    def _outputs(self, X: Tensor) -> Tensor:
        out = torch.func.functional_call(self._kernel.module, self._parameters, (X,))
        return torch.as_tensor(out).reshape(len(X), -1).double()
