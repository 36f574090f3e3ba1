"""Many small networks of one shape as one module: each layer is one batched matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mercer.arrays import generator
from mercer.errors import ShapeError
from mercer.kernels.neural.activations import Unit, as_unit
from mercer.kernels.neural.finite import Elementwise
from mercer.nn.batched_module import BatchedModule

if TYPE_CHECKING:
    from mercer.nn.training import BatchedHistory

__all__ = ["BatchedMLP"]

PARAMETRIZATIONS = ("ntk", "standard")


class BatchedMLP(BatchedModule):
    r"""Independent fully connected networks of the same widths, drawn, run and trained side by side.

    Layer l maps a to :math:`\sigma_w W_l a / \sqrt{n_l} + \sigma_b b_l` with :math:`n_l` inputs and standard normal
    weights, and the activation stands between layers: at infinite width the networks are draws from the Gaussian
    process of ``kernels.NNGP(len(widths) - 1, activation, sigma_w, sigma_b)``, and trained by gradient descent they
    follow ``kernels.NTK`` with the same arguments.

    Args:
        n_models: how many networks.
        widths: of input, hidden layers and output: ``(10, 512, 10)`` has one hidden layer.
        activation: a name or a layer of :mod:`mercer.kernels.neural.layers`, as in ``kernels.NTK``.
        parametrization: "ntk" keeps standard normal weights and scales them in the forward pass; "standard" keeps them
            scaled, so that a rate of gradient descent moves a layer in proportion to its width.
        sigma_w: > 0; standard deviation of the weights, relative to 1 / sqrt(n_l).
        sigma_b: >= 0; of the biases. At 0 they start at 0 in the standard parametrisation, and there are none in NTK's.
        bias: False leaves them out.
        random_state: an int or a generator, from which each network gets a seed of its own; or the ``n_models`` seeds.
            A network depends on its seed alone, not on how many others there are.
        device, dtype: of the parameters; the draws are made on the CPU, in float64.

    Attributes:
        weights: of each layer ``(n_models, out, in)``.
        biases: of each layer ``(n_models, out)``; empty without.
        seeds: of the networks, int64 ``(n_models,)``; saved with the weights in ``state_dict()``.

    Raises:
        ValueError: a number below 1, fewer than two widths, an unknown parametrisation, another number of seeds, seeds
            that are not whole.

    >>> networks = BatchedMLP(1000, (3, 64, 2), random_state=0)
    >>> networks(torch.ones(5, 3)).shape  # every network sees the same five points
    torch.Size([1000, 5, 2])
    >>> alone = BatchedMLP(1, (3, 64, 2), random_state=networks.seeds[7:8])
    >>> torch.equal(alone.weights[1][0], networks.weights[1][7])
    True
    """

    seeds: Tensor

    def __init__(
        self,
        n_models: int,
        widths: Sequence[int],
        *,
        activation: str | Unit = "relu",
        parametrization: str = "ntk",
        sigma_w: float = 1.0,
        sigma_b: float = 0.1,
        bias: bool = True,
        random_state: Any = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        counts = (n_models, *widths)
        if len(counts) < 3 or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in counts):
            raise ValueError(
                f"BatchedMLP(n_models={n_models!r}, widths={widths!r}): whole numbers >= 1, at least two widths (of "
                f"input and output)."
            )
        if parametrization not in PARAMETRIZATIONS:
            raise ValueError(
                f"BatchedMLP(parametrization={parametrization!r}): it is one of {', '.join(PARAMETRIZATIONS)}."
            )
        if not sigma_w > 0.0 or not sigma_b >= 0.0:
            raise ValueError(f"BatchedMLP(sigma_w={sigma_w!r}, sigma_b={sigma_b!r}): sigma_w > 0 and sigma_b >= 0.")
        self.n_models, *widths = map(int, counts)
        self.widths = tuple(widths)
        self.activation, self.parametrization = as_unit(activation), parametrization
        self.sigma_w, self.sigma_b = float(sigma_w), float(sigma_b)
        self.bias = bias and (parametrization == "standard" or sigma_b > 0.0)
        empty: dict[str, Any] = {"device": device, "dtype": dtype}
        pairs = list(zip(widths[1:], widths[:-1], strict=True))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(n_models, *pair, **empty)) for pair in pairs)
        outs = widths[1:] if self.bias else ()
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(n_models, out, **empty)) for out in outs)
        self.register_buffer("seeds", _seeds(random_state, n_models).to(device))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw every network again from its seed."""
        scales = [*self._scales, *[self.sigma_b] * len(self.biases)] if self.parametrization == "standard" else None
        for i, seed in enumerate(self.seeds.tolist()):
            # One generator a network, and its layers in order: W_1, W_2, ..., b_1, b_2, ...
            own = generator(seed)
            for j, parameter in enumerate([*self.weights, *self.biases]):
                drawn = torch.randn(parameter.shape[1:], generator=own, dtype=torch.float64)
                parameter[i] = drawn if scales is None else drawn * scales[j]

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of all networks, ``(n_models, n, widths[-1])``.

        Args:
            x: ``(n, widths[0])``, the same for all, or ``(n_models, n, widths[0])``; a tensor of the weights' type.

        Raises:
            ShapeError: another shape.
            TypeError: no tensor, or one of another type.
        """
        kind = self.weights[0].dtype
        if not isinstance(x, Tensor) or (x.dtype != kind and not torch.is_autocast_enabled(x.device.type)):
            given = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f"BatchedMLP: x is {given}, but the weights are {kind}. Give torch.as_tensor(x, dtype={kind})."
            )
        if x.dim() not in (2, 3) or x.shape[-1] != self.widths[0] or (x.dim() == 3 and len(x) != self.n_models):
            raise ShapeError(
                f"BatchedMLP: x has shape {tuple(x.shape)}, but {self.n_models} networks with {self.widths[0]} inputs "
                f"take (n, {self.widths[0]}) or ({self.n_models}, n, {self.widths[0]})."
            )
        is_ntk = self.parametrization == "ntk"
        for layer, weight in enumerate(self.weights):
            # The activations are smaller than the weights, so it is they that are scaled.
            x = torch.matmul(x * self._scales[layer] if is_ntk else x, weight.mT)  # (n_models, n, out)
            if self.bias:
                x = x + (self.biases[layer] * self.sigma_b if is_ntk else self.biases[layer]).unsqueeze(1)
            if layer < len(self.weights) - 1:
                x = self.activation.function(x)
        return x

    def train_full_batch(
        self, X: Tensor, Y: Tensor, lr: float, steps: int, *, only_last: bool = False
    ) -> BatchedHistory:
        """Gradient descent on half the sum of squares of each network, all rows a step, in place.

        :func:`mercer.nn.training.train_batched` does it, and knows other optimisers, losses and ends.

        Args:
            X: ``(n, widths[0])``.
            Y: ``(n, widths[-1])``.
            lr: the rate, > 0; of wide networks it is stable below 2 over the largest eigenvalue of the kernel.
            steps: how many.
            only_last: whether the last layer alone learns, and the others stay.

        Raises:
            ValueError: a rate that is not positive, steps below 1.
            NotConverged: the rate is too large.

        >>> networks = BatchedMLP(100, (2, 64, 1), random_state=0)
        >>> X, Y = torch.eye(2), torch.tensor([[1.0], [-1.0]])
        >>> history = networks.train_full_batch(X, Y, 1.0, 200)
        >>> bool((networks(X) - Y).abs().max() < 1e-3)
        True
        """
        from mercer.nn.training import half_squares, train_batched

        if not (isinstance(lr, Real) and 0.0 < lr < math.inf):
            raise ValueError(f"train_full_batch(lr={lr!r}): it must be a finite number > 0.")
        wanted = [p.requires_grad for p in self.parameters()]
        last = {id(layer[-1]) for layer in (self.weights, self.biases) if len(layer)}
        try:
            for parameter in self.parameters():
                parameter.requires_grad_(not only_last or id(parameter) in last)
            sgd = partial(torch.optim.SGD, lr=float(lr))
            return train_batched(self, X, Y, n_steps=steps, optimizer=sgd, loss=half_squares)
        finally:
            for parameter, was in zip(self.parameters(), wanted, strict=True):
                parameter.requires_grad_(was)

    def network(self, which: int) -> nn.Sequential:
        """One network as layers of torch, with the scales multiplied into the weights: for deployment or inspection."""
        modules: list[nn.Module] = []
        is_ntk = self.parametrization == "ntk"
        for layer, weight in enumerate(self.weights):
            w = weight.detach()[which]
            linear = nn.Linear(w.shape[1], w.shape[0], bias=self.bias, device=w.device, dtype=w.dtype)
            with torch.no_grad():
                linear.weight.copy_(w * self._scales[layer] if is_ntk else w)
                if self.bias:
                    linear.bias.copy_(self.biases[layer].detach()[which] * (self.sigma_b if is_ntk else 1.0))
            modules += [linear, Elementwise(self.activation)]
        return nn.Sequential(*modules[:-1])

    @property
    def _scales(self) -> list[float]:
        return [self.sigma_w / math.sqrt(n) for n in self.widths[:-1]]

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"n_models={self.n_models}, widths={self.widths}, parametrization={self.parametrization!r}"


def _seeds(random_state: Any, n_models: int) -> Tensor:
    is_one = isinstance(random_state, str | Integral)  # NumPy's whole numbers have an __array__ too
    if not is_one and (isinstance(random_state, Sequence) or hasattr(random_state, "__array__")):
        given = torch.as_tensor(random_state)
        if given.is_floating_point() or given.is_complex():
            raise ValueError(f"BatchedMLP: seeds are whole numbers >= 0, but random_state is {given.dtype}.")
        seeds = given.to(torch.int64).clone()
        if seeds.shape != (n_models,) or bool((seeds < 0).any()):
            raise ValueError(
                f"BatchedMLP: {n_models} networks need {n_models} seeds >= 0, but random_state has the shape "
                f"{tuple(seeds.shape)}{' and negative numbers' if bool((seeds < 0).any()) else ''}."
            )
        return seeds
    # Neighbours, since torch's generator looks at 32 bits of a seed only: of 100 000 random ones, two would agree.
    return torch.randint(2**31, (1,), generator=generator(random_state)) + torch.arange(n_models)
