"""Without these tests questions about dtypes could be answered otherwise than programs expect."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import dtypes


def test_canonical_dtypes():
    assert dtypes.canonicalize_dtype(int) == np.int32
    assert dtypes.canonicalize_dtype(None) == dtypes.canonicalize_dtype(float) == np.float32
    assert dtypes.canonicalize_dtype("bfloat16") == jnp.bfloat16
    with nr.enable_x64():
        assert dtypes.canonicalize_dtype(None) == np.float64
    key = nr.random.key(0).dtype
    assert dtypes.canonicalize_dtype(key, allow_extended_dtype=True) is key
    with pytest.raises(ValueError, match="canonicalize_dtype: a dtype of numbers.*key<fry>"):
        dtypes.canonicalize_dtype(key)


def test_sizes_and_scalar_types():
    bits = [dtypes.itemsize_bits(d) for d in ("bool", "int8", "bfloat16", "complex64")]
    assert bits == [8, 8, 16, 64]
    values = [True, np.int8(1), jnp.ones(2), 2j, jnp.bfloat16(1), np.uint16([3])]
    assert [dtypes.scalar_type_of(x) for x in values] == [bool, int, float, complex, float, int]
    assert dtypes.result_type(jnp.ones(2, "bfloat16"), 1.0) == jnp.bfloat16


def test_kinds_of_dtypes():
    key = nr.random.key(0).dtype
    assert dtypes.issubdtype(key, dtypes.prng_key) and dtypes.issubdtype(key, dtypes.extended)
    assert not dtypes.issubdtype(key, np.floating)
    assert dtypes.issubdtype(dtypes.prng_key, dtypes.extended)
    for ordinary in ("float32", np.int8, jnp.bfloat16, np.dtype("bool")):
        assert not dtypes.issubdtype(ordinary, dtypes.extended)
    assert dtypes.issubdtype(None, np.floating) and not dtypes.issubdtype(None, np.integer)


def test_objects_that_are_complex():
    shape = nr.ShapeDtypeStruct((2,), "complex64")
    complexes = [1j, [1j], jnp.ones(2, "complex64"), jnp.complex64, np.dtype("complex128"), shape]
    assert all(jnp.iscomplexobj(x) and not jnp.isrealobj(x) for x in complexes)
    others = [1, "text", None, jnp.ones(2), jnp.float32, np.dtype("int8")]
    assert not any(jnp.iscomplexobj(x) for x in others)
