"""mercer: kernels of every kind on one fast shared core.

Subpackages are imported on first use, so that ``import mercer`` costs almost nothing:

>>> import mercer as mc
>>> mc.kernels.RBF(lengthscale=0.3)
RBF(lengthscale=0.3)
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mercer import arena, config, data, errors, kernels, learn, metrics, nn, operators, papers, testing, timing

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "arena",
    "config",
    "data",
    "errors",
    "kernels",
    "learn",
    "metrics",
    "nn",
    "operators",
    "papers",
    "testing",
    "timing",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"mercer has no {name!r}. It has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted(__all__)
