import pytest
import torch

from mercer.operators.fourier import mode_sums
from mercer.operators.fourier.features import FourierBasis
from mercer.operators.fourier.series import fourier_series
from mercer.operators.fourier.toeplitz_gram import ToeplitzGram


@pytest.fixture(params=[1, 2, 3], scope="module")
def problem(request):
    d = request.param
    series = fourier_series(lambda r: torch.exp(-4.0 * r.square().sum(-1)), [1.0, 0.7, 0.5][:d], tolerance=1e-3)
    basis = FourierBasis(series.grid, series.coefficients, neglect=1e-3, center=torch.full((d,), 0.5))
    draw = torch.Generator().manual_seed(d)
    points = torch.rand(50, d, dtype=torch.float64, generator=draw)
    weights = torch.rand(50, dtype=torch.float64, generator=draw)
    values = basis.explicit(points)
    gram = ToeplitzGram(basis, mode_sums(basis, points, weights))
    return gram, values.mT @ (weights[:, None] * values), float(weights.sum())


def test_products_are_those_of_the_stored_matrix(problem, monkeypatch):
    gram, stored, _ = problem
    w = torch.randn(len(stored), 3, dtype=torch.float64)
    torch.testing.assert_close(gram.product(w), stored @ w, rtol=1e-11, atol=1e-10)
    monkeypatch.setattr("mercer.operators.fourier.toeplitz_gram._BLOCK", 1)  # column by column
    torch.testing.assert_close(gram.product(w), stored @ w, rtol=1e-11, atol=1e-10)
    assert gram.product(w[:, :0]).shape == (len(stored), 0)


def test_diagonal_total_and_head_are_those_of_the_stored_matrix(problem):
    gram, stored, total = problem
    torch.testing.assert_close(gram.diagonal(), stored.diagonal(), rtol=1e-11, atol=1e-10)
    assert gram.total == pytest.approx(total)
    for count in (1, 3):
        position, block = gram.head(count)
        assert len(position) == 2 * count - int(gram.basis.has_constant)
        torch.testing.assert_close(block, stored[position][:, position], rtol=1e-11, atol=1e-10)
