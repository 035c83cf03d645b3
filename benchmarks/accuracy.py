"""The errors of compiled elementary functions: ``python benchmarks/accuracy.py`` writes the tables
of docs/accuracy.md.

Functions are compiled as in a program and compared with a wider format: NumPy's float64 and long
double, and mpmath (60 digits) for the special functions. NumPy's own errors are those of the same
arguments. Takes about three minutes.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nr.backends.compiler.math import FUNCTIONS  # noqa: E402
from nr.backends.cpu import llvm  # noqa: E402
from tests.math_reference import (  # noqa: E402
    BINARY,
    DTYPES,
    UNARY,
    around,
    log_gamma,
    pairs,
    reference,
    roots_of_digamma,
    roots_of_log_gamma,
    samples,
    ulp_errors,
)
from tests.native_kernels import evaluate  # noqa: E402

STRIDE = 257  # of all float32 numbers
COUNTS = {"f32": 1 << 22, "f64": 1 << 22}
SPECIAL: dict[str, Callable] = {
    "erf": mpmath.erf, "erfc": mpmath.erfc, "erf_inv": mpmath.erfinv,
    "lgamma": log_gamma, "digamma": mpmath.digamma,
}  # fmt: skip
# The arguments of the special functions, and roots around which all numbers are tried.
RANGES = {
    "erf": (-6, 6), "erfc": (-6, 26), "erf_inv": (-1, 1), "lgamma": (-60, 60), "digamma": (-60, 60),
}  # fmt: skip
ROOTS: dict[str, Callable[[], list[float]]] = {
    "lgamma": lambda: [1, 2, *[r for n in range(2, 17) for r in roots_of_log_gamma(n)]],
    "digamma": lambda: [1.4616321449683622, *[roots_of_digamma(n) for n in range(60)]],
}
START, END = "<!-- measured -->", "<!-- end -->"


def errors(name: str, dtype: str, run: Callable) -> np.ndarray:
    """The errors in ulp on the function's samples."""
    if name in BINARY:
        args = pairs(dtype, COUNTS[dtype])
    elif dtype == "f32":
        bits = np.arange(0, 1 << 32, STRIDE, dtype=np.uint64).astype(np.uint32)
        args = (np.concatenate([samples(dtype, 1 << 20), bits.view(np.float32)]),)
    else:
        args = (samples(dtype, COUNTS[dtype]),)
    parts = [slice(i, i + (1 << 20)) for i in range(0, len(args[0]), 1 << 20)]
    with np.errstate(all="ignore"):
        chunks = [[x[part] for x in args] for part in parts]
        return np.concatenate([ulp_errors(run(*c), reference(name, *c)) for c in chunks])


def special_errors(name: str, dtype: str) -> np.ndarray:
    """Errors of a special function, in ulps of mpmath's value."""
    low, high = RANGES[name]
    rng = np.random.default_rng(0)
    parts = [rng.uniform(s * low, s * high, 3000) for s in (1, 0.2, 0.05, 1e-3)]
    x = np.concatenate(parts).astype(DTYPES[dtype])
    if name in ROOTS:
        x = np.concatenate([x, around(ROOTS[name](), dtype, 20)])
        x = x[(x > 0) | (x != np.rint(x))]
    x = x[(x > low) & (x < high)]
    mpmath.mp.dps = 60
    high_part = [SPECIAL[name](mpmath.mpf(float(v))) for v in x]
    if dtype == "f32":
        exact = np.array([float(v) for v in high_part])
    else:  # the sum of two float64 has the digits of a long double
        first = np.array([float(v) for v in high_part])
        rest = np.array([float(v - float(v)) for v in high_part])
        exact = first.astype(np.longdouble) + rest
    return ulp_errors(evaluate(FUNCTIONS[name], x), exact)


def row(name: str, cells: list[tuple[float, float | None]]) -> str:
    """A line of the table: nr's error and NumPy's, for each dtype."""
    shown = [f"{ours:.2f} | {'' if theirs is None else f'{theirs:.2f}'}" for ours, theirs in cells]
    return f"| {name} | {' | '.join(shown)} |"


def worst(error: np.ndarray) -> float:
    """The largest error."""
    return float(error.max())


def numpy_function(name: str) -> Callable | None:
    """NumPy's function of that name, if it has one."""
    function = (UNARY | BINARY)[name]
    return function if isinstance(function, np.ufunc) else None


def tables() -> str:
    """The tables as Markdown, measured now."""
    lines = [
        f"Measured on {platform.machine()} ({llvm.host().cpu}), NumPy {np.__version__}.",
        "",
        "| Function | nr, f32 | NumPy, f32 | nr, f64 | NumPy, f64 |",
        "|---|---|---|---|---|",
    ]
    for name in [*UNARY, *BINARY]:
        cells = []
        for dtype in DTYPES:
            own = worst(errors(name, dtype, lambda *a, n=name: evaluate(FUNCTIONS[n], *a)))
            theirs = numpy_function(name)
            cells.append((own, None if theirs is None else worst(errors(name, dtype, theirs))))
        lines.append(row(name, cells))
        print(lines[-1], flush=True)
    lines += ["", "| Function | arguments | f32 | f64 |", "|---|---|---|---|"]
    for name, (low, high) in RANGES.items():
        values = [f"{worst(special_errors(name, dtype)):.2f}" for dtype in DTYPES]
        lines.append(f"| {name} | {low} to {high} | {values[0]} | {values[1]} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Put the tables into docs/accuracy.md."""
    page = ROOT / "docs" / "accuracy.md"
    text = page.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    page.write_text(f"{before}{START}\n\n{tables()}\n\n{END}{after}")


if __name__ == "__main__":
    main()
