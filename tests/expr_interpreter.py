"""Evaluates scalar expressions of the loop IR with NumPy: what compiled kernels must agree with.

Every operation acts on whole arrays and is rounded on its own; native code may contract a product
and a sum into one rounding, so results agree to rounding errors, not to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from nr.backends.compiler.expr import FLOATS, NUMPY, UNSIGNED, Expr, node

_WIDE = np.longdouble


def evaluate(expr: Expr, leaves: Mapping[Expr, np.ndarray]) -> np.ndarray:
    """The value of an expression for each element.

    Args:
        expr: the expression.
        leaves: arrays (or scalars) of the expressions without operands; their shapes broadcast.

    Returns:
        An array of the expression's type.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> x = node("register", (), "f32", "x")
        >>> evaluate(x * x + 1, {x: np.arange(3, dtype=np.float32)})
        array([1., 2., 5.], dtype=float32)
    """
    return evaluate_all([expr], leaves)[0]


def evaluate_all(exprs: Iterable[Expr], leaves: Mapping[Expr, np.ndarray]) -> list[np.ndarray]:
    """The values of several expressions, what they share computed once."""
    exprs = list(exprs)
    known: dict[int, np.ndarray] = {}
    for leaf, value in leaves.items():
        known[id(leaf)] = np.asarray(value, NUMPY[leaf.dtype])
    stack = list(exprs)
    with np.errstate(all="ignore"):
        while stack:
            expr = stack[-1]
            missing = [a for a in expr.args if id(a) not in known]
            if id(expr) in known:
                stack.pop()
            elif missing:
                stack += missing
            else:
                value = _operation(expr, [known[id(a)] for a in expr.args])
                known[id(expr)] = np.asarray(value, NUMPY[expr.dtype])
                stack.pop()
    return [known[id(e)] for e in exprs]


def _operation(expr: Expr, args: list[np.ndarray]) -> np.ndarray:
    op = expr.op
    if op == "const":
        return np.asarray(expr.param)
    if op == "table":
        values = np.array(expr.param, NUMPY[expr.dtype])
        assert ((args[0] >= 0) & (args[0] < len(values))).all(), "table: an index is out of bounds"
        return values[args[0]]
    if op == "bitcast":
        return np.ascontiguousarray(args[0]).view(NUMPY[expr.dtype]).reshape(args[0].shape)
    if op == "convert":
        return _convert(args[0], expr.dtype)
    if op == "fma":
        return _fma(*args)
    if op == "iterate":
        return _iterate(expr, args)
    if op in ("select", "rarely"):
        return np.where(*args)
    if op in ("div", "rem") and expr.dtype not in FLOATS:
        return _divide(op, *args)
    if op in _OPERATIONS:
        return _OPERATIONS[op](*args)
    raise NotImplementedError(f"{op}: a leaf without a value, or an unknown operation")


def _iterate(expr: Expr, args: list[np.ndarray]) -> np.ndarray:
    step, count, limit = expr.param
    going, *values = np.broadcast_arrays(*args)
    names = [node("register", (), a.dtype, f"#{k}") for k, a in enumerate(expr.args[1:])]
    counter = node("register", (), "f64", "#step")
    following, further = step(counter, *names)
    k = 0
    while going.any() and k < limit:
        k += 1
        leaves = {counter: np.float64(k), **dict(zip(names, values, strict=True))}
        *states, go = evaluate_all([*following, further], leaves)
        states[0] = np.where(going, states[0], values[0])
        values[:count] = states
        going = going & go
    return values[0]


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    if a.dtype == np.float32:
        return (a.astype(np.float64) * b + c).astype(np.float32)
    # The product of the significands in two parts (Veltkamp, Dekker 1971), so that no part of it
    # overflows; the sum of the three terms then errs by far less than it is rounded by.
    (p, i), (q, j) = np.frexp(a), np.frexp(b)
    high = p * q
    (p1, p2), (q1, q2) = _halves(p), _halves(q)
    low = ((p1 * q1 - high) + p1 * q2 + p2 * q1) + p2 * q2
    scale = i.astype(np.int64) + j
    high, low = (np.ldexp(x.astype(_WIDE), scale) for x in (high, low))
    c = c.astype(_WIDE)
    total = high + c
    part = total - high
    error = (high - (total - part)) + (c - part)
    exact = np.where(np.isfinite(total), total + (error + low), a.astype(_WIDE) * b + c)
    return exact.astype(np.float64)


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaled = x * (2.0**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high


def _convert(x: np.ndarray, dtype: str) -> np.ndarray:
    to = NUMPY[dtype]
    if x.dtype.kind != "f" or to.kind == "f":
        return x.astype(to)
    if dtype == "b1":
        return x != 0
    info = np.iinfo(to)
    whole = np.trunc(np.where(np.isnan(x), 0, x)).astype(_WIDE)
    # Bounds exclusive of what does not fit: the largest i64 has no float64 of its own.
    inside = np.where((whole > float(info.min)) & (whole < float(info.max)), whole, 0).astype(to)
    low, high = whole <= float(info.min), whole >= float(info.max)
    return np.where(low, to.type(info.min), np.where(high, to.type(info.max), inside))


def _divide(op: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    b = np.where(b == 0, b.dtype.type(1), b)
    remainder = np.fmod(a, b)
    return remainder if op == "rem" else np.floor_divide(a - remainder, b)


def _shift(f: Callable) -> Callable:
    def shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert ((b >= 0) & (b < 8 * a.dtype.itemsize)).all(), "a shift by the width or more"
        return f(a, b)

    return shift


def _unsigned(x: np.ndarray) -> np.ndarray:
    return x.view(NUMPY[UNSIGNED[x.dtype.itemsize.bit_length() - 1]])


def _lshr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.right_shift(_unsigned(a), _unsigned(b)).view(a.dtype)


def _leading_zeros(x: np.ndarray) -> np.ndarray:
    bits, width = _unsigned(x), 8 * x.dtype.itemsize
    for k in range(width.bit_length() - 1):
        bits = bits | (bits >> bits.dtype.type(1 << k))
    return (width - np.bitwise_count(bits)).astype(x.dtype)


def _trailing_zeros(x: np.ndarray) -> np.ndarray:
    bits = _unsigned(x)
    return np.bitwise_count(~bits & (bits - bits.dtype.type(1))).astype(x.dtype)


_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "div": np.divide, "rem": np.fmod, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": _shift(np.left_shift), "shr": _shift(np.right_shift), "lshr": _shift(_lshr),
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
    "abs": np.absolute, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round_even": np.rint, "copysign": np.copysign,
    "popcount": lambda x: np.bitwise_count(_unsigned(x)).astype(x.dtype),
    "clz": _leading_zeros, "ctz": _trailing_zeros,
}  # fmt: skip
