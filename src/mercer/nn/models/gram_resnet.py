"""Convolutional deep kernel machines in the shape of residual networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from mercer.arrays import as_tensor, generator
from mercer.errors import ShapeError
from mercer.kernels.parameters import is_count
from mercer.nn.gram_batch_norm import GramBatchNorm
from mercer.nn.gram_convolution import GramConvolution, GramPooling, PatchesToGram
from mercer.nn.gram_kernel import GramKernel
from mercer.nn.gram_layer import GramLayer, GramResidual
from mercer.nn.gram_noise import GramNoise
from mercer.nn.gram_output import GramOutput
from mercer.nn.models.registry import register_model
from mercer.nn.seeding import seeded

__all__ = ["GramResNet"]

_SIZE = 3  # of neighbourhoods, and of patches that are drawn here
_CANDIDATES = 20_000  # patches among which different ones are looked for


class GramResNet(nn.Module):
    r"""A classifier of images with the shape of a residual network and no features: a kernel learnt at every place.

    Inner products of patches, a kernel and a convolution to ``widths[0]`` inducing points; stages of residual blocks of
    two 3 x 3 convolutions, each followed by a Gram layer and batch normalisation; the mean over all places, and
    Gaussian processes on the last kernel. From the second stage on, a stage halves height and width first. With n
    blocks in each of three stages there are ``6 n + 1`` Gram layers and the output: 19 and 1 for the shape of
    ResNet-20.

    Args:
        inducing_patches: where the inducing patches start, ``(P, channels * size^2)`` or ``(P, channels, size, size)``;
            :meth:`from_images` draws them. A number P is as many 3 x 3 patches of normal numbers, as for weights that
            are loaded next.
        shape: of an image, ``(channels, height, width)``.
        n_classes: outputs.
        blocks: of each stage.
        widths: inducing points of each stage, at most nine times as many as in the one before.
        nu: of all Gram layers; ``math.inf`` fixes their kernels. All layers together count against the log densities of
            ``n_data`` images, so few images want a small one. The published networks have 0.001.
        kernel: of :class:`mercer.nn.GramKernel`.
        noise: inducing points for each feature of :class:`mercer.nn.GramNoise`, > 0: a layer of P points draws
            ``ceil(P / noise)``. The published networks have 4. None is no noise and no jitter of its own.
        noise_jitter: of the noise.
        momentum: of :class:`mercer.nn.GramBatchNorm`.
        remainder: of the pooling, :class:`mercer.nn.GramPooling`.
        learn_inducing: whether the inducing patches move.
        dtype: None is that of the patches, or torch's default.
        random_state: of where the convolutions start.

    Raises:
        ValueError: blocks, widths or numbers out of range.
        ShapeError: patches that are not of these images.

    Cost: of a convolution ``9 n h w P^2`` multiply-adds.
    Source: Milsom, Anson & Aitchison, Convolutional deep kernel machines (ICLR 2024), arXiv 2309.09814, and Stochastic
    kernel regularisation improves generalisation in deep kernel machines (NeurIPS 2024), arXiv 2410.06171, which has
    94.5 % on CIFAR-10 with widths of 512, 1024 and 2048, kernel "normalized_gaussian" and 1200 epochs (its abstract and
    scripts; not run here).

    >>> images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> model = GramResNet.from_images(images, 10, n_patches=8, blocks=(1, 1), widths=(8, 16), random_state=0)
    >>> mean, variance = model(images)
    >>> mean.shape, variance.shape
    (torch.Size([6, 10]), torch.Size([6]))
    """

    def __init__(
        self,
        inducing_patches: Any,
        shape: Sequence[int],
        n_classes: int,
        *,
        blocks: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        nu: float = 1.0,
        kernel: str = "relu",
        noise: float | None = None,
        noise_jitter: float = 0.1,
        momentum: float | None = 0.1,
        remainder: bool = True,
        learn_inducing: bool = True,
        dtype: torch.dtype | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        blocks, widths, shape = tuple(blocks), tuple(widths), tuple(shape)
        _check_sizes(blocks, widths, shape, n_classes)
        if noise is not None and not 0.0 < noise < math.inf:
            raise ValueError(f"GramResNet: noise must be positive and finite, or None, not {noise!r}.")
        self.shape, self.n_classes, self.noise_ratio = shape, n_classes, noise
        with seeded(random_state):
            if is_count(inducing_patches):
                inducing_patches = torch.randn(inducing_patches, shape[0] * _SIZE**2, dtype=dtype)
            patches = PatchesToGram(inducing_patches, shape=shape, learn_inducing=learn_inducing, dtype=dtype)
            own = patches.inducing.dtype
            points = len(patches.inducing)
            _check_growth([points, *widths])

            def layer(before: int, after: int, stride: int = 1) -> list[nn.Module]:
                """A kernel, its convolution, and a Gram matrix that is learnt, disturbed and normalised."""
                noisy = (
                    [] if noise is None else [GramNoise(after, max(1, math.ceil(after / noise)), jitter=noise_jitter)]
                )
                return [
                    GramKernel(kernel, dtype=own),
                    GramConvolution(before, after, size=_SIZE, stride=stride, dtype=own),
                    GramLayer(after, nu, dtype=own),
                    *noisy,
                    GramBatchNorm(momentum=momentum, dtype=own),
                ]

            def block(before: int, after: int, stride: int) -> nn.Module:
                branch = nn.Sequential(*layer(before, after, stride), *layer(after, after))
                skip: nn.Module = nn.Identity()
                if stride > 1 or before != after:
                    narrow = GramConvolution(before, after, size=1, stride=stride, dtype=own)
                    skip = nn.Sequential(narrow, GramBatchNorm(momentum=momentum, dtype=own))
                return GramResidual([skip, branch], dtype=own)

            self.stem = nn.Sequential(patches, *layer(points, widths[0]))
            before, made = widths[0], []
            for number, (count, width) in enumerate(zip(blocks, widths, strict=True)):
                for position in range(count):
                    stride = 2 if number > 0 and position == 0 else 1
                    made.append(block(before, width, stride))
                    before = width
            self.blocks = nn.Sequential(*made)
            self.head = nn.Sequential(
                GramPooling(remainder=remainder),
                GramKernel(kernel, dtype=own),
                GramBatchNorm(momentum=momentum, dtype=own),
                GramOutput(before, n_classes, dtype=own),
            )
        for number, gram in enumerate(found := [m for m in self.modules() if isinstance(m, GramLayer)], start=1):
            gram.name = f"Gram layer {number} of {len(found)}"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means ``(n, n_classes)`` and variances ``(n,)`` of the latent functions, one variance for all classes.

        Probabilities are :func:`mercer.nn.functional.softmax_probabilities` of them.

        Args:
            images: ``(n, channels, height, width)``, or as rows ``(n, channels * height * width)``.

        Raises:
            ShapeError: images of another shape.
            IndefiniteGram: a Gram matrix is not positive definite.
        """
        result: tuple[Tensor, Tensor] = self.head(self.blocks(self.stem(images)))
        return result

    @classmethod
    def from_images(
        cls, images: Any, n_classes: int, *, n_patches: int | None = None, random_state: Any = None, **options: Any
    ) -> Self:
        """A network whose inducing patches are 3 x 3 patches of images, at random and all different.

        Args:
            images: ``(n, channels, height, width)``, scaled as they will be in training: mean 0 and variance 1, say.
            n_classes: outputs.
            n_patches: P. None is ``widths[0]``, as published.
            random_state: of the patches and of the convolutions; None is a fresh seed.
            **options: of :class:`GramResNet`.

        Raises:
            ShapeError: no images, or images smaller than 3 x 3.
            ValueError: fewer different patches than ``n_patches``.
        """
        X = as_tensor(images, dtype=options.get("dtype")).detach()
        if X.dim() != 4 or not len(X) or min(X.shape[-2:]) < _SIZE:
            raise ShapeError(
                f"GramResNet: images must be (n, channels, height, width) of {_SIZE} x {_SIZE} pixels or more, not "
                f"{tuple(X.shape)}."
            )
        X = X if X.is_floating_point() else X.to(torch.get_default_dtype())
        draws = generator(random_state)
        count = options.get("widths", (16,))[0] if n_patches is None else n_patches
        patches = _draw_patches(X, count, draws)
        return cls(patches, X.shape[1:], n_classes, random_state=draws, **options)


def _draw_patches(X: Tensor, count: int, draws: torch.Generator) -> Tensor:
    windows = X.unfold(2, _SIZE, 1).unfold(3, _SIZE, 1)  # (n, channels, rows, columns, size, size), a view
    n, _, rows, columns = windows.shape[:4]
    places = torch.randint(n * rows * columns, (_CANDIDATES,), generator=draws).to(X.device)
    image, place = places // (rows * columns), places % (rows * columns)
    candidates = windows[image, :, place // columns, place % columns]  # (candidates, channels, size, size)
    different = candidates.unique(dim=0)  # many are alike where images have a plain ground
    if len(different) < count:
        raise ValueError(f"GramResNet: the images have {len(different)} different patches, but n_patches={count}.")
    chosen: Tensor = different[torch.randperm(len(different), generator=draws)[:count].to(X.device)]
    return chosen


def _check_sizes(blocks: tuple[int, ...], widths: tuple[int, ...], shape: tuple[int, ...], n_classes: int) -> None:
    if not blocks or len(blocks) != len(widths) or not all(map(is_count, [*blocks, *widths])):
        raise ValueError(
            f"GramResNet: blocks and widths must be one whole number >= 1 for each stage, not {blocks} and {widths}."
        )
    if not is_count(n_classes):
        raise ValueError(f"GramResNet: n_classes must be a whole number >= 1, not {n_classes!r}.")
    if len(shape) != 3 or not all(map(is_count, shape)):
        raise ValueError(f"GramResNet: shape must be (channels, height, width), not {shape}.")


def _check_growth(points: Sequence[int]) -> None:
    """Inducing points of a convolution are made of those below at nine offsets: more of them depend on each other."""
    for before, after in pairwise(points):
        if after > _SIZE**2 * before:
            raise ValueError(
                f"GramResNet: {after} inducing points cannot follow {before}, at most {_SIZE**2 * before}. Give more "
                f"inducing patches, or widths that grow more slowly."
            )


for _depth, _count in (("8", 1), ("20", 3), ("32", 5)):
    register_model(f"gram_resnet{_depth}", partial(GramResNet, blocks=(_count, _count, _count)))
