"""Layers of a trained network replaced by random features, fitted to its activations in closed form."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels.features.base import require_count
from mercer.nn.random_features.closed_form import RidgeSums
from mercer.nn.random_features.places import put_module
from mercer.nn.random_features.snnk_linear import SNNKLinear

__all__ = ["CompressedLayer", "CompressionReport", "FittedKernelLayer", "compress"]

_ROWS = 4096  # whose features are held at a time
_NOTHING = 0.95  # error from which on a layer is no better than its mean, or nearly
_FEWEST = 8  # features with which the search for a target error begins


class FittedKernelLayer(SNNKLinear):
    """A :class:`SNNKLinear` with an intercept, whose matrix was fitted to what another layer does."""

    def __init__(self, in_features: int, out_features: int, n_features: int, **arguments: Any) -> None:
        super().__init__(in_features, out_features, n_features, **arguments)
        self.intercept = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d) -> (..., o)``."""
        return super().forward(x) + self.intercept


@dataclass(frozen=True)
class CompressedLayer:
    """One layer in a :class:`CompressionReport`.

    Attributes:
        name: of the module that was replaced (with the activation behind it, if any).
        n_features: of the new layer; 0 where the old one was kept, since the target error was not reached.
        error: root mean square error of the new layer's output on rows held out, relative to the deviation of the old
            one's: 1 is no better than its mean.
        n_parameters_before, n_parameters_after: numbers of this layer; what is random and not trained does not count.
    """

    name: str
    n_features: int
    error: float
    n_parameters_before: int
    n_parameters_after: int


@dataclass(frozen=True)
class CompressionReport:
    """What :func:`compress` has made.

    Attributes:
        model: the compressed copy.
        layers: one entry a layer, in the order of the computation.
    """

    model: nn.Module = field(repr=False)
    layers: tuple[CompressedLayer, ...] = ()

    @property
    def n_parameters_before(self) -> int:
        """Of the layers that were looked at."""
        return sum(layer.n_parameters_before for layer in self.layers)

    @property
    def n_parameters_after(self) -> int:
        """Of what stands there now."""
        return sum(layer.n_parameters_after for layer in self.layers)


@torch.no_grad()
def compress(
    model: nn.Module,
    data: Tensor | Iterable[Tensor | Sequence[Any]],
    n_features: int | None = None,
    *,
    target_error: float | None = None,
    where: Callable[[str, nn.Module], bool] | None = None,
    activation: Any = "relu",
    alpha: float = 1e-6,
    held_out: float = 0.2,
    most_features: int | None = None,
    max_rows: int = 20_000,
    random_state: int = 0,
    **arguments: Any,
) -> CompressionReport:
    """Replace layers by random features whose matrix is the ridge fit to what the layers do: no backpropagation.

    Layer after layer: the features see the inputs that the compressed layers before give, and are fitted to the output
    of the original, so that errors are made up for where they can be. The model is not changed.

    Args:
        model: trained; each layer is called once in a pass.
        data: inputs of the model ``(n, ...)``, or batches of them, such as a ``DataLoader``. Of batches that are
            tuples or lists the first tensor is taken: no targets are needed.
        n_features: of every new layer; or give ``target_error``.
        target_error: the least of 8, 16, 32, ... features whose error on rows held out is at most this; a layer that
            would need more than ``most_features`` is kept.
        where: a function of a name and a module that says which modules are replaced, each as a whole, with what
            follows from its inputs of ``(..., d)``; None takes every linear layer with a parameter-free activation
            behind it in a ``Sequential``.
        activation: of the features; they need not be those of the layer.
        alpha: of the ridge, relative to the mean square of a feature and the number of rows.
        held_out: share of the rows (or positions) for the errors.
        most_features: None is the number of the layer's parameters over its outputs: no new layer has more than the
            old one.
        max_rows: of each layer, drawn at random from all rows and positions.
        random_state: of rows and features.
        **arguments: of :class:`SNNKLinear`: ``length``, ``offset``, ``method``, ...

    Raises:
        ValueError: not exactly one of ``n_features`` and ``target_error``; a target error that is negative or not
            finite; no layer to replace; no data.
        TypeError: a number of features that is not whole, or batches that are no tensors.
        ShapeError: a layer whose input or output is no tensor ``(..., d)``.

    Warns:
        ApproximationWarning: a layer of which the features explain nothing (an error above 0.95). Long inputs do that
            to all activations but "relu": the power series of "gelu", "tanh" and "sigmoid" ends at lengths about 1.

    Source: ours; the authors fine-tune such layers by gradients.

    >>> network = torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.GELU(), torch.nn.Linear(64, 1))
    >>> report = compress(network, torch.randn(2000, 6), n_features=32)
    >>> report.layers[0].name, report.layers[0].n_features, bool(report.layers[0].error < 0.4)
    ('0', 32, True)
    """
    if (n_features is None) == (target_error is None):
        raise ValueError(f"compress: give n_features or target_error, and not both; got {n_features}, {target_error}.")
    if target_error is not None and not (_is_number(target_error) and 0.0 <= target_error < math.inf):
        raise ValueError(f"compress(target_error={target_error!r}): it must be a finite number >= 0.")
    for name, count in (("n_features", n_features), ("most_features", most_features), ("max_rows", max_rows)):
        if count is not None:
            require_count("compress", name, int(count) if isinstance(count, np.integer) else count)
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"compress(held_out={held_out!r}): it is a share of the rows, between 0 and 1.")
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        name = type(data).__name__
        raise TypeError(f"compress: data is a {name}, row by row. Give DataLoader(dataset, batch_size=256).")
    batches = [data] if isinstance(data, Tensor) else [_inputs_of(batch) for batch in data]
    if not batches or not len(batches[0]):
        raise ValueError("compress: the data are empty.")
    original, small = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    layers = []
    for number, (name, follower) in enumerate(_places(original, where, batches[0])):
        last = name if follower is None else follower
        rows = torch.Generator().manual_seed(random_state + number)
        X = _recorded(small, name, batches, is_input=True)
        Y = _recorded(original, last, batches, is_input=False)
        if X.shape[0] != Y.shape[0]:
            raise ShapeError(f"{name} takes {X.shape[0]} rows and gives {Y.shape[0]}: it is not applied row by row.")
        chosen = torch.randperm(len(X), generator=rows)[:max_rows]
        X, Y = X[chosen], Y[chosen]
        old = original.get_submodule(name)
        before = sum(p.numel() for p in old.parameters())
        most = before // Y.shape[1] if most_features is None else most_features
        options = {"activation": activation, "random_state": random_state + number, **arguments}
        fitted, error = None, float("nan")
        for m in [int(n_features)] if n_features is not None else _sizes(most):
            fitted, error = _fit(X, Y, m, alpha, held_out, options)
            if target_error is None or error <= target_error:
                break
        if not error < _NOTHING:
            warnings.warn(
                f"compress: features of {activation!r} explain nothing of {name}, whose error is {error:.3g} (1 is its "
                f"mean). Give length=1.0, which scales its inputs ({_length(X):.2g} long here), or another "
                f"activation, or more features.",
                ApproximationWarning,
                stacklevel=3,
            )
        if fitted is None or (target_error is not None and error > target_error):
            layers.append(CompressedLayer(name, 0, error, before, before))
            continue
        example = next(small.parameters())
        put_module(small, name, fitted.to(device=example.device, dtype=example.dtype))
        if follower is not None:
            put_module(small, follower, nn.Identity())
        after = sum(p.numel() for p in fitted.parameters())
        layers.append(CompressedLayer(name, fitted.n_features, error, before, after))
    return CompressionReport(small.train(model.training), tuple(layers))


def _inputs_of(batch: Any) -> Tensor:
    """What of a batch the model takes."""
    first = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(first, Tensor):
        raise TypeError(
            f"compress: a batch is a tensor of inputs, or a tuple that begins with one, not {type(first).__name__}. "
            f"Give a generator of them, such as (batch['inputs'] for batch in loader), or torch.from_numpy(data)."
        )
    return first


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _length(X: Tensor) -> float:
    """Root mean square of the rows' lengths."""
    return float(X.double().square().sum(-1).mean().sqrt())


def _places(
    model: nn.Module, where: Callable[[str, nn.Module], bool] | None, batch: Tensor
) -> list[tuple[str, str | None]]:
    """What is replaced, in the order of the computation: a module, and the activation behind it that goes too."""
    places: dict[str, str | None] = {}
    if where is not None:
        places = {name: None for name, module in model.named_modules() if name and where(name, module)}
    else:
        for parent, module in model.named_modules():
            if isinstance(module, nn.Sequential):
                names = [f"{parent}.{child}" if parent else child for child, _ in module.named_children()]
                parts = list(module.children())
                for i in range(len(parts) - 1):
                    # An activation has neither parameters nor parts; what only drops or reshapes is none.
                    follower = parts[i + 1]
                    is_plain = not any(True for _ in follower.parameters()) and not any(follower.children())
                    is_other = isinstance(follower, nn.Dropout | nn.Identity | nn.Flatten | nn.Unflatten)
                    if isinstance(parts[i], nn.Linear) and is_plain and not is_other:
                        places[names[i]] = names[i + 1]
    if not places:
        raise ValueError(
            "compress: there is no linear layer with an activation behind it in a Sequential. Say which modules are "
            "replaced by where=lambda name, module: ..."
        )
    order: list[str] = []
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: order.append(name)) for name in places
    ]
    try:
        model(batch[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, places[name]) for name in dict.fromkeys(order)]


def _recorded(model: nn.Module, name: str, batches: list[Tensor], *, is_input: bool) -> Tensor:
    """All rows ``(n, d)`` that go into a module, or come out of it."""
    found: list[Tensor] = []

    def record(_: nn.Module, inputs: Any, output: Any) -> None:
        seen = inputs[0] if is_input else output
        if not isinstance(seen, Tensor) or seen.dim() < 2:
            raise ShapeError(f"{name}: a layer that is replaced takes and gives tensors (..., d).")
        found.append(seen.detach().flatten(0, -2).float().cpu())

    hook = model.get_submodule(name).register_forward_hook(record)
    try:
        for batch in batches:
            model(batch)
    finally:
        hook.remove()
    return torch.cat(found)


def _sizes(most: int) -> Iterator[int]:
    """8, 16, 32, ... up to the most, which comes last."""
    m = _FEWEST
    while m < most:
        yield m
        m *= 2
    if most >= 1:
        yield most


def _fit(
    X: Tensor, Y: Tensor, m: int, alpha: float, held_out: float, options: dict[str, Any]
) -> tuple[FittedKernelLayer, float]:
    """A layer fitted to some rows, and its error on the others; then no row is left out of the layer."""
    layer = FittedKernelLayer(X.shape[1], Y.shape[1], m, **options)
    count = max(1, round(held_out * len(X)))
    if count >= len(X):
        raise ValueError(f"compress: {len(X)} rows are too few to fit a layer and measure its error.")
    sums = RidgeSums(m, Y.shape[1])
    for x, y in zip(X[count:].split(_ROWS), Y[count:].split(_ROWS), strict=True):
        sums.add(layer.features(x), y)
    level = float(sums.H.diagonal()[1:].mean())
    V, c = sums.solve(alpha * level)
    fitted = layer.features(X[:count]).double() @ V.mT + c
    truth = Y[:count].double()
    spread = (truth - Y.double().mean(0)).square().mean().sqrt()
    error = float((fitted - truth).square().mean().sqrt() / spread.clamp(min=1e-300))
    for x, y in zip(X[:count].split(_ROWS), Y[:count].split(_ROWS), strict=True):
        sums.add(layer.features(x), y)
    V, c = sums.solve(alpha * float(sums.H.diagonal()[1:].mean()))
    layer.weight.copy_(V)
    layer.intercept.copy_(c)
    return layer, error
