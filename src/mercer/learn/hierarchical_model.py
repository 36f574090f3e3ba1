"""What a hierarchical model keeps of its fit, and how it is evaluated, saved and drawn."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, generator
from mercer.config import require_memory
from mercer.kernels import HermitePolynomial
from mercer.kernels.features.exact import LIMIT
from mercer.kernels.hermite import hermite_exponents, hermite_products
from mercer.kernels.neural.activations import Unit, hermite_degree
from mercer.learn.first_stage import FirstStage
from mercer.learn.first_stage_kinds import KINDS, draw_units, first_stage, hidden_unit, is_hermite, kernel_of
from mercer.learn.hierarchy import Hierarchy, Problem
from mercer.learn.inputs import Given, check_data, estimator_columns
from mercer.learn.link import Link
from mercer.learn.link_basis import NAMES, Basis
from mercer.learn.saving import Saved
from mercer.learn.similarity import Similarity, naming, resolve
from mercer.learn.whitening import Whitening
from mercer.plots import BLUE, GREY, axes_or_new

__all__ = ["HierarchicalModel"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "solver": ("ridge", "gd"),
    "crossfit": ("loo", "split", None),
    "whiten": (False, True, "ranks"),
}
_DEGREES = (1, 2, 3, 4)  # among which degree=None chooses
_MOST_DIGITS = 300  # before the point
_SHOWN = 4000  # points of a plot


class HierarchicalModel(Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of the hierarchical regressor; its ``__init__`` stores the arguments read here."""

    degree: int | None
    link: Any
    features: Any
    width: int | None
    activation: Any
    solver: str
    n_steps: int
    alpha: float | None
    alpha_link: float | None
    n_features: int
    refine: int
    crossfit: str | None
    whiten: bool | str
    random_state: Any
    n_features_in_: int
    degree_: int | None
    gain_: float
    uses_link_: bool
    _whitening: dict[str, Any] | None
    _points: Tensor | None
    _hidden: dict[str, Tensor] | None
    _seed: int

    # before the fit

    def _check_arguments(self) -> None:
        check_whole("degree", self.degree, or_none=True)
        check_whole("n_features", self.n_features)
        check_whole("refine", self.refine, least=0)
        check_whole("n_steps", self.n_steps)
        check_whole("width", self.width, or_none=True)
        for name in ("alpha", "alpha_link"):
            if getattr(self, name) is not None:
                check_not_negative(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            if not any(getattr(self, name) is choice or getattr(self, name) == choice for choice in choices):
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {getattr(self, name)!r}.")

    def _standardise(self, y: Any, given: Given) -> Tensor:
        """y of mean 0 and variance 1, ``(n,)``; keeps both."""
        values = as_tensor(y, dtype=torch.float64, device=given.device)
        if len(values) < 2:
            raise ValueError("Found array with 1 sample(s), but at least 2 are needed to tell a link from a constant.")
        # A power of two, which no digit depends on: squares of 1e160 are beyond double precision.
        unit = 2.0 ** min(math.frexp(float(values.abs().max()))[1], 1000)
        self._shift = unit * float((values / unit).mean())
        self._scale = unit * float((values / unit).std(correction=0))
        if not self._scale > 1e-12 * abs(self._shift):
            raise ValueError(f"y is constant ({self._shift:g}): there is nothing to learn.")
        return (values - self._shift) / self._scale

    def _candidates(self, points: Tensor) -> list[int | None]:
        """The degrees to try; a square of a feature of the highest must not overflow."""
        n, d = points.shape
        found: list[int | None] = [k for k in _DEGREES if k == 1 or 2 * math.comb(d + k, k) <= n]
        is_kind = isinstance(self.features, str) and self.features in KINDS
        if not (is_kind and (self._is_hermite or self.features == "monomials")):
            found = [None]
        elif self.features != "monomials" and (own := hermite_degree(self.activation)) is not None:
            found = [own]
        elif self.degree is not None:
            found = [int(self.degree)]
        largest = max(1.0, float(points.abs().max()))
        if 2 * (found[-1] or 1) * math.log10(largest) > _MOST_DIGITS:
            raise ValueError(
                f"X has values of up to {largest:.1e}, of which the squares of stage 1's features are beyond double "
                f"precision. Give whiten=True, or columns of mean 0 and standard deviation 1."
            )
        return found

    def _problem(
        self, points: Tensor, y: Tensor, inside: Tensor | slice, outside: Tensor | None, degree: int | None
    ) -> Problem:
        return Problem(
            stage=self._new_stage(points[inside], degree),
            y=y[inside],
            later_points=None if outside is None else points[outside],
            later_y=y[inside] if outside is None else y[outside],
            left_out=self.crossfit is not None,
            link=self.link,
            similarity=self._link_similarity(int(self.n_features)),
            alpha=self.alpha,
            alpha_link=self.alpha_link,
            seed=self._seed,
        )

    def _new_stage(self, points: Tensor, degree: int | None) -> FirstStage:
        n, d = points.shape
        similarity = self._similarity(d, degree)
        is_explicit = isinstance(self.features, str) and self.features == "monomials"
        if is_explicit:
            self._require_monomials(d, degree or 1)
        n_steps = int(self.n_steps) if self.solver == "gd" else None
        self._hidden = self._draw_units(points, degree) if similarity is None else None
        limit = sys.maxsize if is_explicit else None
        stage = first_stage(similarity, points, units=self._units(degree), limit=limit, n_steps=n_steps)
        count = 0 if stage.features is None else stage.features.count
        if stage.similarity is not None and isinstance(stage.similarity.kernel, HermitePolynomial):
            count = math.comb(d + stage.similarity.kernel.degree, d)
        if self.alpha == 0 and n < count:
            raise ValueError(
                f"alpha=0 with {n} rows and {count} features of degree {degree}: more than one function "
                f"fits exactly. Give alpha > 0 or None, or a lower degree."
            )
        return stage

    @staticmethod
    def _require_monomials(d: int, degree: int) -> None:
        """Their normal matrix with its eigenvectors; the monomials of all rows are never held together."""
        count = math.comb(d + degree, degree)
        require_memory(
            32 * count * count,
            asked=f"features='monomials': a ridge with {count} monomials of degree {degree} in {d} columns",
            instead="Use features='kernel', which works over the rows where they are fewer, or a lower degree.",
        )

    def _draw_units(self, points: Tensor, degree: int | None) -> dict[str, Tensor]:
        """The same for the same points: drawn from the seed of this fit."""
        rows, biases = draw_units(
            points.shape[1],
            degree or 2,
            width=None if self.width is None else int(self.width),
            n=len(points),
            with_bias=not self._is_hermite,
            generator=generator(self._seed),
        )
        return {"rows": rows.to(points.device), "biases": biases.to(points.device)}

    def _units(self, degree: int | None) -> tuple[Tensor, Tensor, Unit] | None:
        if self._hidden is None:
            return None
        return self._hidden["rows"], self._hidden["biases"], hidden_unit(self.activation, degree or 2)

    @property
    def _is_hermite(self) -> bool:
        return is_hermite(self.activation)

    def _similarity(self, width: int, degree: int | None) -> Similarity | None:
        names = None if self._whitening is not None else estimator_columns(self)
        return kernel_of(self.features, self.activation, degree or 1, width=width, names=names)

    def _link_similarity(self, n_features: int) -> Similarity | None:
        if isinstance(self.link, str) and self.link in NAMES:
            return None
        with naming("link", NAMES):
            return resolve(self.link, width=n_features)

    # after it

    def _keep(self, points: Tensor, found: Hierarchy, degree: int | None, y: Tensor) -> None:
        self.degree_, self.alpha_, self.alpha_link_ = degree, found.alpha, found.alpha_link
        self.n_refinements_ = found.n_refinements
        stage = self._new_stage(points, degree)
        self._width = points.shape[1]
        self._points = points if stage.features is None else None
        self._first, self._first_offset = found.first, 0.0
        self._coefficients, self._offset = found.feature.coefficients, found.feature.offset
        kernel = None if stage.similarity is None else stage.similarity.kernel
        for name in ("feature_polynomial_", "feature_exponents_"):
            self.__dict__.pop(name, None)  # of a fit before
        if isinstance(kernel, HermitePolynomial) and (
            self._points is None or math.comb(self._width + kernel.degree, kernel.degree) <= LIMIT
        ):
            polynomial = self._coefficients
            if self._points is not None:
                polynomial = hermite_products(points, kernel.degree).mT @ polynomial
            polynomial = polynomial.clone()
            polynomial[0] += self._offset  # the constant product is the first
            self.feature_polynomial_ = polynomial.cpu().numpy()
            self.feature_exponents_ = hermite_exponents(self._width, kernel.degree).numpy()
        self._keep_link(found.link, found.errors, found.first_errors, found.feature.outside, y)

    def _keep_link(self, link: Link, errors: Tensor, before: Tensor, t: Tensor, y: Tensor) -> None:
        """The link, and what left-out rows say of it."""
        self.gain_ = float(before.square().mean() - errors.square().mean())
        self.uses_link_ = self.gain_ > 0.0
        self._errors = (errors if self.uses_link_ else before) * self._scale
        self._basis_kind, self._basis_arrays, self._link_weights = (
            link.basis.kind,
            list(link.basis.arrays),
            link.weights,
        )
        self._seen, self._truth = t, y * self._scale + self._shift

    @property
    def link_(self) -> Link:
        """The link, in the units of y."""
        check_is_fitted(self)
        similarity = self._link_similarity(len(self._offset)) if self._basis_kind == "kernel" else None
        basis = Basis(self._basis_kind, tuple(self._basis_arrays), similarity)
        return Link(basis, self._link_weights, self._shift, self._scale, len(self._offset))

    @property
    def _n_features_out(self) -> int:
        return int(self._offset.shape[0])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_link_weights")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = True
        return tags

    def _whitened(self, points: Tensor) -> Tensor:
        return points if self._whitening is None else Whitening(**self._whitening)(points)

    def _evaluate(self, X: Any) -> tuple[Given, Tensor, Tensor]:
        """The checked points, stage 1 there in the units of y ``(m,)``, and the features ``(m, p)``; float64."""
        check_is_fitted(self)
        given = check_data(self, X, reset=False)
        points = X if isinstance(X, Tensor) and X.requires_grad else given.points
        points = self._whitened(points.to(self._offset))
        reference = self._points if self._points is not None else points.new_zeros(1, self._width)
        similarity = self._similarity(self._width, self.degree_)
        limit = len(self._first) if self._points is None else 0
        stage = first_stage(similarity, reference, units=self._units(self.degree_), limit=limit)
        values = stage(torch.cat([self._first, self._coefficients], 1), points)
        first = self._shift + self._scale * (self._first_offset + values[:, 0])
        return given, first, self._offset + values[:, 1:]

    def plot_link(self, axes: Any = None) -> Any:
        """Draw y over the first learnt feature, as the link was learnt from it, and the link.

        Args:
            axes: of matplotlib, to draw into; None makes a figure.

        Returns:
            The axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        link = self.link_
        axes = axes_or_new(axes)
        t, y = self._seen.cpu(), self._truth.cpu()
        axes.plot(t[:_SHOWN, 0], y[:_SHOWN], "o", color=GREY, ms=2, alpha=0.5, mew=0, label="rows")
        if t.shape[1] == 1:
            grid = torch.linspace(float(t.min()), float(t.max()), 400, dtype=t.dtype)
            axes.plot(grid, link(grid.to(self._offset.device)).cpu(), color=BLUE, lw=2, label="link")
        axes.set(xlabel="learnt feature", ylabel="y")
        axes.legend(frameon=False)
        return axes
