import pytest

from mercer.papers import Effort, Entry, Paper, Quantity

GAIN = Quantity("gain", "gain", at_least=0.0)


@pytest.fixture
def paper():
    return Paper(Entry(91, "stone", "On stones", "A stone falls."))


def add(paper, id, **changes):
    paper.claim(id, **({"says": "It falls.", "measures": GAIN, "quick": Effort(1, 10.0)} | changes))(print)


def test_claims_keep_their_order_and_their_function(paper):
    add(paper, "second")
    add(paper, "first")
    assert list(paper.claims) == ["second", "first"]
    assert paper.claims["first"].measure is print
    assert repr(paper) == "<Paper 91 stone, 2 claims>"


def test_one_function_can_measure_two_claims(paper):
    decorate = [paper.claim(id, says="It falls.", measures=GAIN, quick=Effort()) for id in ("a", "b")]
    assert decorate[0](decorate[1](print)) is print
    assert sorted(paper.claims) == ["a", "b"]


def test_an_id_is_given_once(paper):
    add(paper, "a")
    with pytest.raises(ValueError, match="two claims have the id 'a'"):
        add(paper, "a")


def test_the_quick_claims_of_a_paper_take_at_most_four_minutes(paper):
    add(paper, "a", quick=Effort(1, 200.0))
    add(paper, "b", quick="needs a GPU", full=Effort(1, 9000.0))
    add(paper, "c", quick=Effort(1, 40.0))
    with pytest.raises(ValueError, match="would take 241 s together"):
        add(paper, "d", quick=Effort(1, 1.0))
    assert "d" not in paper.claims


def test_a_sabotage_breaks_claims_that_are_there(paper):
    add(paper, "a")
    paper.sabotage("zeros", print, breaks=["a"])
    assert paper.sabotages[0].breaks == ("a",)
    with pytest.raises(ValueError, match="there is no claim b"):
        paper.sabotage("zeros", print, breaks=["a", "b"])
    with pytest.raises(ValueError, match="has to break a claim"):
        paper.sabotage("zeros", print, breaks=[])


def test_a_paper_names_what_it_uses(coin, paper):
    assert coin.exercises == ("mercer.kernels.RBF",)
    assert paper.exercises == ()


def test_a_paper_of_the_catalog_has_its_metadata():
    assert Paper.from_catalog(22).entry.slug == "self-distillation"
    with pytest.raises(ValueError, match="no paper 99; it has 1 to 36"):
        Paper.from_catalog(99)
