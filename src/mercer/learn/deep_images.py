"""Images in deep kernel machines: rows of pixels, whose patches are what inducing points are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mercer.errors import ShapeError
from mercer.kernels.parameters import is_count

__all__ = ["Images", "images_of"]

_CANDIDATES = 20_000  # patches among which inducing ones are chosen


@dataclass(frozen=True)
class Images:
    """How rows of pixels are images.

    Attributes:
        shape: ``(channels, height, width)``.
        size: of the patches, odd.
    """

    shape: tuple[int, int, int]
    size: int

    @property
    def places(self) -> int:
        """Of an image, in every layer."""
        return self.shape[1] * self.shape[2]

    @property
    def patch_width(self) -> int:
        """Numbers of a patch."""
        return self.shape[0] * self.size**2

    def check_rows(self, columns: int) -> None:
        """Raise ShapeError for rows that are no such images."""
        if columns != math.prod(self.shape):
            raise ShapeError(
                f"image_shape={self.shape!r} makes rows of {math.prod(self.shape)} pixels, but X has {columns} columns."
            )

    def candidates(self, X: Tensor, rng: np.random.RandomState) -> Tensor:
        """Some patches of rows ``(n, pixels)``, ``(m, patch_width)``."""
        rows = X
        if len(X) * self.places > _CANDIDATES:
            few = max(1, _CANDIDATES // self.places)
            rows = X[torch.from_numpy(rng.choice(len(X), min(few, len(X)), replace=False)).to(X.device)]
        patches = functional.unfold(rows.reshape(-1, *self.shape), self.size, padding=self.size // 2)
        return patches.movedim(1, -1).reshape(-1, self.patch_width)

    def column_scales(self, points: Tensor, *, standardize: bool) -> list[Tensor]:
        """Center and width of each pixel, alike in a channel: places are alike as well."""
        center, width = torch.zeros_like(points[0]), torch.ones_like(points[0])
        if standardize:
            channels = points.reshape(len(points), self.shape[0], -1)
            means, deviations = channels.mean((0, 2)), channels.std((0, 2), correction=0)
            deviations = torch.where(deviations > 1e-12 * means.abs(), deviations, 1.0)
            center, width = (v.repeat_interleave(self.places) for v in (means, deviations))
        return [center, width]

    def of_patches(self, pixels: Tensor) -> Tensor:
        """A number for each pixel of a patch, from one for each of an image that is the same in a channel."""
        return pixels.reshape(self.shape[0], -1)[:, 0].repeat_interleave(self.size**2)


def images_of(shape: Any, patch_size: Any) -> Images | None:
    """The images of an estimator's arguments; None where its rows are no images.

    Raises:
        ValueError: another shape, an even size, or one beyond the image.
    """
    if shape is None:
        return None
    sizes = list(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else []
    if len(sizes) == 2:
        sizes = [1, *sizes]
    if len(sizes) != 3 or not all(map(is_count, sizes)):
        raise ValueError(f"image_shape must be (height, width) or (channels, height, width), not {shape!r}.")
    if not is_count(patch_size) or patch_size % 2 == 0:
        raise ValueError(f"patch_size must be odd, so that a patch has a middle, not {patch_size!r}.")
    if patch_size >= 2 * max(sizes[-2:]):
        raise ValueError(
            f"patch_size={patch_size} is beyond what a patch sees of {sizes[-2]} x {sizes[-1]} pixels: give at most "
            f"{2 * max(sizes[-2:]) - 1}."
        )
    return Images((int(sizes[0]), int(sizes[1]), int(sizes[2])), int(patch_size))
