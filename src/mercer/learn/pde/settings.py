"""The arguments of an estimator, as scikit-learn's ``clone`` and searches expect to read and set them."""

from __future__ import annotations

import inspect
from typing import Any, Self

__all__ = ["Settings"]


class Settings:
    """What ``sklearn.base.BaseEstimator`` gives, for estimators that are used where scikit-learn is not.

    Importing scikit-learn takes 100 MB and a second, more than solving most equations does.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor by name; none of them holds others, so ``deep`` says nothing."""
        return {name: getattr(self, name) for name in _defaults(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Change arguments.

        Raises:
            ValueError: an unknown name.
        """
        known = _defaults(type(self))
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no argument {name!r}. It has: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = {
            name: repr(getattr(self, name))
            for name, default in _defaults(type(self)).items()
            if default is inspect.Parameter.empty or repr(getattr(self, name)) != repr(default)
        }
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"


def _defaults(kind: type) -> dict[str, Any]:
    parameters = list(inspect.signature(kind).parameters.values())
    return {parameter.name: parameter.default for parameter in parameters}
