"""Nystrom attention against its formula with dense matrices and a Cholesky factor in float64."""

import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Linear, Matern
from mercer.nn.attention import nystrom
from mercer.nn.functional import gaussian_attention, nystrom_attention


def by_definition(q, landmarks, v, *, kernel=None, normalize=True, ridge=1e-2):
    """P (D^-1/2 (A + ridge)^-1 D^-1/2) P' V, one matrix at a time, in float64."""

    def k(X, Y):
        return torch.exp(-0.5 * torch.cdist(X, Y).square()) if kernel is None else kernel(X, Y).to_dense()

    q, landmarks, v = (t.double().reshape(-1, *t.shape[-2:]) for t in (q, landmarks, v))
    out = []
    for Q, L, V in zip(q, landmarks, v, strict=True):
        P, A = k(Q, L), k(L, L)
        D = A.sum(-1).rsqrt().diag() if normalize else torch.eye(len(L), dtype=torch.float64)
        factor = torch.linalg.cholesky(A + ridge * A.diagonal().mean() * torch.eye(len(L), dtype=torch.float64))
        out.append(P @ D @ torch.cholesky_solve(D @ P.mT @ V, factor))
    return torch.stack(out)


def tokens(n=50, m=9, e=6, w=5, dtype=torch.float64, batch=(2, 3)):
    q = 0.6 * torch.randn(*batch, n, e, dtype=dtype)
    return q, 0.6 * torch.randn(*batch, m, e, dtype=dtype), torch.randn(*batch, n, w, dtype=dtype)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("inverse", ["cholesky", "pinv", "newton"])
def test_it_is_its_formula(inverse, normalize):
    q, landmarks, v = tokens()
    found = nystrom_attention(q, landmarks, v, normalize=normalize, inverse=inverse)
    expected = by_definition(q, landmarks, v, normalize=normalize).reshape(found.shape)
    accuracy = 2e-3 if inverse == "newton" else 1e-12  # Newton stops at a residual of 1e-3
    assert (found - expected).abs().max() <= accuracy * expected.abs().max()


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
def test_narrow_types_lose_only_what_they_cannot_hold(dtype, accuracy):
    q, landmarks, v = tokens(dtype=dtype)
    found = nystrom_attention(q, landmarks, v, inverse="cholesky")
    assert found.dtype == dtype
    expected = by_definition(q, landmarks, v).reshape(found.shape)
    assert (found.double() - expected).abs().max() <= accuracy * expected.abs().max()


@pytest.mark.parametrize("kernel", [RBF(1.7), RBF([0.5, 1.0, 2.0, 1.0, 1.0, 3.0]), Matern(1.2), RBF() + 0.3 * Linear()])
def test_any_positive_definite_kernel_may_be_the_similarity(kernel):
    q, landmarks, v = tokens(batch=(2,))
    found = nystrom_attention(q, landmarks, v, kernel=kernel, inverse="cholesky", normalize=False)
    torch.testing.assert_close(found, by_definition(q, landmarks, v, kernel=kernel, normalize=False), rtol=0, atol=1e-9)


def test_each_head_may_have_a_lengthscale_and_learns_it():
    q, landmarks, v = tokens()
    scales = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    found = nystrom_attention(q, landmarks, v, kernel=RBF(scales), inverse="cholesky")
    for head in range(3):
        kernel = RBF(scales[head].item())
        one = nystrom_attention(q[:, head], landmarks[:, head], v[:, head], kernel=kernel, inverse="cholesky")
        torch.testing.assert_close(found[:, head], one)
    gradient = torch.autograd.grad(found.sum(), scales)[0]
    assert bool(gradient.isfinite().all())
    assert bool((gradient != 0.0).all())


def test_with_all_tokens_as_landmarks_it_is_exact():
    q, _, v = tokens(n=20)
    found = nystrom_attention(q, q, v, normalize=False, inverse="cholesky", ridge=1e-10)
    torch.testing.assert_close(found, gaussian_attention(q, v), rtol=0.0, atol=1e-6)


def test_exact_attention_is_its_definition():
    q, _, v = tokens(batch=())
    K = torch.exp(-0.5 * torch.cdist(q, q).square())
    torch.testing.assert_close(gaussian_attention(q, v), K @ v)
    torch.testing.assert_close(gaussian_attention(q, v, normalize_rows=True), (K / K.sum(-1, keepdim=True)) @ v)
    mask = torch.arange(50) < 30
    found = gaussian_attention(q, v, normalize_rows=True, mask=mask)
    torch.testing.assert_close(found[:30], gaussian_attention(q[:30], v[:30], normalize_rows=True))
    assert not found[30:].any()


@pytest.mark.parametrize("kept", [0, 1 << 24])
def test_tiles_change_nothing(monkeypatch, kept):
    q, landmarks, v = tokens(n=700)
    whole = nystrom_attention(q, landmarks, v)
    monkeypatch.setattr(nystrom, "_TILE", 1)
    monkeypatch.setattr(nystrom, "_KEPT", kept)
    torch.testing.assert_close(nystrom_attention(q, landmarks, v), whole)


@pytest.mark.parametrize("n_iter", [30, None])
def test_gradients_agree_with_finite_differences(n_iter):
    q, landmarks, v = (t.requires_grad_() for t in tokens(n=5, m=3, e=2, w=2, batch=(2,)))

    def attention(q, landmarks, v):
        return nystrom_attention(q, landmarks, v, inverse="newton", n_iter=n_iter)

    assert torch.autograd.gradcheck(attention, (q, landmarks, v))


def test_gradients_inside_transforms_are_those_outside():
    q, landmarks, v = tokens(batch=(2,))

    def value(q):
        return nystrom_attention(q, landmarks[0], v[0], n_iter=20).sum()

    q = q.requires_grad_()
    expected = torch.autograd.grad(value(q[0]) + value(q[1]), q)[0]
    torch.testing.assert_close(torch.vmap(torch.func.grad(value))(q.detach()), expected)


def test_a_graph_changes_no_value():
    q, landmarks, v = tokens(n=600, dtype=torch.float32)
    with_graph = nystrom_attention(q.clone().requires_grad_(), landmarks, v)
    torch.testing.assert_close(with_graph.detach(), nystrom_attention(q, landmarks, v))


@pytest.mark.parametrize("inverse", ["newton", "cholesky"])
def test_tokens_and_landmarks_that_are_not_there_count_nowhere(inverse):
    q, landmarks, v = tokens(batch=(2,))
    mask, there = (torch.arange(50) < 40).expand(2, -1), (torch.arange(9) != 4).expand(2, -1)
    for normalize in (True, False):
        options = {"inverse": inverse, "normalize": normalize, "n_iter": 30}
        found = nystrom_attention(q, landmarks, v, mask=mask, landmark_mask=there, **options)
        expected = nystrom_attention(q[:, :40], landmarks[:, there[0]], v[:, :40], **options)
        torch.testing.assert_close(found[:, :40], expected)
        assert not found[:, 40:].any()
    nothing = nystrom_attention(q, landmarks, v, landmark_mask=torch.zeros(2, 9, dtype=torch.bool), inverse=inverse)
    assert not nothing.any()


def test_nan_in_tokens_that_are_not_there_stays_there():
    q, landmarks, v = tokens()
    mask = torch.arange(50) < 40
    found = []
    for fill in (0.0, torch.nan):
        one, two = (t.masked_fill(~mask[:, None], fill) for t in (q, v))
        given = {"mask": mask.expand(2, 1, -1)}
        found.append((nystrom_attention(one, landmarks, two, **given), gaussian_attention(one, two, **given)))
    for zeros, nan in zip(*found, strict=True):
        assert torch.equal(nan, zeros)


@pytest.mark.parametrize("inverse", ["newton", "cholesky", "pinv"])
def test_a_kernel_whose_rows_have_no_positive_sum_is_not_normalised(inverse):
    q, landmarks, v = tokens()
    with pytest.raises(ValueError, match=r"of Linear.*smallest sum is -.*Give normalize=False, or a kernel that is"):
        nystrom_attention(q, landmarks, v, kernel=Linear(), inverse=inverse)


def test_points_far_from_the_origin_keep_their_digits():
    q, landmarks, v = (t.float() for t in tokens())
    shift = torch.full((6,), 512.0)  # a power of two: only the digits that its size costs are lost
    near = nystrom_attention(q, landmarks, v, inverse="cholesky")
    far = nystrom_attention(q + shift, landmarks + shift, v, inverse="cholesky")
    assert (far - near).abs().max() <= 1e-3 * near.abs().max()  # q itself keeps 512 * 6e-8 = 3e-5


def test_points_far_apart_give_no_denormals():
    q, landmarks, v = (t.float() for t in tokens())
    P = nystrom.gaussian(100.0 * q, 100.0 * landmarks)
    assert bool((P > 1e-36).all())
    assert bool(nystrom_attention(100.0 * q, 100.0 * landmarks, v).isfinite().all())


def test_landmarks_that_coincide_are_borne_by_the_ridge():
    q, landmarks, v = (t.float() for t in tokens())
    same = landmarks[..., :1, :].expand_as(landmarks)
    for inverse in ("newton", "cholesky"):
        found = nystrom_attention(q, same, v, inverse=inverse)
        assert bool(found.isfinite().all())
        one = nystrom_attention(q, landmarks[..., :1, :], v, inverse=inverse, normalize=False, ridge=1e-2 / 9)
        torch.testing.assert_close(found, one / 9, rtol=1e-2, atol=1e-3)


def test_autocast_is_left_outside():
    q, landmarks, v = (t.float() for t in tokens())
    expected = nystrom_attention(q, landmarks, v)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(nystrom_attention(q, landmarks, v), expected)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 3), (2, 3), (4, 1)), r"q is \(\*batch, n, e\) and v"),
        (((3,), (2, 3), (3,)), r"q is \(\*batch, n, e\) and v"),
        (((5, 3), (2, 4), (5, 1)), r"landmarks must be \('m', 3\)"),
        (((2, 5, 3), (2, 3), (2, 5, 1)), r"landmarks must be \(2, 'm', 3\)"),
        (((5, 3), (0, 3), (5, 1)), "m >= 1"),
    ],
)
def test_shapes_that_do_not_fit_are_told(shapes, message):
    with pytest.raises(ShapeError, match=message):
        nystrom_attention(*(torch.zeros(shape) for shape in shapes))


def test_an_unknown_inverse_is_told():
    with pytest.raises(ValueError, match="'newton', 'cholesky' or 'pinv', not 'svd'"):
        nystrom_attention(*tokens(), inverse="svd")


@pytest.mark.parametrize("inverse", ["newton", "cholesky", "pinv"])
@pytest.mark.filterwarnings("ignore:newton_inverse:mercer.errors.ApproximationWarning")
def test_a_sample_of_nan_leaves_the_others_alone(inverse):
    q, landmarks, v = tokens(batch=(3,))
    expected = nystrom_attention(q, landmarks, v, inverse=inverse)
    q[1], landmarks[1] = torch.nan, torch.nan
    q.requires_grad_()
    found = nystrom_attention(q, landmarks, v, inverse=inverse)
    torch.testing.assert_close(found[::2], expected[::2])
    assert bool(found[1].isnan().all())
    gradient = torch.autograd.grad(found[::2].sum(), q)[0]
    assert bool(gradient[::2].isfinite().all())


@pytest.mark.parametrize("inverse", ["newton", "cholesky", "pinv"])
def test_no_samples_have_no_attention(inverse):
    q, landmarks, v = (t[:0] for t in tokens(batch=(3,)))
    assert nystrom_attention(q, landmarks, v, inverse=inverse).shape == v.shape


def test_cholesky_of_a_singular_matrix_names_the_ridge():
    q, landmarks, v = tokens()
    landmarks[..., 1, :] = landmarks[..., 0, :]
    with pytest.raises(ValueError, match=r"not positive definite with ridge=0\. Give a larger ridge"):
        nystrom_attention(q, landmarks, v, inverse="cholesky", ridge=0.0, normalize=False)
    unseen = torch.vmap(lambda q: nystrom_attention(q, landmarks, v, inverse="cholesky", ridge=0.0))(q[None])
    assert bool(unseen.isnan().any())
