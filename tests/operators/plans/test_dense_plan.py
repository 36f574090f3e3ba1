"""When K is stored: not for one product beyond 64 MB, but for many."""

import pytest
import torch

from mercer.kernels import RBF
from mercer.operators import solve


def stored(K):
    return "dense" in K._operands()[1]


def test_many_products_are_planned_with_a_store_and_one_is_not():
    K = RBF(10.0)(torch.rand(5000, 100), torch.rand(5000, 100))  # 100 MB, and an entry takes 102 multiply-adds
    assert K.plan.name == "tiles"
    assert K.plan_for(products=64).name == "dense"
    few = RBF(1.0)(torch.rand(5000, 3), torch.rand(5000, 3), plan=None)
    assert few.plan_for(products=64).name != "dense"  # an entry costs less than loading it


def test_a_matrix_is_stored_once_it_has_been_multiplied_often():
    torch.manual_seed(0)
    X, Y = torch.rand(4500, 100), torch.rand(4500, 100)
    K, v = RBF(10.0)(X, Y), torch.rand(4500)
    first = K @ v
    assert not stored(K)
    for _ in range(200):
        if stored(K):
            break
        last = K @ v
    assert stored(K)
    torch.testing.assert_close(last, first, rtol=2e-6, atol=0.0)


def test_who_knows_the_number_of_products_can_say_it():
    K = RBF(10.0)(torch.rand(4500, 100), torch.rand(4500, 100))
    K.expect(100)
    K @ torch.rand(4500)
    assert stored(K)


def test_weights_too_many_to_factorise_for_few_rows_are_left_to_iterations():
    pytest.importorskip("finufft")
    X = torch.rand(5000, 3, generator=torch.Generator().manual_seed(1))
    K = RBF(0.2)(X).with_plan("fourier", tolerance=1e-6)
    direct = K.direct()
    assert direct.n_weights > 4000
    assert direct.least_rows > 5000
    assert solve(K, X[:, 0], noise=0.1, rtol=1e-4).method == "cg"
