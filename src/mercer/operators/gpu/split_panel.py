"""A float32 tile of dot products, squared distances or angles on the tensor cores: a GEMM of float16 halves.

Each number is scaled by a power of two and split into two float16 numbers of 11 bits each, and three products of halves
are added up in float32. What is dropped, low times low and what 22 bits lose, is at most 3 * 2^-24 of |e_k f_k| a
column, like the rounding of float32 products; tensor cores do float16 at twice the rate of TF32. Distances then take
float32 norms and end at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.gpu.accumulator import Accumulator
from mercer.operators.statistics import LARGEST_COSINE, Angle, DotProduct, Statistic

SPLIT_PULLED = 64  # gradient columns a program of a split panel holds


@dataclass(frozen=True)
class SplitPanel:
    """A dot product, squared distance or angle of float32 points by a GEMM of halves.

    Tensors: ``L<g>`` and ``R<g>``, the halves, ``(batch, n, 2, width padded)`` float16; but for dot products ``U<g>``
    and ``W<g>``, squared norms; and ``X<g>`` and ``Y<g>``, the points, for near pairs and gradients.

    Args:
        exact: whether the map has an infinite slope at 0, so that distances that the GEMM rounds too coarsely are
            computed again from differences. Angles always are.
    """

    g: int
    statistic: type[Statistic]
    width: int
    exact: bool

    @property
    def is_angle(self) -> bool:
        """Whether the points are unit vectors, or 0, and their angle is wanted."""
        return self.statistic is Angle

    @property
    def has_norms(self) -> bool:
        """Whether the statistic is more than the dot product, and 0 between a point and itself."""
        return self.statistic is not DotProduct

    @property
    def step(self) -> int:
        """Columns of one tensor-core product."""
        return min(64, 1 << (self.width - 1).bit_length())

    @property
    def padded(self) -> int:
        """Columns of each half."""
        return -(-self.width // self.step) * self.step

    @property
    def pulled(self) -> int:
        """Gradient columns of one program."""
        return min(SPLIT_PULLED, 1 << (self.width - 1).bit_length())

    @property
    def chunks(self) -> int:
        """Programs that share the gradient's columns."""
        return -(-self.width // self.pulled)

    @property
    def names(self) -> list[str]:
        """The kernel's arguments."""
        g = self.g
        return [f"L{g}", f"R{g}", *([f"U{g}", f"W{g}"] if self.has_norms else []), f"X{g}", f"Y{g}"]

    def tensors(self, E: Tensor, F: Tensor) -> list[Tensor]:
        """Their values."""
        scale = self._scale(E, F)[:, None, None]
        parts = [self._halves(E, scale), self._halves(F, scale)]
        if self.has_norms:
            parts += [E.square().sum(-1), F.square().sum(-1)]
        return [*parts, E.contiguous(), F.contiguous()]

    @property
    def n_numbers(self) -> int:
        """How many numbers a matrix the kernel needs."""
        return 2 if self.exact else 1

    def numbers(self, E: Tensor, F: Tensor) -> list[Tensor]:
        """What undoes the scaling of one side; if ``exact``, the squared distance below which pairs are made again."""
        numbers = [1.0 / self._scale(E, F)]
        if self.exact:
            # as _DistancePanels: where the GEMM's error of eps R^2 in s passes 4 eps (2 + R^2) in its square root
            radius = torch.maximum(E.square().sum(-1).amax(-1), F.square().sum(-1).amax(-1))
            numbers.append((radius / (8.0 * (2.0 + radius))).square())
        return numbers

    def head(self) -> list[str]:
        """Before the loop over tiles: the row side, where it fits."""
        g = self.g
        lines = [
            f"k{g} = tl.arange(0, {self.step})",
            f"l{g} = L{g} + (b * n + i)[:, None] * {2 * self.padded} + k{g}[None, :]",
        ]
        if self.padded == self.step:
            lines += [f"high{g} = tl.load(l{g})", f"low{g} = tl.load(l{g} + {self.padded})"]
        if self.has_norms:
            lines.append(f"nu{g} = tl.load(U{g} + b * n + i)[:, None]")
        return lines

    def tile(self, first_number: int, same: str | None) -> list[str]:
        """``s<g>`` of one tile."""
        g = self.g
        lines = [
            f"r{g} = R{g} + (b * m + j0) * {2 * self.padded} + (jj * {2 * self.padded})[None, :] + k{g}[:, None]",
            f"s{g} = tl.zeros((BM, BN), tl.float32)",
        ]
        if self.padded == self.step:
            for left, shift in ((f"low{g}", 0), (f"high{g}", self.padded), (f"high{g}", 0)):
                lines.append(f"s{g} = tl.dot({left}, tl.load(r{g} + {shift}), s{g})")
        else:
            lines += [
                f"for k in range(0, {self.padded}, {self.step}):",
                f"    high, other = tl.load(l{g} + k), tl.load(r{g} + k)",
                f"    s{g} = tl.dot(tl.load(l{g} + {self.padded} + k), other, s{g})",
                f"    s{g} = tl.dot(high, tl.load(r{g} + {self.padded} + k), s{g})",
                f"    s{g} = tl.dot(high, other, s{g})",
            ]
        unscale = f"p{first_number}"
        if not self.has_norms:
            return [*lines, f"s{g} = s{g} * {unscale} * {unscale}"]
        lines.append(f"nw{g} = tl.load(W{g} + b * m + j0 + jj)[None, :]")
        if self.is_angle:
            lines += self._angle(unscale)
        else:
            lines.append(f"s{g} = tl.maximum((nu{g} + nw{g}) - s{g} * (2.0 * {unscale}) * {unscale}, 0.0)")
        if same is not None:
            lines.append(f"s{g} = tl.where({same}, 0.0, s{g})")
        if self.exact:
            near = f"p{first_number + 1}"
            lines += [
                f"if tl.min(tl.min(s{g}, 1), 0) < {near}:",
                "    again = tl.zeros((BM, BN), tl.float32)",
                *self._pairs(),
                "        again += (x - y) * (x - y)",
                f"    s{g} = tl.where(s{g} < {near}, again, s{g})",
            ]
        return lines

    def _pairs(self) -> list[str]:
        """A loop, indented once, over the columns ``x`` and ``y`` of all pairs of a tile."""
        return [
            f"    for k in range({self.width}):",
            f"        x = tl.load(X{self.g} + (b * n + i) * {self.width} + k)[:, None]",
            f"        y = tl.load(Y{self.g} + (b * m + j0 + jj) * {self.width} + k)[None, :]",
        ]

    def _angle(self, unscale: str) -> list[str]:
        """The angle, its cosine and its sine; from differences and sums where the cosine has lost its digits."""
        g = self.g
        return [
            f"cosine{g} = tl.minimum(tl.maximum(s{g} * {unscale} * {unscale}, -1.0), 1.0)",
            f"sine{g} = tl.sqrt((1.0 - cosine{g}) * (1.0 + cosine{g}))",
            f"s{g} = fn.atan2(sine{g}, cosine{g})",
            f"if tl.max(tl.max(tl.abs(cosine{g}), 1), 0) > {LARGEST_COSINE}:",
            "    apart = tl.zeros((BM, BN), tl.float32)",
            "    together = tl.zeros((BM, BN), tl.float32)",
            *self._pairs(),
            "        apart += (x - y) * (x - y)",
            "        together += (x + y) * (x + y)",
            "    apart, together = tl.sqrt(apart), tl.sqrt(together)",
            f"    near = tl.abs(cosine{g}) > {LARGEST_COSINE}",
            f"    s{g} = tl.where(near, 2.0 * fn.atan2(apart, together), s{g})",
            f"    sine{g} = tl.where(near, 0.5 * apart * together, sine{g})",
            f"s{g} = tl.where(nu{g} + nw{g} == 0.0, 0.0, s{g})",  # two zero vectors are the same point
        ]

    def pull_head(self) -> list[str]:
        """Before the loop: the gradient columns of this program."""
        return [f"q{self.g} = c * {self.pulled} + tl.arange(0, {self.pulled})"]

    def pull_tile(self, w: str, same: str | None) -> list[str]:
        """The column points of this program's chunk; a coincident pair pulls nothing, and its weight may be large."""
        g = self.g
        return [
            *([f"{w} = tl.where({same}, 0.0, {w})"] if self.has_norms and same is not None else []),
            *([f"{w} = {w} * fn.reciprocal_or_zero(sine{g})"] if self.is_angle else []),
            f"y{g} = Y{g} + (b * m + j0) * {self.width} + (jj * {self.width})[:, None] + q{g}[None, :]",
            f"f{g} = tl.load(y{g}, mask=(q{g} < {self.width})[None, :], other=0.0)",
        ]

    def pull_sums(self, w: str) -> list[Accumulator]:
        """What each tile adds to W F, and to the row sums of W (of W times the cosine, for angles)."""
        product = f'tl.dot({w}, f{self.g}, input_precision="tf32x3")'
        sums = [Accumulator(f"d{self.g}", product, f"(BM, {self.pulled})")]
        if self.has_norms:
            sums.append(Accumulator(f"t{self.g}", f"{w} * cosine{self.g}" if self.is_angle else w))
        return sums

    def pull_tail(self) -> list[str]:
        """Store the gradient, ``(batch, n, r)``."""
        g = self.g
        inside = f"(at < n)[:, None] & (q{g} < {self.width})[None, :]"
        place = f"(b * n + at)[:, None] * {self.width} + q{g}[None, :]"
        if not self.has_norms:
            return [f"tl.store(D{g} + {place}, d{g}_all, mask={inside})"]
        factor = 1.0 if self.is_angle else 2.0
        return [
            f"x{g} = tl.load(X{g} + {place}, mask={inside}, other=0.0)",
            f"tl.store(D{g} + {place}, {factor} * (t{g}_all[:, None] * x{g} - d{g}_all), mask={inside})",
        ]

    def gradient(self, like: Tensor) -> Tensor:
        """Room for the gradient."""
        return like.new_empty(like.shape)

    def finished(self, gradient: Tensor) -> Tensor:
        """The gradient as points, ``(batch, n, r)``."""
        return gradient

    def _halves(self, E: Tensor, scale: Tensor) -> Tensor:
        scaled = torch.nn.functional.pad(E * scale, (0, self.padded - self.width))
        high = scaled.to(torch.float16)
        return torch.stack([high, (scaled - high).to(torch.float16)], -2)  # (batch, n, 2, padded)

    @staticmethod
    def _scale(E: Tensor, F: Tensor) -> Tensor:
        """The power of two, ``(batch,)``, that brings the largest number to [512, 1024), for low halves with digits."""
        peak = torch.maximum(E.abs().flatten(1).amax(1), F.abs().flatten(1).amax(1))
        exponent = torch.frexp(torch.where(peak > 0.0, peak, torch.ones_like(peak))).exponent
        return torch.ldexp(torch.ones_like(peak), 10 - exponent)
