"""The command line: what it prints, what it writes, and that an error is one line and a non-zero exit."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mercer import cli
from mercer.commands import fit, kernels

GENERATOR = np.random.default_rng(0)
N = 120


def make_table():
    frame = pd.DataFrame({"x": GENERATOR.normal(size=N), "kind": GENERATOR.choice(["a", "b"], N)})
    frame["y"] = np.sin(2.0 * frame["x"]) + (frame["kind"] == "a") + 0.05 * GENERATOR.normal(size=N)
    return frame


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A table and the model that `mercer fit` makes of it."""
    path = tmp_path_factory.mktemp("cli")
    make_table().to_csv(path / "t.csv", index=False)
    arguments = ["fit", str(path / "t.csv"), "--target", "y", "--kernel", "2*RBF() + Linear()", "--time-budget", "60"]
    assert cli.main([*arguments, "--out", str(path / "made")]) == 0
    return path


def run(capsys, *arguments):
    """Exit code, stdout and stderr."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_fit_writes_its_folder_and_prints_the_report_last(folder, tmp_path, capsys):
    code, out, err = run(
        capsys,
        "fit",
        folder / "t.csv",
        "--target",
        "y",
        "--kernel",
        "RBF()",
        "--out",
        tmp_path / "o",
        "--time-budget",
        60,
    )
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == str(tmp_path / "o" / "report.html")
    assert "read the table: 120 rows, 3 columns" in out
    assert "Gradient boosting" in out
    assert json.loads((tmp_path / "o" / "metrics.json").read_text())["options"]["kernel"] == "RBF()"


def test_fit_quiet_prints_the_path_only_and_chooses_a_folder_itself(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "fit", folder / "t.csv", "--target", "y", "--kernel", "RBF()", "--quiet")
    assert (code, out) == (0, f"{os.path.join('fit-t', 'report.html')}\n")


def test_predict_gives_one_row_a_row_in_order(folder, tmp_path, capsys):
    table = pd.read_csv(folder / "t.csv").drop(columns="y").iloc[::-1]
    table.to_csv(tmp_path / "new.csv", index=False)
    code, out, err = run(capsys, "predict", folder / "made", tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    assert (code, out, err) == (0, f"{tmp_path / 'p.csv'}\n", "")
    predictions = pd.read_csv(tmp_path / "p.csv")
    assert predictions.columns.tolist() == ["prediction", "lower", "upper"]
    truth = pd.read_csv(folder / "t.csv")["y"].iloc[::-1]
    assert np.corrcoef(predictions["prediction"], truth)[0, 1] > 0.97


def test_predict_counts_unseen_categories(folder, tmp_path, capsys):
    pd.DataFrame({"x": [0.1, None], "kind": ["c", None]}).to_parquet(tmp_path / "new.parquet")
    code, _, err = run(capsys, "predict", folder / "made", tmp_path / "new.parquet", "--out", tmp_path / "p.parquet")
    assert (code, err) == (0, "note: 1 rows have a value of 'kind' that training did not have\n")
    assert np.isfinite(pd.read_parquet(tmp_path / "p.parquet").to_numpy()).all()


TABLES = {
    "empty": "",
    "header": "x,y\n",
    "one_row": "x,y\n1,2\n",
    "constant": "x,y\n" + "".join(f"{i},5\n" for i in range(60)),
    "text_in_x": "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(59)) + "abc,1\n",
    "text_in_y": "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(59)) + "1,abc\n",
    "nan_in_y": "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(59)) + "1,\n",
    "infinite_x": "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(59)) + "inf,3\n",
    "infinite_y": "x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(59)) + "1,-inf\n",
    "same_names": "x,y,x\n1,2,3\n",
    "ragged": "x,y\n1,2\n1,2,3\n",
    "good": "x,y\n" + "".join(f"{i / 7},{i % 7}\n" for i in range(60)),
}
BAD = {
    "an empty file": (["empty"], "is empty: it has no bytes at all"),
    "a header only": (["header"], "has a header, but no rows"),
    "one row": (["one_row"], "1 row"),
    "a constant target": (["constant"], "Target 'y' is 5 in every row"),
    "text where numbers should be": (["text_in_x"], "Column 'x' should hold numbers, but 1 of 60 values are not"),
    "text in the target": (["text_in_y"], "Column 'y' should hold numbers"),
    "NaN in the target": (["nan_in_y"], "Target 'y' is missing in 1 of 60 rows"),
    "an infinity": (["infinite_x"], "Column 'x' holds an infinity in row 60"),
    "an infinity in the target": (["infinite_y"], "Column 'y' holds an infinity in row 60"),
    "two columns of one name": (["same_names"], "columns of the same name: 'x' (2 times)"),
    "rows of unequal length": (["ragged"], "row 2 below the header has 3 cells"),
    "no such column": (["good", "--target", "Y"], "There is no column 'Y'. Did you mean 'y'?"),
    "no such column to drop": (["good", "--drop", "z"], "There is no column 'z'"),
    "an order that is none": (["good", "--ordered", "x"], "is not of the form COLUMN=A<B<C"),
    "a level that is no share": (["good", "--level", "90"], "level is 90, but is a share"),
    "no time": (["good", "--time-budget", "0"], "time_budget is 0 seconds"),
    "a kernel that is none": (["good", "--kernel", "RFB()"], "did you mean RBF"),
    "a log of zero": (["good", "--target-scale", "log"], "the target goes down to 0"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    table = tmp_path / "in" / f"{arguments[0]}.csv"
    table.parent.mkdir()
    table.write_text(TABLES[arguments[0]])
    rest = arguments[1:] if "--target" in arguments else ["--target", "y", *arguments[1:]]
    code, out, err = run(capsys, "fit", table, *rest, "--out", tmp_path / "out", "--quiet")
    assert code == 1
    assert err.startswith("mercer fit: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_huge_table_is_refused_before_it_is_read(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MERCER_MEMORY_BUDGET", "1KB")
    code, _, err = run(capsys, "fit", folder / "t.csv", "--target", "y", "--out", tmp_path / "o")
    assert code == 1
    assert "the memory budget is 1 kB. Give fewer rows" in err


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    code, _, err = run(capsys, "fit", tmp_path / "absent.csv", "--target", "y", "--out", tmp_path / "mine")
    assert code == 1
    assert "holds things that `mercer fit` did not make" in err


BAD_PREDICTIONS = {
    "no model": (["{tmp}", "{t}", "--out", "{tmp}/p.csv"], "has no model in it"),
    "no table": (["{made}", "{tmp}/absent.csv", "--out", "{tmp}/p.csv"], "There is no file"),
    "no such format": (["{made}", "{t}", "--out", "{tmp}/p.xlsx"], "must end in .csv or .parquet"),
    "no such folder": (["{made}", "{t}", "--out", "{tmp}/no/p.csv"], "there is no folder"),
    "a column less": (
        ["{made}", "{tmp}/less.csv", "--out", "{tmp}/p.csv"],
        "lacks 1 of the columns the model was fitted on: 'kind'",
    ),
    "text for numbers": (["{made}", "{tmp}/text.csv", "--out", "{tmp}/p.csv"], "Column 'x' should hold numbers"),
    "an infinity": (["{made}", "{tmp}/inf.csv", "--out", "{tmp}/p.csv"], "Column 'x' holds an infinity"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_prediction_that_cannot_be_is_one_line_and_leaves_nothing(folder, tmp_path, capsys, arguments, message):
    (tmp_path / "less.csv").write_text("x\n1\n")
    (tmp_path / "text.csv").write_text("x,kind\nabc,a\n")
    (tmp_path / "inf.csv").write_text("x,kind\ninf,a\n")
    before = sorted(tmp_path.iterdir())
    places = {"tmp": tmp_path, "t": folder / "t.csv", "made": folder / "made"}
    code, out, err = run(capsys, "predict", *(argument.format(**places) for argument in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("mercer predict: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fit"], "the following arguments are required: TABLE, --target"),
        (["fit", "t.csv", "--target", "y", "--time-budget", "long"], "argument --time-budget: invalid float value"),
        (["plan", "--n", "2.5", "--d", "1"], "'2.5' is not a whole number above 0"),
        (["plan", "--n", "0", "--d", "1"], "'0' is not a whole number above 0"),
        (["plan", "--n", "many", "--d", "1"], "'many' is not a whole number"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_arguments_that_cannot_be_read_are_one_line_and_exit_2(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_kernels_are_listed_with_formula_and_plans(capsys):
    code, out, _ = run(capsys, "kernels")
    assert code == 0
    assert "RBF(lengthscale=1.0)" in out
    assert "k(x, y) = exp(-1/2 sum_j (x_j - y_j)^2/l_j^2)" in out
    assert "\\" not in out
    assert out.count("plans: ") == len(kernels.kernel_classes())
    assert out.count("dense, tiles") >= 9


def test_one_kernel_is_shown_whole_and_an_unknown_one_named(capsys):
    code, out, _ = run(capsys, "kernels", "Matern")
    assert code == 0
    assert "Source: Rasmussen" in out
    code, _, err = run(capsys, "kernels", "Martern")
    assert (code, err.count("\n")) == (1, 1)
    assert "There is no kernel 'Martern'. There are: " in err


def test_a_plan_says_what_every_algorithm_costs(capsys):
    code, out, _ = run(capsys, "plan", "--n", "1e6", "--d", 2, "--kernel", "RBF()")
    assert code == 0
    for words in (
        "1,000,000 x 1,000,000 points in 2 columns",
        "<- chosen",
        "dense",
        "tiles",
        "conjugate gradients",
        "Cholesky",
    ):
        assert words in out


def test_a_plan_between_two_sets_of_points_has_no_solve(capsys):
    code, out, _ = run(capsys, "plan", "--n", 100, "--m", 50, "--d", 2, "--dtype", "float64", "--columns", 3)
    assert code == 0
    assert "100 x 50 points in 2 columns, float64" in out
    assert "solve" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", 10, "--d", 2, "--kernel", "RFB()"], "did you mean RBF"),
        (["--n", 10, "--d", 2, "--kernel", "RBF([1, 2, 3])"], "--kernel RBF([1, 2, 3]) on 2 columns: "),
        (["--n", "1e15", "--d", 2], "Plan for fewer points"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(capsys, arguments, message):
    code, _, err = run(capsys, "plan", *arguments)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err


@pytest.mark.parametrize("command", [[], ["fit"], ["predict"], ["kernels"], ["plan"]], ids=" ".join)
def test_help_is_there_and_fits_a_terminal(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert len(out.splitlines()) > 8
    assert max(len(line) for line in out.splitlines()) <= 120


def test_the_version_is_printed(capsys):
    from mercer import __version__

    assert run(capsys, "--version")[1] == f"mercer {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (MemoryError(), 1, "mercer kernels: MemoryError"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_what_happens_from_outside_is_one_line_too(capsys, monkeypatch, error, code, words):
    def fail(_options):
        raise error

    monkeypatch.setattr(kernels, "run", fail)
    found, _, err = run(capsys, "kernels")
    assert found == code
    assert words in err
    assert err.count("\n") == 1


def test_an_approximation_is_said_in_one_line(capsys, monkeypatch):
    import warnings

    from mercer.errors import ApproximationWarning

    def warn(_options):
        warnings.warn("tiles of float32\nwere used", ApproximationWarning, stacklevel=1)
        warnings.warn("of no interest", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(kernels, "run", warn)
    assert run(capsys, "kernels")[2] == "note: tiles of float32 were used\n"


def test_an_order_is_read():
    assert fit.parse_ordered(["size = S < M<L", "b=x<y"]) == {"size": ("S", "M", "L"), "b": ("x", "y")}


@pytest.mark.slow(reason="starts Python and imports torch")
def test_the_program_runs_as_a_module():
    found = subprocess.run(
        [sys.executable, "-m", "mercer.cli", "plan", "--n", "100", "--d", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "<- chosen" in found.stdout
