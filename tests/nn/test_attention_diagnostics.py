"""Where attention looks, and how steady gradients are."""

import pytest
import torch
from torch import nn

from mercer.nn.diagnostics import GradientHistory, attention_locality, attention_weights, gradient_spread
from mercer.nn.models import SoftTransformer, TransNormer


def test_a_uniform_attention_looks_near_by_chance():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    n, r = 40, 3
    row = torch.arange(n)
    expected = ((row[:, None] - row).abs() <= r).float().mean()
    model = Own().train()
    found = attention_locality(model, torch.randn(2, n, 8), radius=r)
    assert found.tolist() == pytest.approx([float(expected)])
    assert model.training
    assert attention_weights(model, (torch.randn(n, 8),))[0].shape == (1, 2, n, n)
    assert not attention._forward_pre_hooks


def test_blocks_look_into_themselves_and_layers_come_in_order():
    model = TransNormer(11, layers=4, width=16, heads=2, block=8, order=["diag", "norm", "diag", "norm"], variant="T1")
    x = torch.randint(11, (2, 64))
    found = attention_locality(model, x, radius=7)
    assert found[[0, 2]].tolist() == pytest.approx([1.0, 1.0])
    assert (found[[1, 3]] < 0.9).all()
    assert attention_locality(model, x, radius=64).tolist() == pytest.approx([1.0] * 4)
    weights = attention_weights(model, x)
    assert [w.shape for w in weights] == [(2, 2, 64, 64)] * 4


def test_attention_through_landmarks_is_looked_at_too():
    model = SoftTransformer("tiny", num_classes=3).eval()
    weights = attention_weights(model, torch.randn(1, 3, 64, 64))
    heads, tokens = [2, *[4] * 2, *[10] * 3, *[16] * 2], [256, *[64] * 2, *[16] * 3, *[5] * 2]  # a class token at last
    assert [w.shape for w in weights] == [(1, h, n, n) for h, n in zip(heads, tokens, strict=True)]
    torch.testing.assert_close(weights[-1].sum(-1), torch.ones(1, 16, 5))


def test_modules_of_ones_own_say_their_weights():
    class Own(nn.Module):
        def forward(self, x, *, mask):
            return self.weights(x, mask=mask)[:, 0] @ x

        def weights(self, x, *, mask):
            return (mask / mask.sum(-1, keepdim=True)).expand(len(x), 1, -1, -1)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = Own()

        def forward(self, x):
            return self.own(x, mask=torch.ones(20, 20).tril().triu(-4))

    assert attention_locality(Network(), torch.randn(2, 20, 3), radius=4).tolist() == [1.0]


def test_what_has_no_attention_is_refused():
    with pytest.raises(ValueError, match="no attention of mercer"):
        attention_locality(nn.Linear(3, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="distance >= 0"):
        attention_locality(nn.Linear(3, 3), torch.zeros(2, 3), radius=-1)


def test_norms_are_those_of_the_gradients_at_each_step():
    model = nn.ModuleDict({"query": nn.Linear(3, 2), "key": nn.Linear(3, 2), "other": nn.Linear(3, 2)})
    history = GradientHistory(model)
    assert history.norms.shape == (0,)
    assert history.names == ["query.weight", "query.bias", "key.weight", "key.bias"]
    expected = []
    for _ in range(4):
        model.zero_grad()
        x = torch.randn(5, 3)
        sum(layer(x).square().sum() for layer in model.values()).backward()
        gradients = [p.grad.flatten() for name in ("query", "key") for p in model[name].parameters()]
        expected.append(float(torch.cat(gradients).norm()))
    assert history.norms.tolist() == pytest.approx(expected, rel=1e-5)
    half = torch.tensor(expected[2:], dtype=torch.float64)
    assert gradient_spread(history) == pytest.approx(float(half.std() / half.mean()), rel=1e-5)
    history.stop()
    model["query"](x).sum().backward()
    assert len(history.norms) == 4


def test_spreads_that_cannot_be_are_refused():
    assert gradient_spread([9.0, 9.0, 1.0, 3.0]) == pytest.approx(2.0**0.5 / 2.0)
    with pytest.raises(ValueError, match="needs 2 steps or more, and has 1"):
        gradient_spread([1.0, 2.0])
    with pytest.raises(ValueError, match=r"no parameter of the model matches one of \['\*gate'\]"):
        GradientHistory(nn.Linear(2, 2), names=["*gate"])
