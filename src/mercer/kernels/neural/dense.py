"""Fully connected networks of equal layers: ``NTK`` and ``NNGP``."""

from __future__ import annotations

from typing import Any

from mercer.kernels.neural.activations import Unit, as_unit
from mercer.kernels.neural.kernel import LayeredKernel
from mercer.kernels.neural.layers import Dense
from mercer.kernels.parameters import Value, is_count

__all__ = ["NNGP", "NTK"]


class _Dense(LayeredKernel):
    """A fully connected network of equal layers."""

    depth: int
    activation: str | Unit

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        name = type(self).__name__
        if not is_count(self.depth):
            raise ValueError(
                f"{name}(depth={self.depth!r}): depth counts layers with weights, the output's included, and is >= 1."
            )
        as_unit(self.activation)

    @property
    def _layers(self) -> list[Any]:
        layers: list[Any] = [Dense()]
        for _ in range(self.depth - 1):
            layers += [as_unit(self.activation), Dense()]
        return layers


class NTK(_Dense):
    r"""Neural tangent kernel of a fully connected network: what gradient descent on an infinitely wide one follows.

    With S = T = sigma_w^2 <x, y> / d + sigma_b^2 at first, each further layer gives

    .. math:: S \leftarrow \sigma_w^2 E[\phi(u) \phi(v)] + \sigma_b^2, \quad
        T \leftarrow \sigma_w^2\, T\, E[\phi'(u) \phi'(v)] + S, \quad (u, v) \sim N(0, \text{the last } S)

    Args:
        depth: layers with weights, the output's included, >= 1; not learnable.
        activation: a name ("relu", "erf", "gelu", "sin", "cos", "abs", "leaky_relu", "gaussian") or a layer of
            :mod:`mercer.kernels.neural.layers`.
        sigma_w: ``()``, > 0; standard deviation of the weights, relative to 1 / sqrt(fan in). sqrt(2) keeps the scale
            of ReLU networks.
        sigma_b: ``()``, >= 0; of the biases; at 0 it stays 0 when other hyperparameters are learnt.

    Raises:
        ValueError: a depth below 1, an activation without a closed form.

    Cost: one fused pass; a pair costs the GEMM and about 25 elementwise operations a layer of ReLU. In float32 on a CPU
    it is 9 up to depth 4, and without biases some 15 in all at any depth: :mod:`mercer.kernels.neural.quick`.
    Source: Jacot et al., Neural Tangent Kernel (NeurIPS 2018), theorem 1.

    >>> import torch
    >>> NTK(depth=2)(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])).to_dense()
    tensor([[0.1758]])
    """

    def __init__(
        self, depth: int = 3, activation: str | Unit = "relu", sigma_w: Value = 1.0, sigma_b: Value = 0.1
    ) -> None:
        self.depth, self.activation, self.sigma_w, self.sigma_b = depth, activation, sigma_w, sigma_b
        self.check()

    @property
    def _tangent(self) -> bool:
        return True


class NNGP(_Dense):
    r"""The Gaussian process that an infinitely wide fully connected network is before training: S of :class:`NTK`.

    Args:
        depth: layers with weights, the output's included, >= 1; not learnable.
        activation: as for :class:`NTK`.
        sigma_w: ``()``, > 0; standard deviation of the weights, relative to 1 / sqrt(fan in).
        sigma_b: ``()``, >= 0; of the biases; at 0 it stays 0 when other hyperparameters are learnt.

    Raises:
        ValueError: a depth below 1, an activation without a closed form.

    Cost: one fused pass; a pair costs the GEMM and about 20 elementwise operations a layer of ReLU; in float32 on a CPU
    7 up to depth 4.
    Source: Lee et al., Deep neural networks as Gaussian processes (ICLR 2018), eq. 5.

    >>> import torch
    >>> NNGP(depth=2, activation="erf")(torch.eye(2)).to_dense()
    tensor([[0.3470, 0.0163],
            [0.0163, 0.3470]])
    """

    def __init__(
        self, depth: int = 3, activation: str | Unit = "relu", sigma_w: Value = 1.0, sigma_b: Value = 0.1
    ) -> None:
        self.depth, self.activation, self.sigma_w, self.sigma_b = depth, activation, sigma_w, sigma_b
        self.check()

    @property
    def _tangent(self) -> bool:
        return False
