"""What kernel maps need and ``triton.language`` lacks, as Triton functions of float32 or float64 tiles.

Imported only by generated kernels, since it needs triton. Only arithmetic, roots, sines and logarithms are used, which
Triton's interpreter has too; each function states its error, which the tests measure.
"""

import triton
import triton.language as tl


@triton.jit
def atan2(y, x):
    """Angle of (x, y) in [-pi, pi] to 2e-7 in float32 and 1e-15 in float64; 0 at the origin.

    Source: the polynomial of Cephes' atanf (Moshier, Methods and Programs for Mathematical Functions, 1989).
    """
    ax, ay = tl.abs(x), tl.abs(y)
    large, small = tl.maximum(ax, ay), tl.minimum(ax, ay)
    steep = small > 0.4142135623730950 * large  # tan(pi / 8)
    bottom = tl.where(steep, small + large, large)
    r = tl.where(steep, small - large, small) / tl.where(bottom == 0.0, 1.0, bottom)
    z = r * r
    p = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1
    angle = p * z * r + r
    angle = tl.where(steep, angle + 0.7853981633974483, angle)
    angle = tl.where(ay > ax, 1.5707963267948966 - angle, angle)
    angle = tl.where(x < 0.0, 3.141592653589793 - angle, angle)
    angle = tl.where(y < 0.0, -angle, angle)
    if x.dtype == tl.float64:
        # sin(true - angle), from what is known exactly: an error of 2e-7 leaves (2e-7)^3 / 6
        unit = tl.where(large == 0.0, 1.0, large)
        sine, cosine = y / unit, x / unit
        length = tl.sqrt(sine * sine + cosine * cosine)
        rest = sine * tl.cos(angle) - cosine * tl.sin(angle)
        angle += rest / tl.where(length == 0.0, 1.0, length)
    return angle


@triton.jit
def acos(x):
    """Arc cosine to 3e-7 in float32 and 1e-15 in float64; NaN beyond [-1, 1]."""
    sine = tl.sqrt((1.0 - x) * (1.0 + x))
    return tl.where(sine == sine, atan2(sine, x), sine)


@triton.jit
def asin(x):
    """Arc sine to 2e-7 in float32 and 1e-15 in float64; NaN beyond [-1, 1]."""
    cosine = tl.sqrt((1.0 - x) * (1.0 + x))
    return tl.where(cosine == cosine, atan2(x, cosine), cosine)


@triton.jit
def log1p(x):
    """log(1 + x) to 4 units in the last place, also for small x.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 1.14.1: what rounding 1 + x loses is
    lost from numerator and denominator alike.
    """
    u = 1.0 + x
    moved = u - 1.0
    return tl.where(moved == 0.0, x, tl.log(u) * (x / tl.where(moved == 0.0, 1.0, moved)))


@triton.jit
def expm1(x):
    """exp(x) - 1 to 4 units in the last place, also for small x; by the same argument as :func:`log1p`."""
    u = tl.exp(x)
    less = u - 1.0
    is_small = (less == 0.0) | (u == 0.0)
    logarithm = tl.log(tl.where(is_small, 2.0, u))
    scaled = less * (x / tl.where(logarithm == 0.0, 1.0, logarithm))
    return tl.where(less == 0.0, x, tl.where(u == 0.0, -1.0, scaled))


@triton.jit
def power(x, p):
    """x ** p for x >= 0."""
    return tl.exp2(p * tl.log2(x))


@triton.jit
def root(x):
    """Square root, 0 for x <= 0."""
    return tl.sqrt(tl.maximum(x, 0.0))


@triton.jit
def reciprocal_root(x):
    """1 / sqrt(x); Triton's own is an approximation in float64."""
    return 1.0 / tl.sqrt(x) if x.dtype == tl.float64 else tl.rsqrt(x)


@triton.jit
def reciprocal_or_zero(x):
    """1 / x, and 0 at x = 0."""
    return tl.where(x == 0.0, 0.0, 1.0 / tl.where(x == 0.0, 1.0, x))


@triton.jit
def step(x):
    """1 where x > 0, 1/2 at 0, else 0."""
    return tl.where(x > 0.0, 1.0, tl.where(x == 0.0, 0.5, 0.0)).to(x.dtype)


@triton.jit
def sign(x):
    """1, 0 or -1."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0)).to(x.dtype)
