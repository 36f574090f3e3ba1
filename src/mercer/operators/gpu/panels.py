"""How a tile of each statistic is computed in a fused kernel, and how weights are pulled back to its points: source.

Two forms. :class:`ColumnPanel` adds up one column at a time from differences (exact for coincident points, any dtype,
the fastest for few columns). :class:`SplitPanel` is a float32 GEMM on the tensor cores: each number is scaled by a
power of two and split into two float16 numbers of 11 bits each, and three products of halves are added up in float32.
What is dropped, low times low and what 22 bits lose, is at most 3 * 2^-24 of |e_k f_k| a column, like the rounding of
float32 products; tensor cores do float16 at twice the rate of TF32. Distances then take float32 norms and end at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.operators.statistics import DotProduct, L1Distance, Mismatch, SquaredDistance, Statistic

HOISTED_COLUMNS = 8  # the row side's columns stay in registers; beyond, they are loaded again for each tile
PULLED_COLUMNS = 8  # gradient columns a program holds; more columns are more programs, each with its own tiles
SPLIT_FROM = 16  # the narrowest embedding worth a GEMM: three products of padded halves cost as much as 12 columns
SPLIT_PULLED = 64  # gradient columns a program of a split panel holds


@dataclass(frozen=True)
class ColumnForm:
    """A statistic as a sum over columns.

    Attributes:
        term: of the columns ``{e}`` and ``{f}`` (and weights ``{we}`` and ``{wf}``).
        pulled: ``{w}`` times the derivative of the term in ``{e}`` (with weights: in ``{we}``), over ``factor``.
        weighted: whether the embedding is values, then as many weights, and only the weights have a gradient.
        split: whether it is a function of norms and the dot product, so that a GEMM can compute it.
    """

    term: str
    pulled: str
    factor: float = 1.0
    weighted: bool = False
    split: bool = False


FORMS: dict[type[Statistic], ColumnForm] = {
    SquaredDistance: ColumnForm("({e} - {f}) * ({e} - {f})", "{w} * ({e} - {f})", factor=2.0, split=True),
    DotProduct: ColumnForm("{e} * {f}", "{w} * {f}", split=True),
    L1Distance: ColumnForm("tl.abs({e} - {f})", "{w} * fn.sign({e} - {f})"),
    Mismatch: ColumnForm(
        "tl.where({e} != {f}, {we} * {wf}, 0.0)", "tl.where({e} != {f}, {w} * {wf}, 0.0)", weighted=True
    ),
}


@dataclass(frozen=True)
class Accumulator:
    """A sum over tiles: its name, what a tile adds, and its shape; None: a value a pair, summed over columns."""

    name: str
    addend: str
    shape: str | None = None


@dataclass(frozen=True)
class ColumnPanel:
    """A statistic by columns. Tensors: ``E<g>`` and ``F<g>``, the columns of the points, ``(batch, r, n or m)``."""

    g: int
    statistic: type[Statistic]
    width: int

    @property
    def form(self) -> ColumnForm:
        """Source of a term and its derivative."""
        return FORMS[self.statistic]

    @property
    def columns(self) -> int:
        """Columns of values: without weights, all."""
        return self.width // 2 if self.form.weighted else self.width

    @property
    def first(self) -> int:
        """The first column that has a gradient."""
        return self.width - self.columns

    @property
    def chunks(self) -> int:
        """Programs that share the gradient's columns."""
        return max(1, -(-self.columns // PULLED_COLUMNS))

    @property
    def names(self) -> list[str]:
        """The kernel's arguments."""
        return [f"E{self.g}", f"F{self.g}"]

    def tensors(self, E: Tensor, F: Tensor) -> list[Tensor]:
        """Their values."""
        return [E.mT.contiguous(), F.mT.contiguous()]

    @property
    def n_numbers(self) -> int:
        """How many numbers a matrix the kernel needs."""
        return 0

    def numbers(self, E: Tensor, F: Tensor) -> list[Tensor]:
        """Their values, each ``(batch,)``."""
        return []

    def head(self) -> list[str]:
        """Before the loop over tiles: the row side's columns."""
        if self.width > HOISTED_COLUMNS:
            return []
        return [f"e{self.g}_{k} = {self._left(k)}" for k in range(self.width)]

    def tile(self, first_number: int, same: str | None) -> list[str]:
        """``s<g>`` of one tile. Equal points give exactly equal columns, so coincident pairs need no care."""
        g, c = self.g, self.columns
        lines = [f"s{g} = tl.zeros((BM, BN), REAL)"]
        if self.width <= HOISTED_COLUMNS:
            lines += [f"f{g}_{k} = {self._right(k)}" for k in range(self.width)]
            for k in range(c):
                names = {"e": f"e{g}_{k}", "f": f"f{g}_{k}", "we": f"e{g}_{c + k}", "wf": f"f{g}_{c + k}"}
                lines.append(f"s{g} += {self.form.term.format(**names)}")
            return lines
        names = {"e": "x", "f": "y", "we": "wx", "wf": "wy"}
        lines += [f"for k in range({c}):", f"    x = {self._left('k')}", f"    y = {self._right('k')}"]
        if self.form.weighted:
            lines += [f"    wx = {self._left(f'({c} + k)')}", f"    wy = {self._right(f'({c} + k)')}"]
        return [*lines, f"    s{g} += {self.form.term.format(**names)}"]

    def pull_head(self) -> list[str]:
        """Before the loop: the row side's columns of this program's chunk."""
        if self.width <= HOISTED_COLUMNS:
            return []
        return [f"e{self.g}_{q} = {self._left(f'({self._pulled(q)})')}" for q in range(PULLED_COLUMNS)]

    def pull_tile(self, w: str, same: str | None) -> list[str]:
        """The column side's columns of this program's chunk."""
        if self.width <= HOISTED_COLUMNS:
            return []
        lines = [f"f{self.g}_{q} = {self._right(f'({self._pulled(q)})')}" for q in range(PULLED_COLUMNS)]
        if self.form.weighted:
            lines += [
                f"wf{self.g}_{q} = {self._right(f'({self.columns} + {self._pulled(q)})')}"
                for q in range(PULLED_COLUMNS)
            ]
        return lines

    def pull_sums(self, w: str) -> list[Accumulator]:
        """What each tile adds to the gradient, from the weights ``w``."""
        g, c, hoisted = self.g, self.columns, self.width <= HOISTED_COLUMNS
        sums = []
        for q in range(c if hoisted else PULLED_COLUMNS):
            wf = f"f{g}_{c + q}" if hoisted else f"wf{g}_{q}"
            text = self.form.pulled.format(w=w, e=f"e{g}_{q}", f=f"f{g}_{q}", wf=wf)
            sums.append(Accumulator(f"d{g}_{q}", text))
        return sums

    def pull_tail(self) -> list[str]:
        """Store the gradient, ``(batch, r, n)``."""
        g, lines = self.g, []
        for q in range(self.columns if self.width <= HOISTED_COLUMNS else PULLED_COLUMNS):
            k = f"c * {PULLED_COLUMNS} + {q}"
            target = f"D{g} + (b * {self.width} + {self.first} + {k}) * n + at"
            lines.append(
                f"tl.store({target}, {self.form.factor} * d{g}_{q}_all, mask=(at < n) & ({k} < {self.columns}))"
            )
        return lines

    def gradient(self, like: Tensor) -> Tensor:
        """Room for the gradient."""
        return like.new_zeros(like.shape[0], self.width, like.shape[1])

    def finished(self, gradient: Tensor) -> Tensor:
        """The gradient as points, ``(batch, n, r)``."""
        return gradient.mT.contiguous()

    def _pulled(self, q: int) -> str:
        return f"tl.minimum(c * {PULLED_COLUMNS} + {q}, {self.columns - 1})"

    def _left(self, k: object) -> str:
        return f"tl.load(E{self.g} + (b * {self.width} + {k}) * n + i)[:, None]"

    def _right(self, k: object) -> str:
        return f"tl.load(F{self.g} + (b * {self.width} + {k}) * m + j0 + jj)[None, :]"


@dataclass(frozen=True)
class SplitPanel:
    """A squared distance or dot product of float32 points by a GEMM of halves.

    Tensors: ``L<g>`` and ``R<g>``, the halves, ``(batch, n, 2, width padded)`` float16; for distances ``U<g>`` and
    ``W<g>``, squared norms; and ``X<g>`` and ``Y<g>``, the points, for near pairs and gradients.

    Args:
        exact: whether the map has an infinite slope at 0, so that distances that the GEMM rounds too coarsely are
            computed again from differences.
    """

    g: int
    statistic: type[Statistic]
    width: int
    exact: bool

    @property
    def is_distance(self) -> bool:
        """Whether norms are needed."""
        return self.statistic is SquaredDistance

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
        return [f"L{g}", f"R{g}", *([f"U{g}", f"W{g}"] if self.is_distance else []), f"X{g}", f"Y{g}"]

    def tensors(self, E: Tensor, F: Tensor) -> list[Tensor]:
        """Their values."""
        scale = self._scale(E, F)[:, None, None]
        parts = [self._halves(E, scale), self._halves(F, scale)]
        if self.is_distance:
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
        if self.is_distance:
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
        if not self.is_distance:
            return [*lines, f"s{g} = s{g} * {unscale} * {unscale}"]
        lines += [
            f"nw{g} = tl.load(W{g} + b * m + j0 + jj)[None, :]",
            f"s{g} = tl.maximum((nu{g} + nw{g}) - s{g} * (2.0 * {unscale}) * {unscale}, 0.0)",
        ]
        if same is not None:
            lines.append(f"s{g} = tl.where({same}, 0.0, s{g})")
        if self.exact:
            near = f"p{first_number + 1}"
            lines += [
                f"if tl.min(tl.min(s{g}, 1), 0) < {near}:",
                "    again = tl.zeros((BM, BN), tl.float32)",
                f"    for k in range({self.width}):",
                f"        x = tl.load(X{g} + (b * n + i) * {self.width} + k)[:, None]",
                f"        y = tl.load(Y{g} + (b * m + j0 + jj) * {self.width} + k)[None, :]",
                "        again += (x - y) * (x - y)",
                f"    s{g} = tl.where(s{g} < {near}, again, s{g})",
            ]
        return lines

    def pull_head(self) -> list[str]:
        """Before the loop: the gradient columns of this program."""
        return [f"q{self.g} = c * {self.pulled} + tl.arange(0, {self.pulled})"]

    def pull_tile(self, w: str, same: str | None) -> list[str]:
        """The column points of this program's chunk; a coincident pair pulls nothing, and its weight may be large."""
        g = self.g
        return [
            *([f"{w} = tl.where({same}, 0.0, {w})"] if self.is_distance and same is not None else []),
            f"y{g} = Y{g} + (b * m + j0) * {self.width} + (jj * {self.width})[:, None] + q{g}[None, :]",
            f"f{g} = tl.load(y{g}, mask=(q{g} < {self.width})[None, :], other=0.0)",
        ]

    def pull_sums(self, w: str) -> list[Accumulator]:
        """What each tile adds to W F, and for distances to the row sums of W."""
        product = f'tl.dot({w}, f{self.g}, input_precision="tf32x3")'
        sums = [Accumulator(f"d{self.g}", product, f"(BM, {self.pulled})")]
        if self.is_distance:
            sums.append(Accumulator(f"t{self.g}", w))
        return sums

    def pull_tail(self) -> list[str]:
        """Store the gradient, ``(batch, n, r)``."""
        g = self.g
        inside = f"(at < n)[:, None] & (q{g} < {self.width})[None, :]"
        place = f"(b * n + at)[:, None] * {self.width} + q{g}[None, :]"
        if not self.is_distance:
            return [f"tl.store(D{g} + {place}, d{g}_all, mask={inside})"]
        return [
            f"x{g} = tl.load(X{g} + {place}, mask={inside}, other=0.0)",
            f"tl.store(D{g} + {place}, 2.0 * (t{g}_all[:, None] * x{g} - d{g}_all), mask={inside})",
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


Panel = ColumnPanel | SplitPanel


def make_panel(g: int, statistic: Statistic, width: int, dtype: torch.dtype, exact: bool) -> Panel:
    """The form that suits the number of columns and the dtype."""
    kind = type(statistic)
    if FORMS[kind].split and dtype == torch.float32 and width >= SPLIT_FROM:
        return SplitPanel(g, kind, width, exact)
    return ColumnPanel(g, kind, width)


def unsupported(statistics: Iterable[Statistic]) -> str | None:
    """The first statistic without a fused form, by name, or None."""
    return next((type(s).__name__ for s in statistics if type(s) not in FORMS), None)
