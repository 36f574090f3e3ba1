"""Fused kernels, in Triton's interpreter, against definitions in float64: products and gradients of every kernel."""

import numpy as np
import pytest
import torch

from mercer.operators.gpu import Fused, why_not_fused
from mercer.operators.maps import evaluate, leaf, postorder
from mercer.operators.statistics import PowerDistance, TileStatistic

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")  # NumPy's, of log2(0)

pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")


def has_fused_form(case):
    """All but functions of blocks of points, the Bessel function and sums of powers of differences."""
    d = max(3, case.width)
    spec = case.kernel(d)(case.points(2, d)).spec
    bessel = any(node.op == "matern" and not (node.number - 0.5).is_integer() for node in postorder(spec.terms))
    power = any(isinstance(statistic, PowerDistance) for statistic in spec.statistics)
    return not (bessel or power) and not any(isinstance(statistic, TileStatistic) for statistic in spec.statistics)


fused_only = pytest.mark.cases(lambda case: has_fused_form(case))  # pytest would mark a function with a name


def operands_of(case, n, m, d, dtype, symmetric=False):
    d = max(d, case.width)
    X, Y = case.points(n, d, dtype), case.points(m, d, dtype, seed=1)
    K = case.kernel(d)(X) if symmetric else case.kernel(d)(X, Y)
    if len(K.spec.statistics) >= d > 5:  # a statistic for each column: long code with nothing new, seconds to interpret
        return operands_of(case, n, m, 5, dtype, symmetric)
    A, B = X.double().numpy(), (X if symmetric else Y).double().numpy()
    return K._operands()[0], A, A if symmetric else B


def few(n, m, t, square):
    """Sizes: float32 by columns in registers and by GEMM of halves, float64 by columns in a loop."""
    names = ("n", "m", "d", "t", "symmetric", "dtype")
    return pytest.mark.parametrize(
        names,
        [
            (n, m, 3, t, False, torch.float32),
            (square, square, 17, 1, True, torch.float32),
            (7, 7, 9, 2, True, torch.float64),
        ],
    )


def test_kernels_without_a_fused_form_say_why(case):
    d = max(3, case.width)
    reason = why_not_fused(case.kernel(d)(case.points(2, d)).spec, torch.float32)
    assert (reason is None) == has_fused_form(case)
    assert reason is None or "plain torch" in reason


@few(9, 35, 3, square=33)
@fused_only
def test_products_agree_with_the_definition(case, n, m, d, t, symmetric, dtype):
    operands, A, B = operands_of(case, n, m, d, dtype, symmetric)
    v = torch.randn(m, t, dtype=torch.float64).to(dtype)
    result = Fused(operands).product(v).double().numpy()
    exact = case.define(A, B.copy())  # not the same array: delta is not the business of the product
    bound = 4.0 * torch.finfo(dtype).eps * (2.0 + case.radius(A, B))
    size = np.linalg.norm(np.abs(exact) @ np.abs(v.double().numpy()))
    assert np.linalg.norm(result - exact @ v.double().numpy()) <= bound * size + 1e-30


def by_pairs(operands, u, v):
    """Gradients of sum(u * (K @ v)) from n * m separate pairs in float64: the sums, and the sums of absolute values."""
    spec, (n, m) = operands.spec, operands.shape
    i, j = torch.arange(n).repeat_interleave(m), torch.arange(m).repeat(n)
    double = operands.unflatten([t.double() for t in operands.flat()])
    sides = [[t[i] for t in (*double.left, *double.row)], [t[j] for t in (*double.rights, *double.columns)]]
    thetas = [t.expand(n * m) for t in double.theta]
    leaves = [t.clone().requires_grad_(True) for t in (*sides[0], *sides[1], *thetas)]
    count = len(spec.statistics)
    left, right, theta = leaves[: len(sides[0])], leaves[len(sides[0]) : 2 * len(sides[0])], leaves[2 * len(sides[0]) :]
    values = {leaf("delta"): torch.zeros((), dtype=torch.float64)}
    for g, statistic in enumerate(spec.statistics):
        values[leaf("statistic", g)] = statistic.pairs(left[g], right[g])
    for g in range(len(spec.row_values)):
        values[leaf("row", g)], values[leaf("column", g)] = left[count + g], right[count + g]
    values |= {leaf("theta", slot): t for slot, t in zip(spec.scalars, theta, strict=True)}
    K = evaluate([spec.total], values)[0].expand(n * m)
    G = (u.double() @ v.double().mT).flatten()
    found = torch.autograd.grad((G * K).sum(), leaves, allow_unused=True, materialize_grads=True)

    def collect(parts):
        rows = [torch.zeros(n, *p.shape[1:], dtype=torch.float64).index_add(0, i, p) for p in parts[: len(left)]]
        columns = [
            torch.zeros(m, *p.shape[1:], dtype=torch.float64).index_add(0, j, p)
            for p in parts[len(left) : 2 * len(left)]
        ]
        last = [p.sum() for p in parts[2 * len(left) :]]
        if operands.symmetric:
            return [r + c for r, c in zip(rows, columns, strict=True)] + last
        return rows[:count] + columns[:count] + rows[count:] + columns[count:] + last

    return collect(found), collect([p.abs() for p in found])


@few(9, 13, 2, square=11)
@fused_only
def test_gradients_agree_with_the_definition(case, n, m, d, t, symmetric, dtype):
    operands, A, B = operands_of(case, n, m, d, dtype, symmetric)
    u, v = torch.randn(n, t, dtype=torch.float64).to(dtype), torch.randn(m, t, dtype=torch.float64).to(dtype)
    exact, size = by_pairs(operands, u, v)
    got = Fused(operands).pull(u, v, (True,) * len(operands.flat()))
    bound = 8.0 * torch.finfo(dtype).eps * (2.0 + case.radius(A, B))
    assert len(got) == len(exact)
    for mine, theirs, scale in zip(got, exact, size, strict=True):
        assert mine.dtype in (dtype, torch.float64)
        assert (mine.double() - theirs).norm() <= bound * scale.norm() + 1e-30
