"""What scalar functions must compute: references in a wider format, samples, and errors in ulp."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpmath import mp, mpf

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
_BITS = {"f32": np.uint32, "f64": np.uint64}
# References of f64 need a format with more bits, which not every platform has.
HAS_EXTENDED = np.finfo(np.longdouble).nmant >= 63


def wide(dtype: str) -> type:
    """The format that references are computed in."""
    return np.float64 if dtype == "f32" else np.longdouble


def _logistic(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, np.ones_like(z)) / (1 + z)


UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "logistic": _logistic,
    "log": np.log, "log1p": np.log1p, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
}  # fmt: skip
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pow": np.power, "atan2": np.arctan2,
}  # fmt: skip


def reference(name: str, *args: np.ndarray) -> np.ndarray:
    """The function's values in a wider format than that of the arguments."""
    dtype = "f32" if args[0].dtype == np.float32 else "f64"
    with np.errstate(all="ignore"):
        return (UNARY | BINARY)[name](*[x.astype(wide(dtype)) for x in args])


def log_gamma(x: mpf) -> mpf:
    """log|gamma(x)|."""
    return mp.log(abs(mp.gamma(x)))


def _change_of_sign(function: Callable, low: float, high: float) -> float:
    """The float64 next to which the function has another sign than at `low`, towards `high`."""
    first = function(mpf(low)) > 0
    while (middle := (low + high) / 2) not in (low, high):
        if (function(mpf(middle)) > 0) == first:
            low = middle
        else:
            high = middle
    return low


def roots_of_digamma(n: int) -> float:
    """The root between the poles -n - 1 and -n, to within a float64."""
    with mp.workprec(160):
        return _change_of_sign(mp.digamma, np.nextafter(-n - 1.0, 0), np.nextafter(-n, -np.inf))


def roots_of_log_gamma(n: int) -> tuple[float, float]:
    """The two roots between the poles -n - 1 and -n, for n from 2 to 16."""
    smallest = roots_of_digamma(n)
    low, high = float(np.nextafter(-n - 1.0, 0)), float(np.nextafter(-n, -np.inf))
    with mp.workprec(160):
        return (
            _change_of_sign(log_gamma, low, smallest),
            _change_of_sign(log_gamma, high, smallest),
        )


def around(points: list[float], dtype: str, count: int) -> np.ndarray:
    """The points, rounded, and that many numbers on each side of each."""
    kind = DTYPES[dtype].type
    found = [np.array(points, kind)]
    down = up = found[0]
    for _ in range(count):
        down, up = np.nextafter(down, kind(-np.inf)), np.nextafter(up, kind(np.inf))
        found += [down, up]
    return np.unique(np.concatenate(found))


def specials(dtype: str) -> np.ndarray:
    """Zeros, infinities, NaN, small integers and halves, and the ends of the ranges."""
    info = np.finfo(DTYPES[dtype])
    ends = [info.tiny, info.smallest_subnormal, info.tiny * 0.75, info.max, info.eps]
    positive = np.array([0, np.inf, 0.5, 1, 1.5, 2, 3, 4, 2.5, 1e30, *ends], DTYPES[dtype])
    with np.errstate(over="ignore"):
        edges = np.concatenate([np.nextafter(positive, np.inf), np.nextafter(positive, -np.inf)])
    numbers = np.concatenate([positive, edges])
    return np.concatenate([numbers, -numbers, np.array([np.nan], DTYPES[dtype])])


def samples(dtype: str, count: int, seed: int = 0) -> np.ndarray:
    """Special values, all exponents alike, and the ranges in which functions are not trivial."""
    rng = np.random.default_rng(seed)
    kind = DTYPES[dtype]
    top = 1 << (8 * kind.itemsize)
    step = top // (count // 2) | 1
    bits = np.arange(count // 2, dtype=np.uint64) * np.uint64(step)
    everywhere = bits.astype(_BITS[dtype]).view(kind)
    each = count // 16
    near = [rng.uniform(-s, s, each) for s in (1e-3, 0.6, 1, 2, 4, 12, 100, 750)]
    with np.errstate(all="ignore"):
        # Multiples of pi/2, where sin, cos and tan are small or large.
        n = np.concatenate([np.arange(-each // 4, each // 4), rng.integers(0, 2**28, each // 2)])
        turns = (n * np.longdouble("1.5707963267948966192313216916397514")).astype(kind)
    return np.concatenate([specials(dtype), everywhere, *[x.astype(kind) for x in near], turns])


def pairs(dtype: str, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples of two arguments: all pairs of special values, then random ones."""
    rng = np.random.default_rng(seed)
    kind = DTYPES[dtype]
    ends = specials(dtype)
    x, y = (z.ravel() for z in np.meshgrid(ends, ends))
    n = count // 8
    top = 1 << (8 * kind.itemsize)

    def anywhere() -> np.ndarray:
        return rng.integers(0, top, n, np.uint64).astype(_BITS[dtype]).view(kind)

    positive = np.abs(anywhere())
    with np.errstate(all="ignore"):
        # Exponents with which the powers of `positive` fill the range of results.
        filling = rng.uniform(-1, 1, n) * (150 if dtype == "f32" else 1075)
        filling = filling / np.log2(positive.astype(np.longdouble))
        xs = [x, anywhere(), positive, rng.uniform(0.5, 1.5, n), rng.uniform(0, 10, n),
              1 + 1e-3 * rng.normal(size=n), rng.integers(-40, 40, n), rng.normal(size=n),
              rng.normal(size=n)]  # fmt: skip
        ys = [y, anywhere(), filling, rng.uniform(-200, 200, n), rng.uniform(-20, 20, n),
              rng.uniform(-1e5, 1e5, n), rng.integers(-30, 30, n), rng.normal(size=n),
              rng.normal(size=n) * 1e-3]  # fmt: skip
        return tuple(np.concatenate([z.astype(kind) for z in zs]) for zs in (xs, ys))


def ulp_errors(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The distance from a reference in a wider format, in units in the last place.

    It is infinite where only one of the two is NaN, where a zero has the wrong sign, and where
    a result is infinite that should not be, unless that is within rounding of the largest number.
    """
    info = np.finfo(got.dtype)
    format_ = expected.dtype.type
    with np.errstate(all="ignore"):
        rounded = expected.astype(got.dtype)
        exponent = np.maximum(np.frexp(np.abs(expected))[1], info.minexp + 1)
        ulp = np.ldexp(format_(1), exponent - info.nmant - 1)
        limit = np.ldexp(format_(1), info.maxexp)
        value = np.where(np.isinf(got), np.copysign(limit, got), got.astype(format_))
        error = np.abs(value - np.clip(expected, -limit, limit)) / ulp
    error = np.where(np.isinf(got) & np.isinf(rounded) & (got == rounded), 0, error)
    error = np.where(np.isnan(got) & np.isnan(rounded), 0, error)
    wrong = np.isnan(got) != np.isnan(rounded)
    zero = (got == 0) & (rounded == 0)
    wrong |= zero & (np.signbit(got) != np.signbit(expected))
    return np.where(wrong, np.inf, error).astype(np.float64)
