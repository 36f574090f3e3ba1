"""Every check of scikit-learn for every estimator, except what scikit-learn's own twin fails at this version."""

import pytest
from sklearn.cluster import KMeans
from sklearn.cluster import SpectralClustering as TwinSpectral
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier as TwinClassifier
from sklearn.gaussian_process import GaussianProcessRegressor as TwinProcess
from sklearn.kernel_approximation import Nystroem as TwinNystroem
from sklearn.kernel_ridge import KernelRidge as TwinRidge
from sklearn.linear_model import RidgeClassifier, RidgeCV
from sklearn.neighbors import KernelDensity as TwinDensity
from sklearn.utils.estimator_checks import check_estimator

from mercer.learn import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    KernelDensity,
    KernelKMeans,
    KernelRidge,
    KernelRidgeClassifier,
    KernelRidgeCV,
    LaplaceGaussianProcess,
    MultiTaskGaussianProcess,
    NTKClassifier,
    NTKRegressor,
    Nystroem,
    RecursiveFeatureMachine,
    RecursiveFeatureMachineClassifier,
    SparseGaussianProcessClassifier,
    SparseGaussianProcessRegressor,
    SpectralClustering,
    SplitConformal,
)

PAIRS = [
    (KernelDensity(), TwinDensity()),
    (KernelDensity(bandwidth="scott", kernel="RBF(0.7)"), TwinDensity()),
    (KernelRidge(), TwinRidge()),
    (KernelRidge(kernel="RBF()"), TwinRidge(kernel="rbf")),
    (KernelRidge(kernel="precomputed"), TwinRidge(kernel="precomputed")),
    (KernelRidgeCV(), RidgeCV()),
    (KernelRidgeClassifier(), RidgeClassifier()),
    (SplitConformal(KernelRidge()), TwinRidge()),
    # Without a ridge the checks' data, in which rows repeat, are refused; the twin has one too.
    (NTKRegressor("NTK(depth=2)", alpha=1e-3), TwinRidge(kernel="rbf")),
    (NTKClassifier("NTK(depth=2)", alpha=1e-3), RidgeClassifier()),
    # The twins' weights are no repeated rows either: an iterate is chosen by rows left out, and a copy gives one away.
    (RecursiveFeatureMachine(max_iter=1), RandomForestRegressor(2)),
    (RecursiveFeatureMachineClassifier(max_iter=1), RandomForestClassifier(2)),
    (KernelKMeans(3), KMeans(3)),
    (SpectralClustering(), TwinSpectral()),
    (Nystroem(), TwinNystroem()),
    (GaussianProcessRegressor("RBF() + White(0.1)", optimizer=None), TwinProcess(optimizer=None)),
    (GaussianProcessClassifier("2.0 * RBF()", optimizer=None), TwinClassifier(optimizer=None)),
    (LaplaceGaussianProcess("RBF()", optimizer=None), TwinProcess(optimizer=None)),
    (SparseGaussianProcessRegressor("RBF()", optimizer=None, n_inducing=200), TwinProcess(optimizer=None)),
    (SparseGaussianProcessClassifier("RBF()", max_epochs=5, n_inducing=10), TwinClassifier(optimizer=None)),
    (MultiTaskGaussianProcess("RBF()", optimizer=None), TwinProcess(optimizer=None)),
    pytest.param(
        GaussianProcessRegressor(),
        TwinProcess(),
        marks=pytest.mark.slow(reason="80 fits, each with a search for hyperparameters"),
    ),
]


def failures(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert len(results) > 40
    return {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}


@pytest.mark.filterwarnings("ignore")  # the checks give bad data on purpose, and ask whether it warns themselves
@pytest.mark.parametrize(("ours", "twin"), PAIRS, ids=lambda e: repr(e)[:60])
def test_ours_fails_no_check_that_the_twin_passes(ours, twin):
    found = failures(ours)
    assert {name: error for name, error in found.items() if name not in failures(twin)} == {}
