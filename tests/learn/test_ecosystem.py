"""Estimators in scikit-learn's machinery: pipelines, grid searches in processes, clones, tables."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mercer.kernels import RBF, Linear, White
from mercer.learn import (
    GaussianProcessRegressor,
    KernelKMeans,
    KernelPCA,
    KernelRidge,
    KernelRidgeClassifier,
    KernelRidgeCV,
    Nystroem,
    RandomFourier,
    SpectralClustering,
    SplitConformal,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.sin(2 * X[:, 0]) + 0.1 * RNG.normal(size=60)
TABLE = pd.DataFrame(X, columns=["a", "b", "c"])
ESTIMATORS = [
    KernelRidge(0.1, kernel=2.0 * RBF() + Linear()),
    KernelRidgeCV((0.1, 1.0), kernel=RBF()),
    GaussianProcessRegressor(RBF() + White(0.1), optimizer=None),
    SplitConformal(KernelRidge(kernel=RBF())),
    KernelRidgeClassifier(kernel=RBF()),
]


def targets(estimator):
    return (Y > 0).astype(int) if isinstance(estimator, KernelRidgeClassifier) else Y


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_pipeline_of_a_table_with_set_output(estimator):
    scale = ColumnTransformer([("scale", StandardScaler(), ["a", "b"])], remainder="passthrough")
    pipeline = make_pipeline(scale.set_output(transform="pandas"), estimator).fit(TABLE, targets(estimator))
    assert pipeline[-1].feature_names_in_.tolist() == ["scale__a", "scale__b", "remainder__c"]
    assert isinstance(pipeline.predict(TABLE), np.ndarray)
    with pytest.raises(ValueError, match="feature names should match"):
        pipeline[-1].predict(TABLE)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_clone_is_unfitted_and_equal_and_pickle_is_fitted(estimator):
    fitted = clone(estimator).fit(X, targets(estimator))
    again = clone(fitted)
    assert not hasattr(again, "n_features_in_")
    assert repr(again) == repr(fitted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_a_kernel_of_named_columns_can_be_cloned():
    model = KernelRidge(kernel=RBF().on(["a", "c"]) + Linear().on("b"))
    np.testing.assert_array_equal(clone(model).fit(TABLE, Y).predict(TABLE), model.fit(TABLE, Y).predict(TABLE))


@pytest.mark.slow(reason="two processes that import torch and scikit-learn")
def test_grid_search_in_two_processes_reaches_the_kernels_lengthscale():
    grid = {"alpha": [0.01, 1.0], "kernel__left__kernel__lengthscale": [0.1, 1.0, 100.0]}
    search = GridSearchCV(KernelRidge(kernel=2.0 * RBF() + Linear()), grid, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_params_["kernel__left__kernel__lengthscale"] == 1.0
    assert float(search.best_estimator_.kernel_.left.kernel.lengthscale) == 1.0


def test_grid_search_over_kernels_and_a_process():
    search = GridSearchCV(
        GaussianProcessRegressor(optimizer=None), {"kernel": ["Linear() + White(0.1)", "RBF() + White(0.1)"]}, cv=3
    )
    assert search.fit(X, Y).best_params_ == {"kernel": "RBF() + White(0.1)"}


def test_sample_weights_through_a_pipeline():
    weights = np.repeat([1.0, 0.0], 30)
    pipeline = make_pipeline(StandardScaler(), KernelRidge(kernel="rbf"))
    pipeline.fit(X, np.where(weights > 0, Y, 1e6), kernelridge__sample_weight=weights)
    assert abs(pipeline.predict(X)).max() < 10


def test_precomputed_values_are_split_by_rows_and_columns():
    values = RBF()(X).to_dense().numpy()
    np.testing.assert_allclose(
        cross_val_score(KernelRidge(kernel="precomputed"), values, Y, cv=4),
        cross_val_score(KernelRidge(kernel=RBF()), X, Y, cv=4),
        atol=1e-9,
    )


def test_tables_with_nullable_and_integer_columns():
    table = TABLE.assign(d=pd.array(range(60), dtype="Int64"), e=np.arange(60, dtype=np.int8), f=True)
    plain = table.astype(float).to_numpy()
    np.testing.assert_allclose(
        KernelRidge(kernel="rbf").fit(table, Y).predict(table), KernelRidge(kernel="rbf").fit(plain, Y).predict(plain)
    )


TRANSFORMERS = [
    KernelPCA(2, kernel=RBF(), random_state=0),
    Nystroem(RBF(), n_components=10, random_state=0),
    RandomFourier(n_components=20, random_state=0, kernel=RBF()),
    KernelKMeans(3, kernel=RBF(), random_state=0),
]


@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=lambda e: type(e).__name__)
def test_transformers_name_their_columns_in_a_table_and_can_be_cloned_and_pickled(estimator):
    model = clone(estimator).set_output(transform="pandas").fit(TABLE)
    features = model.transform(TABLE)
    name = type(estimator).__name__.lower()
    assert features.columns.tolist() == [f"{name}{i}" for i in range(features.shape[1])]
    plain = clone(estimator).fit(X)
    np.testing.assert_allclose(features.to_numpy(), plain.transform(X), atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plain)).transform(X), plain.transform(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(TABLE[["b", "a", "c"]])


@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=lambda e: type(e).__name__)
def test_grid_search_reaches_the_kernel_of_a_transformer_in_a_pipeline(estimator):
    pipeline = make_pipeline(StandardScaler(), clone(estimator), KernelRidge(0.1))
    name = type(estimator).__name__.lower()
    search = GridSearchCV(pipeline, {f"{name}__kernel__lengthscale": [1.0, 1e4]}, cv=3).fit(X, Y)
    assert np.isfinite(search.best_score_)
    assert np.ptp(search.cv_results_["mean_test_score"]) > 1e-3


def test_clusters_in_a_pipeline_with_weights_and_affinity_parameters():
    weights = np.repeat([1.0, 0.0], 30)
    clusters = make_pipeline(StandardScaler(), KernelKMeans(2, random_state=0)).fit(
        X, kernelkmeans__sample_weight=weights
    )
    assert len(clusters.predict(X)) == 60
    spectral = SpectralClustering(2, affinity=RBF(), random_state=0).set_params(affinity__lengthscale=2.0)
    assert clone(spectral).fit(TABLE).affinity == RBF(2.0)
