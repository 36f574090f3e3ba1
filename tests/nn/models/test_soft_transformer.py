"""The networks against the names, the sizes and the formulas of the official code."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mercer.errors import FileFormatError, ShapeError
from mercer.nn.models import SoftSize, SoftTransformer, create_model, list_models

SMALL = SoftSize((1, 1, 2, 1), (32, 64, 32, 64), (1, 2, 1, 2))

# What the official code builds: blocks, widths, heads and filters of its stages.
OFFICIAL = {
    "soft_tiny": ((1, 2, 3, 2), (64, 128, 320, 512), (2, 4, 10, 16)),
    "soft_small": ((1, 3, 20, 4), (64, 128, 320, 512), (2, 4, 10, 16)),
    "soft_medium": ((1, 3, 29, 5), (64, 128, 288, 512), (2, 4, 9, 16)),
    "soft_large": ((1, 3, 40, 5), (64, 128, 320, 512), (2, 4, 10, 16)),
    "soft_huge": ((1, 5, 49, 5), (64, 128, 352, 512), (2, 4, 11, 16)),
}


def official_shapes(depths, widths, heads):
    """Names and shapes in a checkpoint of fudan-zvg/SOFT, as its code (read in November 2026) makes them."""
    found = {"cls_token": (1, 1, widths[3])}

    def linear(name, before, after):
        found[f"{name}.weight"], found[f"{name}.bias"] = (after, before), (after,)

    def norm(name, width):
        found[f"{name}.weight"] = found[f"{name}.bias"] = (width,)

    def conv_and_norm(name, number, before, after):
        found[f"{name}.{number}.weight"], found[f"{name}.{number}.bias"] = (after, before, 3, 3), (after,)
        norm(f"{name}.{number + 1}", after)
        found[f"{name}.{number + 1}.running_mean"] = found[f"{name}.{number + 1}.running_var"] = (after,)
        found[f"{name}.{number + 1}.num_batches_tracked"] = ()

    for stage, tokens in enumerate((3136, 784, 196, 50), 1):
        width = widths[stage - 1]
        found[f"pos_embed{stage}"] = (1, tokens, width)
        name = f"patch_embed{stage}.proj"
        if stage == 1:
            for number, (before, after) in zip((0, 3, 6), ((3, 32), (32, 32), (32, width)), strict=True):
                conv_and_norm(name, number, before, after)
        else:
            conv_and_norm(name, 0, widths[stage - 2], width)
    for stage, (ratio, filters) in enumerate(((8, 9), (4, 5), (2, 3)), 1):
        width, head = widths[stage - 1], widths[stage - 1] // heads[stage - 1]
        for i in range(depths[stage - 1]):
            name = f"block{stage}.{i}.att"
            for part in ("W_q", "W_v", "ff"):
                linear(f"{name}.mha.{part}", width, width)
            found[f"{name}.mha.attn.Qlandmark_op.weight"] = (head, head, ratio, ratio)
            norm(f"{name}.mha.attn.Qnorm_act.0", head)
            found[f"{name}.mha.attn.conv.weight"] = (heads[stage - 1], 1, filters, filters)
            norm(f"{name}.norm1", width)
            linear(f"{name}.ff1", width, 4 * width)
            linear(f"{name}.ff2", 4 * width, width)
            norm(f"{name}.norm2", width)
    for i in range(depths[3]):
        width = widths[3]
        norm(f"block4.{i}.norm1", width)
        linear(f"block4.{i}.attn.q", width, width)
        linear(f"block4.{i}.attn.kv", width, 2 * width)
        linear(f"block4.{i}.attn.proj", width, width)
        norm(f"block4.{i}.norm2", width)
        linear(f"block4.{i}.mlp.fc1", width, 4 * width)
        linear(f"block4.{i}.mlp.fc2", 4 * width, width)
    norm("norm", widths[3])
    linear("head", widths[3], 1000)
    return found


def small(**options):
    torch.manual_seed(0)
    return SoftTransformer(SMALL, 10, **options)


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_and_shapes_are_the_official_ones(name):
    with torch.device("meta"):
        for model in (create_model(name), create_model(name.replace("soft_", "soft_norm_"))):
            own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
            assert own == official_shapes(*OFFICIAL[name])


# What the README of the official code gives at 224 x 224. Its "small" (24 M, 3.3 G) fits 7 blocks in stage 3, where its
# code, and so its checkpoints, have 20.
TABLE = {
    "tiny": (13, 1.9),
    SoftSize((1, 3, 7, 4), (64, 128, 320, 512), (2, 4, 10, 16)): (24, 3.3),
    "medium": (45, 7.2),
    "large": (64, 11.0),
    "huge": (87, 16.3),
}


@pytest.mark.parametrize("size", TABLE, ids=str)
def test_parameters_are_as_many_as_in_the_table(size):
    with torch.device("meta"):
        count = sum(p.numel() for p in SoftTransformer(size).parameters())
    assert count / 1e6 == pytest.approx(TABLE[size][0], abs=1.0)


@pytest.mark.slow(reason="counts the operations of a whole network")
@pytest.mark.parametrize("size", list(TABLE)[:2], ids=str)  # the others: 7.39, 11.24 and 16.03, each seconds to count
def test_operations_are_as_many_as_in_the_table(size):
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        SoftTransformer(size, n_iter=20).eval()(torch.empty(1, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(TABLE[size][1], abs=0.06)


def by_definition(weights, images, size, *, normalize):
    """A forward pass written from the formulas of the paper, on a dict of weights, with Cholesky factors."""

    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name, eps):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def conv(x, name, number, stride):
        x = F.conv2d(x, weights[f"{name}.{number}.weight"], weights[f"{name}.{number}.bias"], stride, 1)
        mean, var = (weights[f"{name}.{number + 1}.running_{what}"] for what in ("mean", "var"))
        return F.relu(
            F.batch_norm(x, mean, var, weights[f"{name}.{number + 1}.weight"], weights[f"{name}.{number + 1}.bias"])
        )

    def soft(x, name, grid, ratio, heads):
        e = x.shape[-1] // heads
        Q = linear(x, f"{name}.W_q").unflatten(-1, (heads, e)).transpose(1, 2) / e**0.25
        V = linear(x, f"{name}.W_v").unflatten(-1, (heads, e)).transpose(1, 2)
        image = Q.flatten(0, 1).mT.unflatten(2, grid)
        L = F.conv2d(image, weights[f"{name}.attn.Qlandmark_op.weight"], stride=ratio).flatten(2).mT
        L = F.gelu(norm(L, f"{name}.attn.Qnorm_act.0", 1e-5)).unflatten(0, (-1, heads))
        P, A = (torch.exp(-0.5 * torch.cdist(X, L).square()) for X in (Q, L))
        root = A.sum(-1, keepdim=True).rsqrt() if normalize else torch.ones_like(A[..., :1])
        S = root * (P.mT @ V)
        S = torch.cholesky_solve(S, torch.linalg.cholesky(A + 0.01 * torch.eye(A.shape[-1], dtype=A.dtype)))
        filters = weights[f"{name}.attn.conv.weight"]
        images = V.transpose(2, 3).unflatten(3, grid).transpose(1, 2).flatten(0, 1)  # (B e, heads, h, w)
        beside = F.conv2d(images, filters, padding=filters.shape[-1] // 2, groups=heads)
        beside = beside.unflatten(0, (len(x), e)).flatten(3).permute(0, 2, 3, 1)
        return linear((P @ (root * S) + beside).transpose(1, 2).flatten(2), f"{name}.ff")

    x = images
    for stage, ratio in enumerate((8, 4, 2, 1), 1):
        for number, stride in ((0, 2), (3, 1), (6, 2)) if stage == 1 else ((0, 2),):
            x = conv(x, f"patch_embed{stage}.proj", number, stride)
        grid, heads = tuple(x.shape[2:]), size.heads[stage - 1]
        x, table = x.flatten(2).mT, weights[f"pos_embed{stage}"]
        if stage == 4:
            x = torch.cat([weights["cls_token"].expand(len(x), -1, -1), x], 1)
        x = x + table
        for i in range(size.depths[stage - 1]):
            name = f"block{stage}.{i}"
            if stage < 4:
                x = norm(x + soft(x, f"{name}.att.mha", grid, ratio, heads), f"{name}.att.norm1", 1e-5)
                hidden = F.gelu(linear(x, f"{name}.att.ff1"), approximate="tanh")
                x = norm(x + linear(hidden, f"{name}.att.ff2"), f"{name}.att.norm2", 1e-5)
                continue
            y = norm(x, f"{name}.norm1", 1e-6)
            q = linear(y, f"{name}.attn.q").unflatten(-1, (heads, -1)).transpose(1, 2)
            k, v = linear(y, f"{name}.attn.kv").unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
            x = x + linear(mixed.transpose(1, 2).flatten(2), f"{name}.attn.proj")
            hidden = F.gelu(linear(norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1"))
            x = x + linear(hidden, f"{name}.mlp.fc2")
        x = norm(x, "norm", 1e-6)[:, 0] if stage == 4 else x.mT.unflatten(2, grid)
    return linear(x, "head")


@pytest.mark.parametrize("normalize", [True, False])
def test_the_forward_pass_is_that_of_the_formulas(normalize):
    model = small(normalize=normalize, solver="cholesky").double().eval()
    for module in model.modules():  # statistics that are not those of a new network
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    images = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    expected = by_definition(model.state_dict(), images, SMALL, normalize=normalize)
    torch.testing.assert_close(model(images), expected, rtol=0.0, atol=1e-10)
    torch.testing.assert_close(model.float()(images.float()).double(), expected, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("sides", [(32, 32), (45, 70), (64, 96)])
def test_images_of_any_size_have_four_maps(sides):
    images = torch.randn(2, 3, *sides)
    maps = small(features_only=True).eval()(images)
    halves = list(sides)
    for number, found in enumerate(maps):
        for _ in range(2 if number == 0 else 1):
            halves = [-(-side // 2) for side in halves]
        assert found.shape == (2, SMALL.widths[number], *halves)
    assert small().eval()(images).shape == (2, 10)


def test_options_of_the_head_and_the_channels():
    assert small(in_chans=1).eval()(torch.randn(1, 1, 32, 32)).shape == (1, 10)
    assert SoftTransformer(SMALL, 0).eval()(torch.randn(1, 3, 32, 32)).shape == (1, 64)
    assert set(list_models("soft_*")) == {*OFFICIAL, *(name.replace("soft_", "soft_norm_") for name in OFFICIAL)}


def test_an_image_has_the_same_logits_in_any_batch():
    model = small().eval()
    images = torch.randn(3, 3, 32, 32) * torch.tensor([1.0, 5.0, 0.1])[:, None, None, None]
    torch.testing.assert_close(model(images)[2:], model(images[2:]))


def test_every_parameter_learns():
    model = small(drop_rate=0.2).train()
    model(torch.randn(2, 3, 64, 64)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_dropping_is_for_training_and_rises_with_depth():
    model = small(drop_rate=0.4)
    rates = [block["att"].dropout1.p for block in (*model.block1, *model.block2, *model.block3)]
    assert [*rates, model.block4[0].drop_path] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_official_checkpoints_load_as_they_are(tmp_path):
    saved = small(normalize=False)
    torch.save({"state_dict": saved.state_dict(), "epoch": 299}, tmp_path / "soft.pth")
    model = SoftTransformer.from_official(tmp_path / "soft.pth").eval()
    assert model.size == SMALL
    attention = model.block1[0]["att"].mha
    assert (attention.n_iter, attention.ridge, attention.normalize) == (20, 1e-2, False)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model(images), saved.set_n_iter(20).eval()(images))
    maps = SoftTransformer.from_official(tmp_path / "soft.pth", features_only=True, normalize=True).eval()(images)
    assert [found.shape[1] for found in maps] == list(SMALL.widths)


def test_other_checkpoints_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(FileFormatError, match="not of a SOFT network: it has no 'patch_embed1"):
        SoftTransformer.from_official(tmp_path / "linear.pth")
    state = small().state_dict()
    state["extra"] = state.pop("block2.0.att.ff1.weight")
    torch.save(state, tmp_path / "changed.pth")
    with pytest.raises(FileFormatError, match=r"not in the file: block2.0.att.ff1.weight; only in the file: extra"):
        SoftTransformer.from_official(tmp_path / "changed.pth")


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="size is one of tiny, small"):
        SoftTransformer("gigantic")
    with pytest.raises(ShapeError, match="at least 32 x 32"):
        small()(torch.zeros(1, 3, 31, 64))
    with pytest.raises(ShapeError, match=r"\(B, 3, rows, columns\)"):
        small()(torch.zeros(1, 1, 64, 64))
    with pytest.raises(TypeError, match="images / 255"):
        small()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    for options, message in (
        ({"num_classes": -1}, "num_classes=-1 must be >= 0"),
        ({"in_chans": 0}, "in_chans=0 must be 1 or more"),
        ({"drop_rate": 2.0}, "drop_rate=2.0 in"),
        ({"size": SoftSize((1, 1, 1, 1), (16, 16, 16, 32), (2, 2, 2, 3))}, "3 heads do not divide a width of 32"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftTransformer(**options)


@pytest.mark.slow(reason="torch.export traces a whole network")
def test_an_exported_program_has_the_same_logits():
    model = small().set_n_iter(8).eval()
    images = torch.randn(2, 3, 64, 64)
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), model(images), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_come_near(dtype):
    model = small().eval()
    images = torch.randn(1, 3, 64, 64)
    expected = model(images)
    found = model.to(dtype)(images.to(dtype)).float()
    assert (found - expected).abs().max() <= 0.05 * expected.abs().max()
