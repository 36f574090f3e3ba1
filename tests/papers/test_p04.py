"""Paper 04: what takes seconds is measured; the rest is looked at for what would make it vacuous."""

import numpy as np
import pytest

from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[4])


def test_the_spectrum_has_sectors():
    claim = paper.claims["sectors"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


@pytest.mark.slow(reason="a few seconds of regression")
def test_dense_kernels_do_not_adapt():
    claim = paper.claims["not-fc"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["sectors", "decay", "adapt", "not-fc", "cursed", "finite"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims)


@pytest.mark.slow(reason="regression with kernels of five layers")
def test_in_full_the_curse_is_followed_to_32_numbers(monkeypatch):
    from mercer.papers import p04_wide_cnn_learning as module

    monkeypatch.setattr(module, "N_CURSED", 256)
    monkeypatch.setattr(module, "N_TEST", 64)
    found = measure(paper.claims["cursed"], mode="full", seeds=[0])
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == [8, 16, 32]
    assert found.values["ratio"][0] == pytest.approx(max(rows[1][1] / rows[0][1], rows[2][1] / rows[1][1]))


def test_exponents_are_slopes_of_logarithms():
    from mercer.papers.p04_wide_cnn_learning import _exponent, _exponents

    sizes = [128, 256, 512]
    errors = np.array(sizes)[:, None] ** -np.array([0.5, 0.5])
    assert _exponent(sizes, errors) == pytest.approx(0.5)
    np.testing.assert_allclose(_exponents(sizes, errors), 0.5)
