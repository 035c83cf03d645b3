"""Without these tests only fusions that somebody thought of would be known to keep values.

Programs are drawn from seeds: graphs of elementwise operations, broadcasts, moves, gathers,
selections, casts, reductions and products, of several dtypes, with reused values and several
outputs. Each runs compiled, as one program, and eagerly, operation by operation.

What a float may differ by is bounded for each value as the program is drawn, from the bounds of
its operands: each operation adds a few units of the last place of its dtype (products are fused
with sums, sums are in another order, elementary functions are approximated; 16-bit values are
not rounded inside a kernel). The reference computes all floats in f64. Integers and booleans are
exact: what decides about them (comparisons, casts to integers, the place of a maximum) is drawn
only where the bounds leave no doubt.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax
from tests.interpreted import interpreting

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}
NUMPY = {"bfloat16": ml_dtypes.bfloat16}
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65)
LARGEST = 1 << 14
# Values above this are not built upon: products of them would lose the bounds' sense.
HIGHEST = 1e4


@dataclass
class Known:
    """A value while a program is drawn: exact in f64 or integers, and what it may be off by."""

    value: np.ndarray
    dtype: str
    error: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def floating(self) -> bool:
        return self.dtype in EPS

    @property
    def size(self) -> float:
        return float(np.abs(self.value).max()) if self.value.size and self.dtype != "bool" else 0.0


class Skip(Exception):
    """The operation drawn does not suit the operands drawn."""


class Step:
    """An operation: ``function(cast, *operands)``, where cast gives the dtype to compute in."""

    def __init__(self, text: str, function: Callable, operands: Sequence[int]) -> None:
        self.text = text
        self.function = function
        self.operands = operands


class Builder:
    """Draws a program step by step, and runs each step on the reference as it is drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.known: list[Known] = []
        self.inputs: list[np.ndarray] = []
        self.steps: list[Step] = []
        self.outputs: list[int] = []

    # ------------------------------------------------------------------ drawing
    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, rank: int | None = None, most: int = LARGEST) -> tuple[int, ...]:
        rank = self.integer(0, 4) if rank is None else rank
        extents: list[int] = []
        for _ in range(rank):
            fitting = [n for n in EXTENTS if n * math.prod(extents) <= most]
            extents.append(self.pick(fitting))
        return tuple(extents)

    def value(self, accept: Callable[[Known], bool] = lambda k: True) -> int:
        """An earlier value, late ones more often."""
        found = [i for i, k in enumerate(self.known) if accept(k)]
        if not found:
            raise Skip
        if self.integer(0, 2):
            found = found[-4:]
        return self.pick(found)

    def like(self, i: int, accept: Callable[[Known], bool] = lambda k: True) -> tuple[int, Any]:
        """Another value, and how it becomes one of the shape and dtype of value i."""
        target = self.known[i]

        def fits(k: Known) -> bool:
            if k.dtype != target.dtype or not accept(k):
                return False
            lead = len(target.shape) - len(k.shape)
            return lead >= 0 and all(
                n in (1, m) for n, m in zip(k.shape, target.shape[lead:], strict=True)
            )

        j = self.value(fits)
        shape = target.shape
        if self.known[j].shape == shape:
            return j, lambda y: y
        return j, lambda y: jnp.broadcast_to(y, shape)

    # ------------------------------------------------------------------ building
    def input(self, dtype: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(self.integer(0, 2**16))
        if dtype == "bool":
            x = rng.random(shape) < 0.5
        elif dtype in EPS:
            x = rng.uniform(-2, 2, shape).astype(NUMPY.get(dtype, dtype))
        else:
            info = np.iinfo(dtype)
            x = rng.integers(max(info.min, -9), 10, shape).astype(dtype)
        x = np.asarray(x)
        self.inputs.append(x)
        value = x.astype(np.float64) if dtype in EPS else x
        self.known.append(Known(value, dtype, 0.0))

    def add(
        self, text: str, function: Callable, operands: Sequence[int], error: float, dtype: str
    ) -> None:
        """Add a step whose result may be off by `error` before it is rounded."""
        args = [jnp.asarray(self.known[i].value) for i in operands]
        with np.errstate(all="ignore"):
            value = np.asarray(function(_exactly, *args))
        expected = np.float64 if dtype in EPS else np.dtype(dtype)
        assert value.dtype == expected, f"{text}: {value.dtype} in the reference, not {dtype}"
        known = Known(value, dtype, error)
        if dtype in EPS:
            if not np.isfinite(value).all() or known.size > HIGHEST:
                raise Skip
            if error > 0.02 * max(known.size, 1.0):
                raise Skip
        else:
            known.error = 0.0
        self.known.append(known)
        self.steps.append(Step(text, function, tuple(operands)))

    def rounded(self, dtype: str, size: float, units: float = 2.0) -> float:
        return EPS[dtype] * units * max(size, 1e-30)

    def run(self, cast: Callable, inputs: Sequence[Any]) -> tuple[Any, ...]:
        values = list(inputs)
        for step in self.steps:
            values.append(step.function(cast, *[values[i] for i in step.operands]))
        return tuple([values[i] for i in self.outputs])

    def __repr__(self) -> str:
        lines = [f"  v{i}: input {x.dtype}{list(x.shape)}" for i, x in enumerate(self.inputs)]
        for i, step in enumerate(self.steps, len(self.inputs)):
            k = self.known[i]
            operands = ", ".join([f"v{o}" for o in step.operands])
            lines.append(f"  v{i}: {k.dtype}{list(k.shape)} = {step.text}({operands})")
        return "\n".join([f"program {self.seed}:", *lines, f"  outputs {self.outputs}"])


def _exactly(dtype: str) -> Any:
    return np.float64 if dtype in EPS else np.dtype(dtype)


def _really(dtype: str) -> Any:
    return NUMPY.get(dtype, np.dtype(dtype))


# ---------------------------------------------------------------- elementwise operations
# name: (function, greatest slope for |x| <= r, units of the last place)
SMOOTH: dict[str, tuple[Callable, Callable[[float], float], float]] = {
    "sin": (lax.sin, lambda r: 1.0, 4),
    "cos": (lax.cos, lambda r: 1.0, 4),
    "tanh": (lax.tanh, lambda r: 1.0, 8),
    "logistic": (lax.logistic, lambda r: 0.25, 8),
    "exp(-x*x)": (lambda x: lax.exp(-x * x), lambda r: 1.0, 8),
    "log1p(x*x)": (lambda x: lax.log1p(x * x), lambda r: 1.0, 8),
    "sqrt(1+x*x)": (lambda x: lax.sqrt(1 + x * x), lambda r: 1.0, 8),
    "x/(1+x*x)": (lambda x: x / (1 + x * x), lambda r: 1.0, 8),
    "rsqrt(1+|x|)": (lambda x: lax.rsqrt(1 + lax.abs(x)), lambda r: 0.5, 8),
    "erf": (lax.erf, lambda r: 1.2, 8),
    "0.5*x+0.25": (lambda x: 0.5 * x + 0.25, lambda r: 0.5, 2),
    "x*x": (lambda x: x * x, lambda r: 2 * r, 2),
    "x**3": (lambda x: lax.integer_pow(x, 3), lambda r: 3 * r * r, 4),
    "clamp": (lambda x: lax.clamp(-1.0, x, 1.0), lambda r: 1.0, 0),
    "neg": (lax.neg, lambda r: 1.0, 0),
    "abs": (lax.abs, lambda r: 1.0, 0),
    "relu": (lambda x: jnp.maximum(x, 0), lambda r: 1.0, 0),
}  # fmt: skip
STEPPED = {"floor": lax.floor, "ceil": lax.ceil, "round": lax.round, "sign": lax.sign}
INTEGERS: dict[str, Callable] = {
    "neg": lax.neg,
    "not": lax.bitwise_not,
    "x*3+1": lambda x: x * 3 + 1,
    "x<<2": lambda x: x << 2,
    "x>>1": lambda x: x >> 1,
    "popcount": lax.population_count,
    "clz": lax.clz,
    "x//3": lambda x: x // 3,
    "x%5": lambda x: x % 5,
    "abs": jnp.abs,
    "sign": lax.sign,
}


def unary(b: Builder) -> None:
    i = b.value(lambda k: k.dtype != "bool")
    k = b.known[i]
    if not k.floating:
        name = b.pick(sorted(INTEGERS))
        b.add(name, lambda cast, x: INTEGERS[name](x), [i], 0.0, k.dtype)
        return
    name = b.pick([*sorted(SMOOTH), *sorted(STEPPED)])
    if name in STEPPED:
        steps = np.abs(k.value - np.round(2 * k.value) / 2)
        if k.error and (steps <= k.error).any():
            raise Skip
        b.add(name, lambda cast, x: STEPPED[name](x), [i], 0.0, k.dtype)
        return
    function, slope, units = SMOOTH[name]
    r = k.size + k.error
    error = slope(r) * k.error + b.rounded(k.dtype, max(1.0, slope(r) * r, r), units) * bool(units)
    b.add(name, lambda cast, x: function(x), [i], error, k.dtype)


BINARY_FLOAT = ("add", "sub", "mul", "max", "min", "div", "atan2", "a*b+a")
BINARY_INT = ("add", "sub", "mul", "max", "min", "and", "or", "xor", "div", "rem")
LAX = {
    "add": lax.add, "sub": lax.sub, "mul": lax.mul, "max": lax.max, "min": lax.min,
    "and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor, "div": lax.div,
    "rem": lax.rem, "atan2": lax.atan2, "a*b+a": lambda x, y: x * y + x,
}  # fmt: skip


def binary(b: Builder) -> None:
    i = b.value()
    j, fit = b.like(i)
    x, y = b.known[i], b.known[j]
    if x.dtype == "bool":
        names: Sequence[str] = ("and", "or", "xor")
    else:
        names = BINARY_FLOAT if x.floating else BINARY_INT
    name = b.pick(names)
    error = 0.0
    if x.floating:
        r, s = x.size + x.error, y.size + y.error
        if name in ("add", "sub"):
            error = x.error + y.error + b.rounded(x.dtype, r + s)
        elif name in ("mul", "a*b+a"):
            error = r * y.error + (s + 1) * x.error + b.rounded(x.dtype, r * (s + 1), 3)
        elif name in ("max", "min"):
            error = max(x.error, y.error)
        else:
            least = float(np.abs(y.value).min()) - y.error if y.value.size else 1.0
            if least < 0.05 or (name == "atan2" and x.error and (np.abs(x.value) <= x.error).any()):
                raise Skip
            error = x.error / least + r * y.error / least**2
            error += b.rounded(x.dtype, max(r / least, 3.2), 8)
    elif name in ("div", "rem") and np.isin(y.value, [0, -1]).any():
        raise Skip  # test_table_math.py has these
    function = LAX[name]
    b.add(name, lambda cast, u, v: function(u, fit(v)), [i, j], error, x.dtype)


COMPARE = {"lt": lax.lt, "le": lax.le, "gt": lax.gt, "ge": lax.ge, "eq": lax.eq, "ne": lax.ne}


def comparison(b: Builder) -> None:
    i = b.value()
    j, fit = b.like(i)
    x, y = b.known[i], b.known[j]
    doubt = x.error + y.error
    if doubt and (np.abs(x.value - y.value) <= doubt).any():
        raise Skip
    function = COMPARE[b.pick(sorted(COMPARE))]
    b.add(function.__name__, lambda cast, u, v: function(u, fit(v)), [i, j], 0.0, "bool")


def where(b: Builder) -> None:
    m = b.value(lambda k: k.dtype == "bool")
    shape = b.known[m].shape
    i = b.value(lambda k: k.shape == shape)
    j, fit = b.like(i)
    error = max(b.known[i].error, b.known[j].error)
    function = lambda cast, c, u, v: lax.select(c, u, fit(v))  # noqa: E731
    b.add("select", function, [m, i, j], error, b.known[i].dtype)


CASTS = ("float32", "float64", "bfloat16", "float16", "int32", "int64", "int8", "uint32", "bool")


def cast(b: Builder) -> None:
    i = b.value()
    k = b.known[i]
    to = b.pick(CASTS)
    error = k.error
    if to in EPS:
        error += b.rounded(to, k.size, 1)
    elif to == "bool":
        if k.error and (np.abs(k.value) <= k.error).any():
            raise Skip
    elif k.floating:
        if k.error and (np.abs(k.value - np.round(k.value)) <= k.error).any():
            raise Skip
        if k.value.size and (k.value.min() <= -1 and to[0] == "u" or k.size >= 127):
            raise Skip
    b.add(
        f"cast[{to}]", lambda cast, x: lax.convert_element_type(x, cast(to)), [i], error, to
    )  # fmt: skip


# ---------------------------------------------------------------- moves
def _move(b: Builder, text: str, function: Callable, i: int) -> None:
    b.add(text, lambda cast, x: function(x), [i], b.known[i].error, b.known[i].dtype)


def transpose(b: Builder) -> None:
    i = b.value(lambda k: len(k.shape) > 1)
    rest = list(range(len(b.known[i].shape)))
    order = []
    while rest:
        order.append(rest.pop(b.integer(0, len(rest) - 1)))
    _move(b, f"transpose{order}", lambda x: lax.transpose(x, order), i)


def reshape(b: Builder) -> None:
    i = b.value()
    left, shape = b.known[i].value.size, []
    if left == 0:
        raise Skip
    for _ in range(b.integer(0, 3)):
        n = b.pick([d for d in range(1, left + 1) if left % d == 0])
        shape.append(n)
        left //= n
    if left > 1:
        shape.insert(b.integer(0, len(shape)), left)
    _move(b, f"reshape{shape}", lambda x: lax.reshape(x, shape), i)


def broadcast(b: Builder) -> None:
    i = b.value(lambda k: k.value.size * 3 <= LARGEST and len(k.shape) < 5)
    shape = list(b.known[i].shape)
    places = list(range(len(shape)))
    at = b.integer(0, len(shape))
    new = b.pick([2, 3, 5, 16, 17])
    if b.known[i].value.size * new > LARGEST:
        raise Skip
    out = [*shape[:at], new, *shape[at:]]
    places = [p + (p >= at) for p in places]
    for p, n in zip(places, shape, strict=True):
        if n == 1 and b.integer(0, 1) and math.prod(out) * 4 <= LARGEST:
            out[p] = 4
    text = f"broadcast_in_dim[{out},{places}]"
    _move(b, text, lambda x: lax.broadcast_in_dim(x, out, places), i)


def cut(b: Builder) -> None:
    i = b.value(lambda k: k.shape)
    starts, stops, steps = [], [], []
    for n in b.known[i].shape:
        start = b.integer(0, max(min(n - 1, 3), 0))
        starts.append(start)
        stops.append(b.integer(min(start + 1, n), n))
        steps.append(b.pick([1, 1, 2, 3]))
    text = f"slice[{starts}:{stops}:{steps}]"
    _move(b, text, lambda x: lax.slice(x, starts, stops, steps), i)


def reverse(b: Builder) -> None:
    i = b.value(lambda k: k.shape)
    dims = [d for d in range(len(b.known[i].shape)) if b.integer(0, 1)]
    _move(b, f"rev{dims}", lambda x: lax.rev(x, dims), i)


def pad(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.dtype != "bool")
    config = []
    for n in b.known[i].shape:
        low, high = b.pick([0, 0, 1, 3, -1, -2]), b.pick([0, 0, 2, -1])
        interior = b.pick([0, 0, 0, 1, 2])
        if n + max(n - 1, 0) * interior + low + high < 0:
            raise Skip
        config.append((low, high, interior))
    fill = b.pick([0, 1])
    dtype = b.known[i].dtype

    def function(cast: Callable, x: Any) -> Any:
        return lax.pad(x, jnp.asarray(fill, cast(dtype)), config)

    b.add(f"pad{config}", function, [i], b.known[i].error, dtype)
    if b.known[-1].value.size > 4 * LARGEST:
        b.known.pop()
        b.steps.pop()
        raise Skip


def concatenate(b: Builder) -> None:
    i = b.value(lambda k: k.shape)
    first = b.known[i]
    d = b.integer(0, len(first.shape) - 1)

    def fits(k: Known) -> bool:
        if len(k.shape) != len(first.shape) or k.dtype != first.dtype:
            return False
        return all([n == m or e == d for e, (n, m) in enumerate(zip(k.shape, first.shape))])

    pieces = [i, b.value(fits)]
    if b.integer(0, 1):
        pieces.append(b.value(fits))
    if sum([b.known[p].value.size for p in pieces]) > LARGEST:
        raise Skip
    error = max([b.known[p].error for p in pieces])
    function = lambda cast, *xs: lax.concatenate(xs, d)  # noqa: E731
    b.add(f"concatenate[{d}]", function, pieces, error, first.dtype)


def iota(b: Builder) -> None:
    shape = b.shape(b.integer(1, 3), 600)
    d = b.integer(0, len(shape) - 1)
    dtype = b.pick(["int32", "float32", "float64", "int8" if shape[d] < 100 else "int64"])
    b.add(
        f"iota[{d}]", lambda cast: lax.broadcasted_iota(cast(dtype), shape, d), [], 0.0, dtype
    )  # fmt: skip


def take(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size)
    j = b.value(lambda k: k.dtype in ("int32", "int64", "int8") and k.value.size * 4 <= LARGEST)
    k, places = b.known[i], b.known[j]
    axis = b.integer(0, len(k.shape) - 1)
    if k.value.size // k.shape[axis] * places.value.size > LARGEST:
        raise Skip
    mode = b.pick(["clip", "fill", "wrap"])
    if mode == "fill" and k.dtype != "bool":
        n = k.shape[axis]
        if (places.value < -n).any() or (places.value >= n).any():
            raise Skip  # NaN
    text = f"take[{axis},{mode}]"
    function = lambda cast, x, p: jnp.take(x, p, axis=axis, mode=mode)  # noqa: E731
    b.add(text, function, [i, j], k.error, k.dtype)


def take_along(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size)
    k = b.known[i]
    j = b.value(lambda p: p.dtype in ("int32", "int64") and p.shape == k.shape)
    axis = b.integer(0, len(k.shape) - 1)
    function = lambda cast, x, p: jnp.take_along_axis(x, p, axis, mode="clip")  # noqa: E731
    b.add(f"take_along[{axis}]", function, [i, j], k.error, k.dtype)


def _starts(b: Builder, rank: int) -> tuple[list[int], Callable]:
    """Operands that give start indices: scalars of integer values, or constants."""
    made, operands = [], []
    for _ in range(rank):
        usable = [j for j, k in enumerate(b.known) if k.dtype == "int32" and k.value.size]
        if usable and b.integer(0, 1):
            operands.append(b.pick(usable))
            made.append(None)
        else:
            made.append(b.integer(-1, 3))

    def starts(values: Sequence[Any]) -> list[Any]:
        rest = iter(values)
        return [jnp.ravel(next(rest))[0] if m is None else jnp.int32(m) for m in made]

    return operands, starts


def dynamic_slice(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size)
    sizes = [b.integer(1, n) for n in b.known[i].shape]
    operands, starts = _starts(b, len(sizes))
    function = lambda cast, x, *p: lax.dynamic_slice(x, starts(p), sizes)  # noqa: E731
    b.add(f"dynamic_slice{sizes}", function, [i, *operands], b.known[i].error, b.known[i].dtype)


def dynamic_update(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size)
    k = b.known[i]

    def fits(u: Known) -> bool:
        same = u.dtype == k.dtype and len(u.shape) == len(k.shape)
        return same and all([n <= m for n, m in zip(u.shape, k.shape, strict=True)])

    j = b.value(fits)
    operands, starts = _starts(b, len(k.shape))
    error = max(k.error, b.known[j].error)
    function = lambda cast, x, u, *p: lax.dynamic_update_slice(x, u, starts(p))  # noqa: E731
    b.add("dynamic_update_slice", function, [i, j, *operands], error, k.dtype)


# ---------------------------------------------------------------- reductions and products
def _summed(k: Known, n: int, total: float) -> float:
    # Rounding errors of a sum add up like a random walk, at the worst in a straight line.
    units = min(n, 8 + 4 * math.sqrt(n))
    eps = EPS["float32"] if k.dtype in ("bfloat16", "float16") else EPS[k.dtype]
    return n * k.error + eps * units * total + EPS[k.dtype] * total


def reduce(b: Builder) -> None:
    i = b.value(lambda k: k.shape)
    k = b.known[i]
    axes = tuple([d for d in range(len(k.shape)) if b.integer(0, 1)])
    n = math.prod([k.shape[d] for d in axes])
    keep = bool(b.integer(0, 1))
    names = ["any", "all"] if k.dtype == "bool" else ["sum", "max", "min", "sum", "mean"]
    name = b.pick(names)
    if n == 0 or (name == "mean" and not k.floating):
        raise Skip
    dtype = k.dtype
    error = k.error
    if k.floating and name in ("sum", "mean"):
        total = float(np.sum(np.abs(k.value), axis=axes).max()) if k.value.size else 0.0
        error = _summed(k, n, total) / (n if name == "mean" else 1)
    # NumPy's sums of small integers are wider; these stay what they are.
    options = {"dtype": None} if name in ("sum",) else {}
    reducer = getattr(jnp, name)

    def function(cast: Callable, x: Any) -> Any:
        if options:
            return reducer(x, axis=axes, keepdims=keep, dtype=x.dtype)
        return reducer(x, axis=axes, keepdims=keep)

    b.add(f"{name}[{axes},{keep}]", function, [i], error, dtype)


def locate(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size and not k.error and k.dtype != "bool")
    axis = b.integer(0, len(b.known[i].shape) - 1)
    name = b.pick(["argmax", "argmin"])
    reducer = getattr(lax, name)
    function = lambda cast, x: reducer(x, axis, np.int32)  # noqa: E731
    b.add(f"{name}[{axis}]", function, [i], 0.0, "int32")


def dot(b: Builder) -> None:
    i = b.value(lambda k: k.floating and k.shape)
    x = b.known[i]
    d = b.integer(0, len(x.shape) - 1)

    def fits(k: Known) -> bool:
        return k.dtype == x.dtype and x.shape[d] in k.shape

    j = b.value(fits)
    y = b.known[j]
    c = b.pick([e for e, n in enumerate(y.shape) if n == x.shape[d]])
    batch: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    pairs = [
        (p, q) for p, n in enumerate(x.shape) for q, m in enumerate(y.shape)
        if p != d and q != c and n == m
    ]  # fmt: skip
    if pairs and b.integer(0, 1):
        p, q = b.pick(pairs)
        batch = ((p,), (q,))
    n = x.shape[d]
    r, s = x.size + x.error, y.size + y.error
    units = min(n, 8 + 4 * math.sqrt(n)) + 2
    error = n * (r * y.error + s * x.error) + b.rounded(x.dtype, n * r * s, units)
    numbers = (((d,), (c,)), batch)
    shared = x.shape[batch[0][0]] if batch[0] else 1
    if x.value.size * y.value.size > LARGEST * n * n * shared:
        raise Skip
    text = f"dot{numbers}"
    b.add(text, lambda cast, u, v: lax.dot_general(u, v, numbers), [i, j], error, x.dtype)


def normalize(b: Builder) -> None:
    i = b.value(lambda k: k.floating and k.shape and k.value.size and k.dtype != "bfloat16")
    k = b.known[i]
    axis = b.integer(0, len(k.shape) - 1)
    n = k.shape[axis]
    softmax = bool(b.integer(0, 1))

    def function(cast: Callable, x: Any) -> Any:
        if softmax:
            y = jnp.exp(x - jnp.max(x, axis=axis, keepdims=True))
            return y / jnp.sum(y, axis=axis, keepdims=True)
        centered = x - jnp.mean(x, axis=axis, keepdims=True)
        variance = jnp.mean(centered * centered, axis=axis, keepdims=True)
        return centered * lax.rsqrt(variance + 0.5)

    r = k.size + k.error
    # Softmax's slope is at most 1 in the sum norm. The other's is at most 2 / sqrt(0.5) of the
    # centered values themselves, and once more of what the variance carries.
    error = 8 * k.error + b.rounded(k.dtype, max(r, 1.0), 8 + min(n, 8 + 4 * math.sqrt(n)))
    error *= 1 if softmax else 1 + r
    b.add("softmax" if softmax else "normalize", function, [i], error, k.dtype)


def cumulate(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.dtype != "bool" and k.value.size)
    k = b.known[i]
    axis = b.integer(0, len(k.shape) - 1)
    name = b.pick(["cumsum", "cummax", "cummin", "sort"])
    error = k.error
    if k.floating and name == "cumsum":
        error = _summed(k, k.shape[axis], float(np.sum(np.abs(k.value), axis=axis).max()))
    options: dict[str, Any] = {} if name == "sort" else {"reverse": bool(b.integer(0, 1))}
    function = lax.sort if name == "sort" else getattr(lax, name)
    key = "dimension" if name == "sort" else "axis"
    b.add(
        f"{name}[{axis}]",
        lambda cast, x: function(x, **{key: axis}, **options),
        [i],
        error,
        k.dtype,
    )


def window(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.dtype in ("float32", "float64", "int32") and k.value.size)
    k = b.known[i]
    sizes, strides, padding = [], [], []
    for n in k.shape:
        size = b.integer(1, min(n, 4))
        sizes.append(size)
        strides.append(b.pick([1, 1, 2, 3]))
        low, high = b.pick([0, 0, 1]), b.pick([0, 0, 2])
        padding.append((min(low, size - 1), min(high, size - 1)))
    name = b.pick(["add", "max", "min"])
    combine = {"add": lax.add, "max": lax.max, "min": lax.min}[name]
    least, greatest = (-np.inf, np.inf) if k.floating else (-(2**31), 2**31 - 1)
    start = {"add": 0, "max": least, "min": greatest}[name]
    n = math.prod(sizes)
    error = _summed(k, n, n * k.size) if k.floating and name == "add" else k.error

    def function(cast: Callable, x: Any) -> Any:
        first = np.asarray(start, x.dtype)
        return lax.reduce_window(x, first, combine, sizes, strides, padding)

    b.add(f"window[{name},{sizes},{strides},{padding}]", function, [i], error, k.dtype)


def scatter(b: Builder) -> None:
    i = b.value(lambda k: k.shape and k.value.size and k.dtype not in ("bool", "bfloat16"))
    k = b.known[i]
    j = b.value(lambda p: p.dtype in ("int32", "int64") and len(p.shape) <= 2)
    places = b.known[j]
    rows = (*places.shape, *k.shape[1:])
    if math.prod(rows) > LARGEST:
        raise Skip
    u = b.value(lambda v: v.dtype == k.dtype and v.shape in (rows, k.shape[1:], ()))
    update = b.known[u]
    name = b.pick(["add", "set", "max"])
    inside = np.mod(places.value.astype(np.int64), k.shape[0])
    times = int(np.bincount(inside.ravel()).max()) if inside.size else 0
    error = max(k.error, update.error)
    if k.floating and name == "add":
        total = k.size + times * update.size
        error = k.error + times * update.error + b.rounded(k.dtype, total, times + 1)

    def function(cast: Callable, x: Any, p: Any, y: Any) -> Any:
        return getattr(jnp.asarray(x).at[p % x.shape[0]], name)(y)

    b.add(f"at.{name}", function, [i, j, u], error, k.dtype)


def convolve(b: Builder) -> None:
    def fits(k: Known) -> bool:
        return k.dtype in ("float32", "float64") and len(k.shape) == 3 and k.value.size > 0

    i = b.value(fits)
    x = b.known[i]
    size, out = b.integer(1, 3), b.integer(1, 5)
    kernel = np.random.default_rng(size * 8 + out).uniform(-1, 1, (out, x.shape[1], size))
    stride, padding = b.integer(1, 2), [(b.integer(0, 2), b.integer(0, 2))]
    if x.shape[2] + sum(padding[0]) < size or x.value.size * out > LARGEST:
        raise Skip
    kernel = kernel.astype(np.float32)  # exact in both
    n = x.shape[1] * size
    error = n * x.error + b.rounded(x.dtype, n * x.size, min(n, 8 + 4 * math.sqrt(n)) + 2)

    def function(cast: Callable, x: Any) -> Any:
        return lax.conv_general_dilated(x, jnp.asarray(kernel, x.dtype), (stride,), padding)

    b.add(f"conv[{size},{out},{stride},{padding}]", function, [i], error, x.dtype)


OPERATIONS: list[Callable[[Builder], None]] = [
    unary, unary, binary, binary, comparison, where, cast, transpose, reshape, broadcast, cut,
    reverse, pad, concatenate, iota, take, take_along, dynamic_slice, dynamic_update, reduce,
    reduce, locate, dot, normalize, cumulate, window, scatter, convolve,
]  # fmt: skip
INPUTS = ("float32", "float32", "float32", "float64", "bfloat16", "int32", "bool", "int8", "uint32")


def program(seed: int, most: int = 12) -> Builder:
    """A program, its inputs, and its outputs' exact values with what they may be off by."""
    b = Builder(seed)
    shape = b.shape()
    for _ in range(b.integer(1, 3)):
        b.input(b.pick(INPUTS), shape if b.integer(0, 2) else b.shape())
    for _ in range(b.integer(1, most)):
        for _ in range(6):
            try:
                b.pick(OPERATIONS)(b)
                break
            except Skip:
                continue
    last = len(b.known) - 1
    b.outputs = [last] + [b.integer(0, last) for _ in range(b.integer(0, 3))]
    return b


def check(b: Builder) -> None:
    """A drawn program gives what the reference gives, each time it runs."""
    compiled = nr.jit(lambda *inputs: b.run(_really, inputs))
    got = compiled(*b.inputs)
    for i, x in zip(b.outputs, got, strict=True):
        known, x = b.known[i], np.asarray(x)
        assert x.shape == known.shape and x.dtype == _really(known.dtype)
        if not known.floating:
            np.testing.assert_array_equal(x, known.value, f"v{i}")
            continue
        off = np.abs(x.astype(np.float64) - known.value)
        allowed = 2 * known.error + EPS[known.dtype] * np.abs(known.value)
        assert (off <= allowed).all(), f"v{i} is off by {np.nanmax(off)}, allowed {known.error}"
    for x, y in zip(got, compiled(*b.inputs), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), "the second call differs"


def check_gradient(b: Builder) -> None:
    """The compiled gradient of a drawn program, all in f64, is the interpreted one."""
    floats = [i for i, k in enumerate(b.known[: len(b.inputs)]) if k.floating]
    inputs = [x.astype(np.float64) if i in floats else x for i, x in enumerate(b.inputs)]

    def loss(*given: Any) -> Any:
        values = list(inputs)
        for i, x in zip(floats, given, strict=True):
            values[i] = x
        total = 0.0
        for i, y in zip(b.outputs, b.run(_exactly, values), strict=True):
            if b.known[i].floating:
                weights = jnp.cos(jnp.arange(y.size, dtype=np.float64)).reshape(y.shape)
                total = total + jnp.sum(jnp.sin(y) * weights)
        return total

    gradient = nr.grad(loss, argnums=tuple(range(len(floats))))
    given = [inputs[i] for i in floats]
    with interpreting():
        want = gradient(*map(jnp.asarray, given))
    for k, (x, y) in enumerate(zip(nr.jit(gradient)(*given), want, strict=True)):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape and x.dtype == y.dtype
        # Sums of terms as large as the largest results, of a few hundred roundings each.
        scale = max(1.0, np.abs(y).max(initial=0.0))
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10 * scale, err_msg=f"gradient {k}")


# NR_FUSION_EXAMPLES=1000 draws that many programs, others each time.
_EXAMPLES = int(os.environ.get("NR_FUSION_EXAMPLES", "0"))
drawn = settings(
    max_examples=_EXAMPLES or 250,
    deadline=None,
    derandomize=not _EXAMPLES,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


@drawn
@given(st.integers(0, 2**48))
def test_compiled_programs_give_what_eager_ones_give(seed: int) -> None:
    b = program(seed)
    note(repr(b))
    check(b)


@settings(drawn, max_examples=_EXAMPLES or 100)
@given(st.integers(0, 2**48))
def test_compiled_gradients_give_what_interpreted_ones_give(seed: int) -> None:
    b = program(seed)
    if any([k.floating for k in b.known[: len(b.inputs)]]):
        note(repr(b))
        check_gradient(b)
