"""What a classifier of sequences is told, checked, and the network that it asks for."""

from __future__ import annotations

from functools import partial
from typing import Any

from mercer.arguments import check_not_negative, check_whole
from mercer.nn import LongConv, LongConvKernel, S4DKernel, SGConvKernel
from mercer.nn.models import MIXERS, SequenceModel

__all__ = ["check_settings", "sequence_network"]

KERNELS = ("sgconv", "dense", "s4d")


def check_settings(estimator: Any) -> None:
    """Raise ValueError for arguments out of range, before work is spent."""
    if estimator.kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, KERNELS))}, not {estimator.kernel!r}.")
    for name in ("kernel_dim", "layers"):
        if getattr(estimator, name) != "auto":
            check_whole(name, getattr(estimator, name))
    for name in ("width", "max_epochs", "batch_size", "n_iter_no_change"):
        check_whole(name, getattr(estimator, name))
    for name in ("learning_rate", "kernel_learning_rate", "weight_decay"):
        check_not_negative(name, getattr(estimator, name))
    if not 0.0 <= estimator.validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must lie in 0 to 1, not {estimator.validation_fraction!r}.")
    if isinstance(estimator.layer, str) and estimator.layer not in MIXERS:
        raise ValueError(
            f"layer must be a function of the width or one of {', '.join(MIXERS)}, not {estimator.layer!r}."
        )
    if estimator.pool not in ("mean", "last"):
        raise ValueError(f"pool must be 'mean' or 'last', not {estimator.pool!r}.")


def sequence_network(
    estimator: Any, length: int, columns: int, classes: int, kernel_dim: int, layers: int
) -> SequenceModel:
    """The network; its weights are drawn from the estimator's seed."""
    layer = estimator.layer
    if layer is None:
        own: dict[str, Any] = {"learning_rate": estimator.kernel_learning_rate}
        kernels: dict[str, Any] = {
            # In a short sequence there is no room for more numbers than steps.
            "sgconv": partial(SGConvKernel, kernel_dim=min(kernel_dim, length), decay=estimator.decay, **own),
            "dense": partial(LongConvKernel, **own),
            "s4d": partial(S4DKernel, **own),
        }
        layer = partial(LongConv, length=length, kernel=kernels[estimator.kernel], causal=estimator.causal)
    named: dict[str, Any] = {"length": length, "causal": bool(estimator.causal)} if isinstance(layer, str) else {}
    # The statistics of a batch need two steps at least.
    norm: Any = ("rms" if estimator.causal or length == 1 else "batch") if estimator.norm is None else estimator.norm
    return SequenceModel(
        columns,
        classes,
        layer=layer,
        layers=layers,
        width=int(estimator.width),
        norm=norm,
        prenorm=estimator.prenorm,
        pool=estimator.pool,
        dropout=estimator.dropout,
        random_state=estimator._seed,
        **named,
    )
