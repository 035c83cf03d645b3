"""Without these, compiled programs would index out of range, or make NaNs, and say nothing."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.arange(10.0, dtype=np.float32)
FAR = (
    r"^index: index {} is out of bounds for axis {} with size {}, "
    r"at test_checked.py:\d+ \(.*\){}\.$"
)


def refuses(f, args, index, axis=0, size=10, where=""):
    message = FAR.format(re.escape(str(index)), axis, size, re.escape(where))
    with pytest.raises(IndexError, match=message):
        nr.jit(f)(*args)


# ---------------------------------------------------------------- indices
@pytest.mark.parametrize("index", [10, -11, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x[i],
        lambda x, i: x[jnp.stack([i, 0 * i])],
        lambda x, i: x.at[i].set(1.0),
        lambda x, i: x.at[i].add(1.0),
        lambda x, i: jnp.take(x, i),
        lambda x, i: x.at[i].get(mode="error"),
        lambda x, i: nr.grad(lambda x: x[i] ** 2)(x),
        lambda x, i: nr.jvp(lambda x: x[i], (x,), (x,))[1],
        lambda x, i: nr.checkpoint(lambda x: x[i])(x),
        lambda x, i: nr.jit(lambda x: jnp.sin(x)[i])(x),
    ],
)
def test_out_of_range(f, index):
    refuses(f, (X, index), index)
    for inside in (9, -10, 0):
        nr.jit(f)(X, inside)


def test_the_first_of_many():
    tokens = np.arange(5000, dtype=np.int32).reshape(50, 100) % 300
    tokens[17, 3] = 411
    tokens[40, 3] = -999
    table = np.ones((300, 8), np.float32)
    refuses(lambda t, i: t[i] * 2, (table, tokens), 411, size=300)
    refuses(lambda t, i: t.T[:, i], (table, tokens), 411, axis=1, size=300)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint32", "uint64"])
def test_index_types(dtype):
    refuses(lambda x, i: x[i], (X, np.asarray([3, 100], dtype)), 100)
    assert nr.jit(lambda x, i: x[i])(X, np.asarray([3, 9], dtype)).tolist() == [3, 9]


def test_beyond_32_bits():
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 10"):
        nr.jit(lambda x, i: x[i])(X, np.int64(2**40))


def test_lanes():
    pick = nr.vmap(lambda i: jnp.asarray(X)[i])
    refuses(lambda i: pick(i), (np.array([1, 12, 3]),), 12, where=", in lane 1 of vmap")
    nested = nr.vmap(pick)
    places = np.zeros((4, 3), np.int32)
    places[2, 1] = -20
    refuses(lambda i: nested(i), (places,), -20, where=", in lane (2, 1) of vmap")
    named = nr.vmap(nr.vmap(lambda i: jnp.asarray(X)[i]), axis_name="batch")
    refuses(lambda i: named(i), (places,), -20, where=", in lane (batch=2, 1) of vmap")
    with pytest.raises(IndexError, match="index 12 is out of bounds.*, in lane 1 of vmap"):
        pick(np.array([1, 12, 3]))  # eager
    with pytest.raises(IndexError, match=r"index -20 is .*, in lane \(batch=2, 1\) of vmap"):
        named(places)


def test_lanes_that_do_not_run_are_not_checked():
    def pick(i):
        return lax.cond(i < 10, lambda: jnp.asarray(X)[i], lambda: jnp.float32(-1))

    assert nr.jit(nr.vmap(pick))(np.array([3, 12])).tolist() == [3, -1]

    def walk(i):
        go_on = lambda c: c[0] < 10  # noqa: E731
        return lax.while_loop(go_on, lambda c: (c[0] + 1, c[1] + jnp.asarray(X)[c[0]]), (i, 0.0))

    assert nr.jit(nr.vmap(walk))(np.array([8, 0, 9]))[1].tolist() == [17, 45, 9]


def test_loops():
    add = lambda i, s: s + jnp.asarray(X)[i]  # noqa: E731
    refuses(lambda: lax.fori_loop(0, 20, add, 0.0), (), 10, where=", in step 10 of the loop")
    assert nr.jit(lambda: lax.fori_loop(0, 10, add, 0.0))() == 45

    def step(c, i):
        return c, jnp.asarray(X)[i]

    scanned = lambda i: lax.scan(step, 0, i)  # noqa: E731
    refuses(scanned, (np.array([1, 2, 30, 40]),), 30, where=", in step 2 of the loop")
    back = lambda i: lax.scan(step, 0, i, reverse=True)  # noqa: E731
    refuses(back, (np.array([1, 2, 30, 40]),), 40, where=", in step 3 of the loop")
    refuses(
        lambda i: nr.vmap(scanned)(i), (np.array([[1, 2], [3, 50]]),), 50,
        where=", in step 1 of the loop, in lane 1 of vmap",
    )  # fmt: skip
    refuses(
        lambda i: nr.grad(lambda x: jnp.sum(lax.scan(lambda c, i: (c, x[i]), 0, i)[1]))(X),
        (np.array([1, 20]),), 20, where=", in step 1 of the loop",
    )  # fmt: skip


def test_while_loops_end():
    x = jnp.asarray(X)
    test = lambda: lax.while_loop(lambda i: x[i] >= 0, lambda i: i + 1, 0)  # noqa: E731
    refuses(test, (), 10, where=", in step 9 of the loop")
    refuses(lambda n: lax.while_loop(lambda i: x[i] < 99, lambda i: i + n, 0), (25,), 25,
            where=", in step 0 of the loop")  # fmt: skip
    refuses(lambda n: lax.while_loop(lambda i: x[i] < 99, lambda i: i + 1, n), (25,), 25)


def test_a_branch_in_the_condition_of_a_loop():
    x = jnp.asarray(X)

    def go_on(i):
        return lax.cond(i > 4, lambda: x[2 * i] < 99, lambda: x[i] < 99)

    refuses(lambda n: lax.while_loop(go_on, lambda i: i + 1, n), (0,), 10,
            where=", in step 4 of the loop")  # fmt: skip
    assert _sites(lambda n: lax.while_loop(go_on, lambda i: i + 1, n), 0)


def test_branches():
    def f(n):
        return lax.switch(
            n, [lambda: jnp.asarray(X)[n], lambda: jnp.asarray(X)[n + 50], lambda: 0.0]
        )

    with pytest.raises(IndexError, match="index 51"):
        nr.jit(f)(1)
    assert nr.jit(f)(2) == 0


def test_known_to_be_in_range():
    """What counters, remainders, clips and argmax give needs no check, and has none."""
    x = jnp.asarray(X)
    for f in (
        lambda n: x[n % 10],
        lambda n: x[jnp.clip(n, 0, 9)],
        lambda n: x[jnp.argmax(jnp.sin(x + n))],
        lambda n: lax.fori_loop(0, 9, lambda i, s: s + x[i] * x[i + 1], 0.0) + n,
        lambda n: jnp.sum(x[jnp.arange(10)[::-1]]) + n,
        lambda n: x[(n > 3).astype("int32")],
        lambda n: lax.scan(lambda c, i: (c + x[i], None), 0.0, jnp.arange(10))[0] + n,
    ):
        assert not _sites(f, 3)
    assert _sites(lambda n: x[n], 3)


def _sites(f, *args):
    from nr.backends.compiler.checks import with_errors
    from nr.backends.compiler.simplify import simplify

    return with_errors(simplify(nr.make_jaxpr(f)(*args)))[1]


def test_what_is_not_used_is_not_checked():
    assert nr.jit(lambda x, i: (x[i], x[0])[1])(X, 50) == 0


def test_modes_are_not_checked():
    for mode in ("clip", "fill", "drop", "promise_in_bounds"):
        assert not _sites(lambda i, mode=mode: jnp.asarray(X).at[i].get(mode=mode), 3)


def test_a_program_goes_on_after_an_error():
    f = nr.jit(lambda x, i: x[i])
    for _ in range(3):
        with pytest.raises(IndexError):
            f(X, 10)
        assert f(X, 9) == 9


# ---------------------------------------------------------------- NaNs
def first_nan(f, *args):
    with pytest.raises(FloatingPointError) as caught:
        nr.jit(f, check="nan")(*args)
    return str(caught.value)


def test_the_operation_that_makes_the_first_nan():
    y = np.array([1.0, 4.0, -1.0, -9.0], np.float32)
    said = first_nan(lambda y: jnp.sum(jnp.tanh(jnp.sqrt(y) * 2) + 1), y)
    assert said.startswith("sqrt: element (2,) of its result is the first NaN, in the forward pass")
    assert re.search(r"at test_checked.py:\d+ ", said)


def test_a_nan_of_the_backward_pass():
    def loss(x):
        return jnp.sum(jnp.where(x > 0, jnp.sqrt(x), 0.0))

    said = first_nan(nr.grad(loss), np.array([1.0, 0.0], np.float32))
    assert said.startswith("mul: element (1,)") or said.startswith("div: element (1,)"), said
    assert "backward pass" in said


def test_a_nan_in_a_loop():
    y = np.array([1.0, 4.0, -1.0, 9.0], np.float32)
    said = first_nan(lambda y: lax.scan(lambda c, t: (jnp.log(c) * t, c), 5.0, y), y)
    assert said.startswith("log: its result is the first NaN") and "in step 3 of the loop" in said


def test_a_nan_that_comes_in():
    assert "of an argument" in first_nan(lambda x: x + 1, np.array([1.0, np.nan], np.float32))


def test_no_nan_no_error():
    f = nr.jit(lambda x: (jnp.log(x), (x + 1) / 0.0, jnp.exp(1000 * x)), check="nan")
    for got, want in zip(f(X), (np.log(X[1:]), np.inf, np.inf), strict=True):
        np.testing.assert_allclose(np.asarray(got)[1:], want, rtol=1e-6)


def test_infinities_minus_themselves():
    assert first_nan(lambda x: jnp.exp(x) - jnp.exp(x + 1), np.float32(1e3)).startswith("sub: ")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", "complex64"])
def test_types_of_nans(dtype):
    x = jnp.asarray([1.0, 0.0], dtype)
    assert first_nan(lambda x: x / x + 1, x).startswith("div: element (1,)")


BAD = np.ones((4, 3), np.float32)
BAD[2, 1] = -1  # whose logarithm is NaN
ZERO = np.maximum(BAD, 0)  # whose root has a slope that makes one, below


def root(x):
    return jnp.sum(jnp.sqrt(x) * 0)


def lane(f, *args):
    """What is said of the place of the first NaN: the element, and the words after the line."""
    said = first_nan(f, *args)
    return re.sub(r".*?: (.*) is the first NaN, in .*? pass, at .*?\)(.*)\.", r"\1\2", said)


def test_lanes_of_nans():
    at = "element (1,) of its result, in lane 2 of vmap"
    assert lane(nr.vmap(jnp.log), BAD) == at
    assert lane(nr.vmap(jnp.log, in_axes=1, out_axes=1), BAD.T) == at
    assert lane(nr.vmap(nr.jit(jnp.log)), BAD) == at
    assert lane(nr.jit(lambda x: nr.vmap(lambda v: nr.jit(jnp.log)(v))(x)), BAD) == at
    assert lane(nr.vmap(lambda v: jnp.log(v) @ np.ones(3)), BAD) == at
    assert lane(nr.vmap(jnp.cumsum), np.array([[1, 1], [2, 2], [np.inf, -np.inf]])) == at
    assert lane(nr.vmap(lambda v: jnp.log(v.reshape(3, 1))), BAD) == (
        "element (1, 0) of its result, in lane 2 of vmap"
    )


def test_lanes_of_nested_vmaps():
    assert lane(nr.vmap(nr.vmap(jnp.log)), BAD) == "its result, in lane (2, 1) of vmap"
    assert lane(nr.vmap(nr.vmap(jnp.log), in_axes=1), BAD) == "its result, in lane (1, 2) of vmap"
    three = nr.vmap(nr.vmap(nr.vmap(jnp.log, axis_name="k"), 1, 1), axis_name="b")
    assert lane(three, BAD[None]) == "its result, in lane (b=0, 1, k=2) of vmap"


def test_lanes_with_names():
    at = "element (1,) of its result, in lane i=2 of vmap"
    assert lane(nr.vmap(jnp.log, axis_name="i", spmd_axis_name="s"), BAD) == at
    assert lane(nr.vmap(lambda v: lax.psum(jnp.log(v), "i"), axis_name="i"), BAD) == at
    # The sum belongs to no lane.
    over = nr.vmap(lambda v: jnp.log(lax.psum(v, "i")), axis_name="i")
    assert lane(over, BAD - [[1, 2, 1]]) == "element (1,) of its result"


def test_what_is_outside_of_vmap_has_no_lane():
    whole = "element (2, 1) of its result"
    assert lane(lambda x: nr.vmap(jnp.sin)(jnp.log(x)), BAD) == whole
    assert lane(lambda x: jnp.log(nr.vmap(jnp.square)(x) * jnp.sign(x)), BAD) == whole
    assert lane(nr.grad(lambda x: root(nr.vmap(lambda v: 2 * v)(x))), ZERO) == whole
    rows = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
    weights = nr.grad(lambda w: jnp.sum(nr.vmap(lambda x: jnp.sqrt(jnp.abs(x @ w)))(rows)))
    assert lane(weights, np.ones(2, np.float32)) == "element (0,) of its result"  # a sum over lanes


def test_lanes_of_backward_passes():
    at = "element (1,) of its result, in lane 2 of vmap"
    assert lane(nr.vmap(nr.grad(root)), ZERO) == at
    assert lane(nr.grad(lambda x: jnp.sum(nr.vmap(root)(x))), ZERO) == at
    assert lane(nr.grad(lambda x: jnp.sum(nr.vmap(root, 1)(x))), ZERO.T) == at
    assert lane(nr.vmap(nr.grad(nr.checkpoint(root))), ZERO) == at
    assert lane(nr.grad(lambda x: jnp.sum(nr.vmap(nr.checkpoint(root))(x))), ZERO) == at
    twice = nr.vmap(nr.vmap(lambda s: root(s) + root(s**2)))  # cotangents that are added up
    assert lane(nr.grad(lambda x: jnp.sum(twice(x))), ZERO) == "its result, in lane (2, 1) of vmap"
    matrix = nr.vmap(nr.grad(lambda w, x: root(x @ w)), (None, 0))
    assert lane(matrix, np.eye(3, dtype=np.float32), ZERO) == at


def test_lanes_of_custom_rules():
    slow = nr.custom_jvp(jnp.log)
    slow.defjvp(lambda p, t: (slow(*p), t[0] / p[0] * 0))
    rough = nr.custom_vjp(jnp.log)
    rough.defvjp(lambda x: (rough(x), x), lambda x, g: (g / x * 0,))
    at = "element (1,) of its result, in lane 2 of vmap"
    for f in (slow, rough):
        assert lane(nr.vmap(f), BAD) == at
        assert lane(nr.vmap(nr.grad(lambda v, f=f: jnp.sum(f(v)))), ZERO) == at
        assert lane(nr.grad(lambda x, f=f: jnp.sum(nr.vmap(f)(x))), ZERO) == at


def test_lanes_in_loops_and_branches():
    at = "element (1,) of its result{}, in lane 2 of vmap"
    step = ", in step {} of the loop"
    logs = lambda v: lax.scan(lambda c, t: (c + jnp.log(t), c), 0.0, v)[1]  # noqa: E731
    roots = lambda v: lax.scan(lambda c, t: (c + jnp.sqrt(t) * 0, None), 0.0, v)[0]  # noqa: E731
    scalar = "its result, in step 1 of the loop, in lane 2 of vmap"
    assert lane(nr.vmap(logs), BAD) == scalar
    assert lane(nr.vmap(nr.grad(roots)), ZERO) == scalar
    assert lane(nr.grad(lambda x: jnp.sum(nr.vmap(roots)(x))), ZERO) == scalar
    rows = lambda x: lax.scan(lambda c, t: (c, nr.vmap(jnp.log)(t)), 0.0, x)  # noqa: E731
    assert lane(rows, BAD) == "its result, in step 2 of the loop, in lane 1 of vmap"
    repeated = lambda v: lax.fori_loop(0, 3, lambda i, v: jnp.log(v), v)  # noqa: E731
    assert lane(nr.vmap(repeated), BAD) == at.format(step.format(0))
    for until in (lambda v: v[0] < 9, lambda v: True):
        loop = lambda v, go=until: lax.while_loop(go, jnp.log, v)  # noqa: E731
        assert lane(nr.vmap(loop), BAD) == at.format(step.format(0))
    test = lambda v: jnp.all(nr.vmap(jnp.log)(v) < 9)  # noqa: E731
    assert lane(lambda x: lax.while_loop(test, lambda v: v - 1.5, x), BAD + 1) == at.format(
        step.format(0)
    )
    for which in (lambda v: v[0] > 0, lambda v: True):
        branch = lambda v, which=which: lax.cond(which(v), jnp.log, jnp.sin, v)  # noqa: E731
        assert lane(nr.vmap(branch), BAD) == at.format("")
    assert lane(lambda x: lax.cond(x[0, 0] > 0, nr.vmap(jnp.log), jnp.sin, x), BAD) == at.format("")


def test_lanes_are_noted_only_where_nans_are_looked_for():
    f = nr.vmap(jnp.log)
    assert "in_lanes" not in str(nr.make_jaxpr(f)(BAD))
    with nr.config.using(debug_nans=True):
        assert "in_lanes" in str(nr.make_jaxpr(f)(BAD))
    checked = nr.jit(f, check="nan")
    assert "in_lanes" not in str(nr.make_jaxpr(lambda x: checked(x))(BAD))


def test_eager_nans():
    plain = nr.jit(nr.vmap(jnp.log))
    with nr.config.using(debug_nans=True):
        with pytest.raises(
            FloatingPointError, match=r"^log: element \(2, 1\) of its result is NaN\."
        ):
            jnp.log(jnp.asarray(BAD))
        with pytest.raises(FloatingPointError, match="^div: its result is NaN"):
            jnp.asarray(0.0) / 0
        with pytest.raises(FloatingPointError, match="^div: its result is NaN"):
            nr.grad(root)(0.0)
        with pytest.raises(FloatingPointError, match="^log: .*, in lane 2 of vmap"):
            plain(BAD)
        with pytest.raises(FloatingPointError, match="^log: .*, in lane 2 of vmap"):
            nr.grad(lambda x: jnp.sum(plain(x)))(BAD)
        with pytest.raises(FloatingPointError, match="^log: "):
            lax.scan(lambda c, t: (jnp.log(c), t), -1.0, BAD)
        with nr.config.using(debug_nans=False):
            assert np.isnan(jnp.log(-1.0))
        assert plain(ZERO + 1).shape == (4, 3)
    assert np.isnan(jnp.log(-1.0)) and np.isnan(plain(BAD)[2, 1])
    nr.config.update("jax_debug_nans", True)
    try:
        assert nr.config.jax_debug_nans
        with pytest.raises(FloatingPointError, match="^sqrt: its result is NaN"):
            jnp.sqrt(-1.0)
    finally:
        nr.config.update("jax_debug_nans", False)
    assert np.isnan(jnp.sqrt(-1.0))


def test_a_wrong_check():
    with pytest.raises(ValueError, match='check must be "nan" or None'):
        nr.jit(lambda x: x, check="inf")


# ---------------------------------------------------------------- without checks
def _out_of_range(x, i):
    return {
        "read": x[i],
        "number": x[9],
        "array": x[jnp.array([1, 9, -7])],
        "masked": jnp.where(i < 5, x[i], -1.0),
        "set": x.at[i].set(0.0),
        "add": x.at[jnp.array([7, 1])].add(1.0),
        "gradient": nr.grad(lambda x: x[i])(x),
    }


# As JAX has it: reads are held within the range, writes beyond it are dropped.
_HELD = {
    "read": 5.0,
    "number": 5.0,
    "array": [2.0, 5.0, 1.0],
    "masked": -1.0,
    "set": [1.0, 2.0, 3.0, 4.0, 5.0],
    "add": [1.0, 3.0, 3.0, 4.0, 5.0],
    "gradient": [0.0, 0.0, 0.0, 0.0, 1.0],
}


def test_checks_can_be_switched_off():
    x, compiled = jnp.arange(5.0) + 1, nr.jit(_out_of_range)
    with nr.config.using(check_indices=False):
        for f in (_out_of_range, compiled):
            got = {name: np.asarray(y).tolist() for name, y in f(x, 9).items()}
            assert got == _HELD
    for f in (_out_of_range, compiled):
        with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 5"):
            f(x, 9)


def test_checks_can_be_switched_off_for_a_process():
    code = "import nr.numpy as jnp; print(float(jnp.arange(3.0)[7]))"
    env = {**os.environ, "NR_CHECK_INDICES": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "2.0\n"
