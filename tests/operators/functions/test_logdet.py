import pytest
import torch

from mercer.kernels import RBF
from mercer.operators.functions import logdet


@pytest.mark.parametrize("method", ["cholesky", "lanczos", None])
def test_value_is_that_of_torch(method: str | None) -> None:
    K = RBF()(torch.randn(80, 2, dtype=torch.float64))
    result = logdet(K, noise=0.1, method=method)  # type: ignore[arg-type]
    expected = torch.logdet(K.to_dense() + 0.1 * torch.eye(80, dtype=torch.float64))
    assert abs(float(result.value - expected)) <= 4.0 * float(result.standard_error) + 1e-9
    assert result.value.dtype == torch.float64
    assert (result.n_iter > 0) == (result.rank > 0) == (result.method == "lanczos")


def test_small_matrices_are_exact() -> None:
    result = logdet(2.0 * torch.eye(5, dtype=torch.float64), noise=torch.full((5,), 2.0))
    assert float(result.value) == pytest.approx(5 * torch.tensor(4.0).log().item())
    assert float(result.standard_error) == 0.0


def test_gradient_by_the_noise_is_the_trace_of_the_inverse() -> None:
    K = RBF()(torch.randn(80, 2, dtype=torch.float64))
    trace = torch.linalg.inv(K.to_dense() + 0.1 * torch.eye(80, dtype=torch.float64)).trace()
    for method, tolerance in (("cholesky", 1e-8), ("lanczos", 1e-2)):
        noise = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        logdet(K, noise=noise, method=method).value.backward()  # type: ignore[arg-type]
        assert noise.grad is not None
        assert float(noise.grad) == pytest.approx(float(trace), rel=tolerance)
