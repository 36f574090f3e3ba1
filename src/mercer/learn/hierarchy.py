"""A hidden feature, then a function of it: both stages of a hierarchical model, and the refinement of the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.hermite import hermite_values
from mercer.learn.first_stage import FirstStage
from mercer.learn.link import Link, learn_link
from mercer.learn.link_basis import make_basis, smooth_basis
from mercer.learn.similarity import Similarity

__all__ = ["Feature", "Hierarchy", "Problem", "learn_hierarchy"]

_CLIP = 4.0  # of features in the targets of further ones, in standard deviations
_LEAST_SPREAD = 1e-8  # of a feature before it is standardised; less is nothing learnt
_LEAST_SLOPE = 1e-4  # of the root mean square; rows where the link is flat say nothing about the feature


@dataclass(frozen=True)
class Feature:
    """Features ``t = offset + first_stage(coefficients)``; once standardised, white over the rows outside.

    Attributes:
        coefficients: ``(r, p)``.
        offset: ``(p,)``.
        inside: ``(n, p)``, their values at the rows of the first stage, each learnt without its row.
        outside: ``(m, p)``, at the rows by which the link is learnt; fitted values where nothing is left out.
    """

    coefficients: Tensor
    offset: Tensor
    inside: Tensor
    outside: Tensor

    def standardised(self) -> Feature:
        """Gram and Schmidt: what earlier features say of a later one is taken out of it."""
        n, p = self.outside.shape
        mean = self.outside.mean(0)
        centred = self.outside - mean
        mixing = torch.eye(p, dtype=mean.dtype, device=mean.device)
        for j in range(p):
            for i in range(j):
                mixing[:, j] -= mixing[:, i] * float((centred @ mixing[:, i]) @ (centred @ mixing[:, j])) / n
            spread = float((centred @ mixing[:, j]).square().mean().sqrt())
            scale = float(centred[:, j].square().mean().sqrt())
            found = spread > _LEAST_SPREAD and spread > _LEAST_SPREAD * scale
            mixing[:, j] *= 1.0 / spread if found else 0.0
        return Feature(
            self.coefficients @ mixing,
            (self.offset - mean) @ mixing,
            (self.inside - mean) @ mixing,
            centred @ mixing,
        )


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, and how; y of mean 0 and variance 1.

    Attributes:
        stage: the ridge regression that features are found by, at its rows.
        y: ``(n,)`` there.
        later_points, later_y: the rows by which the link is learnt; None where they are the same.
        left_out: whether the link is learnt from features of models made without the row; else from fitted ones, and
            only its errors are those at features made without the row.
        link: "relu", "hermite", "spline", or a kernel, which is then in ``similarity``.
        alpha, alpha_link: penalties; None chooses by left-out errors.
        seed: of directions and centres of the link.
    """

    stage: FirstStage
    y: Tensor
    later_points: Tensor | None
    later_y: Tensor
    left_out: bool
    link: Any
    similarity: Similarity | None
    alpha: float | None
    alpha_link: float | None
    seed: int

    def feature(self, target: Tensor, weights: Tensor | None = None) -> tuple[Feature, float, Tensor]:
        """The ridge regression of a target ``(n,)``, as it comes, with its penalty and left-out errors ``(n,)``."""
        found = self.stage.fit(target[:, None], alpha=self.alpha if weights is None else None, weights=weights)
        inside = outside = target[:, None] - found.errors
        if self.later_points is not None:
            outside = self.stage(found.coefficients, self.later_points)
        elif not self.left_out:
            outside = self.stage(found.coefficients, self.stage.points)
        feature = Feature(found.coefficients, target.new_zeros(1), inside, outside)
        return feature, found.alpha, found.errors[:, 0]

    def fit_link(self, feature: Feature) -> tuple[Link, float, Tensor]:
        """The link of these features."""
        generator = torch.Generator().manual_seed(self.seed)
        basis = make_basis(self.link, feature.outside, similarity=self.similarity, generator=generator)
        steps = self.stage.n_steps
        link, alpha, errors = learn_link(basis, feature.outside, self.later_y, alpha=self.alpha_link, n_steps=steps)
        return link, alpha, errors if self.left_out else self.y - link.evaluate(feature.inside)


@dataclass(frozen=True)
class Hierarchy:
    """A hierarchical model in units of a standardised y.

    Attributes:
        first: coefficients ``(r, 1)`` of the first stage alone.
        feature: the features.
        link: the function of them.
        alpha, alpha_link: the penalties of both stages.
        first_errors: left-out errors of the first stage, at the rows by which the link is learnt.
        errors: those of the link there.
        n_refinements: how many steps of refinement were kept.
    """

    first: Tensor
    feature: Feature
    link: Link
    alpha: float
    alpha_link: float
    first_errors: Tensor
    errors: Tensor
    n_refinements: int = 0

    @property
    def loss(self) -> float:
        """Mean squared left-out error."""
        return float(self.errors.square().mean())

    @property
    def gain(self) -> float:
        """What the link adds to the first stage in left-out R^2."""
        return float(self.first_errors.square().mean()) - self.loss


def learn_hierarchy(problem: Problem, *, n_features: int, n_refinements: int) -> Hierarchy:
    """Both stages, then refinement as long as left-out errors fall.

    The first feature is the ridge regression of y. Further ones are those of y h_j(t), j = 1, 2, ..., of the first
    feature t, less what is known already: what a polynomial of several features sends to low degrees when it is
    multiplied by one of them is a mixture of all.
    """
    raw, alpha, errors = problem.feature(problem.y)
    first = raw.coefficients
    first_errors = errors if problem.later_points is None else problem.later_y - raw.outside[:, 0]
    feature = raw.standardised()
    if n_features > 1:
        powers = hermite_values(feature.inside[:, 0].clamp(-_CLIP, _CLIP), n_features - 1)
        parts = [raw]
        for j in range(1, n_features):
            target = problem.y * powers[:, j]
            parts.append(problem.feature(target - target.mean())[0])
        feature = _joined(parts).standardised()
    link, alpha_link, errors = problem.fit_link(feature)
    found = Hierarchy(first, feature, link, alpha, alpha_link, first_errors, errors)
    for _ in range(n_refinements):
        better = min((_with(problem, found, f) for f in _refined(problem, found.feature)), key=lambda h: h.loss)
        if not better.loss < found.loss:
            break
        found = better
    return found


def _with(problem: Problem, old: Hierarchy, feature: Feature) -> Hierarchy:
    link, alpha_link, errors = problem.fit_link(feature)
    return Hierarchy(old.first, feature, link, old.alpha, alpha_link, old.first_errors, errors, old.n_refinements + 1)


def _refined(problem: Problem, feature: Feature) -> list[Feature]:
    r"""The features after a step of Gauss and Newton, and after half of one.

    With a smooth link, ``y = g(t) + g'(t) (t_new - t)`` is a ridge regression of t_new on the targets
    ``t + (y - g(t)) / g'(t)`` with weights ``g'(t)^2``: the higher degrees of g(t), which were noise to the first
    stage, are known by now and are taken out of y. Several features take their steps one after the other.
    """
    smooth, _, _ = learn_link(smooth_basis(feature.outside), feature.outside, problem.later_y, alpha=None)
    values, slopes = smooth.slopes(feature.inside)
    residual = problem.y - values
    moved = []
    for j in range(slopes.shape[1]):
        slope, t = slopes[:, j], feature.inside[:, j]
        least = _LEAST_SLOPE * float(slope.square().mean().sqrt()) + 1e-300
        slope = torch.where(slope.abs() < least, torch.where(slope < 0.0, -least, least), slope)
        weights = slope.square() / slope.square().mean()
        target = t + residual / slope
        centre = float((weights * target).mean())
        part, _, _ = problem.feature(target - centre, weights)
        moved.append(Feature(part.coefficients, part.offset + centre, part.inside + centre, part.outside + centre))
        residual = residual - slope * (moved[j].inside[:, 0] - t)
    whole = _joined(moved)
    half = Feature(*((a + b) / 2.0 for a, b in zip(vars(whole).values(), vars(feature).values(), strict=True)))
    return [whole.standardised(), half.standardised()]


def _joined(parts: list[Feature]) -> Feature:
    return Feature(
        torch.cat([p.coefficients for p in parts], 1),
        torch.cat([p.offset for p in parts]),
        torch.cat([p.inside for p in parts], 1),
        torch.cat([p.outside for p in parts], 1),
    )
