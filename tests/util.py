"""What the suites over the op cases check of a case."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nr
from nr.core.array import ArrayImpl
from nr.core.dtypes import COMPLEX, DTYPES, FLOATING, INEXACT, INTEGER
from nr.test_util import check_grads
from tests.cases.base import OpCase

# Relative and absolute tolerance of values. Both sides round each step of sums and products of a
# few dozen terms, or approximate an elementary function: some tens of epsilon. The 16-bit dtypes
# are computed wider and rounded once by one side, at each step by the other: 3 epsilon.
TOLERANCES = {
    "bfloat16": 2.5e-2,
    "float16": 3e-3,
    "float32": 1e-5,
    "complex64": 1e-5,
    "float64": 1e-13,
    "complex128": 1e-13,
}
LANES = 3


# ---------------------------------------------------------------- comparing
def arrays(args: Sequence[np.ndarray]) -> list[Any]:
    """NumPy arrays as arrays of nr."""
    return [ArrayImpl(np.array(x)) for x in args]


def leaves(out: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in nr.tree.leaves(out)]


def tolerance(case: OpCase, dtype: np.dtype) -> float:
    return case.tol.get(dtype.name, TOLERANCES.get(dtype.name, 0.0))


def assert_close(got: np.ndarray, expected: np.ndarray, tol: float, what: str) -> None:
    """Equal shapes, dtypes, NaNs and infinities; numbers within a tolerance, or equal at 0."""
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, not {expected.shape}"
    assert got.dtype == expected.dtype, f"{what}: dtype {got.dtype}, not {expected.dtype}"
    if got.dtype in INEXACT:
        wide = np.complex128 if got.dtype in COMPLEX else np.float64
        got, expected = got.astype(wide), expected.astype(wide)
        np.testing.assert_allclose(got, expected, tol, tol, err_msg=what)
    else:
        np.testing.assert_array_equal(got, expected, err_msg=what)


def check_compiled(f: Callable, *args: Any) -> None:
    """The compiled function gives what the eager one gives, to the bit."""
    with nr.disable_jit():
        want = f(*args)
    for a, b in zip(nr.tree.leaves(nr.jit(f)(*args)), nr.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


# As what kinds of dtypes a reference may compute in a wide one.
_WIDE = {"float64": FLOATING, "complex128": COMPLEX, "int64": INTEGER, "uint64": INTEGER}


def _narrowed(expected: np.ndarray, got: np.ndarray, args: Sequence[np.ndarray]) -> np.ndarray:
    """A reference's result in an operand's dtype, if all it did was to compute in a wider one."""
    same_kind = got.dtype in _WIDE.get(expected.dtype.name, ())
    with np.errstate(over="ignore"):
        if same_kind and any(x.dtype == got.dtype for x in args):
            return expected.astype(got.dtype)
        return expected


# ---------------------------------------------------------------- the checks
def check_value(case: OpCase, dtype: str) -> None:
    """The value, shape and dtype are those of NumPy."""
    (args,) = case.samples(dtype, 1)
    got = leaves(case.fun(*arrays(args)))
    with np.errstate(all="ignore"):
        expected = leaves(case.reference(*[x.copy() for x in args]))
    assert len(got) == len(expected)
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert_close(a, _narrowed(b, a, args), tolerance(case, a.dtype), f"output {i} beside NumPy")


def check_jit(case: OpCase, dtype: str) -> None:
    """Eager, first and second jitted call agree; Python runs once; abstract types are right."""
    (args,) = case.samples(dtype, 1)
    args = arrays(args)
    runs = 0

    def counted(*xs: Any) -> Any:
        nonlocal runs
        runs += 1
        return case.fun(*xs)

    eager = leaves(case.fun(*args))
    jitted = nr.jit(counted)
    first, second = leaves(jitted(*args)), leaves(jitted(*args))
    assert runs == 1, f"jit ran the Python function {runs} times for two equal calls"
    avals = nr.tree.leaves(nr.eval_shape(case.fun, *args))
    for i, (e, a, b, aval) in enumerate(zip(eager, first, second, avals, strict=True)):
        assert_close(a, e, tolerance(case, e.dtype), f"output {i}, jit beside eager")
        assert a.tobytes() == b.tobytes(), f"output {i}: the second call of jit differs"
        assert (aval.shape, aval.dtype) == (e.shape, e.dtype), f"output {i}: eval_shape differs"


def check_errors(case: OpCase, dtype: str) -> None:
    """Malformed operands meet the same error eagerly and under jit, or the same result type."""
    (args,) = case.samples(dtype, 1)
    other = "int32" if DTYPES[dtype] in INEXACT else "float32"
    malformed = [[x.real.astype(other) for x in args]]
    for i, x in enumerate(args):
        for wrong in (x[..., None], np.concatenate([x, x[:1]]) if x.ndim else x, malformed[0][i]):
            malformed.append([*args[:i], wrong, *args[i + 1 :]])
    for each in malformed:
        bad = arrays(each)
        eager, traced = _outcome(case.fun, bad), _outcome(nr.jit(case.fun), bad)
        assert eager == traced, f"arguments {', '.join(str(x.aval) for x in bad)}"


def _outcome(fun: Any, args: list[Any]) -> Any:
    try:
        out = fun(*args)
    except Exception as err:
        assert "nr bug" not in str(err), err
        return type(err), str(err)
    return [(x.shape, x.dtype) for x in leaves(out)]


def check_vmap(case: OpCase, dtype: str) -> None:
    """vmap is loop-and-stack, for every choice of no axis, the first or the last one."""
    lanes = case.samples(dtype, LANES)
    choices = [sorted({None, 0, x.ndim}, key=str) for x in lanes[0]]
    # of operations of many operands every choice would be too many: the first two vary freely
    varied = [c if i < 2 else (c[0], c[-1]) for i, c in enumerate(choices)]
    looped: dict[tuple[bool, ...], list[list[np.ndarray]]] = {}
    for in_axes in itertools.product(*varied):
        if all(axis is None for axis in in_axes):
            continue
        mapped = tuple(axis is not None for axis in in_axes)
        if mapped not in looped:
            looped[mapped] = [
                leaves(
                    case.fun(*arrays([lane[i] if m else lanes[0][i] for i, m in enumerate(mapped)]))
                )
                for lane in lanes
            ]
        args = arrays(
            [
                lanes[0][i] if axis is None else np.stack([lane[i] for lane in lanes], axis)
                for i, axis in enumerate(in_axes)
            ]
        )
        got = leaves(nr.vmap(case.fun, in_axes)(*args))
        for i, (a, *each) in enumerate(zip(got, *looped[mapped], strict=True)):
            expected = np.stack(each)
            tol = tolerance(case, expected.dtype)
            assert_close(a, expected, tol, f"output {i} of vmap, in_axes={in_axes}")


def check_grad(case: OpCase, dtype: str, order: int) -> None:
    """Forward and reverse derivatives are those of central differences, up to an order."""
    (args,) = case.samples(dtype, 1)
    chosen = range(len(args)) if case.grad is True else case.grad
    chosen = [i for i in chosen if args[i].dtype in INEXACT]

    def of_chosen(*xs: Any) -> Any:
        full = arrays(args)
        for i, x in zip(chosen, xs, strict=True):
            full[i] = x
        return case.fun(*full)

    check_grads(of_chosen, [args[i] for i in chosen], order)


def grad_dtype(case: OpCase) -> str | None:
    """The dtype in which a case's derivatives are checked: the one with the most digits."""
    if case.grad is False:
        return None
    if any(DTYPES[name] in FLOATING for name in case.dtypes):
        return "float64"
    return "complex128" if any(DTYPES[name] in COMPLEX for name in case.dtypes) else None


def check_on_device(case: OpCase, dtype: str, device: nr.Device) -> None:
    """Values on a device are those of the CPU, and stay on the device."""
    (args,) = case.samples(dtype, 1)
    expected = nr.tree.leaves(case.fun(*arrays(args)))
    for fun in (case.fun, nr.jit(case.fun)):
        with nr.default_device(device):
            got = nr.tree.leaves(fun(*[nr.device_put(x, device) for x in arrays(args)]))
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert a.device is device, f"output {i} is on {a.device}"
            what = f"output {i} on {device}"
            assert_close(np.asarray(a), np.asarray(b), 4 * tolerance(case, a.dtype), what)
