"""Paper 17: what takes a second is measured; test_sabotage breaks the rest."""

from mercer.papers import Verdict, catalog, judge, measure, registry

paper = registry.load(catalog()[17])


def test_the_claims_that_take_no_time_hold():
    claim = paper.claims["limit-nu"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there_and_can_fail():
    assert list(paper.claims) == ["limit", "gaussian", "linear", "learning", "learning-uci", "limit-nu", "sparse"]
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"learning-uci"}
