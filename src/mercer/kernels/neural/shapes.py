"""What a list of layers makes of a shape, and whether a network of them has a kernel in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mercer.errors import ShapeError
from mercer.kernels.neural.layers import (
    LAYERS,
    AvgPool,
    Conv,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    Residual,
    Unit,
    Weighted,
)

ADVICE = {
    "maxpool": "the maximum has no closed form; use AvgPool or GlobalAvgPool, or monte_carlo_ntk",
    "batchnorm": "batch statistics have no closed form; use LayerNorm, or monte_carlo_ntk",
    "softmax": "softmax has no closed form; leave it out, the kernel is that of the logits",
}


def every(layers: Sequence[Any]) -> Iterator[Any]:
    """All layers, those of branches and shortcuts included, in order."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from every(layer.layers)
            yield from every(layer.shortcut)


def has_pool(layers: Sequence[Any]) -> bool:
    """Whether positions are averaged somewhere, so that all pairs of positions matter before."""
    return any(isinstance(layer, AvgPool | GlobalAvgPool) for layer in every(layers))


def needs_positions(layers: Sequence[Any]) -> bool:
    """Whether some layer means something on images or sequences only."""
    return any(isinstance(layer, Conv | AvgPool | GlobalAvgPool) for layer in every(layers))


def normal_after_pool(layers: Sequence[Any]) -> bool:
    """Whether variances are needed after a pool: an activation or a norm comes later."""
    flat = list(every(layers))
    first = next((i for i, layer in enumerate(flat) if isinstance(layer, AvgPool | GlobalAvgPool)), len(flat))
    return any(isinstance(layer, Unit | LayerNorm) for layer in flat[first:])


def require_closed_form(layers: Sequence[Any]) -> None:
    """Raise unless the layers, in this order, have a kernel.

    Raises:
        TypeError: something that is no layer.
        ValueError: an activation, norm or sum whose inputs are not Gaussian in the limit; no weights at all.
    """
    _walk(layers, gaussian=False)
    if not any(isinstance(layer, Weighted) for layer in every(layers)):
        raise ValueError("a network needs at least one layer with weights: Dense() or Conv().")


def _walk(layers: Sequence[Any], gaussian: bool) -> bool:
    """Whether the outputs are Gaussian, given whether the inputs are."""
    for position, layer in enumerate(layers):
        place = f"layer {position} (counted from 0), {layer!r}"
        if not isinstance(layer, (*LAYERS, Unit)):
            name = type(layer).__name__ if not isinstance(layer, type) else layer.__name__
            advice = next((text for key, text in ADVICE.items() if key in name.lower()), None)
            if isinstance(layer, type) and issubclass(layer, (*LAYERS, Unit)):
                advice = f"write {name}() with brackets"
            fallback = "use the layers of mercer.kernels.neural.layers, or InfiniteNetwork.from_module for torch.nn"
            raise TypeError(f"{place}: {advice or fallback}.")
        if isinstance(layer, Weighted):
            gaussian = True
        elif isinstance(layer, Unit | LayerNorm):
            if not gaussian:
                raise ValueError(
                    f"{place}: its inputs are not Gaussian in the limit of infinite width, so there is no closed form. "
                    f"Put Dense() or Conv() in front of it."
                )
            gaussian = isinstance(layer, LayerNorm)
        elif isinstance(layer, Residual):
            if not any(isinstance(inner, Weighted) for inner in every([*layer.layers, *layer.shortcut])):
                raise ValueError(f"{place}: a branch without weights is not independent of its input. Add Dense().")
            branch, shortcut = _walk(layer.layers, gaussian), _walk(layer.shortcut, gaussian)
            if not isinstance(last_of(layer.layers), Weighted):
                raise ValueError(f"{place}: end its branch with Dense() or Conv(), so that both parts are independent.")
            gaussian = branch and shortcut
    return gaussian


def last_of(layers: Sequence[Any]) -> Any:
    """The last layer that is more than a norm or a change of shape."""
    kept = [layer for layer in layers if not isinstance(layer, LayerNorm | Flatten | AvgPool | GlobalAvgPool)]
    return kept[-1] if kept else None


def positions_after(layers: Sequence[Any], positions: tuple[int, ...]) -> tuple[int, ...]:
    """Positions along each axis after the layers; none is a vector.

    Raises:
        ShapeError: a layer that needs positions where there are none, or more of them than there are.
    """
    for place, layer in enumerate(layers):
        name = f"layer {place} (counted from 0), {layer!r}"
        if isinstance(layer, Conv | AvgPool | GlobalAvgPool) and not positions:
            raise ShapeError(
                f"{name} needs images or sequences, but gets vectors. Give the network "
                f"shape=(channels, height, width), or put it before Flatten()."
            )
        if isinstance(layer, Conv):
            positions = tuple(windows(n, layer.size, layer.stride, layer.padding, name) for n in positions)
        elif isinstance(layer, AvgPool):
            positions = tuple(windows(n, layer.size, layer.step, "valid", name) for n in positions)
        elif isinstance(layer, GlobalAvgPool | Flatten):
            positions = ()
        elif isinstance(layer, Residual):
            branch = positions_after(layer.layers, positions)
            positions = positions_after(layer.shortcut, positions)
            if branch != positions:
                raise ShapeError(
                    f"{name}: the branch gives positions {branch}, the shortcut {positions}. Change the shortcut "
                    f"(AvgPool, or Conv with a stride) so that both agree."
                )
    return positions


def windows(n: int, size: int, stride: int, padding: str, name: str) -> int:
    """How many windows there are along an axis of ``n`` positions."""
    if padding == "valid":
        if n < size:
            raise ShapeError(f"{name}: windows of {size} positions do not fit into {n}. Take a smaller size.")
        return (n - size) // stride + 1
    return -(-n // stride)


def pads(n: int, size: int, stride: int, padding: str) -> tuple[int, int]:
    """Positions added before and after; the odd one comes after."""
    if padding == "valid":
        return 0, 0
    total = max((-(-n // stride) - 1) * stride + size - n, 0)
    return total // 2, total - total // 2
