"""What is true of every kernel matrix: symmetry, positive definiteness, blocks, diagonals, duplicates, batches."""

import numpy as np
import pytest
import torch


def close(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max() + 1.0))


def test_the_dense_matrix_is_symmetric_to_round_off(case):
    for dtype in (torch.float32, torch.float64):
        K = case.kernel(3)(case.points(129, 3, dtype)).to_dense()
        assert float((K - K.mT).norm()) <= 32.0 * torch.finfo(dtype).eps * float(K.norm())


@pytest.mark.cases(lambda c: c.psd)
def test_the_matrix_is_positive_semidefinite(case):
    K = case.kernel(3)(case.points(40, 3)).to_dense()
    values = torch.linalg.eigvalsh(K)
    assert values[0] >= -1e-13 * values[-1]


def test_the_transpose_is_the_matrix_of_exchanged_points(case):
    X, Y = case.points(7, 3), case.points(5, 3, seed=1)
    K = case.kernel(3)(X, Y)
    assert K.shape == (7, 5)
    assert K.T.shape == (5, 7)
    close(K.T.to_dense(), K.to_dense().T)
    close(K.T.to_dense(), case.kernel(3)(Y, X).to_dense())
    v = torch.randn(7, 2, dtype=torch.float64)
    close(K.T @ v, K.to_dense().T @ v)


def test_blocks_of_the_lazy_matrix_are_blocks_of_the_dense_one(case):
    X = case.points(12, 3)
    K = case.kernel(3)(X)
    dense = K.to_dense()
    rows, columns = torch.tensor([7, 2, 2, 9]), torch.tensor([2, 11, 7])
    close(K[2:9].to_dense(), dense[2:9])
    close(K[2:9, 5:].to_dense(), dense[2:9, 5:])
    close(K[3:8, 3:8].to_dense(), dense[3:8, 3:8])
    close(K[rows].to_dense(), dense[rows])
    close(K[rows][:, columns].to_dense(), dense[rows][:, columns])
    close(K[rows][:, columns].T.to_dense(), dense[rows][:, columns].T)
    assert float(K[3, 3]) == pytest.approx(float(dense[3, 3]))
    assert float(K[3, 4]) == pytest.approx(float(dense[3, 4]))
    v = torch.randn(5, 2, dtype=torch.float64)
    close(K[2:9, 4:9] @ v, dense[2:9, 4:9] @ v)
    close(K[torch.tensor([2, 2, 7]), torch.tensor([2, 7, 7])], dense[[2, 2, 7], [2, 7, 7]])


def test_the_diagonal_is_that_of_the_dense_matrix(case):
    X = case.points(12, 3)
    K = case.kernel(3)(X)
    close(K.diagonal(), K.to_dense().diagonal(), 1e-14)
    block = K[4:9, 2:7]
    close(block.diagonal(), block.to_dense().diagonal(), 1e-14)


def test_equal_points_are_as_similar_as_a_point_and_itself(case):
    X = case.points(5, 3)
    twice = torch.cat([X, X])
    K = case.kernel(3)(twice, twice.clone()).to_dense()  # two sets, so that white noise has no part
    close(K[:5, :5], K[5:, :5])
    close(K[:5, :5].diagonal(), K[5:, :5].diagonal())


def test_constant_columns_are_harmless(case):
    X = case.points(9, 3)
    X[:, 1] = X[0, 1]
    K = case.kernel(3)(X).to_dense().numpy()
    np.testing.assert_allclose(K, case.define(*[X.numpy()] * 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_matrices_without_rows_or_columns_work(case, n, m):
    X, Y = case.points(n, 3), case.points(m, 3, seed=1)
    for K in (case.kernel(3)(X, Y, plan="tiles"), case.kernel(3)(X, Y)):
        assert K.to_dense().shape == (n, m)
        assert torch.equal(K @ torch.ones(m, 2, dtype=torch.float64), torch.zeros(n, 2, dtype=torch.float64))
    empty = case.kernel(3)(case.points(0, 3))
    assert empty.to_dense().shape == (0, 0)
    assert empty.diagonal().shape == (0,)
    assert (empty @ torch.ones(0, 2, dtype=torch.float64)).shape == (0, 2)


def test_a_batch_of_points_gives_a_batch_of_matrices(case):
    parts = [case.points(6, 3, seed=s) for s in range(3)]
    others = [case.points(4, 3, seed=s + 5) for s in range(3)]
    K = case.kernel(3)(torch.stack(parts), torch.stack(others))
    assert K.shape == (3, 6, 4)
    v = torch.randn(3, 4, 2, dtype=torch.float64)
    for b in range(3):
        single = case.kernel(3)(parts[b], others[b]).to_dense()
        close(K.to_dense()[b], single)
        close((K @ v)[b], single @ v[b])
        close(K[b].to_dense(), single)
    square = case.kernel(3)(torch.stack(parts))
    close(square.diagonal()[1], case.kernel(3)(parts[1]).diagonal())
    close(square.to_dense()[1], case.kernel(3)(parts[1]).to_dense())


def test_a_batch_of_hyperparameters_gives_a_batch_of_matrices(case):
    kernel = case.kernel(3)
    found = kernel.hyperparameters()
    factors = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

    def batched(value):
        return factors.reshape(3, *[1] * value.dim()) * value

    def with_event(h):
        # one lengthscale for all columns has event shape (1,) in a batch
        return batched(h.value.reshape(1) if h.domain.vector and h.value.dim() == 0 else h.value)

    if not found:
        pytest.skip("no hyperparameters")
    X, Y = case.points(6, 3), case.points(4, 3, seed=1)
    K = kernel.with_values({h.path: with_event(h) for h in found})(X, Y)
    assert K.shape == (3, 6, 4)
    v = torch.randn(4, dtype=torch.float64)
    for b in range(3):
        single = kernel.with_values({h.path: h.value * factors[b] for h in found})(X, Y).to_dense()
        close(K.to_dense()[b], single)
        close((K @ v)[b], single @ v)


@pytest.mark.cases(lambda c: c.data != "sets")
def test_integers_lists_and_read_only_arrays_are_points(case):
    X = np.arange(1, 7).reshape(2, 3)
    X.setflags(write=False)
    from_array, from_list = case.kernel(3)(X), case.kernel(3)(X.tolist())
    assert from_array.dtype == torch.get_default_dtype()
    assert torch.equal(from_array.to_dense(), from_list.to_dense())
