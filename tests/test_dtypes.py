"""Without these tests questions about dtypes could be answered otherwise than programs expect."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import dtypes, lax


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
    assert dtypes.result_type(1, 2.5, return_weak_type_flag=True) == (np.float32, True)
    assert dtypes.result_type(1, np.int8, return_weak_type_flag=True) == (np.int8, False)


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


STEP = jnp.int32(3)
SCALARS = {
    "integer and Python float": lambda: STEP * 1.5,
    "power": lambda: 1 - 0.9**STEP,
    "bool and Python float": lambda: (STEP > 2) * 1.5,
    "floor division": lambda: STEP // 2.0,
    "where": lambda: jnp.where(STEP > 2, STEP, 2.5),
    "minimum": lambda: jnp.minimum(1.0, (STEP + 1) / 10.0),
    "absolute": lambda: jnp.abs(-2.0),
    "sign": lambda: jnp.sign(2.0),
    "relu": lambda: nr.nn.relu(2.0),
    "stop_gradient": lambda: lax.stop_gradient(2.0),
    "cond": lambda: lax.cond(STEP > 2, lambda x: x, lambda x: -x, 3.0),
    "switch": lambda: lax.switch(1, [lambda x: x, lambda x: x * 2], 1.0),
    "fori_loop": lambda: lax.fori_loop(0, 3, lambda k, c: c * 2, 1.0),
    "while_loop": lambda: lax.while_loop(lambda c: c < 9, lambda c: c * 2, 1.0),
    "scan": lambda: lax.scan(lambda c, _: (c * 2, c), 1.0, None, length=2)[0],
    "grad": lambda: nr.grad(lambda x: x * x)(2.0),
    "jvp": lambda: nr.jvp(jnp.sin, (1.0,), (1.0,))[1],
}


@pytest.mark.parametrize("how", ["eager", "jit"])
@pytest.mark.parametrize("name", SCALARS)
def test_scalars_made_of_python_numbers_give_way_to_arrays(name: str, how: str) -> None:
    """So that a schedule or a bias correction does not make float32 of bfloat16 parameters."""
    f = SCALARS[name]
    scalar = f() if how == "eager" else nr.jit(f)()
    assert scalar.dtype == "float32" and scalar.weak_type
    assert (scalar * jnp.ones(2, "bfloat16")).dtype == "bfloat16"


def test_strong_carries_and_branches_stay_strong() -> None:
    x = jnp.float32(1)
    assert not (STEP / 2).weak_type
    assert not lax.fori_loop(0, 3, lambda k, c: c * 2, x).weak_type
    assert not lax.cond(True, lambda a: a * 1.0, lambda a: x, 3.0).weak_type
    assert not nr.grad(lambda x: x * x)(x).weak_type
