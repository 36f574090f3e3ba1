"""The arguments of kernels: as scikit-learn sees them, as an optimiser sees them, and as text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self

from torch import Tensor

from mercer.kernels.parameters import (
    DEFAULT_BOUNDS,
    Domain,
    Hyperparameter,
    Parameter,
    as_value,
    format_value,
    with_value,
)


@cache
def _names(constructor: Callable[..., None]) -> list[str]:
    """Of the arguments of a constructor; an optimiser asks at every step, and a signature takes 0.1 ms."""
    if constructor is object.__init__:
        return []
    return [name for name in inspect.signature(constructor).parameters if name != "self"]


class Arguments:
    """Base of objects that are nothing but their constructor's arguments; ``domains`` lists the numeric ones.

    A subclass stores its arguments unchanged under their names, as scikit-learn's ``clone`` demands.
    """

    domains: ClassVar[Mapping[str, Domain]] = {}

    def hyperparameter(self, name: str) -> Tensor:
        """A hyperparameter of this kernel (not of an inner one) as a float64 tensor."""
        return as_value(getattr(self, name), f"{type(self).__name__}({name})")

    @classmethod
    def _argument_names(cls) -> list[str]:
        return _names(cls.__init__)

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._argument_names()}

    def _children(self) -> Iterator[tuple[str, Arguments]]:
        return ((name, value) for name, value in self._arguments().items() if isinstance(value, Arguments))

    def _rebuild(self, changes: Mapping[str, Any]) -> Self:
        return type(self)(**{**self._arguments(), **changes})

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain; subclasses add their own."""
        for name, domain in self.domains.items():
            domain.check(name, getattr(self, name), type(self).__name__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments by name, those of inner kernels as ``inner__name``; scikit-learn's protocol."""
        found = self._arguments()
        if deep:
            for name, child in list(self._children()):
                found |= {f"{name}__{key}": value for key, value in child.get_params().items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Change arguments in place; a plain value keeps the bounds, prior and frozen of a :class:`Parameter`.

        Raises:
            ValueError: an unknown name, or a value outside its domain; then the kernel is left as it was.
        """
        known = self._arguments() | {name: value for name, value in params.items() if "__" not in name}
        inner: dict[str, dict[str, Any]] = {}
        for path, value in params.items():
            owner, _, rest = path.partition("__")
            if owner not in self._arguments() or (rest and not hasattr(known[owner], "set_params")):
                raise ValueError(
                    f"{type(self).__name__} has no parameter {path!r}. It has: {', '.join(self.get_params())}."
                )
            if rest:
                inner.setdefault(owner, {})[rest] = value
        before = self._arguments()
        for name in before.keys() & params.keys():
            setattr(self, name, with_value(before[name], params[name]) if name in self.domains else params[name])
        try:
            self.check()
            for owner, values in inner.items():
                getattr(self, owner).set_params(**values)
        except (TypeError, ValueError):
            for name in before.keys() & params.keys():
                setattr(self, name, before[name])
            raise
        return self

    def hyperparameters(self) -> list[Hyperparameter]:
        """All numeric hyperparameters, in the order of ``get_params``.

        A plain number 0 where 0 is allowed (no bias, no noise) means that the part is switched off: it is frozen.
        """
        own = []
        for name, domain in self.domains.items():
            raw = getattr(self, name)
            value = self.hyperparameter(name)
            if isinstance(raw, Parameter):
                bounds = domain.bounds if raw.bounds == DEFAULT_BOUNDS else raw.bounds
                own.append(Hyperparameter(name, value, domain, bounds, raw.prior, raw.frozen))
            else:
                off = not isinstance(raw, Tensor) and not domain.strict and not bool(value.any())
                own.append(Hyperparameter(name, value, domain, domain.bounds, None, off))
        for prefix, child in self._children():
            own.extend(replace(h, path=f"{prefix}__{h.path}") for h in child.hyperparameters())
        return own

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with some hyperparameters changed; tensors keep their graph, so gradients reach them.

        Raises:
            ValueError: a path that is no hyperparameter, or a value outside its domain.
        """
        self._require_known(values)
        return self._with_values(values)

    def _require_known(self, paths: Iterable[str]) -> None:
        known = [h.path for h in self.hyperparameters()]
        for path in paths:
            if path not in known:
                raise ValueError(f"{self!r} has no hyperparameter {path!r}. It has: {', '.join(known) or 'none'}.")

    def _with_values(self, values: Mapping[str, Any]) -> Self:
        changes: dict[str, Any] = {k: with_value(getattr(self, k), v) for k, v in values.items() if "__" not in k}
        for name, child in self._children():
            inner = {k.removeprefix(f"{name}__"): v for k, v in values.items() if k.startswith(f"{name}__")}
            changes[name] = child._with_values(inner)
        return self._rebuild(changes)

    def learnable(self, *paths: str) -> Self:
        """A copy whose hyperparameters (those named, or all that are not frozen) are float64 leaves for autograd.

        Raises:
            ValueError: a path that is no hyperparameter.
        """
        self._require_known(paths)
        chosen = [h for h in self.hyperparameters() if (h.path in paths if paths else not h.frozen)]
        return self._with_values({h.path: h.value.detach().clone().requires_grad_(True) for h in chosen})

    def tensors(self) -> list[Tensor]:
        """The hyperparameters that require gradients, for an optimiser."""
        return [h.value for h in self.hyperparameters() if h.value.requires_grad]

    # text

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={format_value(value, real=name in self.domains)}" for name, value in self._arguments().items()
        )
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))
