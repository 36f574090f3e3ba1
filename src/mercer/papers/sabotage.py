"""Ways to break a method, so that a test can see its claims come out false.

Each is a context manager that changes a public name of mercer for the duration of a ``with`` block, wherever mercer
uses it. A paper states in its module which way breaks which claims; ``tests/papers/test_sabotage.py`` runs them all.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["replaced", "shuffled_labels", "wrong_kernel", "zeroed"]


@contextmanager
def replaced(original: Any, by: Any, *, attribute: str | None = None) -> Iterator[None]:
    """Use ``by`` wherever mercer would use ``original``.

    Args:
        original: a class or function of mercer; every module of mercer that holds it is changed. With ``attribute``, a
            class (or any object) whose attribute of that name is changed instead.
        by: what takes its place.
        attribute: ``"fit"``.

    Raises:
        AttributeError: ``original`` has no such attribute.
        ValueError: no module of mercer holds ``original``, so nothing would break.

    >>> with replaced(mc.kernels.RBF, mc.kernels.Linear):
    ...     type(mc.kernels.RBF()).__name__
    'Linear'
    """
    if attribute is not None:
        places: list[tuple[Any, str, Any]] = [(original, attribute, getattr(original, attribute))]
    else:
        modules = [module for name, module in list(sys.modules.items()) if _is_ours(name, module)]
        places = [(m, name, value) for m in modules for name, value in list(vars(m).items()) if value is original]
    if not places:
        raise ValueError(f"no module of mercer holds {original!r}: it cannot be replaced by {by!r}.")
    inherited = [attribute is not None and name not in vars(place) for place, name, _ in places]
    for place, name, _ in places:
        setattr(place, name, by)
    try:
        yield
    finally:
        for (place, name, value), is_inherited in zip(places, inherited, strict=True):
            if is_inherited:
                delattr(place, name)
            else:
                setattr(place, name, value)


@contextmanager
def shuffled_labels(estimator: type, *, random_state: int = 0) -> Iterator[None]:
    """``estimator.fit(X, y)`` sees the rows of ``y`` in another order, so there is nothing left to learn.

    Args:
        estimator: a class with ``fit(X, y, ...)``.
        random_state: seed of the order.
    """
    fit: Callable[..., Any] = estimator.fit  # type: ignore[attr-defined]

    @functools.wraps(fit)
    def fit_shuffled(self: Any, X: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        order = np.random.default_rng(random_state).permutation(len(y))
        shuffled = y.iloc[order] if hasattr(y, "iloc") else y[order] if hasattr(y, "ndim") else [y[i] for i in order]
        return fit(self, X, shuffled, *args, **kwargs)

    with replaced(estimator, fit_shuffled, attribute="fit"):
        yield


@contextmanager
def wrong_kernel(kernel: type, **parameters: Any) -> Iterator[None]:
    """Every ``kernel`` is made with other parameters than asked for.

    Args:
        kernel: a class, such as ``mercer.kernels.RBF``.
        parameters: what its constructor gets whatever its caller says: ``lengthscale=1e-3``.

    >>> with wrong_kernel(mc.kernels.RBF, lengthscale=1e-3):
    ...     mc.kernels.RBF(lengthscale=0.5)
    RBF(lengthscale=0.001)
    """
    make: Callable[..., None] = kernel.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def make_wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        names = list(make.__code__.co_varnames[1 : 1 + len(args)]) if hasattr(make, "__code__") else []
        make(self, **{**dict(zip(names, args, strict=True)), **kwargs, **parameters})

    with replaced(kernel, make_wrong, attribute="__init__"):
        yield


@contextmanager
def zeroed(owner: type, method: str) -> Iterator[None]:
    """What ``owner.method(...)`` gives is zero: weights, filters, predictions.

    Args:
        owner: a class.
        method: its method; an array, a tensor, a number or a tuple of them is what it returns.
    """
    original: Callable[..., Any] = getattr(owner, method)

    @functools.wraps(original)
    def give_zeros(*args: Any, **kwargs: Any) -> Any:
        return _zeros(original(*args, **kwargs))

    with replaced(owner, give_zeros, attribute=method):
        yield


def _zeros(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_zeros, value))
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else np.zeros_like(value)[()]


def _is_ours(name: str, module: Any) -> bool:
    """mercer's modules, and those of a paper that is a file outside of it."""
    return name.split(".")[0] == "mercer" or hasattr(module, "__mercer_paper__")
