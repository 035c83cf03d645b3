"""Abstract values: what is known of an array before its numbers are (shape, dtype, weakness)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import dtypes


class ShapedArray:
    """Shape, dtype and weakness of an array. Interned: equal avals are the same object.

    Only rank-0 avals may be weak (the type of a Python scalar).
    """

    __slots__ = ("shape", "dtype", "weak_type", "ndim", "_tangent", "__weakref__")
    _interned: dict[tuple, ShapedArray] = {}

    shape: tuple[int, ...]
    dtype: np.dtype
    weak_type: bool
    ndim: int
    _tangent: ShapedArray | None

    def __new__(cls, shape: Any, dtype: Any, weak_type: bool = False) -> ShapedArray:
        try:
            return cls._interned[shape, dtype, weak_type]
        except (KeyError, TypeError):
            return cls._intern(shape, dtype, weak_type)

    @classmethod
    def _intern(cls, shape: Any, dtype: Any, weak_type: bool) -> ShapedArray:
        shape = tuple([int(n) for n in shape])
        dtype = np.dtype(dtype)
        weak_type = bool(weak_type) and not shape
        key = (shape, dtype, weak_type)
        aval = cls._interned.get(key)
        if aval is None:
            aval = object.__new__(cls)
            set_ = object.__setattr__
            set_(aval, "shape", shape)
            set_(aval, "dtype", dtype)
            set_(aval, "weak_type", weak_type)
            set_(aval, "ndim", len(shape))
            set_(aval, "_tangent", None)
            aval = cls._interned.setdefault(key, aval)
        return aval

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"ShapedArray is immutable; {name!r} can't be set. Use .update().")

    def __reduce__(self) -> tuple:
        return ShapedArray, (self.shape, self.dtype, self.weak_type)

    def update(self, **changes: Any) -> ShapedArray:
        """A copy with some fields replaced."""
        fields = {"shape": self.shape, "dtype": self.dtype, "weak_type": self.weak_type}
        return ShapedArray(**{**fields, **changes})

    @property
    def size(self) -> int:
        n = 1
        for extent in self.shape:
            n *= extent
        return n

    def strip_weak_type(self) -> ShapedArray:
        return ShapedArray(self.shape, self.dtype) if self.weak_type else self

    def to_tangent(self) -> ShapedArray:
        """The aval of its tangents and cotangents (float0 where nothing can be differentiated)."""
        tangent = self._tangent
        if tangent is None:
            inexact = self.dtype in dtypes.INEXACT
            tangent = ShapedArray(self.shape, self.dtype if inexact else dtypes.float0)
            object.__setattr__(self, "_tangent", tangent)
        return tangent

    to_tangent_aval = to_ct_aval = at_least_vspace = to_tangent  # JAX's names

    def str_short(self) -> str:
        return f"{dtypes.short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    def __str__(self) -> str:
        return self.str_short()

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapedArray({self.str_short()}{weak})"


AbstractValue = ShapedArray
"""JAX's base of all kinds of avals; nr has one kind."""


class Zero:
    """A tangent or cotangent known to be zero, of which only the aval is kept."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    def __repr__(self) -> str:
        return f"Zero({self.aval})"


class UndefinedPrimal:
    """The place of a linear input in a transpose rule, of which only the aval is known."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"UndefinedPrimal({self.aval})"
