"""`mercer kernels`: every kernel that a text can name, with its formula and the plans that multiply by it."""

import argparse
import inspect
import re
import textwrap
from typing import Any

_DESCRIPTION = """\
Every kernel, as --kernel and mercer.kernels.parse read it: arguments with their defaults, formula, and which plans can
multiply by its matrix (mercer plan says what that costs). They combine: k + k, k * k, 2 * k, k ** 2, k.on(["column"]).
"""
_WIDTH = 110
_SIGNS = {
    r"\lVert": "|",
    r"\rVert": "|",
    r"\quad": "  ",
    r"\ne": "!=",
    r"\ge": ">=",
    r"\langle": "<",
    r"\rangle": ">",
    r"\lfloor": "floor(",
    r"\rfloor": ")",
    r"\dots": "...",
}
_GREEK = {"alpha": "a", "nu": "nu", "sigma": "s", "delta": "delta", "ell": "l", "Gamma": "Gamma"}


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "kernels",
        help="list the kernels with formulas and plans",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", metavar="NAME", nargs="?", help="show the whole documentation of one kernel")


def run(arguments: argparse.Namespace) -> None:
    """Print the list, or one kernel's documentation."""
    from mercer.errors import MercerError

    classes = kernel_classes()
    if arguments.name is not None:
        if arguments.name not in classes:
            raise MercerError(f"There is no kernel {arguments.name!r}. There are: {', '.join(classes)}.")
        print(f"{arguments.name}{signature(classes[arguments.name])}\n\n{inspect.getdoc(classes[arguments.name])}")
        return
    for name, kernel in classes.items():
        first_line = (inspect.getdoc(kernel) or "").split("\n")[0]
        print(f"{name}{signature(kernel)}")
        print(textwrap.fill(first_line, _WIDTH, initial_indent="    ", subsequent_indent="    "))
        if formula(kernel):
            print(f"    {formula(kernel)}")
        print(f"    plans: {', '.join(plans_of(kernel))}\n")


def kernel_classes() -> dict[str, type[Any]]:
    """The kernels that stand on their own and that a text can build, by name."""
    from mercer import kernels

    found = {name: getattr(kernels, name) for name in sorted(kernels.__all__, key=str.lower)}
    return {
        name: kernel
        for name, kernel in found.items()
        if isinstance(kernel, type)
        and issubclass(kernel, kernels.Kernel)
        and kernel is not kernels.Kernel
        and getattr(kernel, "in_grammar", False)
    }


def signature(kernel: type[Any]) -> str:
    """``(lengthscale=1.0, nu=1.5)``."""
    parts = [
        name if parameter.default is inspect.Parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in inspect.signature(kernel).parameters.items()
    ]
    return f"({', '.join(parts)})"


def formula(kernel: type[Any]) -> str:
    """The docstring's formula in plain text.

    >>> from mercer.kernels import RBF
    >>> formula(RBF)
    'k(x, y) = exp(-1/2 sum_j (x_j - y_j)^2/l_j^2)'
    """
    found = re.search(r"\.\. math::(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(kernel) or "", re.DOTALL)
    if found is None:
        return ""
    text = " ".join(found[1].split())
    text = re.sub(r"\\(left|right|,|;|!)", "", text)
    while True:  # innermost first
        shorter = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"{_bracket(m[1])}/{_bracket(m[2])}", text)
        shorter = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", shorter)
        shorter = re.sub(r"([_^])\{([^{}]*)\}", lambda m: f"{m[1]}{_bracket(m[2])}", shorter)
        if shorter == text:
            break
        text = shorter
    for tex, plain in _SIGNS.items():
        text = text.replace(tex, plain)
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda m: _GREEK.get(m[1], m[1]), text)
    return re.sub(r"\s+", " ", text).strip()


def plans_of(kernel: type[Any]) -> list[str]:
    """The plans that can multiply by this kernel's matrix, of points in two columns."""
    import torch

    from mercer.errors import ShapeError
    from mercer.operators.plans import PLANS

    try:
        K = kernel()(torch.zeros(4, 2))
    except TypeError:  # an argument without a default
        return ["depends on its arguments"]
    except ShapeError:  # images, sequences
        return ["depends on the shape of the points"]
    able = []
    for name in PLANS:
        try:
            K.with_plan(name)
        except ValueError:
            continue
        able.append(name)
    return able


def _bracket(text: str) -> str:
    """Brackets where a fraction's part would be read wrongly without: around sums, differences and products."""
    inner = text.strip()
    return (
        inner if re.fullmatch(r"-?[\w\\^.]+|\([^()]*\)(\^\w+)?|\\?\w+_\w+(\^\w+)?|\|[^|]*\|", inner) else f"({inner})"
    )
