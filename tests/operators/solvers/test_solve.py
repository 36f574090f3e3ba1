import math
import threading
import time
from _thread import interrupt_main

import pytest
import torch
from linear_operator.operators import DenseLinearOperator
from torch import Tensor

from mercer import config
from mercer.errors import MemoryBudgetError, NotConverged, ShapeError
from mercer.kernels import RBF
from mercer.operators import KernelOperator
from mercer.operators.solvers import iterative, methods, solve

METHODS = ("cholesky", "cg", "lstsq", None)


def spd(n: int, condition: float = 1e2, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A symmetric matrix with eigenvalues spread evenly on a log scale from 1 down to 1 / condition."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))[0]
    A = (vectors * torch.logspace(0, -math.log10(condition), n, dtype=torch.float64)) @ vectors.T
    return (0.5 * (A + A.T)).to(dtype)


def true_residual(A: Tensor, x: Tensor, y: Tensor, noise: Tensor | float = 0.0) -> float:
    M = A.double() + torch.diag_embed(torch.as_tensor(noise, dtype=torch.float64).expand(A.shape[:-1]))
    x, y = (x, y.double()) if y.ndim > 1 else (x[:, None], y.double()[:, None])
    return float(((M @ x - y).norm(dim=-2) / y.norm(dim=-2)).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "t"), [(1, 1), (7, 3), (63, 1), (129, 5)])
def test_solution_has_the_residual_it_reports(method: str, n: int, t: int) -> None:
    A, y = spd(n), torch.randn(n, t, dtype=torch.float64)
    solution = solve(A, y, noise=0.1, method=method)
    assert solution.converged
    assert solution.residual <= 1e-6
    assert true_residual(A, solution.x, y, 0.1) == pytest.approx(solution.residual, rel=1e-2, abs=1e-13)
    assert solution.residuals.shape == (t,)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_solution_is_float64_to_the_stated_residual_whatever_the_input(method: str, dtype: torch.dtype) -> None:
    A, y = spd(50, dtype=dtype), torch.randn(50).to(dtype)
    solution = solve(A, y, noise=0.1, method=method)
    assert solution.x.dtype == torch.float64
    assert solution.x.shape == (50,)
    assert true_residual(A, solution.x, y, 0.1) <= 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_noise_of_every_row_is_used(method: str) -> None:
    A, y, noise = spd(40), torch.randn(40, dtype=torch.float64), torch.rand(40, dtype=torch.float64) + 0.01
    assert true_residual(A, solve(A, y, noise=noise, method=method).x, y, noise) <= 1e-6


@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("d", [3, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernel_ridge_reaches_the_residual_against_the_float64_matrix(d: int, noise: float, dtype: torch.dtype) -> None:
    X, y = torch.randn(300, d).to(dtype), torch.randn(300).to(dtype)
    kernel = RBF(lengthscale=math.sqrt(d))
    solution = solve(kernel(X), y, noise=noise, method="cg", rank=60)
    K = torch.exp(-0.5 * torch.cdist(X.double(), X.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2 / d)
    assert true_residual(K, solution.x, y, noise) <= 1e-6
    assert solution.rank == 60


def test_float64_is_used_at_once_where_float32_would_not_help() -> None:
    X, y = torch.randn(400, 2), torch.randn(400)
    solution = solve(RBF(lengthscale=2.0)(X), y, noise=1e-6, method="cg", rank=60)
    assert solution.converged
    assert solution.precision == "float64, since float32 is too coarse"


def test_precision_float64_uses_no_float32_product() -> None:
    solution = solve(RBF()(torch.randn(100, 2)), torch.randn(100), noise=0.1, method="cg", precision="float64")
    assert solution.precision == "float64"
    mixed = solve(RBF()(torch.randn(100, 2)), torch.randn(100), noise=0.1, method="cg", rank=10)
    assert mixed.precision == "float32 (residuals float64)"


def test_linear_operator_gives_the_same_as_its_tensor() -> None:
    A, y = spd(30), torch.randn(30, 2, dtype=torch.float64)
    assert torch.equal(solve(DenseLinearOperator(A), y, noise=0.1).x, solve(A, y, noise=0.1).x)


def test_zero_column_has_the_zero_solution() -> None:
    y = torch.randn(30, 3, dtype=torch.float64)
    y[:, 1] = 0.0
    for method in METHODS:
        solution = solve(spd(30), y, noise=0.1, method=method)
        assert bool((solution.x[:, 1] == 0).all())
        assert solution.residual <= 1e-6


@pytest.mark.parametrize("shape", [(0, 2), (5, 0)])
def test_nothing_to_solve_gives_an_empty_solution(shape: tuple[int, int]) -> None:
    solution = solve(torch.eye(shape[0]), torch.zeros(shape))
    assert solution.x.shape == shape
    assert solution.residual == 0.0
    assert solution.converged


@pytest.mark.parametrize("method", METHODS)
def test_batches_broadcast_like_a_loop(method: str) -> None:
    A = torch.stack([spd(9, seed=i) for i in range(6)]).reshape(3, 2, 9, 9)
    y, noise = torch.randn(2, 9, 4, dtype=torch.float64), torch.rand(3, 2, 1, dtype=torch.float64) + 0.1
    solution = solve(A, y, noise=noise, method=method)
    expected = torch.linalg.solve(A + noise[..., None] * torch.eye(9, dtype=torch.float64), y)
    torch.testing.assert_close(solution.x, expected, rtol=1e-4, atol=1e-5)
    assert solution.residuals.shape == (3, 2, 4)


def test_batch_of_right_hand_sides_of_one_matrix() -> None:
    A, y = spd(9), torch.randn(3, 2, 9, 4, dtype=torch.float64)
    solution = solve(A, y, noise=0.1)
    torch.testing.assert_close(solution.x, torch.linalg.solve(A + 0.1 * torch.eye(9, dtype=torch.float64), y))
    assert solution.residuals.shape == (3, 2, 4)


def test_good_start_needs_fewer_iterations() -> None:
    A, y = spd(200, 1e4), torch.randn(200, dtype=torch.float64)
    cold = solve(A, y, noise=1e-3, method="cg", rank=10)
    warm = solve(A, y, noise=1e-3, method="cg", rank=10, initial=cold.x + 1e-4 * torch.randn(200))
    assert warm.n_iter < cold.n_iter
    assert solve(A, y, noise=1e-3, method="cg", rank=10, initial=cold.x).n_iter == 0


def test_same_seed_gives_the_same_solution() -> None:
    K, y = RBF()(torch.randn(200, 2)), torch.randn(200)
    assert torch.equal(solve(K, y, noise=0.1, method="cg").x, solve(K, y, noise=0.1, method="cg").x)


def test_singular_system_gives_the_least_norm_solution() -> None:
    A = spd(20)
    A = torch.cat([torch.cat([A, A]), torch.cat([A, A])], 1)
    b = torch.randn(20, 2, dtype=torch.float64)
    y = torch.cat([b, b])
    solution = solve(A, y)
    assert solution.method == "lstsq"
    torch.testing.assert_close(solution.x, torch.linalg.pinv(A, rtol=1e-12) @ y)


def test_singular_system_without_solution_raises_with_the_least_squares_answer() -> None:
    A, y = torch.ones(4, 4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(NotConverged, match=r"eigenvalues are zero to round-off.*give a positive noise") as error:
        solve(A, y)
    torch.testing.assert_close(error.value.solution.x, torch.full((4,), 0.625, dtype=torch.float64))


# what is raised


def test_too_few_iterations_raise_with_the_best_answer_so_far() -> None:
    A, y = spd(200, 1e6), torch.randn(200, dtype=torch.float64)
    with pytest.raises(NotConverged, match="Give max_iter above 3, a rank above 5") as error:
        solve(A, y, method="cg", rank=5, max_iter=3)
    solution = error.value.solution
    assert not solution.converged
    assert solution.n_iter == 3
    assert true_residual(A, solution.x, y) == pytest.approx(solution.residual)
    again = solve(A, y, method="cg", rank=5, max_iter=3, raise_on_failure=False)
    assert torch.equal(again.x, solution.x)


def test_explicit_cholesky_of_an_indefinite_matrix_raises_and_names_noise() -> None:
    with pytest.raises(NotConverged, match=r"not positive definite.*Give a larger noise"):
        solve(-torch.eye(3), torch.ones(3), method="cholesky")


def test_cg_on_an_indefinite_matrix_raises() -> None:
    A = torch.diag(torch.linspace(-1.0, 1.0, 20, dtype=torch.float64))
    with pytest.raises(NotConverged, match="not positive definite"):
        solve(A, torch.randn(20, dtype=torch.float64), method="cg", rank=2)


def test_asymmetric_matrix_is_not_solved_in_silence() -> None:
    A = spd(20)
    A[0, 19] += 0.5
    for method in ("cholesky", "cg", None):
        with pytest.raises(NotConverged):
            solve(A, torch.randn(20, dtype=torch.float64), method=method)


def test_beyond_float64_round_off_says_so() -> None:
    with pytest.raises(NotConverged, match=r"round-off of float64 alone is .*larger noise or a larger rtol"):
        solve(spd(50, 1e12), torch.randn(50, dtype=torch.float64), method="cholesky")


def test_nan_in_the_matrix_raises() -> None:
    A = spd(20)
    A[3, 3] = torch.nan
    for method in METHODS:
        with pytest.raises(NotConverged, match="NaN"):
            solve(A, torch.ones(20), method=method)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"A": torch.ones(2, 3)}, ShapeError, "A must be square"),
        ({"y": torch.ones(4)}, ShapeError, "A is 3 x 3, so y needs 3 rows"),
        ({"A": torch.ones(2, 3, 3)}, ShapeError, "A is a batch"),
        ({"y": [1.0, 2.0, 3.0]}, TypeError, "y must be a tensor"),
        ({"A": "K"}, TypeError, "A must be a tensor or a linear operator"),
        ({"y": torch.tensor([1.0, torch.nan, 3.0])}, ValueError, "y contains NaN"),
        ({"noise": -1.0}, ValueError, "noise must be finite and not negative"),
        ({"noise": torch.ones(4)}, ShapeError, "noise must be one number or one a row"),
        ({"rtol": 0.0}, ValueError, "rtol must be between 0 and 1"),
        ({"method": "lu"}, ValueError, "method must be"),
        ({"max_iter": -1}, ValueError, "max_iter must be 0 or more"),
        ({"rank": -1}, ValueError, "rank must be 0 or more"),
        ({"initial": torch.ones(3, 1)}, ShapeError, "initial must have the shape of y"),
        ({"precision": "float16"}, ValueError, "precision must be"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        solve(**{"A": torch.eye(3), "y": torch.ones(3), **arguments})  # type: ignore[arg-type]


def test_cholesky_beyond_the_memory_budget_raises_and_names_cg() -> None:
    config.set_memory_budget("1MB")
    with pytest.raises(MemoryBudgetError, match="method='cg'"):
        solve(RBF()(torch.randn(2000, 2)), torch.randn(2000), noise=1.0, method="cholesky")


# the choice


def test_small_systems_go_to_cholesky_and_say_why() -> None:
    solution = solve(spd(20), torch.ones(20), noise=0.1)
    assert solution.method == "cholesky"
    assert "a fraction of a second" in solution.reason


def test_large_systems_go_to_cg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_SMALL", 50)
    monkeypatch.setattr(methods, "cholesky_seconds", lambda system, columns: 10.0)
    solution = solve(RBF()(torch.randn(200, 2)), torch.randn(200), noise=1.0)
    assert solution.method == "cg"


def test_memory_decides_for_cg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_SMALL", 50)
    config.set_memory_budget("1MB")
    solution = solve(RBF()(torch.randn(600, 2)), torch.randn(600), noise=1.0)
    assert solution.method == "cg"
    assert "the memory budget is 1 MB" in solution.reason


def test_a_hopeless_preconditioner_turns_to_cholesky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_SMALL", 50)
    monkeypatch.setattr(methods, "cholesky_seconds", lambda system, columns: 1e-9)
    solution = solve(RBF(lengthscale=0.1)(torch.randn(200, 5)), torch.randn(200), noise=1e-4)
    assert solution.method == "cholesky"
    assert "were expected to need" in solution.reason


def test_slow_progress_turns_to_cholesky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_SMALL", 50)
    monkeypatch.setattr(methods, "cholesky_seconds", lambda system, columns: 30.0)
    monkeypatch.setattr(iterative, "iteration_seconds", lambda system, columns, rank: 1.0)
    monkeypatch.setattr(iterative, "expected_iterations", lambda eigenvalue, noise, rtol: 20.0)
    solution = solve(spd(300, 1e7), torch.randn(300, dtype=torch.float64), rank=3)
    assert solution.method == "cholesky"
    assert "had only come to a residual of" in solution.reason


def test_float32_factor_is_refined_to_the_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mercer.operators.solvers.direct._DOUBLE", 50)
    K, y = RBF()(torch.randn(300, 3)), torch.randn(300, 2)
    solution = solve(K, y, noise=1e-2, method="cholesky")
    assert solution.precision == "float32 factor, refined with float64 residuals"
    assert true_residual(K.double().to_dense(), solution.x, y, 1e-2) <= 1e-6
    hard = solve(K, y, noise=1e-8, method="cholesky")  # not positive definite in float32
    assert hard.precision == "float64"
    assert hard.converged


# targets


@pytest.mark.parametrize(("method", "problems"), [(None, 500), ("cholesky", 500), ("cg", 40), ("short cg", 40)])
def test_no_failure_is_silent_on_ill_conditioned_problems(method: str | None, problems: int) -> None:
    generator = torch.Generator().manual_seed(1)
    reached = 0
    for i in range(problems):
        n = int(torch.randint(5, 40, (), generator=generator))
        condition = 10.0 ** (2 + 10 * float(torch.rand((), generator=generator, dtype=torch.float64)))
        A = spd(n, condition, seed=i, dtype=torch.float32 if i % 3 == 0 else torch.float64)
        y = torch.randn(n, 1 + i % 2, generator=generator, dtype=torch.float64)
        options = {"method": "cg", "rank": 3, "max_iter": 60} if method == "short cg" else {"method": method}
        solution = solve(A, y, **options, raise_on_failure=False)  # type: ignore[arg-type]
        if solution.converged:
            assert true_residual(A, solution.x, y) <= 1e-6, (i, n, condition)
            reached += 1
        else:
            with pytest.raises(NotConverged, match=r"[Gg]ive (a|max_iter)") as error:
                solve(A, y, **options)  # type: ignore[arg-type]
            assert torch.equal(error.value.solution.x, solution.x)
    assert reached >= (0.1 if method == "short cg" else 0.7) * problems


@pytest.mark.slow("a factorisation long enough to be interrupted")
@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_interrupt_is_heard_within_a_second(method: str) -> None:
    K, y = RBF(lengthscale=0.5)(torch.randn(6000, 5)), torch.randn(6000)
    timer = threading.Timer(0.5, interrupt_main)
    timer.start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        solve(K, y, noise=1e-4, method=method, precision="float64", rtol=1e-12, rank=100 if method == "cg" else None)
    assert time.perf_counter() - started < 1.5


def test_eight_right_hand_sides_cost_one_product_an_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    K = RBF(lengthscale=0.3)(torch.rand(300, 2, dtype=torch.float64))
    y = torch.randn(300, 8, dtype=torch.float64)
    widths: list[int] = []
    product = KernelOperator._product

    def count(self: KernelOperator, v: Tensor) -> Tensor:
        widths.append(v.shape[-1])
        return product(self, v)

    monkeypatch.setattr(KernelOperator, "_product", count)
    options = {"noise": 1e-2, "method": "cg", "rank": 5, "precision": "float64"}
    together = solve(K, y, **options)
    # One an iteration; beside them true residuals, when the residual has fallen by 1e6 and at the end.
    assert together.n_iter < len(widths) <= together.n_iter + 5
    widths.clear()
    single = solve(K, y[:, :1], **options)
    assert together.n_iter <= single.n_iter
