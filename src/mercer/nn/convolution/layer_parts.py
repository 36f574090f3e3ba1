"""What layers of long convolutions share: their parts, checks of their options, groups for an optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ApproximationWarning
from mercer.nn.parameter_groups import group_parameters
from mercer.nn.seeding import seeded

__all__ = [
    "ACTIVATIONS",
    "OUTPUTS",
    "ConvolutionLayer",
    "WarnsOnce",
    "layer_groups",
    "make_kernel",
    "n_taps",
    "require_options",
]

ACTIVATIONS: dict[str | None, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, None: nn.Identity}
OUTPUTS = ("glu", "linear", None)


class WarnsOnce(nn.Module):
    """A module that warns once, and not in every forward pass."""

    _has_warned = False

    def warn_once(self, text: str) -> None:
        """An ApproximationWarning, the first time."""
        if not self._has_warned and not torch.compiler.is_compiling():
            self._has_warned = True
            warnings.warn(text, ApproximationWarning, stacklevel=4)


def n_taps(layer: WarnsOnce, kernel: nn.Module, L: int, length: int) -> int:
    """How many taps of a kernel meet a sequence of L steps: all, where it has no end, else ``length`` at most."""
    if length >= L or getattr(kernel, "length", length) is None:
        return L
    layer.warn_once(
        f"{type(layer).__name__}: the sequence has {L} steps, the kernel {length} taps: inputs that are longer ago do "
        f"not count. Build the layer with length={L} if they should."
    )
    return length


class ConvolutionLayer(WarnsOnce):
    """What layers of one axis and of two are made of: a kernel, a skip, an activation, dropout, and a map of channels.

    Args:
        channels: H.
        heads: C, kernels a channel that the map takes.
        make_kernel: called without arguments, after the skip is drawn.
        activation, output: of :class:`mercer.nn.LongConv`.
        dropout: the module.
        mix: makes the map from ``C H`` columns to others: ``nn.Linear``, or a 1 x 1 convolution.
        dim: where channels stand in what the map gives.
        random_state: of all weights.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        make_kernel: Callable[[], nn.Module],
        *,
        activation: str | None,
        output: str | None,
        dropout: nn.Module,
        mix: Callable[[int, int], nn.Module],
        dim: int,
        random_state: Any,
    ) -> None:
        super().__init__()
        self.channels, self.heads = channels, heads
        with seeded(random_state):
            self.D = nn.Parameter(torch.randn(heads, channels))
            self.kernel = make_kernel()
            self.activation = ACTIVATIONS[activation]()
            self.dropout = dropout
            self.output_linear: nn.Module = nn.Identity()
            if output == "linear":
                self.output_linear = mix(heads * channels, channels)
            elif output == "glu":
                self.output_linear = nn.Sequential(mix(heads * channels, 2 * channels), nn.GLU(dim=dim))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: the kernel with its own learning rate and no decay; skip and biases without; the rest."""
        return layer_groups(self.kernel, self.D, self.output_linear)

    @torch.no_grad()
    def _fixed_taps(self, size: Any) -> Tensor:
        """The kernel as it is in evaluation, where no taps are dropped."""
        was_training = self.kernel.training
        self.kernel.eval()
        k: Tensor = self.kernel(size)
        self.kernel.train(was_training)
        return k

    def _fixed_output(self) -> nn.Module:
        """A copy of what follows the convolution."""
        return deepcopy(nn.Sequential(self.activation, self.output_linear))


def make_kernel(
    owner: str,
    kernel: Any,
    known: Mapping[str, type[nn.Module]],
    channels: int,
    size: Any,
    heads: int,
    hint: str = "",
) -> nn.Module:
    """A kernel by name, from what makes one, or as it is.

    Raises:
        ValueError: an unknown name, or other heads or channels than these.
    """
    if isinstance(kernel, str):
        if kernel not in known:
            raise ValueError(f"{owner}: kernel={kernel!r} is not one of {', '.join(map(repr, known))}, or a module.")
        kernel = known[kernel]
    made: nn.Module = kernel if isinstance(kernel, nn.Module) else kernel(channels, size, heads=heads)
    sizes = (getattr(made, "heads", heads), getattr(made, "channels", channels))
    if sizes != (heads, channels):
        raise ValueError(
            f"{owner}: the kernel has {sizes[0]} heads and {sizes[1]} channels, but {heads} and {channels} are "
            f"needed{hint}."
        )
    return made


def require_options(owner: str, **options: tuple[Any, Sequence[Any]]) -> None:
    """Every option is ``(value, allowed values)``.

    Raises:
        ValueError: a value that is not among them.
    """
    for name, (value, allowed) in options.items():
        if value not in allowed:
            raise ValueError(f"{owner}: {name}={value!r} is not one of {', '.join(map(repr, allowed))}.")


def layer_groups(kernel: nn.Module, skip: nn.Parameter, output: nn.Module) -> list[dict[str, Any]]:
    """For an optimiser: a kernel as it wants it, and without decay; skip and biases without decay; the rest."""
    pairs: list[tuple[nn.Parameter, Mapping[str, float]]] = []
    own = getattr(kernel, "parameter_groups", None)
    groups: Iterable[dict[str, Any]]
    groups = [{"params": list(kernel.parameters()), "weight_decay": 0.0}] if own is None else own()
    for group in groups:
        settings = {name: value for name, value in group.items() if name != "params"}
        pairs += [(p, settings) for p in group["params"] if p.requires_grad]
    pairs.append((skip, {"weight_decay": 0.0}))
    pairs += [(p, {"weight_decay": 0.0} if p.dim() < 2 else {}) for p in output.parameters()]
    return group_parameters(pairs)
