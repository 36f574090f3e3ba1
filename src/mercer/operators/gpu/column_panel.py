"""A tile of a statistic, and its gradient, one column at a time: exact for coincident points, any dtype."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mercer.operators.gpu.accumulator import Accumulator
from mercer.operators.statistics import (
    Angle,
    Difference,
    DotProduct,
    L1Distance,
    MinSum,
    Mismatch,
    SquaredDistance,
    Statistic,
)

HOISTED_COLUMNS = 8  # the row side's columns stay in registers; beyond, they are loaded again for each tile
PULLED_COLUMNS = 8  # gradient columns a program holds; more columns are more programs, each with its own tiles


@dataclass(frozen=True)
class ColumnForm:
    """A statistic as a sum over columns, or as a function of two such sums.

    Attributes:
        term: of the columns ``{e}`` and ``{f}`` (and weights ``{we}`` and ``{wf}``).
        pulled: ``{w}`` times the derivative of the term in ``{e}`` (with weights: in ``{we}``), over ``factor``.
        weighted: whether the embedding is values, then as many weights, and only the weights have a gradient.
        split: whether it is a function of norms and the dot product, so that a GEMM can compute it.
        odd: whether it changes its sign when rows and columns are exchanged.
        second: the term of a second sum, ``other<g>``.
        value: statements that turn both sums into the statistic ``s<g>`` and into what ``pulled`` needs.
        weight: a factor of ``{w}``, the same for all columns.
    """

    term: str
    pulled: str
    factor: float = 1.0
    weighted: bool = False
    split: bool = False
    odd: bool = False
    second: str | None = None
    value: tuple[str, ...] = ()
    weight: str | None = None


FORMS: dict[type[Statistic], ColumnForm] = {
    SquaredDistance: ColumnForm("({e} - {f}) * ({e} - {f})", "{w} * ({e} - {f})", factor=2.0, split=True),
    DotProduct: ColumnForm("{e} * {f}", "{w} * {f}", split=True),
    L1Distance: ColumnForm("tl.abs({e} - {f})", "{w} * fn.sign({e} - {f})"),
    Mismatch: ColumnForm(
        "tl.where({e} != {f}, {we} * {wf}, 0.0)", "tl.where({e} != {f}, {w} * {wf}, 0.0)", weighted=True
    ),
    Difference: ColumnForm("{e} - {f}", "{w}", odd=True),
    MinSum: ColumnForm("tl.minimum({e}, {f})", "{w} * fn.step({f} - {e})"),
    # The derivative (cos e - f) / sin in terms of 1 - |cos|, which keeps its digits between points that are nearly
    # parallel or opposite: with sign = 1 or -1, cos = sign (1 - slack).
    Angle: ColumnForm(
        "({e} - {f}) * ({e} - {f})",
        "{w} * (({e} - sign{g} * {f}) - slack{g} * {e})",
        split=True,
        second="({e} + {f}) * ({e} + {f})",
        value=(
            "sign{g} = tl.where(s{g} <= other{g}, 1.0, -1.0).to(REAL)",
            "slack{g} = 0.5 * tl.minimum(s{g}, other{g})",
            "sine{g} = 0.5 * tl.sqrt(s{g}) * tl.sqrt(other{g})",
            "s{g} = 2.0 * fn.atan2(tl.sqrt(s{g}), tl.sqrt(other{g}))",
        ),
        weight="sign{g} * fn.reciprocal_or_zero(sine{g})",
    ),
}


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
        sums = {f"s{g}": self.form.term}
        if self.form.second is not None:
            sums[f"other{g}"] = self.form.second
        value = [line.format(g=g) for line in self.form.value]
        lines = [f"{name} = tl.zeros((BM, BN), REAL)" for name in sums]
        if self.width <= HOISTED_COLUMNS:
            lines += [f"f{g}_{k} = {self._right(k)}" for k in range(self.width)]
            for k in range(c):
                names = {"e": f"e{g}_{k}", "f": f"f{g}_{k}", "we": f"e{g}_{c + k}", "wf": f"f{g}_{c + k}"}
                lines += [f"{name} += {term.format(**names)}" for name, term in sums.items()]
            return lines + value
        names = {"e": "x", "f": "y", "we": "wx", "wf": "wy"}
        lines += [f"for k in range({c}):", f"    x = {self._left('k')}", f"    y = {self._right('k')}"]
        if self.form.weighted:
            lines += [f"    wx = {self._left(f'({c} + k)')}", f"    wy = {self._right(f'({c} + k)')}"]
        return [*lines, *(f"    {name} += {term.format(**names)}" for name, term in sums.items()), *value]

    def pull_head(self) -> list[str]:
        """Before the loop: the row side's columns of this program's chunk."""
        if self.width <= HOISTED_COLUMNS:
            return []
        return [f"e{self.g}_{q} = {self._left(f'({self._pulled(q)})')}" for q in range(PULLED_COLUMNS)]

    def pull_tile(self, w: str, same: str | None) -> list[str]:
        """The weights, and the column side's columns of this program's chunk."""
        lines = [] if self.form.weight is None else [f"{w} = {w} * {self.form.weight.format(g=self.g)}"]
        if self.width <= HOISTED_COLUMNS:
            return lines
        lines += [f"f{self.g}_{q} = {self._right(f'({self._pulled(q)})')}" for q in range(PULLED_COLUMNS)]
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
            text = self.form.pulled.format(g=g, w=w, e=f"e{g}_{q}", f=f"f{g}_{q}", wf=wf)
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
