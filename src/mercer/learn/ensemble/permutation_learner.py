"""Permutations of bits, learnt exactly from k examples."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_positive, check_whole
from mercer.arrays import as_tensor, like
from mercer.config import require_memory
from mercer.errors import NotConverged, ShapeError
from mercer.kernels import NNGP, NTK, Kernel
from mercer.learn.ensemble.law import EnsembleLaw
from mercer.learn.ensemble.permutation_law import THRESHOLDS, PermutationLaw
from mercer.learn.saving import Saved
from mercer.nn import BatchedMLP
from mercer.nn.training import half_squares, train_batched

__all__ = ["PermutationLearner"]

Bits = NDArray[np.int8]
PREDICTORS = ("kernel", "ensemble", "closed_form")
_DELTA = 0.05  # of a mistake at one input, for the default number of networks
_NUMBERS = 2**26  # of hidden units at a time, over networks and rows
_TIE = 1e-10  # means closer to a threshold than this are on it: for one 1 the theory has 0 there, exactly


class PermutationLearner(Saved, BaseEstimator):
    """Learns where each of k bits goes from the k inputs with a single 1, then moves all bits of any input.

    Wide networks are trained on the unit vectors alone; an output bit is 1 where their average is above a threshold.
    At infinite width that is right on all 2^k - 1 inputs with a 1, with as many networks as
    ``PermutationLaw(k).ensemble_size(simultaneous=True)`` says.

    Args:
        k: bits; None takes the columns of X.
        predictor: "kernel", the average of infinitely many networks by a kernel solve; "closed_form", the same from
            its formula, for any k; "ensemble", networks that are trained here.
        regime: "ntk", all layers learn; "last_layer", only the last.
        n_models: networks of an ensemble; None takes as many as the theory asks for one input to be right with
            probability 0.95.
        width: of the hidden layer of an ensemble.
        threshold: "zero", or "midpoint", half-way between the two levels of the theory: of the order of k fewer
            networks.
        learning_rate: of full-batch gradient descent on half the sum of squares; None is 0.6 of the largest stable one.
        max_iter: of its steps.
        tol: each network is trained until the norm of its residual is at most this, > 0.
        random_state: of the networks.

    Attributes:
        permutation_: input bit i goes to output bit ``permutation_[i]``, ``(k,)``.
        dual_coef_: of the kernel, ``(k, k)``.
        networks_: the :class:`mercer.nn.BatchedMLP`.
        n_models_: how many they are.
        tie_: averages up to this above a threshold count as on it: what training has left of the residual.

    Raises:
        ValueError: in ``fit`` and ``predict``, entries other than 0 and 1, a row without a 1, a missing unit vector,
            rows that no permutation explains; a learning rate that is not stable.
        NotConverged: in ``fit``, ``tol`` is not reached, or it leaves a residual larger than the distance of the
            theory's averages from their thresholds.
        MemoryBudgetError: in ``fit``, the networks or a k x k matrix do not fit.

    Source: Giapitzakis, Back de Luca & Fountoulakis 2025, arXiv 2502.16763.

    >>> task = mc.data.permutation_task(8, random_state=0)
    >>> learner = PermutationLearner().fit(task.X_train, task.Y_train)  # 8 examples
    >>> bool((learner.predict(task.X_test) == task.Y_test).all()), len(task.X_test)
    (True, 255)
    """

    _not_saved = ("networks_",)

    def __init__(
        self,
        k: int | None = None,
        *,
        predictor: str = "kernel",
        regime: str = "ntk",
        n_models: int | None = None,
        width: int = 4096,
        threshold: str = "zero",
        learning_rate: float | None = None,
        max_iter: int = 10_000,
        tol: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.k = k
        self.predictor = predictor
        self.regime = regime
        self.n_models = n_models
        self.width = width
        self.threshold = threshold
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, Y: Any) -> Self:
        """Learn from the unit vectors; what other rows there are must agree with the permutation.

        Args:
            X: ``(n, k)`` of 0 and 1; every unit vector, in any order. None is the unit vectors in theirs. An
                ensemble is trained on the device of a tensor.
            Y: ``(n, k)`` of 0 and 1; or, with X None, the permutation itself, ``(k,)``: bit i goes to ``Y[i]``. With
                ``predictor="closed_form"`` nothing is then larger than the inputs, up to k = 1e6 and more.
        """
        for name, known in (("predictor", PREDICTORS), ("threshold", THRESHOLDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(known)}.")
        check_whole("k", self.k, least=2, or_none=True)
        permutation = self._permutation_of(X, Y)
        k = len(permutation)
        law = PermutationLaw(k, self.regime)
        if self.predictor == "kernel":
            require_memory(
                8 * 4 * k * k, asked=f"The kernel solve of {k} bits", instead="Give predictor='closed_form', the same."
            )
        self.permutation_ = permutation
        self.n_features_in_, self.tie_ = k, _TIE
        # What the answers depend on: arguments that are set later are those of the next fit.
        self.predictor_, self.regime_, self.threshold_ = self.predictor, self.regime, self.threshold
        if self.predictor == "kernel":
            points = torch.eye(law.k, dtype=torch.float64)
            solved = EnsembleLaw(self._kernel, points, self._targets()).coefficients
            self.dual_coef_ = np.ascontiguousarray(solved.numpy())
        elif self.predictor == "ensemble":
            self._train(law, X.device if isinstance(X, Tensor) else torch.device("cpu"))
        return self

    def decision_function(self, X: Any) -> Any:
        """The averages of the networks that the thresholds are compared with, ``(n, k)``.

        Args:
            X: ``(n, k)`` of 0 and 1, at least one 1 a row.
        """
        return like(self._averages(self._inputs(X)), X)

    def predict(self, X: Any) -> Any:
        """The bits of each row in their new places, ``(n, k)`` of 0 and 1.

        Args:
            X: ``(n, k)`` of 0 and 1, at least one 1 a row.
        """
        bits = self._inputs(X)
        levels = torch.from_numpy(self.law.threshold(bits.sum(1), self.threshold_))
        return like((self._averages(bits) > levels.unsqueeze(1) + self.tie_).long(), X)

    def score(self, X: Any, Y: Any) -> float:
        """The share of rows whose bits are all right.

        Args:
            X: ``(n, k)`` of 0 and 1, at least one 1 a row.
            Y: the same with their bits moved.
        """
        found, truth = as_tensor(self.predict(X)), as_tensor(Y)
        if found.shape != truth.shape or len(found) == 0:
            raise ShapeError(f"score: X {tuple(found.shape)} and Y {tuple(truth.shape)} must both be (n, k), n >= 1.")
        return float((found == truth.to(found.device)).all(1).double().mean())

    @property
    def law(self) -> PermutationLaw:
        """Levels, deviations and ensemble sizes of the theory for these k and this regime."""
        check_is_fitted(self, "permutation_")
        return PermutationLaw(self.n_features_in_, self.regime_)

    @property
    def _kernel(self) -> Kernel:
        kind = NTK if self.regime_ == "ntk" else NNGP
        return kind(depth=2, activation="relu", sigma_b=0.0)

    def _permutation_of(self, X: Any, Y: Any) -> NDArray[np.int64]:
        if X is None and np.ndim(Y) == 1:
            return _vector(Y, self.k)
        outputs = _bits(Y, "Y")
        inputs = None if X is None else _bits(X, "X")
        shape = (outputs.shape[1],) * 2 if inputs is None else inputs.shape
        if shape != outputs.shape or self.k not in (None, shape[1]):
            raise ShapeError(f"PermutationLearner(k={self.k}): X {shape} and Y {outputs.shape} must both be (n, k).")
        return _permutation(inputs, outputs)

    def _targets(self) -> Tensor:
        """Of the unit vectors in their order, ``(k, k)``."""
        return torch.eye(self.n_features_in_, dtype=torch.float64)[torch.from_numpy(self.permutation_)]

    def _inputs(self, X: Any) -> Bits:
        check_is_fitted(self, "permutation_")
        bits = _bits(X, "X", least=0)
        if bits.shape[1] != self.n_features_in_:
            raise ShapeError(f"X has {bits.shape[1]} bits, but the permutation has {self.n_features_in_}.")
        return bits

    def _averages(self, bits: Bits) -> Tensor:
        """float64, ``(n, k)``."""
        ones = bits.sum(1)
        if len(bits) == 0:
            return torch.empty(bits.shape, dtype=torch.float64)
        if self.predictor_ == "closed_form":
            on, off = self.law.levels(ones)
            moved = np.empty_like(bits)
            moved[:, self.permutation_] = bits
            return torch.from_numpy(np.where(moved == 1, on[:, None], off[:, None]))
        points = torch.from_numpy(bits / np.sqrt(ones)[:, None])
        if self.predictor_ == "kernel":
            across = self._kernel(points, torch.eye(self.n_features_in_, dtype=torch.float64)).to_dense()
            return across @ torch.from_numpy(self.dual_coef_)
        rows = max(1, _NUMBERS // (self.n_models_ * self.networks_.widths[1]))
        device = self.networks_.seeds.device
        with torch.no_grad():
            means = [self.networks_(part).double().mean(0).cpu() for part in points.float().to(device).split(rows)]
        return torch.cat(means)

    def _train(self, law: PermutationLaw, device: torch.device) -> None:
        for name in ("width", "max_iter"):
            check_whole(name, getattr(self, name))
        check_whole("n_models", self.n_models, or_none=True)
        check_positive("tol", self.tol)
        check_positive("learning_rate", self.learning_rate, or_none=True)
        k, limit = law.k, law.largest_learning_rate
        rate = 0.6 * limit if self.learning_rate is None else self.learning_rate
        if not rate < limit:
            raise ValueError(
                f"learning_rate={rate!r}: gradient descent is stable between 0 and 2k / D = {limit:.4g} only (k = {k})."
            )
        n_models = self.n_models or law.ensemble_size(delta=_DELTA, threshold=self.threshold)
        require_memory(
            4 * (3 * n_models * 2 * k * int(self.width) + 3 * k * k),
            asked=f"Training {n_models} networks of width {self.width} on {k} bits",
            instead="Take fewer (threshold='midpoint' needs few) or narrower ones, or predictor='kernel'.",
        )
        widths = (k, int(self.width), k)
        networks = BatchedMLP(int(n_models), widths, sigma_b=0.0, random_state=self.random_state, device=device)
        networks.weights[0].requires_grad_(self.regime == "ntk")
        points, targets = torch.eye(k, device=device), self._targets().float().to(device)
        history = train_batched(
            networks,
            points,
            targets,
            n_steps=int(self.max_iter),
            optimizer=partial(torch.optim.SGD, lr=rate),
            loss=half_squares,
            tolerance=0.5 * self.tol**2,
            description=f"{n_models} networks",
        )
        short = history.stopped.count("done")
        if short:
            raise NotConverged(
                f"PermutationLearner: {short} of {n_models} networks have not reached tol={self.tol:g} in "
                f"{self.max_iter} steps. Give a larger max_iter or tol.",
                networks,
            )
        self._take(networks)
        with torch.no_grad():
            self.tie_ = max(_TIE, float((networks(points).mean(0) - targets).abs().max()))
        gap = law.smallest_gap(self.threshold)
        if not self.tie_ < gap:
            raise NotConverged(
                f"PermutationLearner: tol={self.tol:g} leaves averages {self.tie_:.2g} away from their targets, and "
                f"bits are told apart by {gap:.2g} only. Give a tol below that.",
                networks,
            )

    def _take(self, networks: BatchedMLP) -> None:
        self.networks_, self.n_models_ = networks.requires_grad_(False).eval(), networks.n_models
        self.weights_, self.seeds_ = [p.detach() for p in networks.weights], networks.seeds

    def _restore(self) -> None:
        if hasattr(self, "weights_"):
            widths = (self.n_features_in_, self.weights_[0].shape[1], self.n_features_in_)
            networks = BatchedMLP(1, widths, sigma_b=0.0, random_state=0).select([0] * self.n_models_)
            for mine, saved in zip(networks.weights, self.weights_, strict=True):
                mine.data = saved
            networks.seeds = self.seeds_
            self._take(networks)


def _bits(values: Any, name: str, *, least: int = 1) -> Bits:
    """Rows of 0 and 1, at least one 1 in each, ``(n, k)``."""
    given = as_tensor(values).detach().cpu()
    if given.dim() != 2 or given.shape[0] < least or given.shape[1] < 2:
        raise ShapeError(f"{name} must be (n, k) with n >= {least} and k >= 2, but has the shape {tuple(given.shape)}.")
    wrong = ((given != 0.0) & (given != 1.0)).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(
            f"{name} must hold 0 and 1, but has {given[row, column].item():g} in row {row}, column {column}."
        )
    bits = given.to(torch.int8).numpy()  # of k^2 numbers at k = 20 000 an eighth of what int64 takes
    empty = np.flatnonzero(bits.sum(1) == 0)
    if len(empty):
        raise ValueError(f"{name}: row {int(empty[0])} has no bit set: the statement excludes it. Leave it out.")
    return bits


def _vector(values: Any, k: int | None) -> NDArray[np.int64]:
    """A permutation as the places that 0, 1, ..., k - 1 go to, ``(k,)``."""
    places = as_tensor(values, dtype=torch.float64).detach().cpu().numpy()
    k = len(places) if k is None else k
    if k < 2 or not np.array_equal(np.sort(places), np.arange(k)):
        raise ValueError(
            f"Y of the shape {places.shape} is no permutation: each of the numbers 0 to k - 1 once, k >= 2."
        )
    return places.astype(np.int64)


def _permutation(inputs: Bits | None, outputs: Bits) -> NDArray[np.int64]:
    """Where each input bit goes, read off the unit vectors (None: all, in order) and checked against all other rows."""
    k = outputs.shape[1]
    permutation = np.full(k, -1, dtype=np.int64)
    single = np.ones(k, dtype=bool) if inputs is None else inputs.sum(1) == 1
    bits = np.arange(k) if inputs is None else inputs[single].argmax(1)
    permutation[bits] = places = outputs[single].argmax(1)
    missing = np.flatnonzero(permutation < 0)
    if len(missing):
        raise ValueError(
            f"X lacks the unit vector of bit {int(missing[0])} ({len(missing)} of {k} in all): where that bit goes, no "
            f"other row says. Add the row of zeros with a 1 in column {int(missing[0])}."
        )
    wrong = np.flatnonzero(single)[permutation[bits] != places]
    if len(wrong) == 0 and len(np.unique(permutation)) == k:
        is_moved = outputs.sum(1) == 1 if inputs is None else (outputs[:, permutation] == inputs).all(1)
        wrong = np.flatnonzero(~is_moved)
        if len(wrong) == 0:
            return permutation
    where = f"row {int(wrong[0])} of Y is another" if len(wrong) else "two bits go to the same place"
    raise ValueError(f"Y is no permutation of the bits of X: {where}. Every row must move its bits alike.")
