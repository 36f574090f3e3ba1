"""The layer against its formula, with masks, on grids that windows do not divide, and without its history."""

import pytest
import torch
from torch.nn import functional as F

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import RBF, Linear, Matern
from mercer.nn import SoftBlock, SoftmaxFreeAttention
from mercer.nn.functional import gaussian_attention

POOLINGS = (7, "conv", "average", "strided")


def layer(width=16, heads=2, *, landmarks="conv", ratio=3, value_conv=3, dtype=torch.float64, **options):
    made = SoftmaxFreeAttention(width, heads, landmarks=landmarks, ratio=ratio, value_conv=value_conv, **options)
    return made.to(dtype)


def by_definition(layer, x, grid, *, normalize):
    """The formulas of the paper for one image, head by head, with loops and a Cholesky factor."""
    h, w = grid
    e, r = layer.width // layer.heads, layer.ratio
    heads = []
    for i in range(layer.heads):
        part = slice(i * e, (i + 1) * e)
        Q = (x @ layer.W_q.weight.mT + layer.W_q.bias)[:, part] / e**0.25
        V = (x @ layer.W_v.weight.mT + layer.W_v.bias)[:, part]
        image = Q.reshape(h, w, e)
        windows = [image[a : a + r, b : b + r] for a in range(0, h, r) for b in range(0, w, r)]
        raw = torch.stack([torch.einsum("oiab,abi->o", layer.attn.Qlandmark_op.weight, p) for p in windows])
        L = F.gelu(F.layer_norm(raw, (e,), layer.attn.Qnorm_act[0].weight, layer.attn.Qnorm_act[0].bias))
        P, A = (torch.exp(-0.5 * torch.cdist(X, L).square()) for X in (Q, L))
        D = A.sum(-1).rsqrt().diag() if normalize else torch.eye(len(L), dtype=x.dtype)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(A + layer.ridge * torch.eye(len(L), dtype=x.dtype)))
        filters = layer.attn.conv.weight[i].expand(e, 1, 3, 3)
        beside = F.conv2d(V.mT.reshape(1, e, h, w), filters, padding=1, groups=e).reshape(e, h * w).mT
        heads.append(P @ D @ inverse @ D @ P.mT @ V + beside)
    return torch.cat(heads, 1) @ layer.ff.weight.mT + layer.ff.bias


@pytest.mark.parametrize("normalize", [True, False])
def test_it_is_the_papers_formula(normalize):
    module = layer(normalize=normalize, solver="cholesky")
    x = torch.randn(2, 6 * 9, 16, dtype=torch.float64)
    found = module(x, grid=(6, 9))
    expected = torch.stack([by_definition(module, image, (6, 9), normalize=normalize) for image in x])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)
    single = module.float()(x.float(), grid=(6, 9))
    torch.testing.assert_close(single.double(), expected, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("landmarks", POOLINGS)
def test_tokens_that_are_not_there_change_nothing(landmarks):
    module = layer(landmarks=landmarks, solver="cholesky")
    x = torch.randn(2, 5, 4, 16, dtype=torch.float64)
    padded, mask = torch.randn(2, 7, 6, 16, dtype=torch.float64), torch.zeros(2, 7, 6, dtype=torch.bool)
    padded[:, :5, :4], mask[:, :5, :4] = x, True
    found = module(padded.flatten(1, 2), grid=(7, 6), mask=mask.flatten(1)).unflatten(1, (7, 6))
    expected = module(x.flatten(1, 2), grid=(5, 4)).unflatten(1, (5, 4))
    torch.testing.assert_close(found[:, :5, :4], expected)
    torch.testing.assert_close(found[0, 6, 5], module.ff.bias)


@pytest.mark.parametrize("landmarks", POOLINGS)
def test_not_even_nan_in_padded_tokens_reaches_another(landmarks):
    module = layer(landmarks=landmarks)
    x, mask = torch.randn(2, 42, 16, dtype=torch.float64), torch.arange(42).expand(2, -1) < 37
    zeros, nan = (x.masked_fill(~mask[..., None], fill) for fill in (0.0, torch.nan))
    assert torch.equal(module(nan, grid=(6, 7), mask=mask), module(zeros, grid=(6, 7), mask=mask))
    found, expected = (module.find_landmarks(t, grid=(6, 7), mask=mask) for t in (nan, zeros))
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("landmarks", [7, "average", "strided"])
def test_sequences_of_different_lengths_share_a_batch(landmarks):
    module = layer(landmarks=landmarks, value_conv=None, solver="cholesky")
    x = torch.randn(2, 31, 16, dtype=torch.float64)
    mask = torch.arange(31) < torch.tensor([[31], [20]])
    found = module(x, mask=mask)
    torch.testing.assert_close(found[0], module(x[:1])[0])
    torch.testing.assert_close(found[1, :20], module(x[1:, :20])[0])


@pytest.mark.parametrize("landmarks", POOLINGS)
def test_an_image_has_the_same_result_in_any_batch(landmarks):
    module = layer(landmarks=landmarks)
    x = torch.randn(3, 20, 16, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)[:, None, None]
    together = module(x, grid=(4, 5))
    for i in range(3):
        torch.testing.assert_close(together[i], module(x[i : i + 1], grid=(4, 5))[0])


def test_pooling_is_what_it_says():
    x = torch.randn(1, 35, 16, dtype=torch.float64)
    q = layer(landmarks="strided")
    tokens = q._queries(x)
    strided = q.find_landmarks(x, grid=(5, 7))
    torch.testing.assert_close(strided, tokens.unflatten(2, (5, 7))[:, :, ::3, ::3].flatten(2, 3))
    q.pooling = "average"
    average = q.find_landmarks(x, grid=(5, 7))
    torch.testing.assert_close(average[0, 1, 4], tokens.unflatten(2, (5, 7))[0, 1, 3:5, 3:6].mean((0, 1)))
    q.pooling, q.attn.conv = 4, None
    torch.testing.assert_close(q.find_landmarks(x)[:, :, 1], tokens[:, :, 9:18].mean(2))
    q.pooling = 100  # as many as there are tokens
    torch.testing.assert_close(q.find_landmarks(x), tokens)


def test_solvers_agree():
    module = layer()
    x = torch.randn(1, 36, 16, dtype=torch.float64)
    found = {}
    for module.solver in ("newton", "cholesky", "pinv"):
        found[module.solver] = module(x, grid=(6, 6))
    torch.testing.assert_close(found["pinv"], found["cholesky"])
    torch.testing.assert_close(found["newton"], found["cholesky"])


def test_no_samples_are_no_error():
    module = layer()
    assert module(torch.ones(0, 36, 16, dtype=torch.float64), grid=(6, 6)).shape == (0, 36, 16)
    assert bool(module.last_residual.isnan())


def test_landmarks_of_another_frame_may_be_reused():
    module = layer()
    x = torch.randn(2, 36, 16, dtype=torch.float64)
    landmarks = module.find_landmarks(x, grid=(6, 6))
    assert landmarks.shape == (2, 2, 4, 8)
    torch.testing.assert_close(module(x, grid=(6, 6), landmarks=landmarks), module(x, grid=(6, 6)))
    assert module(x[:, :12], grid=(2, 6), landmarks=landmarks).shape == (2, 12, 16)


@pytest.mark.parametrize("landmarks", POOLINGS)
def test_landmarks_that_are_not_there_are_not_reused(landmarks):
    module = layer(landmarks=landmarks, value_conv=None, solver="cholesky")
    x, mask = torch.randn(2, 36, 16, dtype=torch.float64), torch.arange(36) < torch.tensor([[36], [15]])
    found = module.find_landmarks(x, grid=(6, 6), mask=mask)
    torch.testing.assert_close(module(x, grid=(6, 6), mask=mask, landmarks=found), module(x, grid=(6, 6), mask=mask))
    assert bool(found.isnan().any()) == (landmarks != 7)


def test_a_window_whose_first_token_is_masked_starts_with_its_next():
    module = layer(landmarks="strided", value_conv=None, ratio=4)
    x, mask = torch.randn(1, 12, 16, dtype=torch.float64), torch.ones(1, 12, dtype=torch.bool)
    mask[0, [0, 4, 5, 8, 9, 10, 11]] = False
    found = module.find_landmarks(x, mask=mask)
    torch.testing.assert_close(found[:, :, :2], module._queries(x)[:, :, [1, 6]])
    assert found[:, :, 2].isnan().all()
    assert not module(x, mask=mask)[0, 1].isnan().any()


def test_weights_are_what_values_are_multiplied_with():
    module = layer()
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    mixed = module.weights(x, grid=(4, 5)) @ module._split(module.W_v(x))
    expected = module(x, grid=(4, 5)) - module.ff(module._convolve(module.W_v(x), (4, 5), None)) + module.ff.bias
    torch.testing.assert_close(module.ff(mixed.transpose(1, 2).flatten(2)), expected)


def test_any_kernel_of_tokens_and_a_lengthscale_of_each_head():
    module = layer(kernel=Matern(nu=1.5), learn_lengthscale=True, solver="cholesky")
    x = torch.randn(1, 36, 16, dtype=torch.float64)
    module(x, grid=(6, 6)).square().sum().backward()
    assert bool(module.log_lengthscale.grad.isfinite().all())
    assert bool((module.log_lengthscale.grad != 0.0).all())
    wide = layer(kernel=RBF(2.0), solver="cholesky", landmarks="average")
    learnt = layer(learn_lengthscale=True, solver="cholesky", landmarks="average")
    learnt.load_state_dict({**wide.state_dict(), "log_lengthscale": torch.full((2,), 2.0).log()})
    torch.testing.assert_close(learnt(x, grid=(6, 6)), wide(x, grid=(6, 6)), rtol=1e-6, atol=1e-6)


def test_with_a_landmark_a_token_it_is_exact_gaussian_attention():
    module = layer(landmarks=36, value_conv=None, normalize=False, solver="cholesky", ridge=1e-10)
    x = torch.randn(1, 36, 16, dtype=torch.float64)
    exact = gaussian_attention(module._queries(x), module._split(module.W_v(x)))
    torch.testing.assert_close(module(x), module.ff(exact.transpose(1, 2).flatten(2)), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_come_near(dtype):
    module = layer(dtype=torch.float32)
    x = torch.randn(1, 36, 16)
    expected = module(x, grid=(6, 6))
    torch.testing.assert_close(module.to(dtype)(x.to(dtype), grid=(6, 6)).float(), expected, rtol=0.0, atol=0.03)
    with torch.autocast("cpu", dtype):
        automatic = module.float()(x, grid=(6, 6))
    torch.testing.assert_close(automatic.float(), expected, rtol=0.0, atol=0.03)


def test_every_parameter_gets_a_gradient():
    module = layer(learn_lengthscale=True, dtype=torch.float32)
    x = torch.randn(2, 20, 16, requires_grad=True)
    module(x, grid=(4, 5)).square().mean().backward()
    for name, parameter in [*module.named_parameters(), ("x", x)]:
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_the_residual_is_kept_and_a_large_one_is_told():
    module = layer()
    x = torch.randn(1, 36, 16, dtype=torch.float64)
    assert module.last_residual.isnan()
    module(x, grid=(6, 6))
    assert 0.0 <= float(module.last_residual) <= 1e-3
    assert "last_residual" not in module.state_dict()
    module.n_iter = 1
    with pytest.warns(ApproximationWarning, match=r"left \|I - A Y\| at .* \(n_iter=1\).*n_iter=None stops"):
        module(x, grid=(6, 6))
    module.n_iter = None
    with pytest.warns(ApproximationWarning, match=r"\(n_iter=None\)\. What helps: solver='cholesky'"):
        module._note(torch.tensor(0.5))


@pytest.mark.slow(reason="torch.compile traces the layer forward and backward")
def test_it_compiles_as_one_graph():
    module = layer(dtype=torch.float32)
    x = torch.randn(2, 20, 16)
    mask = torch.arange(20).expand(2, -1) < 18
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, grid=(4, 5), mask=mask), module(x, grid=(4, 5), mask=mask))
    compiled(x, grid=(4, 5), mask=mask).sum().backward()
    assert bool(module.W_q.weight.grad.any())


def test_a_block_normalises_what_it_has_added():
    block = SoftBlock(16, 2, landmarks="average", ratio=2, dropout=0.5).double().eval()
    x = torch.randn(1, 16, 16, dtype=torch.float64)
    found = block(x, grid=(4, 4))
    middle = block.norm1(x + block.mha(x, grid=(4, 4)))
    hidden = block.ff1(middle)
    hidden = 0.5 * hidden * (1.0 + torch.tanh((2.0 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
    torch.testing.assert_close(found, block.norm2(middle + block.ff2(hidden)))
    assert not torch.equal(block.train()(x, grid=(4, 4)), found)


def test_it_has_no_causal_form():
    with pytest.raises(ValueError, match=r"no causal form.*NormAttention"):
        SoftmaxFreeAttention(16, 2, causal=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "3 heads do not divide a width of 16"),
        ({"landmarks": "mean"}, "not 'mean'"),
        ({"landmarks": 0}, "a number >= 1"),
        ({"ratio": 0}, "ratio must be >= 1"),
        ({"value_conv": 4}, "odd size or None, not 4"),
        ({"solver": "svd"}, "not 'svd'"),
        ({"n_iter": 0}, "n_iter is a whole number >= 1 or None, not 0"),
        ({"n_iter": 2.5}, "n_iter is a whole number >= 1 or None, not 2.5"),
        ({"ridge": -0.1}, "ridge is a number >= 0, not -0.1"),
        ({"ridge": float("nan")}, "ridge is a number >= 0, not nan"),
    ],
)
def test_arguments_that_cannot_be_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)


def test_a_kernel_must_be_one_of_mercers():
    with pytest.raises(TypeError, match=r"kernel is one of mercer\.kernels, such as RBF\(\), not 'rbf'"):
        layer(kernel="rbf")


def test_a_kernel_with_negative_values_is_not_normalised():
    x = torch.randn(1, 36, 16, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"Linear.*the kernel has negative values\. Give normalize=False"):
        layer(landmarks=36, kernel=Linear())(x, grid=(6, 6))
    plain = layer(landmarks=36, kernel=Linear(), normalize=False, solver="cholesky")
    assert bool(plain(x, grid=(6, 6)).isfinite().all())


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((1, 20, 8), {"grid": (4, 5)}, ShapeError, r"x must be \(B, n, 16\)"),
        ((1, 20, 16), {"grid": (4, 4)}, ShapeError, "a grid of 4 x 4 is not of 20 tokens"),
        ((1, 20, 16), {}, ShapeError, "give grid="),
        ((1, 20, 16), {"grid": (4, 5), "mask": torch.ones(1, 20)}, TypeError, "mask must be bool"),
        ((1, 20, 16), {"grid": (4, 5), "mask": torch.ones(20, 1) > 0}, ShapeError, r"mask must be \(1, 20\)"),
    ],
)
def test_inputs_that_do_not_fit_are_told(shape, options, error, message):
    with pytest.raises(error, match=message):
        layer(dtype=torch.float32)(torch.zeros(shape), **options)
