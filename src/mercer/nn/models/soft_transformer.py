"""SOFT and SOFT++: pyramids of softmax-free attention for images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mercer.arguments import check_sizes
from mercer.errors import FileFormatError, ShapeError
from mercer.nn.attention.soft_block import SoftBlock
from mercer.nn.attention.softmax_free import SoftmaxFreeAttention
from mercer.nn.models.registry import register_model
from mercer.nn.models.softmax_block import SoftmaxBlock
from mercer.nn.models.weights import fit_weights, read_weights

__all__ = ["SoftSize", "SoftTransformer"]

_RATIOS = (8, 4, 2)  # sides of the windows of landmarks in the first three stages: 49 of them at 224 x 224
_VALUE_CONVS = (9, 5, 3)
_TABLES = (56, 28, 14, 7)  # sides of the tables of positions


class SoftSize(NamedTuple):
    """Blocks, widths and heads of the four stages."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]


SIZES = {
    "tiny": SoftSize((1, 2, 3, 2), (64, 128, 320, 512), (2, 4, 10, 16)),
    "small": SoftSize((1, 3, 20, 4), (64, 128, 320, 512), (2, 4, 10, 16)),
    "medium": SoftSize((1, 3, 29, 5), (64, 128, 288, 512), (2, 4, 9, 16)),
    "large": SoftSize((1, 3, 40, 5), (64, 128, 320, 512), (2, 4, 10, 16)),
    "huge": SoftSize((1, 5, 49, 5), (64, 128, 352, 512), (2, 4, 11, 16)),
}


class SoftTransformer(nn.Module):
    """A classifier of images, or four maps of features for dense tasks.

    Three stages of :class:`mercer.nn.SoftmaxFreeAttention` at strides 4, 8 and 16, and a fourth of ordinary softmax
    attention at stride 32, with a class token that the head looks at.

    Args:
        size: "tiny", "small", "medium", "large", "huge", or a :class:`SoftSize`.
        num_classes: 0 gives the class token in place of logits.
        normalize: SOFT++; False is SOFT.
        in_chans: channels of the images.
        features_only: give the maps ``(B, width, rows, columns)`` of the four stages, and have no head.
        drop_rate: of the last block, rising from 0 with depth: dropout of branches in SOFT blocks, whole samples in
            those of the fourth stage. The official setting is 0.1 in training.
        solver, n_iter, ridge: of :class:`mercer.nn.SoftmaxFreeAttention`.

    Raises:
        ValueError: an unknown size, or a number that cannot be.

    Any size of image from 32 x 32 works; tables of positions are resized. Parameter names are those of the official
    checkpoints. Top-1 on ImageNet at 224 x 224 as published: tiny 79.3 (79.4 normalised), small 82.2 (82.4), medium
    82.9 (83.1), large 83.1 (83.3), huge 83.3 (83.4).
    Source: Lu et al., Softmax-free Linear Transformers, arXiv 2207.03341; github.com/fudan-zvg/SOFT.

    >>> model = SoftTransformer("tiny", num_classes=10).eval()
    >>> model(torch.randn(1, 3, 64, 64)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        size: str | SoftSize = "tiny",
        num_classes: int = 1000,
        *,
        normalize: bool = True,
        in_chans: int = 3,
        features_only: bool = False,
        drop_rate: float = 0.0,
        solver: str = "newton",
        n_iter: int | None = None,
        ridge: float = 1e-2,
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size not in SIZES:
            raise ValueError(f"SoftTransformer: size is one of {', '.join(SIZES)} or a SoftSize, not {size!r}.")
        self.size = SIZES[size] if isinstance(size, str) else size
        check_sizes("SoftTransformer", in_chans=in_chans)
        if num_classes < 0 or not 0.0 <= drop_rate < 1.0:
            raise ValueError(
                f"SoftTransformer: num_classes={num_classes} must be >= 0 (0 is no head), and drop_rate={drop_rate} in "
                f"[0, 1)."
            )
        self.in_chans = in_chans
        depths, widths, heads = self.size
        self.num_classes, self.features_only = num_classes, features_only
        rates = (drop_rate * i / max(1, sum(depths) - 1) for i in range(sum(depths)))
        options: dict[str, Any] = {"normalize": normalize, "solver": solver, "n_iter": n_iter, "ridge": ridge}
        before = in_chans
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            self.add_module(f"patch_embed{stage + 1}", _PatchEmbed(before, width, is_stem=stage == 0))
            tokens = _TABLES[stage] ** 2 + (stage == 3)
            self.register_parameter(f"pos_embed{stage + 1}", nn.Parameter(torch.zeros(1, tokens, width)))
            if stage < 3:
                own = {"landmarks": "conv", "ratio": _RATIOS[stage], "value_conv": _VALUE_CONVS[stage], **options}
                make = partial(SoftBlock, width, heads[stage], **own)
                blocks = nn.ModuleList(nn.ModuleDict({"att": make(dropout=next(rates))}) for _ in range(depth))
            else:
                blocks = nn.ModuleList(SoftmaxBlock(width, heads[3], drop_path=next(rates)) for _ in range(depth))
            self.add_module(f"block{stage + 1}", blocks)
            before = width
        self.norm = nn.LayerNorm(widths[3], eps=1e-6)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, widths[3]))
        has_head = num_classes > 0 and not features_only
        self.head = nn.Linear(widths[3], num_classes) if has_head else nn.Identity()
        self._initialise()

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Logits ``(B, num_classes)`` of images ``(B, in_chans, rows, columns)``, or the four maps.

        Raises:
            ShapeError: images that are smaller than 32 x 32, of other channels, or no images.
            TypeError: images of whole numbers.
        """
        if images.dim() != 4 or images.shape[1] != self.in_chans or min(images.shape[-2:]) < 32:
            raise ShapeError(
                f"SoftTransformer: images must be (B, {self.in_chans}, rows, columns) of at least 32 x 32 pixels, but "
                f"have shape {tuple(images.shape)}."
            )
        if not images.is_floating_point():
            raise TypeError(f"SoftTransformer: images are {images.dtype}. Give floats: images / 255, standardised.")
        x, maps = images, []
        for stage in range(3):
            tokens, grid = self._embed(x, stage)
            for block in self.get_submodule(f"block{stage + 1}").children():
                assert isinstance(block, nn.ModuleDict)
                tokens = block["att"](tokens, grid=grid)
            x = tokens.mT.unflatten(2, grid)
            maps.append(x)
        tokens, grid = self._embed(x, 3)
        for block in self.get_submodule("block4").children():
            tokens = block(tokens)
        tokens = self.norm(tokens)
        if self.features_only:
            return [*maps, tokens[:, 1:].mT.unflatten(2, grid)]
        logits: Tensor = self.head(tokens[:, 0])
        return logits

    def set_n_iter(self, n_iter: int | None) -> Self:
        """Do so many steps of Newton in every attention, as exports need; None stops by the residual again."""
        for module in self.modules():
            if isinstance(module, SoftmaxFreeAttention):
                module.n_iter = n_iter
        return self

    @classmethod
    def from_official(cls, path: str | os.PathLike[str], *, normalize: bool = False, **options: Any) -> Self:
        """A network of fudan-zvg/SOFT from its checkpoint; the size, classes and channels are those of the file.

        Args:
            path: what the official training script saved; see :func:`mercer.nn.models.load_checkpoint`.
            normalize: whether it was trained as SOFT++ (``soft_norm_...``), which the file does not tell.
            **options: of :class:`SoftTransformer`. Where none are given, the inverse is the one of its training: 20
                steps of Newton, with a ridge of 0.01 for SOFT and none for SOFT++.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: it is not of a SOFT network.
        """
        weights = read_weights(path)
        own: dict[str, Any] = {"n_iter": 20, "ridge": 0.0 if normalize else 1e-2}
        own |= {"num_classes": len(weights["head.weight"]) if "head.weight" in weights else 0}
        own |= {"in_chans": _shape(weights, "patch_embed1.proj.0.weight", path)[1]} | options
        model = cls(_size_of(weights, path), normalize=normalize, **own)
        if isinstance(model.head, nn.Identity):
            weights = {name: value for name, value in weights.items() if not name.startswith("head.")}
        fit_weights(model, weights, path)
        return model

    def _embed(self, x: Tensor, stage: int) -> tuple[Tensor, tuple[int, int]]:
        """Tokens of a stage with their positions, and their grid."""
        x = self.get_submodule(f"patch_embed{stage + 1}")(x)
        grid = (x.shape[2], x.shape[3])
        tokens = x.flatten(2).mT
        table = self.get_parameter(f"pos_embed{stage + 1}")
        if stage == 3:
            tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), tokens], 1)
            return tokens + torch.cat([table[:, :1], _resized(table[:, 1:], _TABLES[3], grid)], 1), grid
        return tokens + _resized(table, _TABLES[stage], grid), grid

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters(recurse=False):
            assert name.startswith(("pos_embed", "cls_token"))
            nn.init.trunc_normal_(parameter, std=0.02)


class _PatchEmbed(nn.Module):
    """Three convolutions to stride 4, or one of stride 2."""

    def __init__(self, channels: int, width: int, *, is_stem: bool) -> None:
        super().__init__()
        steps = [(channels, 32, 2), (32, 32, 1), (32, width, 2)] if is_stem else [(channels, width, 2)]
        layers: list[nn.Module] = []
        for before, after, stride in steps:
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.proj = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.proj(x)
        return found


def _resized(table: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """A table of positions ``(1, side^2, width)`` for another grid."""
    if grid == (side, side):
        return table
    images = table.mT.unflatten(2, (side, side))
    return F.interpolate(images, size=grid, mode="bilinear").flatten(2).mT


def _shape(weights: Mapping[str, Tensor], name: str, path: str | os.PathLike[str]) -> torch.Size:
    if name not in weights:
        raise FileFormatError(f"{path} is not of a SOFT network: it has no {name!r}.")
    return weights[name].shape


def _size_of(weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> SoftSize:
    """Depths, widths and heads of a checkpoint; heads are 32 wide."""
    depths, widths = [], []
    for stage in range(1, 5):
        numbers = {int(m[1]) for name in weights if (m := re.match(rf"block{stage}\.(\d+)\.", name))}
        depths.append(len(numbers))
        widths.append(_shape(weights, f"pos_embed{stage}", path)[2])
    heads = [width // 32 for width in widths]
    return SoftSize(tuple(depths), tuple(widths), tuple(heads))  # type: ignore[arg-type]


for _name in SIZES:
    register_model(f"soft_{_name}", partial(SoftTransformer, _name, normalize=False))
    register_model(f"soft_norm_{_name}", partial(SoftTransformer, _name, normalize=True))
