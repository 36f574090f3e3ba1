import json

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import FileFormatError
from mercer.kernels import RBF, Parameter, White
from mercer.learn import (
    GaussianProcessRegressor,
    KernelRidge,
    KernelRidgeClassifier,
    KernelRidgeCV,
    SplitConformal,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=40)
KERNEL = 2.0 * RBF([1.0, 2.0, 3.0]) + White(Parameter(0.1, bounds=(0.01, 1.0)))
ESTIMATORS = [
    KernelRidge(),
    KernelRidge([0.5], kernel=KERNEL),
    KernelRidge(kernel="cosine", rtol=float("1e-9")),
    KernelRidge(kernel=theirs.RBF(0.5) * theirs.ConstantKernel(2.0)),
    KernelRidge(kernel=theirs.PairwiseKernel(metric="rbf")),
    KernelRidge(kernel="rbf", n_centers=10, random_state=3),
    KernelRidgeCV((0.1, 1.0), kernel="rbf"),
    GaussianProcessRegressor(KERNEL, optimizer=None, normalize_y=True),
    GaussianProcessRegressor("RBF()", noise=np.full(40, 0.1), subset=20, random_state=0),
    GaussianProcessRegressor(theirs.RBF() + theirs.WhiteKernel()),
    SplitConformal(KernelRidge(kernel="rbf")),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: repr(e)[:60])
def test_a_loaded_estimator_is_the_saved_one(estimator, tmp_path):
    estimator.fit(X, Y)
    estimator.save(tmp_path / "model.safetensors")
    loaded = type(estimator).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X[:5]), estimator.predict(X[:5]))
    if isinstance(estimator, GaussianProcessRegressor):
        np.testing.assert_allclose(loaded.predict(X[:5], return_std=True), estimator.predict(X[:5], return_std=True))
        assert loaded.log_marginal_likelihood() == pytest.approx(estimator.log_marginal_likelihood())
    elif not getattr(estimator, "n_centers", None):
        np.testing.assert_allclose(loaded.predict(X[:5], interval=0.8), estimator.predict(X[:5], interval=0.8))
    np.testing.assert_array_equal(loaded.fit(X, Y).predict(X[:5]), estimator.fit(X, Y).predict(X[:5]))


def test_classes_of_text_and_probabilities(tmp_path):
    names = np.where(Y > 0, "up", "down")
    model = KernelRidgeClassifier(kernel="rbf", probability=True, class_weight={"up": 2.0, "down": 1.0}).fit(X, names)
    model.save(tmp_path / "model")
    loaded = KernelRidgeClassifier.load(tmp_path / "model")
    assert (loaded.predict(X) == model.predict(X)).all()
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.class_weight == {"up": 2.0, "down": 1.0}


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_rows(tmp_path, container):
    model = KernelRidge(kernel="poly").fit(container(X), Y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(KernelRidge.load(tmp_path / "model").predict(X), model.predict(X))


def test_tensors_and_columns_by_name(tmp_path):
    import pandas as pd

    model = KernelRidge(kernel=RBF()).fit(torch.from_numpy(X).float(), torch.from_numpy(Y))
    model.save(tmp_path / "model")
    loaded = KernelRidge.load(tmp_path / "model")
    assert loaded.predict(torch.from_numpy(X).float()).dtype == torch.float32
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    named = KernelRidge(kernel=RBF().on(["c"])).fit(table, Y)
    named.save(tmp_path / "model")
    np.testing.assert_array_equal(KernelRidge.load(tmp_path / "model").predict(table), named.predict(table))


def test_a_generator_is_left_behind(tmp_path):
    model = KernelRidge(kernel="rbf", n_centers=10, random_state=np.random.RandomState(0)).fit(X, Y)
    model.save(tmp_path / "model")
    loaded = KernelRidge.load(tmp_path / "model")
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_an_estimator_that_is_not_fitted(tmp_path):
    KernelRidge(3.0, kernel="rbf").save(tmp_path / "model")
    assert KernelRidge.load(tmp_path / "model").get_params() == KernelRidge(3.0, kernel="rbf").get_params()


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (KernelRidge(kernel=lambda x, y: 1.0), TypeError, "kernel cannot be saved: function has no safe form"),
        (SplitConformal(RandomForestRegressor()), TypeError, "estimator cannot be saved: RandomForestRegressor"),
    ],
    ids=["function", "foreign estimator"],
)
def test_what_cannot_be_saved_safely_is_refused_and_nothing_is_written(estimator, error, message, tmp_path):
    with pytest.raises(error, match=message):
        estimator.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_and_other_estimators_are_refused(tmp_path):
    KernelRidge().fit(X, Y).save(tmp_path / "model")
    data = bytearray((tmp_path / "model").read_bytes())
    with pytest.raises(FileFormatError, match="holds a KernelRidge, not a KernelRidgeCV"):
        KernelRidgeCV.load(tmp_path / "model")
    for broken in (data[:-7], data[: len(data) // 2], bytes(data[:-3]) + bytes([data[-3] ^ 1]) + bytes(data[-2:])):
        (tmp_path / "broken").write_bytes(bytes(broken))
        with pytest.raises(FileFormatError):
            KernelRidge.load(tmp_path / "broken")


@pytest.mark.parametrize(
    "state",
    [
        {"estimator": "os", "values": {}},
        {"estimator": "KernelRidge", "values": {"kernel": {"sklearn kernel": "np", "params": {}}}},
        {"estimator": "KernelRidge", "values": {"kernel": {"unknown": 1}}},
        {"estimator": "ridge_path", "values": {}},
    ],
)
def test_a_file_cannot_name_what_is_no_estimator_or_kernel(state, tmp_path):
    from mercer.store import save_state

    json.dumps(state)
    save_state(tmp_path / "m", tensors={}, meta={"kind": "KernelRidge", "version": 1, "state": state})
    with pytest.raises(FileFormatError, match=r"unknown kind|no estimator|no kernel"):
        KernelRidge.load(tmp_path / "m")
