"""Dtypes and promotion (the names of jax.dtypes)."""

from nr.core.dtypes import (
    bfloat16,
    finfo,
    float0,
    iinfo,
    issubdtype,
    promote_types,
    short_name,
)
from nr.core.dtypes import canonicalize as canonicalize_dtype

__all__ = [
    "bfloat16",
    "canonicalize_dtype",
    "finfo",
    "float0",
    "iinfo",
    "issubdtype",
    "promote_types",
    "short_name",
]
