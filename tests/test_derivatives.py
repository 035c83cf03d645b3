"""Without these tests grad, Jacobians and transposes could accept or give what has another type."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import nr
import nr.numpy as jnp

FLOAT0 = nr.dtypes.float0


# ---------------------------------------------------------------- float0: tangents of integers
def test_tangents_of_integers_are_numpys_float0_from_every_transformation():
    by_index = nr.grad(lambda x, i: x[i], argnums=(0, 1), allow_int=True)
    x, lanes = jnp.ones(2), jnp.arange(2, dtype="int32")
    for zero, shape in [
        (by_index(x, 1)[1], ()),
        (nr.jit(by_index)(x, 1)[1], ()),
        (nr.jit(nr.jit(by_index))(x, 1)[1], ()),
        (nr.vmap(by_index, (None, 0))(x, lanes)[1], (2,)),
        (nr.jit(nr.vmap(by_index, (None, 0)))(x, lanes)[1], (2,)),
        (nr.jvp(lambda n: n + 1, (2,), (np.zeros((), FLOAT0),))[1], ()),
    ]:
        assert type(zero) is np.ndarray and zero.dtype == FLOAT0 and zero.shape == shape
    with pytest.raises(TypeError, match="float0 arrays hold nothing"):
        jnp.add(by_index(x, 1)[1], 1.0)


def test_jacobians_by_and_of_integers_are_zeros():
    by_int = nr.jacrev(lambda n: n * 1.5, allow_int=True)(jnp.arange(3))
    assert by_int.dtype == jnp.int32 and by_int.shape == (3, 3) and not by_int.any()
    of_int = nr.jacfwd(lambda x: (x, jnp.round(x).astype("int32")))(jnp.ones(2))
    np.testing.assert_array_equal(of_int[0], np.eye(2))
    assert of_int[1].dtype == jnp.int32 and not of_int[1].any()


# ---------------------------------------------------------------- types that fit, or do not
def test_64_bits_that_numpy_chose_are_no_choice():
    double = lambda x: x * 2  # noqa: E731
    x = jnp.ones(3)
    for got in (
        nr.jvp(double, (x,), (np.ones(3),))[1],
        nr.vjp(double, x)[1](np.ones(3))[0],
        nr.linearize(double, x)[1](np.ones(3)),
        nr.linear_transpose(double, x)(np.ones(3))[0],
    ):
        assert got.dtype == jnp.float32 and got.tolist() == [2.0, 2.0, 2.0]
    assert nr.vjp(double, jnp.float32(1))[1](np.float64(1))[0].dtype == jnp.float32
    with pytest.raises(TypeError, match=r"got f32\[3\] for f16\[3\]"):
        nr.jvp(double, (x.astype("float16"),), (np.ones(3, np.float32),))
    with pytest.raises(ValueError, match=r"its output, f32\[3\]; got f64\[3\]"):
        nr.vjp(double, x)[1](jnp.ones(3, "float64"))
    with pytest.raises(ValueError, match=r"linearize: a tangent must have the dtype"):
        nr.linearize(double, x)[1](jnp.ones(3, "int32"))


def test_complex_numbers_do_not_become_real_unasked():
    with pytest.raises(TypeError, match=r"jvp: a tangent must have the dtype.*c64\[\] for f32\[\]"):
        nr.jvp(lambda x: x, (1.0,), (1j,))
    with pytest.raises(ValueError, match=r"its output, f32\[\]; got c64\[\]"):
        nr.vjp(lambda x: x, 1.0)[1](1j)


def test_jacrev_of_complex_outputs_needs_to_be_told():
    with pytest.raises(TypeError, match=r"jacrev: outputs must be real and floating; got c64"):
        nr.jacrev(lambda x: x * 1j)(3.0)
    with pytest.raises(TypeError, match="outputs must be complex, with holomorphic=True; got f32"):
        nr.jacrev(lambda z: z.real, holomorphic=True)(3j)
    z = jnp.array([1 + 2j, 3 - 1j])
    np.testing.assert_allclose(
        nr.jacrev(lambda z: z**2, holomorphic=True)(z), np.diag(2 * np.asarray(z)), rtol=1e-6
    )


def test_positions_that_are_not_there():
    f = lambda x, y: x  # noqa: E731
    with pytest.raises(TypeError, match="grad: argnums 0 was asked for, but .* 0 positional"):
        nr.grad(f)(x=1.0, y=2.0)
    with pytest.raises(ValueError, match="jacobian: argnums 3 was asked for"):
        nr.jacfwd(f, argnums=3)(1.0, 2.0)


def test_a_pair_with_aux_may_be_a_list():
    g, aux = nr.grad(lambda x: [x**2, {"x": x}], has_aux=True)(3.0)
    assert float(g) == 6.0 and float(aux["x"]) == 3.0


# ---------------------------------------------------------------- transposes
def test_transposes_of_functions_of_integers():
    assert nr.linear_transpose(lambda n: 2 * n, 1)(3)[0] == 6
    weights = jnp.array([1, 2, 3])
    (row,) = nr.linear_transpose(lambda n: weights @ n, jnp.ones(3, "int32"))(jnp.int32(2))
    assert row.dtype == jnp.int32 and row.tolist() == [2, 4, 6]


def test_outputs_that_are_not_used_need_no_transpose():
    both = nr.jit(lambda x: (2 * x, x > 0))
    assert nr.linear_transpose(lambda x: both(x)[0], 1.0)(1.0)[0] == 2.0


def test_a_transpose_may_leave_and_enter_jitted_functions():
    scale = jnp.float32(3.0)
    transpose = nr.jit(lambda s, x: nr.linear_transpose(lambda x: s * x, x))(scale, 1.0)
    assert nr.jit(lambda f, ct: f(ct))(transpose, 2.0)[0] == 6.0


# ---------------------------------------------------------------- looking at programs
def test_shapes_of_jitted_functions_know_static_arguments():
    f = nr.jit(lambda x, n: jnp.zeros(n, x.dtype), static_argnums=1)
    for shape in (nr.eval_shape(f, jnp.ones(2), 3), f.eval_shape(jnp.ones(2), 3)):
        assert shape == nr.ShapeDtypeStruct((3,), "float32")
    assert f._cache_size() == 1


def test_static_arguments_of_make_jaxpr_count_from_the_end():
    made = nr.make_jaxpr(lambda x, n: x * n, static_argnums=-1)
    assert len(made(2.0, 3).in_avals) == 1
    assert made.__name__.startswith("make_jaxpr(") and "x, n" in str(inspect.signature(made))


def test_shapes_changed_in_part():
    struct = nr.ShapeDtypeStruct((2,), "float32", weak_type=True)
    changed = struct.update(shape=(3, 1))
    assert changed == nr.ShapeDtypeStruct((3, 1), "float32") and changed.weak_type
    with pytest.raises(ValueError, match="a dtype was expected; got None"):
        nr.ShapeDtypeStruct((2,), None)
