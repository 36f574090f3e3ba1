"""Language models side by side: equal sizes, what is reported, the command."""

import json

import pytest
from matplotlib.figure import Figure

from mercer import cli
from mercer.arena import compare_language_models
from mercer.data import CharacterText

TEXT = "the quick brown fox jumps over the lazy dog; " * 40
SMALL = {"steps": 2, "length": 16, "parameters": 20_000, "prompts": (16,)}


@pytest.fixture(scope="module")
def found():
    reported = []
    mixers = ["softmax", "transnormer", "long_conv", "sgconv", "h3", "s4d"]
    report = compare_language_models(TEXT, mixers, report=reported.append, seeds=2, **SMALL)
    assert [row["mixer"] for row in reported] == mixers
    return report


def test_all_have_equally_many_parameters(found):
    for row in found.rows:
        assert row["parameters"] == pytest.approx(20_000, rel=0.02)


def test_perplexity_is_that_of_what_was_learnt():
    few, many = (compare_language_models(TEXT, ["softmax"], **SMALL | {"steps": n}).rows[0] for n in (1, 40))
    assert many["perplexity"] < 0.7 * few["perplexity"]
    assert few["perplexity"] < 3 * len(set(TEXT))


def test_the_table_has_a_row_a_mixer_with_its_rates(found):
    head, *lines = found.lines()
    assert head == ["mixer", "parameters", "nats a character", "perplexity", "in training", "one by one after 16"]
    assert [line[0] for line in lines] == [row["mixer"] for row in found.rows]
    assert lines[0][4] == f"{found.training.rate('softmax'):,.0f} /s"
    assert "±" in lines[0][2]
    assert "2 steps, 2 seeds" in str(found)
    axes = found.plot(Figure().subplots())
    assert len(axes.get_legend().texts) == len(found.rows)


def test_a_seed_gives_the_same_again():
    a, b = (compare_language_models(CharacterText(TEXT), ["sgconv"], random_state=3, **SMALL) for _ in range(2))
    assert a.rows[0]["losses"] == b.rows[0]["losses"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mixers": ["mamba"]}, "mixer='mamba': choose one of transnormer, softmax"),
        ({"mixers": []}, "at least one mixer"),
        ({"text": "short"}, "has 5 characters, and its last tenth must be longer than length=16"),
        ({"parameters": 900}, "parameters=900 cannot be met within 2%"),
        ({"steps": 0}, "steps must be a whole number >= 1, not 0"),
        ({"device": "abacus"}, "device abacus: Expected one of cpu"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        compare_language_models(**{"text": TEXT, "mixers": ["softmax"]} | SMALL | changes)


def test_the_command_prints_and_writes(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    options = ["--steps", "2", "--length", "16", "--parameters", "20000", "--out", str(tmp_path / "out")]
    command = ["lm", "--text", str(tmp_path / "text.txt"), "--mixers", "softmax", "sgconv", *options]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "sgconv: perplexity" in out
    assert f"Results in {tmp_path / 'out'}" in out
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["mixer"] for row in written["rows"]] == ["softmax", "sgconv"]
    assert (tmp_path / "out" / "table.md").read_text().startswith("| mixer | parameters |")
    assert (tmp_path / "out" / "plot.png").stat().st_size > 1000
    (tmp_path / "text.txt").write_bytes(b"\xff")
    assert cli.main(command) == 1
    assert capsys.readouterr().err.count("\n") == 1
