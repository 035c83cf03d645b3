"""Dtypes, their promotion lattice (JAX's, JEP 9407) and weak Python scalars.

There is no x64 switch: a dtype that is asked for is given. Python scalars are weak: they take
the dtype of what they meet, and `config.default_float` / `default_int` when they meet nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np

from nr.core.config import config
from nr.core.errors import TypePromotionError

bfloat16 = ml_dtypes.bfloat16
float0 = np.dtype([("float0", np.void, 0)])


class extended(np.generic):  # noqa: N801 - a scalar type, named as NumPy's are
    """The kind of dtypes that NumPy does not have."""


class prng_key(extended):  # noqa: N801
    """The kind of typed keys' dtypes: ``issubdtype(key.dtype, prng_key)`` tells keys apart."""


NO_NUMBERS = (
    "array: a typed key is no array of numbers; got {}. Use nr.random.key_data(key) for its bits."
)

bool_dt = np.dtype(np.bool_)
_bf16 = np.dtype(bfloat16)

SHORT_NAMES = {
    "bool": "b1", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
    "bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64",
    "complex64": "c64", "complex128": "c128",
}  # fmt: skip
DTYPES = {name: _bf16 if name == "bfloat16" else np.dtype(name) for name in SHORT_NAMES}

SIGNED = frozenset(DTYPES[n] for n in ("int8", "int16", "int32", "int64"))
UNSIGNED = frozenset(DTYPES[n] for n in ("uint8", "uint16", "uint32", "uint64"))
INTEGER = SIGNED | UNSIGNED
FLOATING = frozenset(DTYPES[n] for n in ("bfloat16", "float16", "float32", "float64"))
COMPLEX = frozenset(DTYPES[n] for n in ("complex64", "complex128"))
INEXACT = FLOATING | COMPLEX
REAL = INTEGER | FLOATING
NUMERIC = INTEGER | INEXACT
BOOL = frozenset([bool_dt])
ANY = NUMERIC | BOOL


def short_name(dtype: Any) -> str:
    """``f32`` for float32, and so on; the name used by jaxprs and messages."""
    dtype = np.dtype(dtype)
    return "float0" if dtype == float0 else SHORT_NAMES.get(dtype.name, dtype.name)


def canonicalize(dtype: Any) -> np.dtype:
    """The NumPy dtype meant by ``dtype``; Python's float, int, complex mean the defaults.

    Raises:
        TypeError: if it names no dtype that nr supports.
    """
    if isinstance(dtype, np.dtype):
        result = dtype
    elif dtype is float:
        return config.default_float
    elif dtype is int:
        return config.default_int
    elif dtype is complex:
        return _default_complex()
    elif dtype is None:
        raise TypeError("dtype: a dtype was expected; got None. Name one, as in 'float32'.")
    else:
        if isinstance(dtype, str) and dtype == "bfloat16":
            dtype = bfloat16
        elif not isinstance(dtype, (str, type, np.dtype)) and hasattr(dtype, "dtype"):
            dtype = dtype.dtype
        try:
            result = np.dtype(dtype)
        except TypeError as err:
            raise TypeError(f"dtype: a dtype was expected; got {dtype!r}.") from err
    if result not in ANY and result != float0:
        raise TypeError(
            f"dtype: nr has bool, (u)int8-64, bfloat16, float16/32/64 and complex64/128; "
            f"got {result}. Convert the data first."
        )
    return result if result.isnative else result.newbyteorder("=")


def _default_complex() -> np.dtype:
    return DTYPES["complex64" if config.default_float.itemsize == 4 else "complex128"]


def scalar_dtype(kind: type) -> np.dtype:
    """The dtype of a Python scalar type that meets nothing else."""
    if kind is bool:
        return bool_dt
    if kind is int:
        return config.default_int
    return config.default_float if kind is float else _default_complex()


# ---------------------------------------------------------------- the lattice
# Each dtype with what lies directly above it. "i*", "f*", "c*" are the weak Python scalars.
_ABOVE = {
    "bool": ["i*"], "i*": ["uint8", "int8"],
    "uint8": ["int16", "uint16"], "uint16": ["int32", "uint32"], "uint32": ["int64", "uint64"],
    "int8": ["int16"], "int16": ["int32"], "int32": ["int64"],
    "uint64": ["f*"], "int64": ["f*"],
    "f*": ["c*", "bfloat16", "float16"], "bfloat16": ["float32"], "float16": ["float32"],
    "float32": ["float64", "complex64"], "float64": ["complex128"],
    "c*": ["complex64"], "complex64": ["complex128"], "complex128": [],
}  # fmt: skip


def _upper_bounds() -> dict[str, frozenset[str]]:
    def reach(name: str) -> frozenset[str]:
        return frozenset([name]).union(*(reach(above) for above in _ABOVE[name]))

    return {name: reach(name) for name in _ABOVE}


_UPPER = _upper_bounds()
_WEAK_NAME = {"b": "bool", "i": "i*", "u": "i*", "f": "f*", "V": "f*", "c": "c*"}


@functools.cache
def _join(names: frozenset[str]) -> str:
    if "void" in names:
        raise TypeError("dtype: float0 arrays hold nothing to compute with; got one as an operand.")
    common = frozenset.intersection(*(_UPPER[name] for name in names))
    # The least upper bound is the common bound below all others: the lattice guarantees one.
    return next(name for name in common if common <= _UPPER[name])


def _node(dtype: np.dtype, weak: bool) -> str:
    if not isinstance(dtype, np.dtype):
        raise TypeError(NO_NUMBERS.format(dtype))
    return _WEAK_NAME[dtype.kind] if weak else dtype.name


def promote(operands: list[tuple[np.dtype, bool]]) -> tuple[np.dtype, bool]:
    """The promoted (dtype, weak) of operands given as (dtype, weak) pairs."""
    names = frozenset([_node(dtype, weak) for dtype, weak in operands])
    if len(names) > 1 and config.numpy_dtype_promotion == "strict":
        _refuse_promotion(names)
    name = _join(names) if len(names) > 1 else next(iter(names))
    weak = all([weak for _, weak in operands])
    if name[-1] != "*":
        return DTYPES[name], weak
    if weak:  # scalars among themselves: the widest of the kind
        return max([d for d, _ in operands if _node(d, True) == name], key=_width), True
    # A number of a lower kind, such as an int32, takes the scalar's default dtype, and it is weak.
    if name == "i*":
        return config.default_int, True
    return (config.default_float if name == "f*" else _default_complex()), True


_WEAK_RANK = {"i*": 0, "f*": 1, "c*": 2}
_KIND_RANK = {"b": -1, "i": 0, "u": 0, "f": 1, "V": 1, "c": 2}


def _refuse_promotion(names: frozenset[str]) -> None:
    """Raise unless Python scalars, of no higher kind, meet one dtype."""
    strong = [name for name in names if name[-1] != "*"]
    highest = max([_WEAK_RANK[name] for name in names if name[-1] == "*"], default=-1)
    if len(strong) > 1 or (strong and _KIND_RANK[DTYPES[strong[0]].kind] < highest):
        words = {"i*": "a Python int", "f*": "a Python float", "c*": "a Python complex"}
        raise TypePromotionError(
            f"promotion: one dtype was expected, jax_numpy_dtype_promotion being 'strict'; got "
            f"{' and '.join(sorted([words.get(name) or short_name(name) for name in names]))}. "
            f"Convert with .astype."
        )


def _width(dtype: np.dtype) -> int:
    return dtype.itemsize


def promote_types(a: Any, b: Any) -> np.dtype:
    """The dtype that JAX's lattice gives for two dtypes.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.promote_types("int32", "bfloat16")
        dtype(bfloat16)
    """
    weak = {int: True, float: True, complex: True}
    pairs = [(canonicalize(t), isinstance(t, type) and weak.get(t, False)) for t in (a, b)]
    return promote(pairs)[0]


def to_inexact(dtype: np.dtype) -> np.dtype:
    """The dtype itself if floating or complex, else the default float."""
    return dtype if dtype in INEXACT else config.default_float


def to_real(dtype: np.dtype) -> np.dtype:
    """float32 for complex64, float64 for complex128, others as they are."""
    if dtype in COMPLEX:
        return DTYPES["float32" if dtype.itemsize == 8 else "float64"]
    return dtype


def to_complex(dtype: np.dtype) -> np.dtype:
    """The complex dtype that holds a dtype."""
    if dtype in COMPLEX:
        return dtype
    return DTYPES["complex128" if dtype == DTYPES["float64"] else "complex64"]


def issubdtype(a: Any, b: Any) -> bool:
    """NumPy's issubdtype, with bfloat16 a floating type and random keys of a type of their own."""
    kind = a if isinstance(a, type) else getattr(a, "type", None)
    if isinstance(kind, type) and issubclass(kind, extended):
        return isinstance(b, type) and issubclass(kind, b)
    if a is None:  # as in NumPy
        a = config.default_float
    if isinstance(b, type) and issubclass(b, np.generic) and b is not bfloat16:
        if not isinstance(a, type) or not issubclass(a, np.generic):
            a = canonicalize(a)
        elif a in (np.floating, np.integer, np.inexact, np.number, np.generic,
                   np.signedinteger, np.unsignedinteger, np.complexfloating):  # fmt: skip
            return issubclass(a, b)
        if np.dtype(a) == _bf16:
            return b in (np.floating, np.inexact, np.number, np.generic)
        return bool(np.issubdtype(a, b))
    return canonicalize(a) == canonicalize(b)


def finfo(dtype: Any) -> Any:
    """Limits of a floating or complex dtype."""
    dtype = to_real(canonicalize(dtype))
    if dtype not in FLOATING:
        raise ValueError(f"finfo: the dtype must be floating or complex; got {short_name(dtype)}.")
    return ml_dtypes.finfo(dtype)


def iinfo(dtype: Any) -> Any:
    """Limits of an integer dtype."""
    dtype = canonicalize(dtype)
    if dtype not in INTEGER:
        raise ValueError(f"iinfo: the dtype must be an integer type; got {short_name(dtype)}.")
    return np.iinfo(dtype)
