"""Features as a kernel: the dot product of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.features.base import Features
from mercer.operators.maps import Expression
from mercer.operators.statistics import DotProduct


@dataclass(frozen=True)
class FeatureEmbed:
    """Points to features, an :class:`mercer.operators.statistics.embed.Embed`.

    Attributes:
        features: the map.
        columns: what it sees of X (None: all).
        slots: the theta that hold the hyperparameters, in the order of ``features.hyperparameters()``.
        event_dims: how many dimensions each of them has of its own; those before are a batch.
    """

    features: Features
    columns: tuple[int, ...] | None
    slots: tuple[int, ...]
    event_dims: tuple[int, ...]

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        """``(*batch, n, d) -> (*batch, n, n_features)``; ``center`` is not used: a dot product has none."""
        if self.columns is not None:
            X = X[..., list(self.columns)]
        values = [theta[slot] for slot in self.slots]
        if self._unchanged(values):
            return self.features.compute(X)
        batch = broadcast_shapes(
            X.shape[:-2], *(v.shape[: v.dim() - e] for v, e in zip(values, self.event_dims, strict=True))
        )
        points = X.expand(*batch, *X.shape[-2:]).reshape(-1, *X.shape[-2:])
        flat = [
            v.expand((*batch, *v.shape[v.dim() - e :])).reshape(-1, *v.shape[v.dim() - e :])
            for v, e in zip(values, self.event_dims, strict=True)
        ]
        paths = [h.path for h in self.features.hyperparameters()]
        parts = []
        for b in range(len(points)):
            at = self.features.with_values(dict(zip(paths, (v[b] for v in flat), strict=True)))
            parts.append(at.compute(points[b]))
        return torch.stack(parts).reshape(*batch, X.shape[-2], -1)

    def _unchanged(self, values: Sequence[Tensor]) -> bool:
        """Whether the features can be used as they are: the hyperparameters are theirs, and want no gradient."""
        if torch.is_grad_enabled() and any(v.requires_grad for v in values):
            return False
        own = [h.value for h in self.features.hyperparameters()]
        if any(torch._C._functorch.is_functorch_wrapped_tensor(v) for v in values):
            return False
        return all(
            o.numel() == v.shape[v.dim() - e :].numel() and bool((v == o.to(v)).all())
            for o, v, e in zip(own, values, self.event_dims, strict=True)
        )


class FeatureKernel(Kernel):
    r"""The kernel of given features: of finite rank, an identity map on a dot product.

    .. math:: k(x, y) = \langle \phi(x), \phi(y) \rangle

    It composes like any other kernel, its hyperparameters are those of the kernel that the features are of, and it has
    gradients in X and in them. It cannot be written as text, so models with it cannot be saved.

    Args:
        features: a feature map; ``features.as_kernel()`` is the same.

    Raises:
        TypeError: no feature map.
        ShapeError: at binding, points with other columns than the features are for.

    Cost: the features of each point once; a pair costs ``n_features`` multiply-adds.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 2.1.2.

    >>> features = ExactFeatures(mc.kernels.Linear(), d=2)
    >>> FeatureKernel(features)(torch.ones(1, 2), torch.ones(2, 2)).to_dense()
    tensor([[2., 2.]])
    """

    in_grammar: ClassVar[bool] = False

    def __init__(self, features: Features) -> None:
        self.features = features
        self.check()

    def check(self) -> None:
        """Raise TypeError for what is no feature map."""
        if not isinstance(self.features, Features):
            raise TypeError(f"FeatureKernel needs a feature map such as RandomFourier, not {self.features!r}.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The dot product of the features."""
        if binder.width != self.features.d:
            raise ShapeError(
                f"The features are for points with {self.features.d} columns, but the kernel sees {binder.width}."
            )
        for known in binder.statistics:
            embed = known.embed
            if isinstance(embed, FeatureEmbed) and embed.features is self.features and embed.columns == binder.columns:
                return [binder.statistic(known)]  # its hyperparameters have their slots already
        found = self.features.hyperparameters()
        events = tuple(int(h.domain.vector and h.value.dim() > 0) for h in found)
        slots = tuple(binder.slot(h.value, e) for h, e in zip(found, events, strict=True))
        return [binder.statistic(DotProduct(FeatureEmbed(self.features, binder.columns, slots, events)))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureKernel) and self.features is other.features

    def __hash__(self) -> int:
        return hash(self.features)
