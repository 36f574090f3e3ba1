"""Networks of random features: bundled from a trained one, or made anew, with their optimum in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from mercer.nn.random_features.closed_form import RidgeSums
from mercer.nn.random_features.feature_layer import RandomFeatureLayer, make_features

__all__ = ["ACTIVATION_NAMES", "BundledNetwork", "bundle"]

ACTIVATION_NAMES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.GELU: "gelu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
_ROWS = 4096  # whose features are held at a time


class BundledNetwork(nn.Module):
    r"""A network whose hidden layers are fixed random features: one matrix on top is all that is left to learn.

    .. math:: y = V \, \Phi_L(\ldots \Phi_1(x)) + c

    Args:
        in_features: d.
        out_features: columns of y.
        layers: features of each hidden layer.
        activation: as in :class:`mercer.nn.SNNKLinear`.
        length: to which the inputs of each layer are scaled; None leaves them. Waves need one: their size is
            exponential in it.
        random_state: of the first layer; each has its own draw.
        **arguments: ``bias``, ``offset``, ``method``, ``gaussian_scale``, ``split``, ``balance`` of the features.

    Raises:
        ValueError: no layer, layers that are no sequence, or as :class:`mercer.nn.SNNKLinear`.

    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), section 3.3 (bundling), from memory of it.

    >>> x = torch.linspace(-1.0, 1.0, 200)[:, None]
    >>> network = BundledNetwork(1, 1, layers=(64, 64)).fit(x, x.abs(), alpha=1e-6)
    >>> bool((network(x) - x.abs()).square().mean() < 1e-4)
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        layers: Sequence[int] = (256, 256),
        activation: Any = "relu",
        length: float | None = None,
        random_state: Any = 0,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
            raise ValueError(
                f"BundledNetwork(layers={layers!r}): give the number of features of at least one hidden layer, as a "
                f"tuple, such as (64,)."
            )
        maps, width = [], in_features
        for number, n_features in enumerate(layers):
            seed = int(random_state) + number if isinstance(random_state, Integral) else random_state
            features = make_features(activation, n_features, width, random_state=seed, **arguments)
            maps.append(RandomFeatureLayer(features, length=length))
            width = n_features
        self.maps = nn.ModuleList(maps)
        self.output = nn.Linear(width, out_features)

    def features(self, x: Tensor) -> Tensor:
        """What the last matrix sees, ``(..., layers[-1])``."""
        for layer in self.maps:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features) -> (..., out_features)``."""
        result: Tensor = self.output(self.features(x))
        return result

    @torch.no_grad()
    def fit(self, X: Tensor, Y: Tensor, *, alpha: float = 1e-3) -> BundledNetwork:
        """Set V and c to the least ``|f(X) - Y|^2 + alpha |V|^2``, in closed form and one pass; returns itself.

        Args:
            X: ``(n, in_features)``.
            Y: ``(n, out_features)``: targets, one-hot classes, or outputs of another network.
            alpha: >= 0.

        Raises:
            ValueError: alpha is negative, or too small for features that depend on each other.

        Cost: the features, and ``n m^2`` multiply-adds for the last m of them.
        """
        sums = RidgeSums(self.output.in_features, self.output.out_features)
        for rows, targets in zip(X.split(_ROWS), Y.split(_ROWS), strict=True):
            sums.add(self.features(rows), targets)
        V, c = sums.solve(alpha)
        self.output.weight.copy_(V)
        self.output.bias.copy_(c)
        return self


@torch.no_grad()
def bundle(
    model: nn.Sequential,
    n_features: int | Sequence[int],
    *,
    depth: int | None = None,
    activation: Any = None,
    **arguments: Any,
) -> nn.Module:
    """Merge the layers of a trained network into features and one matrix, without data.

    Since a layer is ``Psi Phi(x)``, the next one's W times Psi is one matrix; its features come next, and so on. What
    comes out approximates the model where its activation has features of its own and weights are short; with "relu",
    which is another kernel than ``relu(w . x)``, it is a start only. Its :meth:`BundledNetwork.fit` then gives the best
    last matrix for targets, or for the model's own outputs, in closed form.

    Args:
        model: linear layers with activations between them, in a ``torch.nn.Sequential``; dropout and flattening of
            inputs ``(n, d)`` are left out.
        n_features: of each bundled layer; one number for all, or one each.
        depth: how many hidden layers are bundled, from the input on; None is all.
        activation: for all layers; None takes those of ReLU, GELU, Tanh and Sigmoid modules.
        **arguments: of :class:`BundledNetwork`: ``length``, ``bias``, ``method``, ``random_state`` and so on.

    Returns:
        A :class:`BundledNetwork`; with a smaller depth, in a ``Sequential`` with the model's other layers, which are
        copied by reference.

    Raises:
        TypeError: a module that is no linear layer where one should be, or numbers of features that are not whole.
        ValueError: an unknown activation, or a depth that the model has not.

    Warns:
        ApproximationWarning: a layer's weights are so long that the power series of its activation ("gelu", "tanh",
            "sigmoid") is of no use even for inputs of length 1: give ``length``.

    >>> network = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.GELU(), torch.nn.Linear(32, 2))
    >>> bundle(network, 512)(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """
    linears, between = _parse(model, activation)
    hidden = len(linears) - 1
    depth = hidden if depth is None else depth
    if not 1 <= depth <= hidden:
        raise ValueError(f"bundle(depth={depth}): the model has {hidden} hidden layers, so depth is 1 to {hidden}.")
    if isinstance(n_features, Integral) and not isinstance(n_features, bool):
        widths = [int(n_features)] * depth
    elif isinstance(n_features, Sequence) and not isinstance(n_features, str):
        widths = list(n_features)
    else:
        raise TypeError(f"bundle(n_features={n_features!r}): give a whole number, or one for each bundled layer.")
    if len(widths) != depth:
        raise ValueError(f"bundle: {depth} layers are bundled, but n_features has {len(widths)} numbers.")
    names = {name for _, name in between[:depth]}
    if len(names) > 1:
        raise ValueError(f"bundle: the bundled layers have several activations, {sorted(map(str, names))}: bundle one.")
    last = linears[depth]
    made = BundledNetwork(
        linears[0].in_features, last.out_features, layers=widths, activation=between[0][1], **arguments
    ).to(last.weight)
    W, b = linears[0].weight, linears[0].bias
    for layer, following in zip(made.maps, linears[1:], strict=False):
        Psi = layer.weight_features(W.double(), None if b is None else b.double())  # type: ignore[operator]
        W, b = following.weight.double() @ Psi, following.bias
    made.output.weight.copy_(W)
    made.output.bias.zero_() if b is None else made.output.bias.copy_(b)
    if depth == hidden:
        return made
    rest: list[nn.Module] = []
    for (module, _), linear in zip(between[depth:], linears[depth + 1 :], strict=True):
        rest += [module, linear]
    return nn.Sequential(made, *rest)


def _parse(model: nn.Module, activation: Any) -> tuple[list[nn.Linear], list[tuple[nn.Module, Any]]]:
    """The linear layers, and between them activations as modules and names."""
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"bundle takes a torch.nn.Sequential of linear layers, not {type(model).__name__}.")
    linears: list[nn.Linear] = []
    between: list[tuple[nn.Module, Any]] = []
    for module in model:
        if isinstance(module, nn.Dropout | nn.Identity | nn.Flatten):
            continue
        if isinstance(module, nn.Linear):
            if len(linears) != len(between):
                raise TypeError("bundle: two linear layers follow each other; merge them first, or give an activation.")
            linears.append(module)
            continue
        if any(True for _ in module.parameters()) or len(between) >= len(linears):
            raise TypeError(f"bundle: {type(module).__name__} is neither a linear layer nor an activation behind one.")
        name = activation if activation is not None else ACTIVATION_NAMES.get(type(module))
        if name is None:
            known = ", ".join(kind.__name__ for kind in ACTIVATION_NAMES)
            raise ValueError(f"bundle: {type(module).__name__} is none of {known}: say which it is by activation=.")
        between.append((module, name))
    if len(linears) < 2 or len(between) != len(linears) - 1:
        raise TypeError("bundle: the model must be linear layers with an activation between each two, and end in one.")
    return linears, between
