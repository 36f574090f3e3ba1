"""A fit from end to end: what is chosen, what is said, what is never done."""

import json

import numpy as np
import pandas as pd
import pytest

from mercer.errors import TableError
from mercer.tables import FitOptions, fit_table
from mercer.tables.metrics import metrics_of


def test_the_kernel_model_finds_the_curve_that_a_plane_misses(house_fit):
    _, findings = house_fit
    assert findings.chosen == findings.models[0].name == "kernel"
    assert findings.model("kernel").test[0].value > findings.model("ridge").test[0].value + 0.05
    assert findings.target_scale == "log"
    assert findings.kernel.is_exact


def test_intervals_hold_about_as_many_test_rows_as_asked(house_fit):
    _, findings = house_fit
    assert findings.interval is not None
    assert abs(findings.interval.coverage - 0.9) < 3.5 * findings.interval.error
    assert (findings.interval.lower < findings.interval.upper).all()


def test_columns_are_reported_with_what_became_of_them(house_fit):
    _, findings = house_fit
    kinds = {column.name: column.kind for column in findings.columns}
    assert kinds == {
        "area": "number",
        "quality": "ordered",
        "height": "number",
        "sold": "date-time",
        "town": "category",
        "rooms": "number",
        "id": "left out",
    }
    assert "id" not in findings.handling
    assert "missing values marked" in findings.handling["rooms"]


def test_every_stage_has_predicted_and_used_seconds(house_fit):
    _, findings = house_fit
    assert all(stage.predicted > 0.0 and stage.used >= 0.0 for stage in findings.stages)
    names = [stage.name for stage in findings.stages]
    assert names[:3] == ["columns and features", "ridge", "gradient boosting"]
    assert any(name.startswith("solve with all 144 rows") for name in names)


def test_columns_that_matter_come_first_and_have_an_effect(house_fit):
    _, findings = house_fit
    assert {name for name, _ in findings.importances[:3]} == {"area", "height", "quality"}
    effects = {effect.column: effect for effect in findings.effects}
    assert (np.diff(effects["area"].middle) > 0).mean() > 0.9
    assert effects["quality"].values == ["low", "middle", "high"]
    assert "sold" not in effects


def test_a_learning_curve_ends_at_the_full_size_with_the_scores_reported(house_fit):
    _, findings = house_fit
    assert findings.curve is not None
    assert findings.curve.sizes[-1] == 144
    assert findings.curve.values["kernel"][-1] == findings.model("kernel").validation[0].value


def test_metrics_are_json(house_fit, flower_fit):
    for _, findings in (house_fit, flower_fit):
        text = json.dumps(metrics_of(findings), allow_nan=False)
        assert json.loads(text)["chosen"] == "kernel"


def test_classes_get_probabilities_that_sum_to_one(flower_fit, flowers):
    model, findings = flower_fit
    assert findings.task == "classification"
    assert findings.model("kernel").test[0].name == "accuracy"
    assert findings.model("kernel").test[0].value > 0.85
    predictions = model.predict(flowers)
    assert predictions.columns.tolist() == ["prediction", "p_iris", "p_lily", "p_rose"]
    np.testing.assert_allclose(predictions.iloc[:, 1:].sum(axis=1), 1.0)
    assert (predictions["prediction"] == flowers["kind"]).mean() > 0.85


def test_two_classes_work_too(flowers):
    frame = flowers.assign(kind=flowers["kind"] == "iris")
    model, findings = fit_table(frame, FitOptions(target="kind", kernel="RBF()", time_budget=1.0))
    assert findings.classes == ("False", "True")
    assert model.predict(frame).columns.tolist() == ["prediction", "p_False", "p_True"]
    assert findings.models[0].test[-1].name == "area under ROC"


def test_a_linear_model_that_is_better_is_chosen_and_it_is_said(line_fit):
    model, findings = line_fit
    assert findings.chosen == findings.models[0].name == "ridge"
    assert findings.reasons[0].startswith("The linear model is chosen: on the validation part its R2 is")
    assert type(model.predictor).__name__ == "LinearModel"
    assert findings.interval is not None
    assert abs(findings.interval.coverage - 0.9) < 0.2


def test_the_same_seed_gives_the_same_model(houses):
    options = FitOptions(target="price", kernel="RBF()", time_budget=60.0, learn_rows=50)
    first, second = (fit_table(houses, options)[0].predict(houses)["prediction"] for _ in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.parametrize("options", [{"time_column": "sold"}, {"group_column": "town"}], ids=["in time", "by group"])
def test_a_split_in_time_or_by_group_is_followed(houses, options):
    frame = houses.assign(town=[f"town {i % 9}" for i in range(len(houses))])
    _, findings = fit_table(frame, FitOptions(target="price", kernel="RBF()", time_budget=1.0, **options))
    train, test = frame.iloc[findings.split.train], frame.iloc[findings.split.test]
    if "time_column" in options:
        assert train["sold"].max() < test["sold"].min()
        assert "trend" not in findings.handling["sold"]
    else:
        assert not set(train["town"]) & set(test["town"])
        assert "town" not in findings.handling


def test_centres_can_be_asked_for_and_are_said(houses):
    _, findings = fit_table(houses, FitOptions(target="price", kernel="RBF()", time_budget=1.0, n_centers=40))
    assert not findings.kernel.is_exact
    assert findings.kernel.n_centers == 40
    assert "40 centres, as asked." in findings.reasons


def test_a_leak_and_copied_rows_and_missing_targets_are_warned_of(houses):
    frame = pd.concat([houses, houses.iloc[:60]], ignore_index=True)
    frame["euros"] = 1.1 * frame["price"]
    frame.loc[:4, "price"] = np.nan
    options = FitOptions(target="price", kernel="RBF()", time_budget=1.0, drop_missing_target=True)
    _, findings = fit_table(frame, options)
    warnings = " ".join(findings.warnings)
    assert "Column 'euros' alone explains" in warnings
    assert "have exactly the features of a training row" in warnings
    assert "5 rows without a value of price were left out." in warnings


ERRORS = {
    "a split column with missing values": ({"time_column": "rooms"}, "'rooms' is to split by, but 15 of its values"),
    "a kernel that is none": ({"kernel": "RFB()"}, "--kernel: 'RFB\\(\\)' at character 1"),
    "a kernel of a column that is not in use": ({"kernel": "RBF().on(['id'])"}, "names no column in use"),
    "a kernel of noise": ({"kernel": "White()"}, "is noise only"),
    "a log that cannot be taken": ({"target": "height", "target_scale": "log"}, "the target goes down to"),
    "an unknown target": ({"target": "prize"}, "no column 'prize'. Did you mean 'price'"),
}


@pytest.mark.parametrize(("options", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_done_is_refused(houses, options, message):
    with pytest.raises(TableError, match=message):
        fit_table(houses, FitOptions(**{"target": "price", "time_budget": 1.0} | options))


def test_a_class_that_only_the_test_part_has_is_refused():
    frame = pd.DataFrame({"t": np.arange(100.0), "x": np.arange(100.0) % 7, "y": ["a", "b"] * 45 + ["c"] * 10})
    with pytest.raises(
        TableError, match="Class 'c' of target 'y' is not in the training part, which was chosen in time"
    ):
        fit_table(frame, FitOptions(target="y", time_column="t", time_budget=1.0))
