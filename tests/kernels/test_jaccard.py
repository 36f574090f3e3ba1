"""Sets as indicators, and counts."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mercer.kernels import Intersection, Jaccard, Tanimoto
from mercer.operators.statistics import Columns, MinSum

GENERATOR = np.random.default_rng(0)
BITS = (GENERATOR.random((40, 9)) < 0.4).astype(np.float64)
BITS[BITS.sum(1) == 0, 0] = 1.0
OTHERS = (GENERATOR.random((13, 9)) < 0.4).astype(np.float64)
OTHERS[OTHERS.sum(1) == 0, 0] = 1.0


@pytest.mark.parametrize("kernel", [Jaccard(), Tanimoto()], ids=repr)
@pytest.mark.parametrize("plan", ["dense", "tiles"])
def test_indicators_have_the_index_of_scipy(kernel, plan):
    expected = 1.0 - cdist(BITS.astype(bool), OTHERS.astype(bool), "jaccard")
    K = kernel(BITS, OTHERS, plan=plan) @ torch.eye(13, dtype=torch.float64)
    np.testing.assert_allclose(K.numpy(), expected, rtol=1e-14)


def test_histograms_intersect_in_their_smaller_parts():
    X, Y = GENERATOR.random((20, 5)), GENERATOR.random((8, 5))
    expected = (X.sum(1)[:, None] + Y.sum(1) - cdist(X, Y, "cityblock")) / 2.0
    np.testing.assert_allclose(Intersection()(X, Y).to_dense().numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(Intersection(2.0)(X, Y).to_dense().numpy(), expected / 2.0, rtol=1e-13)


@pytest.mark.parametrize("kernel", [Jaccard(), Tanimoto(), Intersection()], ids=repr)
def test_what_has_nothing_in_common_is_exactly_unlike(kernel):
    X = torch.tensor([[0.1, 0.3, 0.0, 0.0], [0.0, 0.0, 0.7, 0.9], [0.0, 0.0, 0.0, 0.0]])
    K = kernel(X).to_dense()
    assert torch.equal(K, torch.diag(K.diagonal()))
    assert K[2, 2] == 0.0
    assert torch.equal(kernel(X).diagonal() > 0.0, torch.tensor([True, True, False]))


def test_negative_data_are_refused_except_by_tanimoto():
    X = torch.tensor([[1.0, -1.0]])
    for kernel in (Jaccard(), Intersection()):
        with pytest.raises(
            ValueError, match=f"the {type(kernel).__name__} kernel compares histograms: X and Y must not"
        ):
            kernel(X)
        with pytest.raises(ValueError, match="must not be negative"):
            kernel(X.abs(), X)
    assert Tanimoto()(X).to_dense().item() == 1.0
    assert Intersection().on([0])(X).to_dense().item() == 1.0


def test_ties_share_their_slope():
    E = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    dE, dF = torch.zeros_like(E), torch.zeros_like(E)
    MinSum(Columns()).pull(torch.ones(1, 1, dtype=torch.float64), E, E.clone(), dE, dF)
    assert dE.tolist() == dF.tolist() == [[0.5, 0.5]]
