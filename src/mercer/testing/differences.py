"""Gradients by autograd against central differences, input by input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mercer.testing.properties import Finding, claim

Inputs = dict[str, Tensor]
STEP = 1e-6  # relative; leaves 1e-16 / 1e-6 of round-off and 1e-12 of truncation
ROUND_OFF = 1e-7  # of a derivative, in units of sum |w f|: a Bessel function has 1e-13 digits, divided by the step
RELATIVE = 1e-6  # of the derivative itself


def leaves(inputs: Mapping[str, Tensor]) -> Inputs:
    """The same tensors as leaves that want gradients."""
    return {name: value.detach().clone().requires_grad_(True) for name, value in inputs.items()}


def gradient(value: Tensor, inputs: Inputs, *, create_graph: bool = False) -> Inputs:
    """d value / d input for each input, zeros where it has no part."""
    if not value.requires_grad:
        return {name: torch.zeros_like(t) for name, t in inputs.items()}
    found = torch.autograd.grad(
        value,
        list(inputs.values()),
        create_graph=create_graph,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(inputs, found, strict=True))


def first_derivatives(
    function: Callable[[Inputs], Tensor], inputs: Inputs, rng: np.random.Generator, *, directions: int = 2
) -> Iterator[Finding]:
    """Findings on d sum(w f) for random w, along random directions of each input; float64."""
    at = leaves(inputs)
    value = function(at)
    w = _normal(rng, value)
    found = gradient((w * value).sum(), at)
    size = float((w * value).detach().abs().sum())
    for name, point in inputs.items():
        yield claim(f"the gradient in {name} is finite", bool(torch.isfinite(found[name]).all()))
        for _ in range(directions):
            step = _direction(rng, point)
            yield _compare(name, lambda x: (w * function(x)).sum(), inputs, name, step, found[name], size)


def every_derivative(function: Callable[[Inputs], Tensor], inputs: Inputs) -> Iterator[Finding]:
    """Findings on the derivative of every entry of ``function`` by every entry of every input."""
    at = leaves(inputs)
    flat = function(at).flatten()
    rows = [gradient(entry, at) for entry in flat]
    size = flat.detach().abs().clamp(min=float(flat.detach().abs().mean()))
    for name, point in inputs.items():
        scale = _scale(point)
        for k in range(point.numel()):
            step = torch.zeros_like(point)
            step.view(-1)[k] = scale
            forward, backward = (
                function({**inputs, name: point + sign * STEP * step}).detach().flatten() for sign in (1.0, -1.0)
            )
            numeric = (forward - backward) / (2.0 * STEP)
            analytic = torch.stack([row[name].flatten()[k] * scale for row in rows])
            allowed = ROUND_OFF * size + RELATIVE * numeric.abs()
            worst = float(((analytic - numeric).abs() / allowed).nan_to_num(nan=torch.inf).max())
            yield Finding(f"derivative of every entry by entry {k} of {name}, in units of what is allowed", worst, 1.0)


def second_derivatives(
    function: Callable[[Inputs], Tensor], inputs: Inputs, rng: np.random.Generator
) -> Iterator[Finding]:
    """Findings on the derivative of the gradient of sum(w f), in each input and in w, along random directions."""
    with torch.no_grad():
        value = function(inputs)
    weights = {name: _normal(rng, point) for name, point in inputs.items()}
    inputs = {**inputs, "the weights of the result": _normal(rng, value)}

    def slope(at: Inputs, create_graph: bool = False) -> Tensor:
        at = at if create_graph else leaves(at)
        *names, last = at
        own = {n: at[n] for n in names}
        first = gradient((at[last] * function(own)).sum(), own, create_graph=create_graph)
        return torch.stack([(weights[n] * first[n]).sum() for n in names]).sum()

    at = leaves(inputs)
    total = slope(at, create_graph=True)
    found = gradient(total, at)
    size = max(abs(float(total.detach())), float((inputs["the weights of the result"] * value).abs().sum()))
    for name, point in inputs.items():
        yield _compare(f"second derivative by {name}", slope, inputs, name, _direction(rng, point), found[name], size)


def _compare(
    what: str, function: Callable[[Inputs], Tensor], inputs: Inputs, name: str, step: Tensor, found: Tensor, size: float
) -> Finding:
    point = inputs[name]
    forward, backward = (float(function({**inputs, name: point + sign * STEP * step}).detach()) for sign in (1.0, -1.0))
    numeric = (forward - backward) / (2.0 * STEP)
    analytic = float((found * step).sum())
    label = what if what.startswith("second") else f"gradient in {what}"
    label += f" along a direction: {analytic:.6g} by autograd, {numeric:.6g} by differences"
    return Finding(label, abs(analytic - numeric), ROUND_OFF * size + RELATIVE * abs(numeric))


def _scale(point: Tensor) -> float:
    """The size of an input, so that steps are relative."""
    return float(point.detach().abs().max()) or 1.0


def _direction(rng: np.random.Generator, point: Tensor) -> Tensor:
    return _normal(rng, point) * _scale(point)


def _normal(rng: np.random.Generator, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(rng.standard_normal(tuple(like.shape)))).to(like.dtype)
