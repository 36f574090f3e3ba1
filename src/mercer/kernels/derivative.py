"""Covariances of derivatives, by the rules of calculus on the expression of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral

from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder, Ones
from mercer.kernels.coordinate import Coordinate
from mercer.operators.maps import Expression, constant, derivatives, leaves, postorder
from mercer.operators.statistics import (
    Codes,
    Columns,
    Difference,
    DotProduct,
    Embed,
    OneHot,
    SquaredDistance,
    Statistic,
)

HIGHEST_ORDER = 4
# Ops with a kink or a pole somewhere; a kernel that applies one to the data is not known to be smooth.
ROUGH = {"sqrt", "rsqrt", "reciprocal_or_zero", "log", "asin", "acos", "angle", "atan2", "maximum", "step", "clamp"}

Orders = int | Sequence[int]


class Derivative(Kernel):
    r"""The covariance of derivatives of a random function f with covariance k; ``kernel.derivative(...)`` gives one.

    .. math:: \operatorname{cov}\left(\partial^a f(x), \partial^b f(y)\right)
        = \frac{\partial^{|a|}}{\partial x^a} \frac{\partial^{|b|}}{\partial y^b} k(x, y)

    Closed forms from the kernel's own expression, with the exact limit where x = y. ``order_x == order_y`` gives a
    positive semidefinite kernel; other orders are a cross-covariance, whose matrix is not symmetric.

    Args:
        kernel: a kernel smooth enough: ``Matern(nu)`` has derivatives of orders below ``2 nu`` in all (its samples of
            orders below ``nu``), and with it a ``SpectralMixture`` of envelope "student_t", where nu is 2.5; ``RBF``,
            ``RationalQuadratic``, other mixtures, ``Linear`` and ``Polynomial`` have all of them.
        order_x: how often f(x) is differentiated: a whole number where the kernel sees one column, else one for each
            column; 4 at most with those of ``order_y``.
        order_y: the same for f(y).

    Raises:
        TypeError: a part of the kernel has no derivatives, or none that are known here.
        ValueError: orders that are no whole numbers >= 0 or more than 4 in all, or beyond the smoothness of the kernel.
        ShapeError: orders for another number of columns.

    Cost: the kernel's own pass, one more for each column involved, and a polynomial of order ``a + b`` on top.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 9.4; Adler, The Geometry of
    Random Fields (1981), theorem 2.2.2.

    >>> Derivative(RBF(lengthscale=2.0), 1, 1)(torch.zeros(1, 1)).to_dense()
    tensor([[0.2500]])
    """

    def __init__(self, kernel: Kernel, order_x: Orders, order_y: Orders) -> None:
        self.kernel, self.order_x, self.order_y = kernel, order_x, order_y
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError for what is no kernel or no order."""
        if not isinstance(self.kernel, Kernel):
            raise TypeError(f"Derivative(kernel=...) must be a kernel, not {self.kernel!r}.")
        total = sum(sum(_listed(name, getattr(self, name))) for name in ("order_x", "order_y"))
        if total > HIGHEST_ORDER:
            raise ValueError(
                f"derivative({self.order_x!r}, {self.order_y!r}) is of order {total} in all, and {HIGHEST_ORDER} is "
                f"the most."
            )

    def trace(self, binder: Binder) -> list[Expression]:
        """The derivatives of the kernel's terms."""
        kernel, x, y = self.kernel, _fitted(self.order_x, binder), _fitted(self.order_y, binder)
        while isinstance(kernel, Derivative):  # of a derivative: what counts is how smooth the first kernel is
            for orders, more in ((x, kernel.order_x), (y, kernel.order_y)):
                orders.update({column: orders[column] + n for column, n in _fitted(more, binder).items()})
            kernel = kernel.kernel
        calculus = Calculus(binder, repr(kernel))
        terms = kernel.trace(binder)
        calculus.require_smooth(terms, {"x": x, "y": y})
        forth = [calculus.derivative(term, {"x": x, "y": y}) for term in terms]
        if x != y:
            back = [calculus.derivative(term, {"x": y, "y": x}) for term in terms]
            forth = [a if a is b else binder.one_sided(a, b) for a, b in zip(forth, back, strict=True)]
        return [term for term in forth if not (term.is_constant and term.number == 0.0)] or [constant(0.0)]


class Calculus:
    """Derivatives of expressions in the columns of X, bound to data; ``name`` is how messages call the kernel."""

    def __init__(self, binder: Binder, name: str) -> None:
        self.binder, self.name = binder, name
        self._scales: dict[tuple[int, int], Expression] = {}

    def derivative(self, term: Expression, orders: dict[str, dict[int, int]]) -> Expression:
        """The derivative of a term of these orders, by side and column."""
        for side, columns in orders.items():
            for column, order in columns.items():
                for _ in range(order):
                    term = self.slope(term, column, side)
        return term

    def slope(self, term: Expression, column: int, side: str) -> Expression:
        """The derivative of a term in a column of x or of y, by the chain rule over its leaves."""
        inner = [found for found in leaves([term]) if found.op in ("statistic", "row", "column")]
        total = constant(0.0)
        for outer, found in zip(derivatives(term, inner), inner, strict=True):
            total = outer * self._leaf_slope(found, column, side) + total
        return total

    def require_smooth(self, terms: Sequence[Expression], orders: dict[str, dict[int, int]]) -> None:
        """Raise unless all terms have derivatives of these orders, by side and column."""
        if any(leaves(terms, "delta")):
            raise TypeError(
                f"{self.name} has a part that tells a point from itself (white noise), which has no derivative. "
                f"Differentiate the rest: (kernel.derivative(...) + White(...))."
            )
        columns: dict[Expression, frozenset[int]] = {}
        for node in postorder(terms):
            own = self._columns(node) if node.op in ("statistic", "row", "column") else frozenset()
            columns[node] = own.union(*(columns[a] for a in node.args))
            order = sum(n for side in orders.values() for c, n in side.items() if c in columns[node])
            if order == 0:
                continue
            if node.op == "matern" and not order < 2.0 * node.number:
                raise ValueError(
                    f"{self.name}: a Matern kernel with nu={node.number:g} has derivatives of orders below 2 nu in "
                    f"all, and order {order} is asked for. Use a larger nu, or RBF."
                )
            rough = node.op in ROUGH or (node.op == "pow" and not float(node.args[1].number).is_integer())
            if rough and columns[node.args[0]]:
                raise TypeError(f"{self.name} is not known to be smooth: its map has {node.op!r} of the data.")

    def _columns(self, found: Expression) -> frozenset[int]:
        """The columns of X that a leaf looks at."""
        slot = int(found.number)
        if found.op == "statistic":
            return frozenset(self._positions(self.binder.statistics[slot].embed))
        value = self.binder.row_values[slot]
        if isinstance(value, Coordinate):
            return frozenset({value.column})
        return frozenset() if isinstance(value, Ones) else frozenset(range(self.binder.X.shape[-1]))

    def _positions(self, embed: Embed) -> tuple[int, ...]:
        """The column of X behind each column of an embedding; all of X where that is not known."""
        known = embed.columns if isinstance(embed, Columns | OneHot | Codes) else None
        return tuple(range(self.binder.X.shape[-1])) if known is None else known

    def _leaf_slope(self, found: Expression, column: int, side: str) -> Expression:
        """The derivative of a statistic or row value in a column of x or y."""
        if column not in self._columns(found):
            return constant(0.0)
        slot = int(found.number)
        if found.op != "statistic":
            if not isinstance(self.binder.row_values[slot], Coordinate):
                raise TypeError(f"{self.name}: the derivative of {self.binder.row_values[slot]!r} is not known.")
            return constant(float((found.op == "row") == (side == "x")))
        statistic = self.binder.statistics[slot]
        rule = RULES.get(type(statistic))
        if rule is None or not isinstance(statistic.embed, Columns):
            raise TypeError(
                f"{self.name} has no derivatives in column {column}: there is no rule for "
                f"{type(statistic).__name__} of {type(statistic.embed).__name__}."
            )
        total = constant(0.0)
        for position, other in enumerate(self._positions(statistic.embed)):
            if other == column:
                total = rule(self, statistic.embed, position, column, side) + total
        return total

    def scale(self, embed: Columns, position: int) -> Expression:
        """What the embedding divides a column by, as a scalar of the map."""
        if embed.scale is None:
            return constant(1.0)
        key = (embed.scale, position)
        if key not in self._scales:
            values: Tensor = self.binder.theta[embed.scale]
            self._scales[key] = self.binder.scalar(values[..., position if values.shape[-1] > 1 else 0])
        return self._scales[key]

    def difference(self, column: int) -> Expression:
        """x - y of one column."""
        return self.binder.statistic(Difference(Columns((column,))))

    def coordinate(self, column: int, side: str) -> Expression:
        """The column of x or of y."""
        row, other = self.binder.row_value(Coordinate(column))
        return row if side == "x" else other


Rule = Callable[[Calculus, Columns, int, int, str], Expression]


def _distance_rule(calculus: Calculus, embed: Columns, position: int, column: int, side: str) -> Expression:
    scale = calculus.scale(embed, position)
    return (2.0 if side == "x" else -2.0) * (calculus.difference(column) / (scale * scale))


def _product_rule(calculus: Calculus, embed: Columns, position: int, column: int, side: str) -> Expression:
    scale = calculus.scale(embed, position)
    return calculus.coordinate(column, "y" if side == "x" else "x") / (scale * scale)


def _difference_rule(calculus: Calculus, embed: Columns, position: int, column: int, side: str) -> Expression:
    return (1.0 if side == "x" else -1.0) / calculus.scale(embed, position)


# The derivative of each statistic in one column of its embedding; a new statistic adds a line.
RULES: dict[type[Statistic], Rule] = {
    SquaredDistance: _distance_rule,
    DotProduct: _product_rule,
    Difference: _difference_rule,
}


def _listed(name: str, orders: Orders) -> list[int]:
    """Orders as a list; one for a whole number."""
    listed = list(orders) if isinstance(orders, Sequence) else [orders]
    for order in listed:
        if isinstance(order, bool) or not isinstance(order, Integral) or order < 0:
            raise ValueError(f"derivative({name}={orders!r}): orders are whole numbers >= 0, one for each column.")
    return [int(order) for order in listed]


def _fitted(orders: Orders, binder: Binder) -> dict[int, int]:
    """The order of each column of X."""
    listed = _listed("order", orders)
    if listed == [0] and isinstance(orders, Integral):
        listed = [0] * binder.width
    if len(listed) != binder.width:
        raise ShapeError(
            f"derivative({orders!r}): the kernel sees {binder.width} columns, so it needs {binder.width} orders, "
            f"one for each: for the first {[1] + [0] * (binder.width - 1)}."
        )
    found: dict[int, int] = {}
    for column, order in zip(binder.all_columns, listed, strict=True):
        found[column] = found.get(column, 0) + order
    return found
