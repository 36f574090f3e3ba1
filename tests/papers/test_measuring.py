import math
import os
import sys

import numpy as np
import pytest
import torch

from mercer.errors import FileFormatError
from mercer.papers import Effort, Measurement, NotMeasured, Quantity, measure
from mercer.papers.claim import Claim
from mercer.papers.measuring import FIRST_SEED
from mercer.papers.shared import shelf_of


def claim(function, **changes):
    given = {"id": "c", "says": "It works.", "measures": (Quantity("a", "a", at_least=1.0),), "quick": Effort(3, 30.0)}
    return Claim(measure=function, **(given | changes))


def each_seed(run):
    for seed in run.seeds:
        run.record(a=seed)


def test_every_seed_gives_a_number():
    measured = measure(claim(each_seed))
    assert measured.seeds == (FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2)
    assert measured.values == {"a": (1000.0, 1001.0, 1002.0)}
    assert (measured.value, measured.spread) == (1001.0, 1.0)
    assert measured.device == "cpu"
    assert measured.seconds >= 0
    assert measured.peak_bytes > 10**7
    assert "torch" in measured.machine["versions"]


def test_the_seeds_can_be_chosen():
    assert measure(claim(each_seed), seeds=1).seeds == (FIRST_SEED,)
    assert measure(claim(each_seed), seeds=range(2)).seeds == (0, 1)
    with pytest.raises(ValueError, match="at least one seed"):
        measure(claim(each_seed), seeds=[])


def test_no_seed_is_begun_that_would_exceed_the_budget(monkeypatch):
    now = iter(np.arange(0.0, 1000.0, 1.0))  # every look at the clock takes a second
    monkeypatch.setattr("mercer.papers.measuring.time.monotonic", lambda: float(next(now)))
    measured = measure(claim(each_seed, quick=Effort(100, 6.0)))
    assert 1 < len(measured.seeds) < 6
    assert measured.seeds_asked == 100
    assert "fitted into the budget of 6 s" in measured.notes[0]


def test_the_first_seed_is_measured_however_small_the_budget():
    assert len(measure(claim(each_seed, quick=Effort(5, 1e-9))).seeds) == 1


def test_seeds_can_be_measured_in_one_batch():
    def batch(run):
        for seed in run.all_seeds():
            run.record(a=seed)

    assert len(measure(claim(batch)).seeds) == 3


def test_numbers_of_numpy_and_torch_are_taken():
    def numbers(run):
        for value, _ in zip([np.float32(1), torch.tensor(2.0), torch.tensor([3])], run.seeds, strict=True):
            run.record(a=value)

    assert measure(claim(numbers)).values == {"a": (1.0, 2.0, 3.0)}


def test_progress_is_told_after_every_seed():
    done = []
    measure(claim(each_seed), on_seed=done.append)
    assert done == [1, 2, 3]


def test_a_claim_gets_what_the_user_chose(tmp_path):
    seen = {}

    def look(run):
        seen.update(full=run.is_full, device=run.device, data=run.data_folder("x"))
        each_seed(run)

    measure(claim(look), mode="full", data=tmp_path)
    assert seen == {"full": True, "device": torch.device("cpu"), "data": tmp_path}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda run: [run.record(b=1.0) for _ in run.seeds], "records a for every seed, but was given b"),
        (lambda run: [run.record() for _ in run.seeds], "but was given nothing"),
        (lambda run: [run.record(a=[1, 2]) for _ in run.seeds], "one number a seed, not 2"),
        (lambda run: list(run.seeds), "began 3 seeds and recorded 0"),
        (lambda run: run.record(a=1.0), "began 0 seeds and recorded 1"),
        (lambda run: run.table("t", [[1]], columns=["a", "b"]), "2 columns, but a row with 1"),
        (lambda run: run.figure("A figure", print), "small letters, digits and hyphens"),
    ],
)
def test_a_claim_that_records_wrongly_is_told_how(function, message):
    with pytest.raises(ValueError, match=message):
        measure(claim(function))


def test_what_is_not_measured_says_why():
    with pytest.raises(NotMeasured, match="needs a GPU"):
        measure(claim(each_seed, quick="needs a GPU"))
    with pytest.raises(NotMeasured, match="--data PATH, a folder with images"):
        measure(claim(lambda run: run.data_folder("images")))


def with_everything(run):
    for seed in run.seeds:
        run.record(a=math.inf if seed % 2 else math.nan)
    run.table("t", [["x", np.float64(0.5)], [None, torch.tensor(2)], [np.str_("y"), 1]], columns=["k", "v"])
    run.figure("one", lambda figure: figure.subplots().plot([1, 2]), caption="A line.")
    run.note("Careful.")


def test_a_measurement_survives_json():
    pytest.importorskip("matplotlib")
    import json

    measured = measure(claim(with_everything))
    text = json.dumps(measured.as_dict(), allow_nan=False)
    again = Measurement.from_dict(json.loads(text), figures=[figure.svg for figure in measured.figures])
    assert repr(again) == repr(measured)
    assert again.figures == measured.figures
    assert again.tables[0].rows == (("x", 0.5), (None, 2), ("y", 1))
    assert math.isnan(again.spread)


def test_a_figure_is_the_same_in_every_run():
    pytest.importorskip("matplotlib")
    first, second = (measure(claim(with_everything)).figures[0].svg for _ in range(2))
    assert first == second
    assert "<svg" in first


def test_a_figure_without_matplotlib_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    measured = measure(claim(with_everything))
    assert measured.figures == ()
    assert "pip install 'mercer[tables]'" in measured.notes[0]


def test_two_figures_of_one_name_are_refused():
    pytest.importorskip("matplotlib")

    def twice(run):
        run.figure("one", lambda figure: None)
        run.figure("one", lambda figure: None)

    with pytest.raises(ValueError, match="no other figure has"):
        measure(claim(twice))


@pytest.mark.parametrize("field", ["values", "seeds", "machine", "figures"])
def test_an_incomplete_measurement_is_refused(field):
    record = measure(claim(each_seed)).as_dict()
    del record[field]
    with pytest.raises(FileFormatError, match="not complete"):
        Measurement.from_dict(record)


@pytest.mark.parametrize("values", [{"a": [1.0]}, {"a": ["x", "y", "z"]}, {}])
def test_values_that_are_no_numbers_a_seed_are_refused(values):
    record = measure(claim(each_seed)).as_dict() | {"values": values}
    with pytest.raises(FileFormatError, match="not complete"):
        Measurement.from_dict(record)


def test_what_claims_share_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"weights": torch.tensor([1.0, 2.0])}

    def function(run):
        for seed in run.seeds:
            run.record(a=float(run.shared(f"model-{seed}", make)["weights"].sum()))

    def measured(**options):
        made.clear()
        assert measure(claim(function), seeds=[0, 1], **options).values == {"a": (3.0, 3.0)}
        return len(made)

    shelf = tmp_path / "shared" / "p90_coin" / "hash"
    assert measured() == 2  # nothing is kept where nobody says where
    old = shelf.parent / "older code"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    assert measured(shelf=lambda: shelf) == 2
    assert not old.exists()
    assert measured(shelf=lambda: shelf) == 0
    (shelf / "model-1.safetensors").write_bytes(b"cut")
    assert measured(shelf=lambda: shelf) == 1


def test_a_broken_method_shares_nothing_with_a_whole_one(coin_file, monkeypatch, tmp_path):
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path))
    whole = {"mode": "quick", "seeds": 2, "device": "cpu", "data": None}
    shelf = shelf_of(coin_file, whole)
    assert shelf.is_relative_to(tmp_path)
    assert shelf_of(coin_file, whole | {"seeds": 3}) == shelf
    assert shelf_of(coin_file, whole | {"broken": "Loaded"}) != shelf
    assert shelf_of(coin_file, whole | {"device": "cuda"}) != shelf
    coin_file.write_text(coin_file.read_text() + "\nLATER = 1\n")
    assert shelf_of(coin_file, whole) != shelf
