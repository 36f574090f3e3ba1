"""A saved model predicts as before, and a damaged one is refused."""

import json

import numpy as np
import pytest

from mercer.errors import FileFormatError, TableError
from mercer.tables import TableModel
from mercer.tables.model import KERNEL_FILE, TABLE_FILE


@pytest.mark.parametrize("which", ["house_fit", "flower_fit", "line_fit"])
def test_a_loaded_model_predicts_as_the_saved_one(request, tmp_path, which, houses, flowers):
    model, findings = request.getfixturevalue(which)
    frame = {"house_fit": houses, "flower_fit": flowers}.get(which)
    if frame is None:
        frame = houses.rename(columns={"area": "a", "height": "b", "rooms": "c"}).assign(d=1.0)
    model.save(tmp_path)
    again = TableModel.load(tmp_path)
    assert again.predict(frame).equals(model.predict(frame))
    assert (tmp_path / KERNEL_FILE).exists() == (findings.chosen == "kernel")


def test_intervals_lie_around_their_prediction(house_fit, houses):
    predictions = house_fit[0].predict(houses)
    assert predictions.columns.tolist() == ["prediction", "lower", "upper"]
    assert (predictions["lower"] < predictions["prediction"]).all()
    assert (predictions["prediction"] < predictions["upper"]).all()
    inside = (houses["price"] >= predictions["lower"]) & (houses["price"] <= predictions["upper"])
    assert inside.mean() > 0.85


def test_rows_with_unseen_categories_and_missing_values_are_predicted(house_fit, houses):
    strange = houses.assign(town="C", quality=None, area=np.nan, sold=None, rooms=-1.0)
    assert np.isfinite(house_fit[0].predict(strange).to_numpy()).all()


def test_a_row_is_predicted_alone_as_among_others(house_fit, houses):
    model, _ = house_fit
    alone, among = model.predict(houses.iloc[[5]]), model.predict(houses).iloc[[5]]
    np.testing.assert_allclose(alone, among, rtol=1e-6)


def test_an_empty_table_is_refused(house_fit, houses):
    with pytest.raises(TableError, match="no rows to predict"):
        house_fit[0].predict(houses.iloc[:0])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TableError, match="has no model in it; give the folder that `mercer fit --out` made"):
        TableModel.load(tmp_path)


def test_a_folder_without_its_kernel_is_refused(house_fit, tmp_path):
    house_fit[0].save(tmp_path)
    (tmp_path / KERNEL_FILE).unlink()
    with pytest.raises(FileFormatError, match=r"lacks kernel.safetensors; copy the whole folder"):
        TableModel.load(tmp_path)


def test_a_damaged_model_is_refused(house_fit, tmp_path):
    house_fit[0].save(tmp_path)
    data = bytearray((tmp_path / TABLE_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / TABLE_FILE).write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="damaged"):
        TableModel.load(tmp_path)


def test_a_predictor_of_a_newer_version_is_refused(house_fit, tmp_path):
    from mercer.store import load_state, save_state

    house_fit[0].save(tmp_path)
    tensors, meta = load_state(tmp_path / TABLE_FILE, kind="TableModel", version=1)
    save_state(tmp_path / TABLE_FILE, tensors=tensors, meta=meta | {"predictor": "Transformer"})
    with pytest.raises(FileFormatError, match="predictor 'Transformer', unknown here"):
        TableModel.load(tmp_path)


def test_nothing_saved_is_a_pickle(house_fit, tmp_path):
    house_fit[0].save(tmp_path)
    for path in tmp_path.iterdir():
        header = path.read_bytes()
        assert json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
