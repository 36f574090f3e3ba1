"""Points at the edge of what a plan can take: the right answer, or a clear refusal."""

import pytest
import torch

from mercer.kernels import RBF, Laplacian, Linear, Matern, Wendland, White
from mercer.operators.plans import PLANS

KERNELS = [RBF(0.5), Matern(0.5), Linear(bias=0.2), Wendland(0.3), RBF() + Linear(), Laplacian(0.4), White(0.1) + RBF()]


def points():
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(60, 2, generator=generator)
    axis = torch.linspace(0, 1, 7)
    return {
        "no rows": torch.zeros(0, 2),
        "no columns": torch.zeros(5, 0),
        "one row": X[:1],
        "duplicates": X[:5].repeat(8, 1),
        "a constant column": torch.cat([X[:, :1], torch.ones(60, 1)], 1),
        "all the same": torch.ones(30, 2),
        "a grid": torch.cartesian_prod(axis, axis),
        "a grid far off": torch.cartesian_prod(axis, axis) + 1e4,
        "tiny": 1e-6 * X,
        "huge": 1e6 * X,
    }


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("edge", points())
def test_every_plan_gives_the_right_answer_or_says_why_not(name, edge):
    X = points()[edge]
    for kernel in KERNELS:
        try:
            K = kernel(X).with_plan(name)
        except ValueError as refusal:
            if "does not apply" not in str(refusal):
                raise
            continue
        v = torch.linspace(-1, 2, 3 * len(X)).reshape(-1, 3)
        exact = kernel(X.double()).with_plan("tiles").to_dense()
        error = ((K @ v).double() - exact @ v.double()).norm()
        assert error <= max(K.plan.error, 2e-6) * exact.norm() * v.double().norm()
