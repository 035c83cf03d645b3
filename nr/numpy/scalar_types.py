"""float32, int8, bool_ and their kin: names of dtypes that make arrays when they are called.

NumPy's own scalar types would make NumPy scalars, which traced values can't become.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.numpy.creation import asarray


class ScalarType(type):
    """The class of these types. NumPy takes them for dtypes by their attribute `dtype`."""

    dtype: np.dtype

    def __call__(cls, x: Any) -> Array:
        return asarray(x, dtype=cls.dtype)

    def __hash__(cls) -> int:
        return hash(cls.dtype.type)

    def __eq__(cls, other: object) -> bool:
        return cls is other or cls.dtype.type is other or (
            isinstance(other, np.dtype) and cls.dtype == other
        )  # fmt: skip

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, cls.dtype.type)


def _scalar_type(name: str, dtype: np.dtype) -> Any:
    doc = f"Arrays of dtype {dtype.name}; called, the array of a value."
    return ScalarType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "nr.numpy"})


SCALAR_TYPES = {
    dtype: _scalar_type("bool_" if name == "bool" else name, dtype)
    for name, dtype in dtypes.DTYPES.items()
}
