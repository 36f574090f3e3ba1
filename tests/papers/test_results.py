import json
from dataclasses import replace

import pytest

from mercer.errors import FileFormatError
from mercer.papers import Verdict, measure, results
from mercer.papers.results import NewerResultError, OlderResultError, Result, read, read_folder, results_folder, write

SETTINGS = {"mode": "quick", "seeds": 1, "device": "cpu", "data": None}


@pytest.fixture
def result(coin):
    claim = coin.claims["fair"]
    return Result.of("90-coin", claim, SETTINGS, "abc", measurement=measure(claim, seeds=1))


def without(result, reason="it hung"):
    return replace(result, measurement=None, reason=reason, failed=True)


def test_a_result_is_read_as_it_was_written(result, tmp_path):
    pytest.importorskip("matplotlib")
    path = write(tmp_path, result)
    assert path == tmp_path / "90-coin" / "fair.json"
    assert read(path) == result
    assert read(path).verdict is Verdict.HOLDS
    assert [figure.name for figure in path.parent.glob("*.svg")] == [
        next(iter(json.loads(path.read_text())["figures"]))
    ]
    assert read(tmp_path / "90-coin" / "other.json") is None


def test_the_file_can_be_read_without_our_code(result, tmp_path):
    record = json.loads(write(tmp_path, result).read_text())
    assert record["verdict"] == "holds"
    assert record["statement"]["says"] == "The coin is fair."
    assert record["statement"]["measures"][0]["at_most"] == 0.7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged: it is no JSON object"),
        (lambda text: "[]", "is damaged: it is no JSON object"),
        (lambda text: "", "is damaged: it is no JSON object"),
        (lambda text: "\ufffd", "is damaged: it is no JSON object"),
        (lambda text: text.replace('"verdict": "holds"', '"verdict": "does not hold"'), "changed by hand"),
        (lambda text: text.replace('"seconds": ', '"seconds": 1'), "changed by hand"),
        (lambda text: text.replace('"format": 1', '"format": 0'), "comes from an older mercer"),
        (lambda text: text.replace('"format": 1', '"format": null'), "comes from an older mercer"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "comes from a newer mercer"),
    ],
)
def test_a_file_that_is_not_as_written_is_one_clear_line(change, message, result, coin, tmp_path):
    path = write(tmp_path, result)
    path.write_text(change(path.read_text()))
    with pytest.raises(FileFormatError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert read_folder(tmp_path, "90-coin", coin.claims) == ({}, [str(caught.value)])


def test_a_result_for_other_bounds_says_nothing_about_a_claim(result, coin, tmp_path):
    write(tmp_path, result)
    assert read_folder(tmp_path, "90-coin", coin.claims) == ({"fair": result}, [])
    fair = coin.claims["fair"]
    looser = replace(fair, measures=(replace(fair.measures[0], at_most=0.8),))
    assert read_folder(tmp_path, "90-coin", {"fair": looser}) == ({}, [])


def test_no_verdict_can_be_written_by_hand(result, tmp_path):
    path = write(tmp_path, result)
    record = json.loads(path.read_text()) | {"verdict": "does not hold"}
    path.write_text(json.dumps(record | {"sha256": results._checksum(record)}))
    with pytest.raises(FileFormatError, match="says 'does not hold', but its numbers say 'holds'"):
        read(path)


def test_a_missing_or_changed_figure_is_noticed(result, tmp_path):
    pytest.importorskip("matplotlib")
    path = write(tmp_path, result)
    figure = next(path.parent.glob("*.svg"))
    figure.write_text("<svg/>")
    with pytest.raises(FileFormatError, match=r"its figure .* is missing or damaged"):
        read(path)
    figure.unlink()
    with pytest.raises(FileFormatError, match=r"its figure .* is missing or damaged"):
        read(path)


def test_a_new_result_replaces_the_old_one_and_its_figures(result, tmp_path):
    pytest.importorskip("matplotlib")
    path = write(tmp_path, result)
    assert len(list(path.parent.iterdir())) == 2
    write(tmp_path, plain := replace(result, measurement=replace(result.measurement, figures=())))
    assert read(path) == plain
    assert list(path.parent.iterdir()) == [path]


def test_what_was_not_measured_leaves_a_measurement_alone(result, tmp_path):
    write(tmp_path, without(result, "first"))
    assert read(results.path_of(tmp_path, "90-coin", "fair")).reason == "first"
    write(tmp_path, result)
    path = write(tmp_path, without(result, "second"))
    assert read(path) == result


def test_a_damaged_file_is_put_aside_and_not_lost(result, tmp_path):
    path = write(tmp_path, result)
    path.write_text("{damaged")
    write(tmp_path, result)
    assert read(path) == result
    assert path.with_name("fair.json.damaged").read_text() == "{damaged"


def test_a_result_of_an_older_version_stands_until_it_is_measured_again(result, tmp_path):
    path = write(tmp_path, result)
    path.write_text(old := path.read_text().replace('"format": 1', '"format": 0'))
    write(tmp_path, without(result))
    assert path.read_text() == old
    with pytest.raises(OlderResultError):
        read(path)
    write(tmp_path, result)
    assert read(path) == result


def test_a_result_of_a_newer_version_is_not_replaced(result, tmp_path):
    path = write(tmp_path, result)
    path.write_text(new := path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(NewerResultError, match="Update mercer, or choose another folder with --results"):
        write(tmp_path, result)
    assert path.read_text() == new


@pytest.mark.parametrize("n_writes", [0, 1])
def test_a_write_that_fails_leaves_the_old_result(n_writes, result, coin, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = write(tmp_path, result)
    calls = []

    def fail_later(path, data):
        calls.append(path)
        if len(calls) > n_writes:
            raise OSError(28, "No space left on device")
        results_write(path, data)

    results_write = results.write_atomic
    monkeypatch.setattr(results, "write_atomic", fail_later)
    figure = replace(result.measurement.figures[0], svg="<svg/>")
    changed = replace(result, measurement=replace(result.measurement, figures=(figure,)))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, changed)
    assert read(path) == result


def test_the_folder_tells_mode_and_device(tmp_path, monkeypatch):
    assert results_folder("quick", root=tmp_path) == tmp_path / "quick"
    assert results_folder("full", device="cuda:1", root=tmp_path) == tmp_path / "full-cuda"
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path / "mine"))
    assert results_folder("quick") == tmp_path / "mine" / "results" / "quick"
    assert not (tmp_path / "mine").exists()
