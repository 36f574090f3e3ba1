"""Paper 20: what takes a moment is measured; the rest is looked at for what would make it vacuous."""

import pytest
import torch

from mercer.nn.functional import gaussian_attention
from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[20])


@pytest.mark.slow(reason="eight inverses of 196 landmarks")
def test_the_inverse_is_found_and_its_gradient_is_exact():
    claim = paper.claims["inverse"]
    assert judge(claim, measure(claim, seeds=[1]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == [
        "linear",
        "inverse",
        "norm",
        "trained-norm",
        "official",
        "accuracy",
        "longer",
    ]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"trained-norm", "official"}


def test_conditions_are_what_they_say():
    from mercer.papers.p20_soft import _landmark_matrix

    for condition in (4.0, 1e4):
        values = torch.linalg.eigvalsh(_landmark_matrix(49, condition, 0))
        assert float(values[-1] / values[0]) == pytest.approx(condition, rel=1e-3)


def test_the_norm_is_the_largest_eigenvalue_of_the_operator():
    from mercer.nn.functional import nystrom_attention
    from mercer.papers.p20_soft import _spectral_norm

    q = torch.randn(40, 3, dtype=torch.float64)
    for normalize in (True, False):
        dense = nystrom_attention(
            q, q[::5], torch.eye(40, dtype=torch.float64), normalize=normalize, inverse="cholesky"
        )
        norm = float(torch.linalg.eigvalsh(0.5 * (dense + dense.mT))[-1])
        assert _spectral_norm(q, q[::5], normalize=normalize) == pytest.approx(norm, rel=1e-2)


def test_only_the_attention_differs_between_the_networks():
    from mercer.papers.p20_soft import _attentions, _Network

    shapes = []
    for make in _attentions().values():
        state = _Network(make).state_dict()
        shapes.append({name: tuple(value.shape) for name, value in state.items() if ".mha." not in name})
    assert all(found == shapes[0] for found in shapes)


def test_the_exact_rival_is_exact_attention_of_the_same_scale():
    from mercer.papers.p20_soft import _Exact

    module = _Exact("averaged")
    x = torch.randn(1, 6, 32)
    q, v = (w(x).unflatten(-1, (2, 16)).transpose(1, 2) for w in (module.W_q, module.W_v))
    expected = gaussian_attention(q / 16**0.25, v, normalize_rows=True)
    torch.testing.assert_close(module(x), module.ff(expected.transpose(1, 2).flatten(2)))
