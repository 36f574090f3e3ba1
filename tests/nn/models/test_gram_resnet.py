"""Residual networks of Gram layers."""

import copy
import math

import numpy as np
import pytest
import torch

from mercer.errors import FileFormatError, ShapeError
from mercer.nn import (
    GramBatchNorm,
    GramConvolution,
    GramLayer,
    GramNoise,
    GramOutput,
    GramState,
    gram_objective,
    gram_penalty,
)
from mercer.nn.functional import expected_log_softmax
from mercer.nn.models import GramResNet, create_model, list_models, load_checkpoint

SMALL = {"blocks": (1, 1), "widths": (6, 8), "random_state": 0}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def small(images, **options):
    return GramResNet.from_images(images, 3, n_patches=6, **(SMALL | options))


def layers(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(("name", "count"), [("gram_resnet8", 7), ("gram_resnet20", 19), ("gram_resnet32", 31)])
def test_the_shape_is_that_of_residual_networks(name, count):
    model = create_model(name, inducing_patches=4, shape=(3, 8, 8), n_classes=10, widths=(4, 5, 6))
    assert len(layers(model, GramLayer)) == count
    assert len(layers(model, GramOutput)) == 1
    assert layers(model, GramLayer)[-1].name == f"Gram layer {count} of {count}"
    assert len(layers(model, GramNoise)) == 0
    assert [c.stride for c in layers(model, GramConvolution)].count(2) == 4  # of two stages, and past them
    assert name in list_models("gram*")


def test_stages_after_the_first_halve_height_and_width():
    images = draw(2, 1, 8, 6)
    model = small(images, blocks=(1, 1, 1), widths=(6, 6, 8))
    state, found = model.stem(images), []
    for block in model.blocks:
        state = block(state)
        found.append(tuple(state.ti.shape))
    assert found == [(2, 8, 6, 6), (2, 4, 3, 6), (2, 2, 2, 8)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [None, 2.0])
def test_it_gives_means_and_variances_in_its_type_and_gradients_reach_all_parameters(dtype, noise):
    images = draw(5, 2, 6, 6, dtype=dtype)
    model = small(images, noise=noise)
    mean, variance = model(images)
    assert mean.shape == (5, 3)
    assert variance.shape == (5,)
    assert mean.dtype == variance.dtype == dtype
    assert float(variance.detach().min()) > 0.0
    density = expected_log_softmax(torch.tensor([0, 1, 2, 0, 1]), mean, variance[:, None])
    gram_objective(model, density, n_data=5).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name


def test_noise_draws_a_share_of_the_width_in_training_only():
    images = draw(4, 1, 6, 6)
    model = small(images, noise=3.0, noise_jitter=0.2)
    found = layers(model, GramNoise)
    assert [(n.n_inducing, n.n_features, n.jitter) for n in found] == [(6, 2, 0.2)] * 3 + [(8, 3, 0.2)] * 2
    assert not torch.equal(model(images)[1], model(images)[1])
    model.eval()
    assert torch.equal(model(images)[1], model(images)[1])


def test_in_evaluation_images_do_not_see_each_other():
    images = draw(5, 1, 6, 6)
    model = small(images)
    model(images)
    model.eval()
    assert not torch.equal(model(images)[1], model.train()(images[:2])[1])
    model.eval()
    mean, variance = model(images)
    torch.testing.assert_close(model(images[3:4].flatten(1)), (mean[3:4], variance[3:4]))
    assert model(images[:0])[0].shape == (0, 3)


def test_states_of_images_and_inducing_points_stay_positive_definite():
    images = draw(3, 1, 6, 6)
    model = small(images, noise=2.0)
    with torch.no_grad():
        state = model.blocks(model.stem(images))
    for ti, t in zip(state.ti.flatten(0, 2), state.t.flatten(), strict=True):
        joint = torch.cat([torch.cat([state.ii, ti[None]]), torch.cat([ti, t[None]])[:, None]], 1)
        assert float(torch.linalg.eigvalsh(joint)[0]) > -1e-10
    assert isinstance(state, GramState)


def test_without_learning_the_gram_matrices_only_the_output_has_a_penalty():
    model = small(draw(3, 1, 6, 6), nu=math.inf)
    with torch.no_grad():
        (output,) = layers(model, GramOutput)
        output.mean.fill_(1.0)
        assert float(gram_penalty(model)) == float(output.penalty()) == 12.0
    assert not any(p.requires_grad for layer in layers(model, GramLayer) for p in layer.parameters())


def test_training_learns_to_tell_bars_apart():
    generator = torch.Generator().manual_seed(0)
    images, codes = 0.1 * torch.randn(60, 1, 6, 6, generator=generator), torch.arange(60) % 2
    for image, code, place in zip(images, codes, torch.randint(6, (60,), generator=generator), strict=True):
        image[0][(place, slice(None)) if code else (slice(None), place)] += 1.0
    torch.manual_seed(0)
    model = GramResNet.from_images(images, 2, n_patches=6, nu=0.01, **SMALL)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(40):
        mean, variance = model(images)
        loss = -gram_objective(model, expected_log_softmax(codes, mean, variance[:, None]), n_data=60)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((model.eval()(images)[0].argmax(1) == codes).float().mean()) > 0.9


def test_weights_go_through_a_file_into_a_model_made_by_name(tmp_path):
    images = draw(4, 2, 6, 6, dtype=torch.float32)
    own = {"shape": (2, 6, 6), "n_classes": 3, "widths": (4, 5, 6), "noise": 1.0}
    model = create_model("gram_resnet8", inducing_patches=draw(5, 18, dtype=torch.float32), **own)
    model(images)  # running averages
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = load_checkpoint(create_model("gram_resnet8", inducing_patches=5, **own), tmp_path / "weights.pt")
    one, two, three = (m.eval()(images) for m in (model, other, copy.deepcopy(model)))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert torch.equal(one[1], three[1])
    with pytest.raises(FileFormatError, match="GramResNet"):
        load_checkpoint(create_model("gram_resnet8", inducing_patches=4, **own), tmp_path / "weights.pt")


def test_inducing_patches_are_different_patches_of_the_images():
    images = torch.zeros(5, 2, 6, 6, dtype=torch.float64)
    images[0, :, 2, 2] = 1.0  # nine patches see it, and one kind does not
    model = GramResNet.from_images(images, 3, n_patches=10, **SMALL)
    patches = model.stem[0].inducing.detach()
    assert len(patches.unique(dim=0)) == 10
    seen = images.unfold(2, 3, 1).unfold(3, 3, 1).movedim(1, 3).reshape(-1, 18)
    assert all(bool((seen == patch).all(1).any()) for patch in patches)
    with pytest.raises(ValueError, match="have 10 different patches, but n_patches=11"):
        GramResNet.from_images(images, 3, n_patches=11, **SMALL)


def test_a_seed_decides_patches_and_convolutions():
    images = draw(4, 1, 6, 6)
    one, two, other = (small(images, random_state=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["stem.0.inducing"], other["stem.0.inducing"])
    before = torch.get_rng_state()
    small(images)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_numpy_and_of_whole_numbers_are_taken():
    pixels = np.random.default_rng(0).integers(255, size=(4, 1, 6, 6))
    assert small(pixels).stem[0].inducing.dtype == torch.get_default_dtype()
    model = small(pixels.astype(np.float64))
    assert model.stem[0].inducing.dtype == torch.float64
    assert small(pixels, dtype=torch.float32)(torch.from_numpy(pixels))[0].dtype == torch.float32
    assert len(GramResNet.from_images(draw(4, 1, 6, 6), 3, **SMALL).stem[0].inducing) == 6


@pytest.mark.parametrize("momentum", [0.5, None])
def test_the_momentum_is_that_of_all_batch_norms(momentum):
    found = layers(small(draw(3, 1, 6, 6), momentum=momentum), GramBatchNorm)
    assert len(found) == 7  # of five Gram layers, of the skip that is no identity, and of the head
    assert {norm.momentum for norm in found} == {momentum}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GramResNet(4, (1, 6, 6), 3, blocks=(1, 1)), ValueError, "blocks and widths must be one whole number"),
        (lambda: GramResNet(4, (1, 6, 6), 3, blocks=(1, 0, 1)), ValueError, "blocks and widths must be one"),
        (lambda: GramResNet(4, (1, 6, 6), 3, blocks=(), widths=()), ValueError, "blocks and widths must be one"),
        (lambda: GramResNet(4, (1, 6, 6), 0), ValueError, "n_classes must be a whole number >= 1, not 0"),
        (lambda: GramResNet(4, (6, 6), 3), ValueError, r"shape must be \(channels, height, width\), not \(6, 6\)"),
        (lambda: GramResNet(4, (1, 6, 6), 3, noise=0.0), ValueError, "noise must be positive and finite, or None"),
        (lambda: GramResNet(4, (1, 6, 6), 3, noise=math.nan), ValueError, "noise must be positive"),
        (lambda: GramResNet(4, (1, 6, 6), 3, noise=1.0, noise_jitter=-1.0), ValueError, "jitter must be >= 0"),
        (lambda: GramResNet(4, (1, 6, 6), 3, nu=0.0), ValueError, "nu must be positive"),
        (lambda: GramResNet(4, (1, 6, 6), 3, kernel="cubic"), ValueError, "cubic"),
        (lambda: GramResNet(1, (1, 6, 6), 3), ValueError, "16 inducing points cannot follow 1, at most 9"),
        (lambda: GramResNet(draw(4, 18), (1, 6, 6), 3), ShapeError, "for images of"),
        (lambda: GramResNet(4, (3, 6, 6), 3, **SMALL)(draw(2, 1, 6, 6)), ShapeError, r"not \(1, 6, 6\)"),
        (lambda: GramResNet(4, (3, 6, 6), 3, **SMALL)(draw(2, 6, 6, 3)), ShapeError, r"not \(6, 6, 3\)"),
        (lambda: GramResNet.from_images(draw(2, 6, 6), 3), ShapeError, r"images must be \(n, channels"),
        (lambda: GramResNet.from_images(draw(2, 1, 2, 6), 3), ShapeError, "3 x 3 pixels or more"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
