"""Regression on one hidden nonlinear feature: kernel ridge, a link, and a refined feature."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mercer.arrays import generator
from mercer.learn.hierarchical_model import HierarchicalModel
from mercer.learn.hierarchy import learn_hierarchy
from mercer.learn.inputs import check_data
from mercer.learn.intervals import around, check_level, error_quantile
from mercer.learn.link import learn_link
from mercer.learn.link_basis import linear_basis, make_basis
from mercer.learn.whitening import Whitening

__all__ = ["HierarchicalRegressor"]


class HierarchicalRegressor(RegressorMixin, HierarchicalModel):
    r"""Regression ``y = g(p(x))`` on a hidden feature p of all columns: three layers, trained one after the other.

    Stage 1 is ridge regression of y on polynomials of degree k (or with any kernel): the answer of a kernel method. For
    a polynomial p of degree k that answer is nearly a multiple of p: the low degrees of g(p) are proportional to it.
    Stage 2 fits a function of one variable, the link g, to y over that feature, each row's feature being learnt without
    the row. So a target of degree k q is learnt from about d^k rows, where a kernel needs d^(kq).

    Columns should have mean 0 and standard deviation 1, or give ``whiten``. ``gain_`` says whether the second stage
    helps on the data at hand; where it does not, the first stage is the model.

    Args:
        degree: k, of the hidden polynomial; None takes the one of 1 to 4 with the least left-out error, as far as there
            are twice as many rows as monomials.
        link: "relu" (40 rectified units with knots at quantiles of the feature), "hermite" (polynomials), "spline"
            (cubic), or a kernel or its text. Beyond the features it was learnt from, a link keeps its last value; one
            of units or a kernel goes on for a quarter of their range before.
        features: of stage 1: "kernel" is the limit of a wide layer, solved over features where they are few;
            "monomials" the same polynomials always as features; "random" a layer of finite width; or a kernel or its
            text, of which ``degree`` says nothing.
        width: of the layer of "random"; None is four units a monomial, at most one for two rows.
        activation: of the layer: "hermite" (sum of h_1 to h_k on directions of norm 1; "hermite3" with its own 3 in the
            place of ``degree``), "relu" and the other names or
            layers of :mod:`mercer.kernels.neural.layers`, with standard normal biases.
        solver: "ridge" (exact), or "gd": what ``n_steps`` steps of full-batch gradient descent have of it.
        n_steps: of "gd".
        alpha: ridge of stage 1, >= 0; None chooses by left-out rows.
        alpha_link: the same of stage 2.
        n_features: hidden features; further ones are looked for in y times functions of the first.
        refine: steps of Gauss and Newton on the feature, each kept only if the left-out error falls; not part of the
            paper.
        crossfit: how stage 2 gets features that have not seen their y: "loo" leaves each row out in closed form;
            "split" learns the feature from one half of the rows and the link from the other (the paper); None takes the
            fitted values, with which the link is wrong where rows are few: ``gain_`` is then its error at features
            learnt without the row.
        whiten: False, True (uncorrelated columns of variance 1), or "ranks" (normal scores first, for skewed columns).
        random_state: of random units, halves, and the knots of several features.

    Attributes:
        gain_: left-out R^2 of stage 2 minus that of stage 1. Not above 0, a warning says so and stage 1 is used.
        uses_link_: whether the prediction is that of stage 2.
        link_: the link, a function of :meth:`transform`'s values in the units of y.
        degree_: k; None for a kernel of one's own.
        degree_scores_: left-out R^2 of every degree that was tried, from 1 on; of the one that was given.
        feature_polynomial_: ``(count, n_features)`` coefficients of the features in products of normalised Hermite
            polynomials, with ``feature_exponents_`` ``(count, d)``; where stage 1 is made of polynomials.
        alpha_, alpha_link_: the ridges of both stages.
        n_refinements_: steps of refinement that were kept.

    Raises:
        ValueError: in ``fit``, for a constant y, a degree below 1, or ``alpha=0`` with fewer rows than features.
        MemoryBudgetError: in ``fit``, before anything is allocated.

    Cost: with r features (``C(d + k, k)`` monomials) ``1.5 n r^2 + 9 r^3`` multiply-adds a stage and step of
    refinement, and ``32 r^2`` bytes beside the rows: features are computed for blocks of rows when they are needed, so
    those of all n rows are never held where they take more than 256 MB. Without features ``9 n^3`` and the kernel
    matrix.
    Source: Wang, Nichani & Lee, Learning hierarchical polynomials with three-layer neural networks (ICLR 2024, arXiv
    2311.13774). Leave-one-out in place of halves, refinement, several features and transfer are ours.

    >>> from mercer.data import hierarchical_polynomial
    >>> X, y, p = hierarchical_polynomial(10, 3000)
    >>> model = HierarchicalRegressor(degree=2, refine=3).fit(X[:2000], y[:2000])
    >>> bool(abs(np.corrcoef(model.transform(X[2000:])[:, 0], p[2000:])[0, 1]) > 0.99), model.gain_ > 0.3
    (True, True)
    """

    def __init__(
        self,
        degree: int | None = 2,
        link: Any = "relu",
        *,
        features: Any = "kernel",
        width: int | None = None,
        activation: Any = "hermite",
        solver: str = "ridge",
        n_steps: int = 1000,
        alpha: float | None = None,
        alpha_link: float | None = None,
        n_features: int = 1,
        refine: int = 0,
        crossfit: str | None = "loo",
        whiten: bool | str = False,
        random_state: Any = 0,
    ) -> None:
        self.degree = degree
        self.link = link
        self.features = features
        self.width = width
        self.activation = activation
        self.solver = solver
        self.n_steps = n_steps
        self.alpha = alpha
        self.alpha_link = alpha_link
        self.n_features = n_features
        self.refine = refine
        self.crossfit = crossfit
        self.whiten = whiten
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the feature and the link.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ``(n,)``.
        """
        given, y = check_data(self, X, y, reset=True, y_numeric=True)
        self._check_arguments()
        target = self._standardise(y, given)
        points = given.points.to(torch.float64)
        self._whitening = None
        if self.whiten:
            self._whitening = Whitening.fit(points, ranks=self.whiten == "ranks").state()
            points = self._whitened(points)
        draw = generator(self.random_state)
        halves = torch.randperm(len(points), generator=draw).to(points.device).tensor_split(2)
        self._seed = int(torch.randint(2**31 - 1, (1,), generator=draw))
        inside, outside = halves if self.crossfit == "split" else (slice(None), None)
        found = {}
        for degree in self._candidates(points):
            problem = self._problem(points, target, inside, outside, degree)
            found[degree] = learn_hierarchy(problem, n_features=int(self.n_features), n_refinements=int(self.refine))
        best = min(found, key=lambda k: found[k].loss)
        self.degree_scores_ = np.array([1.0 - tried.loss for tried in found.values()])
        self._keep(points[inside], found[best], best, target if outside is None else target[outside])
        if not self.uses_link_:
            warnings.warn(
                f"No hidden feature found: a function of what stage 1 predicts is no better than stage 1 itself (gain_ "
                f"{self.gain_:.2g}). Stage 1 alone is used.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """The prediction at each row of X, ``(m,)``; differentiable in a tensor X that requires a gradient.

        Args:
            X: ``(m, d)``.
            interval: a share such as 0.9: also give the limits between which so many truths lie.

        Returns:
            The prediction; with ``interval`` a triple (prediction, lower, upper), its width the quantile of the
            left-out errors that the model was chosen by.
        """
        level = None if interval is None else check_level(interval)
        given, first, t = self._evaluate(X)
        values = self.link_.evaluate(t) if self.uses_link_ else first
        if level is None:
            return given.answer(values)
        radius = error_quantile(self._errors[:, None], level).to(values.device)
        return tuple(given.answer(limit) for limit in around(values, radius))

    def first_stage_predict(self, X: Any) -> Any:
        """What stage 1 alone predicts, ``(m,)``: kernel ridge regression."""
        given, first, _ = self._evaluate(X)
        return given.answer(first)

    def transform(self, X: Any) -> Any:
        """The learnt features, ``(m, n_features)``: mean 0, variance 1, their sign is arbitrary."""
        given, _, t = self._evaluate(X)
        return given.answer(t)

    def fit_link(self, X: Any, y: Any) -> Self:
        """A model of another target that keeps the feature and learns a new link; this one stays as it is.

        Its first stage is a straight line in the features. A few hundred rows are enough, since the link is a function
        of one variable.

        Args:
            X: ``(n, d)``, rows that the feature was not learnt from.
            y: ``(n,)``, the new target.
        """
        check_is_fitted(self)
        other = copy.copy(self)
        given, y = check_data(other, X, y, reset=False, y_numeric=True)
        target = other._standardise(y, given)
        _, _, t = self._evaluate(X)
        t = t.detach()
        similarity = self._link_similarity(t.shape[1])
        basis = make_basis(self.link, t, similarity=similarity, generator=torch.Generator().manual_seed(self._seed))
        link, other.alpha_link_, errors = learn_link(basis, t, target, alpha=self.alpha_link)
        line, _, straight = learn_link(linear_basis(t), t, target, alpha=0.0)
        intercept, slopes = float(line.weights[0]), line.weights[1:]
        other._first = other._coefficients @ slopes[:, None]
        other._first_offset = intercept + float(other._offset @ slopes)
        other._keep_link(link, errors, straight, t, target)
        return other
