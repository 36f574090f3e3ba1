import re
from contextlib import nullcontext

import pytest
import torch

from mercer.papers import Paper, registry, results, runner
from mercer.papers.measuring import measure
from mercer.papers.results import Result
from mercer.papers.tasks import Outcome


@pytest.fixture
def run(monkeypatch, command):
    """Run a command without processes: claims are measured here. Gives exit code, output and complaints."""

    def run_here(tasks, *, display, jobs):
        outcomes = []
        for task in tasks:
            effort = task.claim.effort(task.configuration["mode"])
            if isinstance(effort, str):
                outcomes.append(Outcome(task, reason=effort))
                continue
            with task.paper.broken(task.configuration.get("broken")):
                measurement = measure(task.claim, seeds=task.configuration["seeds"])
            result = Result.of("90-coin", task.claim, task.configuration, task.fingerprint, measurement=measurement)
            results.write(task.folder, result)
            outcomes.append(Outcome(task, result, is_new=True))
        return outcomes

    monkeypatch.setattr(runner, "run_claims", run_here)

    return command


def test_papers_lists_all(run):
    code, out, _ = run("papers")
    assert code == 0
    assert len(out.splitlines()) == 1 + 36 + 2
    assert re.search(r"^22  self-distillation  .*2021-02", out, re.MULTILINE)
    assert "36 papers, " in out


def test_papers_can_be_searched(run):
    code, out, _ = run("papers", "--search", "linear attention")
    assert code == 0
    assert "transnormer" in out
    assert "quantum" not in out
    code, _, err = run("papers", "--search", "no such thing")
    assert code == 1
    assert err == "mercer papers: No paper has all the words of 'no such thing'. `mercer papers` lists them all.\n"


def test_run_measures_and_show_shows_it(run, coin_file, tmp_path):
    code, out, err = run("run", coin_file, "--seeds", 2)
    assert (code, err) == (0, "")
    assert "coin/fair" in out
    assert out.endswith(f"Results in {tmp_path / 'data' / 'results' / 'quick'}\n")
    code, out, err = run("show", coin_file)
    assert (code, err) == (0, "")
    assert "90 On coins\nHeads, Tails. arXiv 2101.00001\n\nA coin is thrown." in out
    assert "biased: The coin is biased.\n  the paper   no number\n  here        ✗ does not hold\n" in out
    assert "fair: The coin is fair.\n  the paper   0.5 (table 1)\n  here        ✓ holds\n" in out
    assert "share of heads: 0.5, ≥ 0.9" in out
    assert "gain of a free coin: 0.5, not judged" in out
    assert "a lost coin is not showable in quick" in out


def test_show_says_what_it_would_cost_and_what_cannot_be_read(run, coin_file, tmp_path):
    folder = tmp_path / "elsewhere" / "quick" / "90-coin"
    folder.mkdir(parents=True)
    (folder / "fair.json").write_text("{")
    code, out, err = run("show", coin_file, "--results", tmp_path / "elsewhere")
    assert code == 0
    assert "3 seeds, up to 30 s" in out
    assert err == f"note: {folder / 'fair.json'} is damaged: it is no JSON object.\n"


def test_strict_fails_where_a_claim_does_not_hold(run, coin_file):
    assert run("run", coin_file)[0] == 0
    assert run("run", coin_file, "--strict")[0] == 1


def test_a_paper_is_run_once(run, coin_file):
    assert run("run", coin_file, coin_file)[1].count("coin/fair") == 1


def test_all_are_those_that_have_a_module(run, coin_file, monkeypatch):
    monkeypatch.setattr(registry, "modules", lambda: {90: coin_file})
    code, out, _ = run("run", "all")
    assert code == 0
    assert "4 claims" in out
    monkeypatch.setattr(registry, "modules", dict)
    assert "0 claims: none." in run("run", "all")[1]


def test_one_broken_paper_does_not_stop_the_others(run, coin_file, tmp_path, monkeypatch):
    broken = tmp_path / "p89_broken.py"
    broken.write_text("1 / 0")
    monkeypatch.setattr(registry, "modules", lambda: {89: broken, 90: coin_file})
    code, out, err = run("run", "all")
    assert code == 1
    assert "coin/fair" in out
    assert err == f"note: {broken} cannot be imported: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "self-distilation"], "no paper 'self-distilation'. Did you mean self-distillation?"),
        (["run", "p90_none.py"], "there is no such file"),
        (["run", "22", "--seeds", "0"], "--seeds 0: it has to be more than 0"),
        (["run", "22", "--jobs", "-1"], "--jobs -1: it has to be more than 0"),
        (["run", "22", "--limit", "nan"], "--limit nan: it has to be more than 0"),
        (["run", "22", "--data", "/no/such/folder"], "--data /no/such/folder: there is no such folder"),
        (["run", "22", "--device", "abacus"], "--device abacus: Expected one of cpu"),
        (["show", "nothing-like-it"], "no paper 'nothing-like-it'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, run):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_line(run):
    code, _, err = run("run", "22", "--device", "cuda")
    assert code == 1
    assert err.count("\n") == 1


def test_a_paper_whose_module_is_not_written_yet_says_so(run, monkeypatch):
    monkeypatch.setattr(registry, "modules", dict)
    code, out, _ = run("show", "kecor")
    assert code == 0
    assert "Its module is not written yet" in out
    code, _, err = run("run", "kecor")
    assert code == 1
    assert err == "mercer run: The module of kecor is not written yet. Measurable are: none.\n"


def test_ctrl_c_is_one_line(run, coin_file, monkeypatch):
    def interrupt(tasks, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_claims", interrupt)
    code, _, err = run("run", coin_file)
    assert code == 130
    assert err == "interrupted; what was measured stands, and the same command goes on from there\n"


def test_a_claim_that_fails_fails_the_command(run, coin_file, monkeypatch):
    monkeypatch.setattr(
        runner, "run_claims", lambda tasks, **_: [Outcome(tasks[0], reason="its process died", failed=True)]
    )
    code, out, _ = run("run", coin_file)
    assert code == 1
    assert "coin/fair: not measured: its process died" in out


def test_broken_methods_are_measured_apart(run, coin_file, tmp_path):
    code, out, _ = run("run", coin_file, "--broken", "--results", tmp_path)
    assert code == 0
    assert "coin/fair, Loaded, on one side" in out
    assert (tmp_path / "quick" / "broken" / "loaded-on-one-side" / "90-coin" / "fair.json").is_file()
    assert not (tmp_path / "quick" / "90-coin").exists()


def test_a_sabotage_that_breaks_nothing_is_a_failure(run, coin_file, tmp_path, monkeypatch):
    monkeypatch.setattr(Paper, "broken", lambda self, name: nullcontext())
    code, _, _ = run("run", coin_file, "--broken", "--results", tmp_path)
    assert code == 1
