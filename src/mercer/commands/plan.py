"""`mercer plan`: what a kernel matrix would cost on this machine, before anything is computed."""

import argparse
from typing import TYPE_CHECKING, Any

from mercer.config import format_bytes, memory_budget, require_memory
from mercer.errors import MercerError

if TYPE_CHECKING:
    from mercer.operators import KernelOperator

_DESCRIPTION = """\
What products, gradients and solves with a kernel matrix would cost on this machine, by every plan that could do them.
Nothing is computed but the choice; the points are spread evenly over a cube with sides of --side, which matters for
plans that depend on the spread of the points over the lengthscale. The first call measures the machine, which takes a
second, and keeps what it found for all later predictions; --calibrate measures again.
"""
_CG_PRODUCTS = 60  # preconditioned conjugate gradients, typical of noise 1e-2 of the kernel's variance


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "plan",
        help="say what a kernel matrix would cost here",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--n", metavar="ROWS", type=_count, required=True, help="points, such as 1000000 or 1e6")
    parser.add_argument("--m", metavar="ROWS", type=_count, help="points on the other side (default: the same points)")
    parser.add_argument("--d", metavar="COLUMNS", type=_count, required=True, help="columns of the points")
    parser.add_argument("--kernel", metavar="TEXT", default="RBF()", help='(default: "RBF()")')
    parser.add_argument("--columns", metavar="T", type=_count, default=1, help="right-hand sides (default: 1)")
    parser.add_argument("--side", metavar="LENGTH", type=float, default=1.0, help="of the cube (default: 1)")
    parser.add_argument("--tolerance", metavar="ERROR", type=float, help="allowed, of |K| |v| (default: round-off)")
    parser.add_argument("--calibrate", action="store_true", help="measure the machine again first")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")


def run(arguments: argparse.Namespace) -> None:
    """Print the costs."""
    import torch

    from mercer.kernels import parse

    _calibrate(again=arguments.calibrate)
    n, m, d = arguments.n, arguments.m or arguments.n, arguments.d
    try:
        kernel = parse(arguments.kernel)
    except (ValueError, TypeError) as error:
        raise MercerError(f"--kernel: {error}") from None
    dtype = torch.float32 if arguments.dtype == "float32" else torch.float64
    require_memory(
        3 * (n + m) * d * dtype.itemsize,
        asked=f"The points alone, {n:,} x {d},",
        instead="Plan for fewer points: cost grows with n * m.",
    )
    generator = torch.Generator().manual_seed(0)
    X = arguments.side * torch.rand(n, d, dtype=dtype, generator=generator)
    Y = None if arguments.m is None else arguments.side * torch.rand(m, d, dtype=dtype, generator=generator)
    try:
        K: KernelOperator = kernel(X, Y).with_plan(None, tolerance=arguments.tolerance)
        chosen = K.plan_for(columns=arguments.columns)
    except (ValueError, TypeError) as error:
        raise MercerError(f"--kernel {arguments.kernel} on {d} columns: {error}") from None
    print(f"{kernel!r} on {n:,} x {m:,} points in {d} columns, {arguments.dtype}, {torch.get_num_threads()} threads")
    print(f"K @ v with {arguments.columns} right-hand side{'s' * (arguments.columns > 1)}: {chosen}\n")
    _print_plans(K, chosen.name, arguments.columns)
    if Y is None:
        _print_solves(K, arguments.columns)


def _calibrate(*, again: bool) -> None:
    """Measure the machine where that was not done before; a folder that cannot be written is no reason to stop."""
    import torch

    from mercer.operators.machine import calibrate, calibration_path, load

    if load(torch.get_num_threads()) is not None and not again:
        return
    print("Measuring this machine, which takes a second.")
    try:
        calibrate()
    except OSError as error:
        print(f"The measured rates are not kept: {calibration_path()}: {error.strerror}.")


def _print_plans(K: "KernelOperator", chosen: str, columns: int) -> None:
    from mercer.operators.planning import format_seconds
    from mercer.operators.plans import PLANS

    print(f"{'plan':<12}{'first':>12}{'each next':>12}{'with gradient':>16}{'memory':>12}{'error':>10}")
    for name in PLANS:
        try:
            forced = K.with_plan(name, tolerance=K.tolerance)
        except ValueError as error:
            print(f"{name:<12}does not apply: {str(error).split('does not apply: ')[-1]}")
            continue
        plain, gradient = forced.plan_for(columns=columns), forced.plan_for(columns=columns, gradient=True)
        mark = "   <- chosen" if name == chosen else ""
        print(
            f"{name:<12}{format_seconds(plain.seconds):>12}{format_seconds(plain.seconds - plain.setup):>12}"
            f"{format_seconds(gradient.seconds - gradient.setup):>16}"
            f"{format_bytes(plain.memory):>12}{plain.error:>10.0e}{mark}"
        )


def _print_solves(K: "KernelOperator", columns: int) -> None:
    from mercer.operators.machine import rates
    from mercer.operators.planning import format_seconds

    n, budget = K.shape[-1], memory_budget()
    products = K.plan_for(columns=columns, products=_CG_PRODUCTS).seconds
    direct, need = n**3 / 3.0 / rates().cholesky_flops, 8 * n * n
    fits = "" if need <= budget else f", above the budget of {format_bytes(budget)}"
    print("\nsolve (K + noise I) x = y")
    print(f"  conjugate gradients  {format_seconds(products):>9}   for {_CG_PRODUCTS} products")
    print(f"  Cholesky             {format_seconds(direct):>9}   and {format_bytes(need)} of memory{fits}")


def _count(text: str) -> int:
    """A whole number, also written 1e6 or 1_000_000."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(value)
