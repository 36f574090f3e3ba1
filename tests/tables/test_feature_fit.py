"""The recursive feature machine among the models of a fit: when it is tried, chosen, saved and shown."""

import json

import numpy as np
import pandas as pd
import pytest

from mercer.tables import FitOptions, TableModel, fit_table
from mercer.tables.costs import Costs
from mercer.tables.feature_fit import FEATURE_SETTINGS, fit_features, make_feature_machine
from mercer.tables.metrics import metrics_of
from mercer.tables.report import render_report
from mercer.tables.stages import Stages
from mercer.tables.summary import summary

N = 420


def make_waves(n=N, columns=8):
    """A wave along the sum of four columns: no weights of single columns straighten it, a learnt direction does."""
    generator = np.random.default_rng(5)
    X = generator.normal(size=(n, columns))
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(columns)])
    return frame.assign(y=np.sin(1.5 * X[:, :4].sum(axis=1)) + 0.05 * generator.normal(size=n))


@pytest.fixture(scope="module")
def waves():
    return make_waves()


@pytest.fixture(scope="module")
def wave_fit(waves):
    return fit_table(waves, FitOptions(target="y", time_budget=60.0), name="waves.csv")


def test_the_feature_machine_is_chosen_where_a_direction_matters(wave_fit):
    model, findings = wave_fit
    assert findings.chosen == findings.ours == findings.models[0].name == "features"
    assert type(model.predictor).__name__ == "RecursiveFeatureMachine"
    assert findings.model("features").test[0].value > findings.model("kernel").test[0].value + 0.05
    assert findings.reasons[0].startswith("The recursive feature machine is chosen: on the validation part its R2 is")
    assert {name for name, _ in findings.features.importances[:4]} == {"x0", "x1", "x2", "x3"}
    assert sum(share for _, share in findings.features.importances) == pytest.approx(1.0)


def test_its_stage_has_predicted_and_used_seconds(wave_fit):
    stages = {stage.name: stage for stage in wave_fit[1].stages}
    stage = stages[f"try {len(FEATURE_SETTINGS)} feature machines"]
    assert stage.predicted > 0.0
    assert stage.used > 0.0
    assert "is best of" in stage.note


def test_its_intervals_hold_about_as_many_test_rows_as_asked(wave_fit):
    interval = wave_fit[1].interval
    assert abs(interval.coverage - 0.9) < 3.5 * interval.error


def test_it_predicts_as_before_when_loaded(wave_fit, waves, tmp_path):
    model, _ = wave_fit
    model.save(tmp_path)
    assert TableModel.load(tmp_path).predict(waves).equals(model.predict(waves))


def test_report_metrics_and_summary_speak_of_it(wave_fit):
    _, findings = wave_fit
    page = render_report(findings, folder="runs/x")
    for words in ("Recursive feature machine", "What the metric weighs", "Four models", "feature machines tried"):
        assert words in page
    metrics = json.loads(json.dumps(metrics_of(findings), allow_nan=False))
    assert metrics["chosen"] == metrics["ours_minus_boosting"]["model"] == "features"
    assert len(metrics["features"]["candidates"]) == len(FEATURE_SETTINGS)
    assert set(metrics["learning_curve"]["values"]) == {"kernel", "features", "boosting", "ridge"}
    assert "recursive feature machine minus gradient boosting" in summary(findings)


def test_classes_along_a_direction_are_told_apart(waves, tmp_path):
    frame = waves.assign(y=np.where(waves["y"] > 0.0, "up", "down"))
    model, findings = fit_table(frame, FitOptions(target="y", time_budget=60.0))
    assert findings.chosen == "features"
    predictions = model.predict(frame)
    assert predictions.columns.tolist() == ["prediction", "p_down", "p_up"]
    model.save(tmp_path)
    assert TableModel.load(tmp_path).predict(frame).equals(predictions)


def test_a_kernel_that_is_given_leaves_it_out(house_fit):
    _, findings = house_fit
    assert findings.features is None
    assert findings.reasons[-1] == "The recursive feature machine was not tried, since a kernel was given."


class _Clock(Stages):
    """A clock that always has so many seconds left."""

    def __init__(self, left):
        super().__init__(left)
        self._left = left

    @property
    def left(self):
        return self._left


@pytest.fixture
def parts(waves):
    from mercer.tables.columns import inspect_columns
    from mercer.tables.parts import make_parts, make_split

    options = FitOptions(target="y")
    columns = inspect_columns(waves, options)
    y = waves["y"].to_numpy()
    return make_parts(waves, y, columns, make_split(waves, y, columns, options), options)


@pytest.fixture
def costs():
    found = Costs()
    found.slowness = 1.0
    return found


def test_it_is_left_out_where_no_time_is_left_and_it_is_said(parts, costs):
    fit, reason = fit_features(parts, FitOptions(target="y"), _Clock(0.1), costs, reserve=0.0)
    assert fit is None
    assert "was not tried" in reason
    assert "--time-budget" in reason


def test_more_rows_than_it_is_tried_on_are_fitted_in_leaves(parts, costs, monkeypatch):
    from mercer.tables import feature_fit

    monkeypatch.setattr(feature_fit, "_ROWS", (100,))
    monkeypatch.setattr(feature_fit, "_LEAF_SIZES", (150,))
    clock = _Clock(1000.0)
    fit, reason = fit_features(parts, FitOptions(target="y"), clock, costs, reserve=0.0)
    assert fit.facts.n_leaves == 2
    assert "in 2 leaves" in reason
    assert [stage.name for stage in clock.done][1] == "fit 2 feature machines to 252 rows"
    assert len(fit.facts.iterations) == 2


def test_what_was_tried_but_cannot_be_fitted_in_time_is_left_out(parts, costs, monkeypatch):
    from mercer.tables import feature_fit

    monkeypatch.setattr(feature_fit, "_ROWS", (100,))
    monkeypatch.setattr(costs, "exact", lambda *_: 1e6)
    fit, reason = fit_features(parts, FitOptions(target="y"), _Clock(1000.0), costs, reserve=0.0)
    assert fit is None
    assert "was tried on 100 rows but not fitted to all" in reason


def test_predicted_seconds_grow_with_the_work(costs):
    base = costs.features(1000, 10, 1, 4, leave_one_out=False)
    assert costs.features(2000, 10, 1, 4, leave_one_out=False) > 2.0 * base
    assert costs.features(1000, 10, 1, 8, leave_one_out=False) > base
    assert costs.features(1000, 10, 1, 4, leave_one_out=True) > base
    assert costs.features(1000, 200, 1, 4, leave_one_out=False) > base
    assert costs.features(1000, 10, 5, 4, leave_one_out=False) > base


@pytest.mark.parametrize("settings", FEATURE_SETTINGS, ids=str)
def test_all_settings_are_settings_of_the_estimators(settings):
    for classes in (False, True):
        machine = make_feature_machine(settings, classes=classes, random_state=0)
        assert settings.items() <= machine.get_params().items()
