"""Without these tests a message could lose what a user needs: the operation, types, name and fix.

One test for each kind of error; the text must be the same eagerly and under jit.
"""

from __future__ import annotations

import re
import traceback

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

F = np.float32


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def message(error, f, *args):
    """The text of the error, which must be the same in eager mode and under jit."""
    texts = []
    for g in (f, nr.jit(f)):
        with pytest.raises(error) as info:
            g(*[jnp.asarray(a) for a in args])
        texts.append(str(info.value))
    assert texts[0] == texts[1]
    return texts[0]


# ---------------------------------------------------------------- shapes
SHAPE_ERRORS = {
    "add": (lambda x, y: x + y, [(3, 4), (5,)]),
    "lax.add": (lambda x, y: lax.add(x, y), [(3, 4), (4, 3)]),
    "where": (lambda x, y: jnp.where(x > 0, x, y), [(3, 4), (5,)]),
    "select": (lambda x, y: lax.select(x > 0, x, y), [(3, 4), (4,)]),
    "matmul": (lambda x, y: x @ y, [(32, 64), (32, 10)]),
    "dot": (lambda x, y: jnp.dot(x, y), [(3, 4), (5,)]),
    "dot_general": (lambda x, y: lax.dot_general(x, y, (((1,), (0,)), ((), ()))), [(3, 4), (5, 3)]),
    "einsum": (lambda x, y: jnp.einsum("ij,jk->ik", x, y), [(3, 4), (5, 3)]),
    "concatenate": (lambda x, y: jnp.concatenate([x, y], 0), [(3, 4), (3, 5)]),
    "stack": (lambda x, y: jnp.stack([x, y]), [(3,), (4,)]),
    "reshape": (lambda x: x.reshape(5, 2), [(3, 4)]),
    "broadcast_to": (lambda x: jnp.broadcast_to(x, (2, 5)), [(3, 4)]),
    "transpose": (lambda x: lax.transpose(x, (0, 0)), [(3, 4)]),
    "sum": (lambda x: jnp.sum(x, axis=2), [(3, 4)]),
    "argmax": (lambda x: jnp.argmax(x, axis=-3), [(3, 4)]),
    "cumsum": (lambda x: jnp.cumsum(x, axis=2), [(3, 4)]),
    "sort": (lambda x: lax.sort(x, dimension=2), [(3, 4)]),
    "top_k": (lambda x: lax.top_k(x, 7), [(3, 4)]),
    "slice": (lambda x: lax.slice(x, (0, 0), (3, 9)), [(3, 4)]),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (0, 0), (4, 4)), [(3, 4)]),
    "dynamic_update_slice": (lambda x, y: lax.dynamic_update_slice(x, y, (0, 0)), [(3, 4), (3, 5)]),
    "squeeze": (lambda x: jnp.squeeze(x, 0), [(3, 4)]),
    "expand_dims": (lambda x: jnp.expand_dims(x, 5), [(3, 4)]),
    "pad": (lambda x: lax.pad(x, F(0), [(1, 1, 0)]), [(3, 4)]),
    "pad below zero": (lambda x: lax.pad(x, F(0), [(-3, -1, 0), (0, 0, 0)]), [(3, 4)]),
    "rev": (lambda x: lax.rev(x, (2,)), [(3, 4)]),
    "conv": (
        lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME"),
        [(2, 3, 8, 8), (4, 5, 3, 3)],
    ),
    "reduce_window": (lambda x: lax.reduce_window(x, F(0), lax.add, (2,), (1,), "VALID"), [(3, 4)]),
    "clamp": (lambda x, y: lax.clamp(x, y, F(1)), [(3,), (4,)]),
    "index": (lambda x: x[0, 0, 0], [(3, 4)]),
    "boolean index": (lambda x: x[np.array([True, False])], [(3, 4)]),
    "index arrays": (lambda x: x[np.array([0, 1]), np.array([0, 1, 2])], [(3, 4)]),
    "at set": (lambda x, y: x.at[0].set(y), [(3, 4), (5,)]),
}


@pytest.mark.parametrize("name", SHAPE_ERRORS)
def test_shape_mismatch_in_every_family(name):
    f, shapes = SHAPE_ERRORS[name]
    text = message((TypeError, ValueError, IndexError), f, *[zeros(*s) for s in shapes])
    assert re.match(r"[\w.]+: ", text), f"the operation is not named: {text}"
    shown = [f"[{','.join(map(str, s))}]" for s in shapes]
    shown += [str(s) for s in shapes] + ["(2,), (3,)"]  # those of index arrays
    found = any(s in text for s in shown)
    assert found or re.search(r"axis|rank|dimension|size", text), f"no shape in: {text}"
    assert len(text) < 400 and "nr bug" not in text


def test_matmul_says_which_sizes_must_agree():
    text = message((TypeError, ValueError), lambda x, y: x @ y, zeros(32, 64), zeros(32, 10))
    assert "matmul" in text and "f32[32,64]" in text and "f32[32,10]" in text


# ---------------------------------------------------------------- dtypes
DTYPE_ERRORS = {
    "sin of int": (lambda x: lax.sin(x), ["int32"], "sin", "i32"),
    "lax.add of two dtypes": (lambda x, y: lax.add(x, y), ["float32", "int32"], "add", "i32"),
    "bitwise and of floats": (lambda x: x & x, ["float32"], "and", "f32"),
    "shift of floats": (lambda x: x << x, ["float32"], "shift", "f32"),
    "invert of floats": (lambda x: ~x, ["float32"], "not|invert", "f32"),
    "float index": (lambda x: x[np.float32(1.0)], ["float32"], "ind", r"got 1\.0"),
    "conv of two dtypes": (
        lambda x, y: lax.conv(x[None, None], y[None, None], (1,), "VALID"),
        ["float32", "int32"],
        "conv_general_dilated",
        "i32",
    ),
    "erf of int": (lambda x: lax.erf(x), ["int32"], "erf", "i32"),
    "select by floats": (lambda x: lax.select_n(x, x, x), ["float32"], "select_n", "f32"),
}


@pytest.mark.parametrize("name", DTYPE_ERRORS)
def test_dtypes_that_are_not_accepted(name):
    f, kinds, op, shown = DTYPE_ERRORS[name]
    text = message((TypeError, IndexError), f, *[zeros(3, dtype=k) for k in kinds])
    assert re.search(op, text.split(":")[0]) and re.search(shown, text)


@pytest.mark.parametrize(
    "value", ["text", [1.0, 2.0], None, object()], ids=["str", "list", "None", "object"]
)
def test_what_is_no_array_is_named(value):
    for f in (jnp.sin, jnp.sum, lambda x: jnp.add(x, 1.0), lambda x: lax.mul(1.0, x)):
        with pytest.raises(TypeError) as info:
            f(value)
        assert re.match(r"\w+: ", str(info.value)) and "array" in str(info.value)
        assert type(value).__name__ in str(info.value)


# ---------------------------------------------------------------- conversion of traced values
CONVERSIONS = {
    "bool": (
        lambda v: bool(v > 0),
        nr.errors.TracerBoolConversionError,
        "nr.numpy.where or nr.lax.cond",
    ),
    "if": (lambda v: 1 if v > 0 else 2, nr.errors.TracerBoolConversionError, "static"),
    "int": (lambda v: int(v), nr.errors.TracerIntegerConversionError, r"\.astype\('int32'\)"),
    "float": (lambda v: float(v), nr.errors.ConcretizationTypeError, r"\.astype\('float32'\)"),
    "complex": (
        lambda v: complex(v),
        nr.errors.ConcretizationTypeError,
        r"\.astype\('complex64'\)",
    ),
    "numpy": (
        lambda v: np.asarray(v),
        nr.errors.TracerArrayConversionError,
        "nr.numpy in place of numpy",
    ),
    "numpy function": (lambda v: np.sin(v), nr.errors.TracerArrayConversionError, "pure_callback"),
    "item": (lambda v: v.item(), nr.errors.ConcretizationTypeError, r"outside"),
    "tolist": (lambda v: v.tolist(), nr.errors.ConcretizationTypeError, r"outside"),
    "math": (lambda v: __import__("math").sin(v), nr.errors.ConcretizationTypeError, "float"),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversion_of_a_traced_value_names_argument_line_and_rewrite(name):
    convert, error, rewrite = CONVERSIONS[name]

    def loss(weights, batch):
        scale = batch["x"] * 2.0
        convert(scale)
        return weights

    with pytest.raises(error) as info:
        nr.jit(loss)(F(1.0), {"x": F(2.0)})
    text = str(info.value)
    assert (
        re.search(r"(f32|b1)\[\]", text)
        and "`batch['x']` of jit(loss)" in text
        and "`weights`" not in text
    )
    assert "test_errors.py:" in text
    assert re.search(rewrite, text)


def test_integers_required_by_python():
    with pytest.raises(nr.errors.TracerIntegerConversionError, match="argument `n` of jit.*static"):
        nr.jit(lambda n: list(range(n)))(3)
    with pytest.raises(nr.errors.TracerIntegerConversionError, match="`n`"):
        nr.jit(lambda n: [1, 2, 3][n])(1)
    with pytest.raises((nr.errors.TracerIntegerConversionError, TypeError), match="`n` of jit"):
        nr.jit(lambda n: jnp.zeros(n))(3)
    with pytest.raises((nr.errors.TracerIntegerConversionError, TypeError), match="`n` of jit"):
        nr.jit(lambda x, n: x.reshape(n, -1))(zeros(4), 2)


def test_boolean_masks_need_numbers():
    with pytest.raises(nr.errors.NonConcreteBooleanIndexError, match="where"):
        nr.jit(lambda x: x[x > 0])(zeros(4))


def test_conversion_works_where_the_numbers_are_there():
    def f(x):
        assert float(x) == 3.0 and bool(x > 0) and int(x) == 3 and x.item() == 3.0
        return x * x if x > 2 else x

    assert float(nr.grad(f)(3.0)) == 6.0
    assert float(nr.jvp(f, (3.0,), (1.0,))[1]) == 6.0


def test_conversion_in_vmap_says_that_it_is_mapped():
    with pytest.raises(nr.errors.TracerBoolConversionError, match="4 lanes of vmap"):
        nr.vmap(lambda x: 1.0 if x > 0 else 2.0)(zeros(4))


# ---------------------------------------------------------------- grad
def test_grad_of_what_is_no_scalar():
    def predict(x):
        return x * 2.0

    for g in (nr.grad(predict), nr.jit(nr.grad(predict)), nr.value_and_grad(predict)):
        with pytest.raises(
            TypeError,
            match=r"grad: the function must return a scalar; got f32\[3\] "
            r"from predict. Reduce it .*\.sum\(\).*nr.jacrev",
        ):
            g(zeros(3))
    with pytest.raises(TypeError, match="must return a scalar.*has_aux=True"):
        nr.grad(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match=r"real floating scalar; got i32\[\]"):
        nr.grad(lambda x: x.astype("int32"))(1.0)
    with pytest.raises(TypeError, match=r"real floating scalar; got c64\[\].*holomorphic=True"):
        nr.grad(lambda x: x * 1j)(1.0)
    with pytest.raises(TypeError, match=r"has_aux=True the function must return a pair"):
        nr.grad(lambda x: x, has_aux=True)(1.0)


def test_grad_by_integers():
    def loss(params, ids):
        return params

    with pytest.raises(
        TypeError, match=r"floating or complex; got i32\[3\] in `ids`.*astype.*allow_int"
    ):
        nr.grad(loss, argnums=1)(1.0, zeros(3, dtype="int32"))
    with pytest.raises(
        TypeError, match="argnums 2 was asked for, but loss was called with 1 positional"
    ):
        nr.grad(loss, argnums=2)(1.0)
    with pytest.raises(TypeError, match="argnums must be an int or a tuple of ints; got 'x'"):
        nr.grad(loss, argnums="x")
    with pytest.raises(TypeError, match=r"grad: arguments must be arrays.*'adam'"):
        nr.grad(loss)({"w": 1.0, "name": "adam"}, 1)


# ---------------------------------------------------------------- jvp, vjp: trees and types
def test_tangents_and_cotangents_must_fit():
    f = lambda p: {"y": p["a"] * 2.0}  # noqa: E731
    p = {"a": zeros(3)}
    with pytest.raises(TypeError, match="jvp: primals and tangents must have the same structure"):
        nr.jvp(f, (p,), ({"b": zeros(3)},))
    with pytest.raises(
        ValueError,
        match=r"shape and dtype of its primal; got f32\[4\] for f32\[3\] at "
        r"primals\[0\]\['a'\]",
    ):
        nr.jvp(f, (p,), ({"a": zeros(4)},))
    with pytest.raises(TypeError, match=r"got f64\[3\] for f32\[3\]"):
        nr.jvp(f, (p,), ({"a": jnp.zeros(3, "float64")},))
    with pytest.raises(TypeError, match="tuples or lists of arguments; got dict"):
        nr.jvp(f, p, p)
    with pytest.raises(TypeError, match=r"integer or bool primal must be float0.*primals\[0\]"):
        nr.jvp(lambda n: n, (3,), (1,))
    _, pullback = nr.vjp(f, p)
    with pytest.raises(
        ValueError, match="vjp: the cotangent must have the structure of the output"
    ):
        pullback(zeros(3))
    with pytest.raises(ValueError, match=r"its output, f32\[3\]; got f32\[2\]"):
        pullback({"y": zeros(2)})
    _, push = nr.linearize(f, p)
    with pytest.raises(TypeError, match="linearize: the tangents must have the structure"):
        push(zeros(3))
    with pytest.raises(ValueError, match=r"got f32\[2\] for f32\[3\]"):
        push({"a": zeros(2)})
    with pytest.raises(TypeError, match=r"linear_transpose: .*all be integers; got i32\[\], f32"):
        nr.linear_transpose(lambda x: x * 0.5, 3)
    half = nr.linear_transpose(lambda x: x * 0.5, 1.0)
    with pytest.raises(TypeError, match=r"the type of its output, f32\[\]; got c64\[\]"):
        half(1j)


def test_what_is_not_linear_has_no_transpose():
    with pytest.raises(NotImplementedError, match="sin: it has no transpose rule"):
        nr.linear_transpose(lambda x: jnp.sin(x), zeros(3))(zeros(3))


def test_tree_mismatch_names_key_paths():
    a, b = {"w": [1.0, 2.0], "b": 3.0}, {"w": [1.0, 2.0, 3.0], "b": 3.0}
    with pytest.raises(ValueError, match=r"at \['w'\] got list of 2.*list of 3"):
        nr.tree.map(lambda x, y: x + y, a, b)


# ---------------------------------------------------------------- indexing
@pytest.mark.parametrize("index, axis, size", [((5,), 0, 3), ((-4,), 0, 3), ((0, 4), 1, 4)])
def test_out_of_range_index_names_index_axis_and_size(index, axis, size):
    x = jnp.asarray(zeros(3, 4))
    for i in (index, tuple(np.array([k]) for k in index)):
        with pytest.raises(IndexError) as info:
            x[i]
        text = str(info.value)
        assert str(index[-1]) in text and f"axis {axis}" in text and str(size) in text
    with pytest.raises(IndexError, match=f"axis {axis}"):
        x.at[index].set(1.0)


# ---------------------------------------------------------------- mutation
def test_mutation_of_an_array():
    def write(x):
        x[0, 1:2] = 1.0

    def add(x):
        x[0] += 1.0

    def delete(x):
        del x[0]

    text = message(TypeError, write, zeros(3, 4))
    assert "arrays are immutable" in text and "x = x.at[0, 1:2].set(...)" in text
    assert "immutable" in message(TypeError, add, zeros(3))
    assert "nr.numpy.delete" in message(TypeError, delete, zeros(3))
    with pytest.raises(AttributeError):
        jnp.asarray(zeros(3)).shape = (1, 3)


# ---------------------------------------------------------------- missing rules
def test_missing_rules_name_the_primitive_and_a_way_out():
    from nr.core.tracing import Primitive

    p = Primitive("test_errors_bare", abstract_eval=lambda x: x)
    try:
        with pytest.raises(
            NotImplementedError, match="test_errors_bare: it has no forward-mode.*custom_jvp"
        ):
            nr.jvp(p.bind, (zeros(3),), (zeros(3),))
        with pytest.raises(
            NotImplementedError, match="test_errors_bare: it has no batching.*nr.lax.map"
        ):
            nr.vmap(p.bind)(zeros(3))
        for f in (p.bind, nr.jit(p.bind)):
            with pytest.raises(
                NotImplementedError, match="test_errors_bare: the cpu backend has no row"
            ):
                f(jnp.asarray(zeros(3)))
    finally:
        del Primitive.all["test_errors_bare"]


# ---------------------------------------------------------------- bool(), int(), len() of arrays
def test_conversion_of_arrays_of_many_elements():
    x = jnp.asarray(zeros(3))
    with pytest.raises(ValueError, match=r"bool: .*one element.*f32\[3\].*\.any\(\) or \.all\(\)"):
        bool(x)
    for kind in (int, float, complex):
        with pytest.raises(TypeError, match=rf"{kind.__name__}: .*f32\[3\]"):
            kind(x)
    with pytest.raises(TypeError, match=r"index: a rank-0 integer was expected; got f32\[\]"):
        [1, 2][jnp.asarray(F(1))]
    with pytest.raises(TypeError, match="len: .*rank 0"):
        len(jnp.asarray(F(1)))
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


# ---------------------------------------------------------------- configuration
def test_configuration():
    with pytest.raises(
        ValueError, match="default_float must be one of float32, float64; got float16"
    ):
        nr.config.default_float = "float16"
    with pytest.raises(
        AttributeError, match="config.update: the option must be one of .*; got 'speed'"
    ):
        nr.config.update("speed", 1)


# ---------------------------------------------------------------- tracebacks
def test_tracebacks_hold_the_users_frames_only():
    def inner(x):
        return x @ zeros(5)

    def outer(x):
        return jnp.sum(inner(x) + 1.0)

    for f in (nr.jit(outer), nr.grad(outer), nr.vmap(outer), nr.checkpoint(outer)):
        with pytest.raises((TypeError, ValueError)) as info:
            f(zeros(2, 3))
        frames = traceback.extract_tb(info.value.__traceback__)
        names = [frame.name for frame in frames]
        assert "inner" in names and "outer" in names
        ours = [frame for frame in frames if "/nr/" in frame.filename]
        assert len(ours) <= 2  # the entry of the transformation, and nothing of its works
        full = nr.config.traceback_filtering
        assert full is True


def test_shapes_that_do_not_broadcast_are_errors_of_either_kind():
    for f in (lambda x, y: x + y, nr.jit(jnp.maximum), lambda x, y: jnp.where(True, x, y)):
        with pytest.raises(nr.errors.ShapeMismatchError) as caught:
            f(jnp.zeros(3), jnp.zeros(4))
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)
