"""Without these tests vmap could map a wrong axis, or collectives mix up lanes, unnoticed."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

A = np.arange(24.0).reshape(2, 3, 4) / 7.0
X = np.array([0.31, -0.47, 0.63])


def close(got, want):
    nr.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-13, atol=1e-14), got, want
    )


# ---------------------------------------------------------------- axes
@pytest.mark.parametrize("in_axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("out_axis", [0, 1, 2, -1, -3])
def test_every_pair_of_axes(in_axis, out_axis):
    f = lambda x: jnp.sin(x) * x.shape[0] + np.arange(x.shape[1])  # noqa: E731
    lanes = [np.asarray(f(jnp.asarray(x))) for x in np.moveaxis(A, in_axis, 0)]
    want = np.stack(lanes, out_axis)
    close(nr.vmap(f, in_axis, out_axis)(A), want)
    close(nr.jit(nr.vmap(nr.jit(f), in_axis, out_axis))(A), want)


def test_axes_as_trees():
    def f(p, x, n):
        return {"s": p["a"] @ x, "t": (p["b"], n)}

    p = {"a": A, "b": X}
    axes = ({"a": 2, "b": None}, 0, None)
    x = np.arange(12.0).reshape(4, 3)
    got = nr.vmap(f, axes, {"s": 1, "t": (None, 0)})(p, x, 5)
    want = np.stack([A[:, :, i] @ x[i] for i in range(4)], 1)
    close(got, {"s": want, "t": (X, np.full(4, 5))})
    close(nr.vmap(f, axes, {"s": -1, "t": None})(p, x, 5)["t"], (X, 5))


def test_one_axis_for_a_whole_argument_and_none():
    f = lambda pair, y: pair[0] * pair[1] + y  # noqa: E731
    got = nr.vmap(f, in_axes=(0, None))((X, X), 1.0)
    close(got, X * X + 1.0)
    close(nr.vmap(f, in_axes=[(0, None), None])((X, 2.0), 1.0), 2 * X + 1.0)


def test_keyword_arguments_are_mapped_over_their_first_axis():
    close(nr.vmap(lambda x, *, y: x * y)(X, y=X), X * X)


def test_axis_size_and_unmapped_outputs():
    close(nr.vmap(lambda: jnp.asarray(X), axis_size=2)(), np.stack([X, X]))
    close(nr.vmap(lambda x: 1.5, axis_size=3)(X), np.full(3, 1.5))
    close(nr.vmap(lambda x: jnp.asarray(X), out_axes=None)(X), X)
    close(nr.vmap(lambda x: x, (None,), axis_size=2, out_axes=1)(X), np.stack([X, X], 1))


def test_nested_vmaps_map_the_right_axes():
    f = lambda x, y: jnp.sum(x * y)  # noqa: E731
    pairs = nr.vmap(nr.vmap(f, (None, 0)), (0, None))
    close(pairs(A[0], A[1]), A[0] @ A[1].T)
    triple = nr.vmap(nr.vmap(nr.vmap(lambda x: x * 2.0, 0, 0), 1, 1), 2, 2)
    close(triple(A), A * 2.0)


def test_a_lane_is_not_aware_of_its_siblings():
    shapes = []
    nr.vmap(lambda x: (shapes.append(x.shape), x)[1], in_axes=1)(A)
    assert shapes == [(2, 4)]


def test_vmap_of_zero_lanes():
    assert nr.vmap(lambda x: jnp.sum(x))(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_lanes_that_are_not_there_take_no_elements(wrap):
    x, i = jnp.zeros((0, 3, 2)), jnp.zeros(0, "int32")
    assert wrap(nr.vmap(lambda x, i: x[i]))(x, i).shape == (0, 2)
    assert wrap(nr.vmap(lambda x, i: x[:, i].sum()))(x, i).shape == (0,)
    assert wrap(nr.vmap(lambda x, i: x.at[i, i].set(1.0)))(x, i).shape == (0, 3, 2)
    assert wrap(nr.vmap(nr.grad(lambda x, i: x[i].sum())))(x, i).shape == (0, 3, 2)


def test_gradients_of_lanes_do_not_mix():
    f = lambda x: jnp.sum(jnp.sin(x) ** 2)  # noqa: E731
    close(nr.vmap(nr.grad(f))(A[0]), 2 * np.sin(A[0]) * np.cos(A[0]))
    total = nr.grad(lambda a: jnp.sum(nr.vmap(f, 1)(a)))(A[0])
    close(total, 2 * np.sin(A[0]) * np.cos(A[0]))


# ---------------------------------------------------------------- collectives
def lanes(f, *args, name="i"):
    return nr.vmap(f, axis_name=name)(*args)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit, nr.checkpoint], ids=["eager", "jit", "ckpt"])
def test_reductions_over_a_named_axis(wrap):
    close(lanes(wrap(lambda x: lax.psum(x, "i")), X), np.full(3, X.sum()))
    close(lanes(wrap(lambda x: lax.pmean(x, "i")), X), np.full(3, X.mean()))
    close(lanes(wrap(lambda x: lax.pmax(x, "i")), X), np.full(3, X.max()))
    close(lanes(wrap(lambda x: lax.pmin(x, "i")), X), np.full(3, X.min()))
    close(lanes(wrap(lambda x: x + lax.axis_index("i")), X), X + np.arange(3))
    close(lanes(wrap(lambda x: lax.psum(1, "i") * x), X), 3 * X)
    close(lanes(wrap(lambda x: lax.psum({"a": x, "b": 2.0}, "i")), X)["a"], np.full(3, X.sum()))


def test_an_unmapped_value_is_summed_over_the_lanes_too():
    close(lanes(lambda x: x + lax.psum(jnp.asarray(2.5), "i"), X), X + 7.5)
    close(nr.vmap(lambda x: lax.pmean(jnp.asarray(X), "i"), axis_name="i", out_axes=None)(X), X)


def test_all_gather_and_ppermute():
    rows = A[0]
    close(lanes(lambda x: lax.all_gather(x, "i"), rows), np.stack([rows] * 3))
    close(lanes(lambda x: lax.all_gather(x, "i", axis=1), rows), np.stack([rows.T] * 3))
    close(lanes(lambda x: lax.all_gather(x, "i", axis=-1), rows), np.stack([rows.T] * 3))
    close(lanes(lambda x: lax.all_gather(x, "i", tiled=True), rows), np.stack([rows.ravel()] * 3))
    shift = [(0, 1), (1, 2), (2, 0)]
    close(lanes(lambda x: lax.ppermute(x, "i", shift), rows), rows[[2, 0, 1]])
    half = lanes(lambda x: lax.ppermute(x, "i", [(2, 0)]), rows)
    close(half, np.stack([rows[2], np.zeros(4), np.zeros(4)]))
    close(lanes(lambda x: lax.pshuffle(x, "i", [2, 0, 1]), rows), rows[[2, 0, 1]])
    square = np.arange(9.0).reshape(3, 3)
    close(lanes(lambda x: lax.all_to_all(x, "i", 0, 0), square), square.T)


def test_nested_names():
    def f(x):
        return (
            lax.psum(x, "i"),
            lax.psum(x, "j"),
            lax.psum(x, ("i", "j")),
            lax.axis_index("i") * 10 + lax.axis_index("j"),
            lax.axis_index(("i", "j")),
        )

    m = A[0]
    for wrap in (lambda f: f, nr.jit):
        got = nr.vmap(nr.vmap(wrap(f), axis_name="j"), axis_name="i")(m)
        close(got[0], np.broadcast_to(m.sum(0), (3, 4)))
        close(got[1], np.broadcast_to(m.sum(1)[:, None], (3, 4)))
        close(got[2], np.full((3, 4), m.sum()))
        close(got[3], np.arange(3)[:, None] * 10 + np.arange(4))
        close(got[4], np.arange(12).reshape(3, 4))


def test_the_innermost_of_equal_names_is_meant():
    inner = nr.vmap(lambda x: lax.psum(x, "i"), axis_name="i")
    close(nr.vmap(inner, axis_name="i")(A[0]), np.broadcast_to(A[0].sum(1)[:, None], (3, 4)))


def test_collectives_in_loops_and_branches():
    def f(x):
        h = lax.scan(lambda c, _: (c + lax.psum(c, "i"), None), x, None, length=2)[0]
        h = lax.fori_loop(0, 2, lambda i, c: lax.pmax(c, "i") + c, h)
        return lax.cond(True, lambda c: lax.pmean(c, "i") * x, lambda c: c, h)

    h = X
    for _ in range(2):
        h = h + h.sum()
    for _ in range(2):
        h = h.max() + h
    close(lanes(f, X), h.mean() * X)
    close(nr.jit(nr.vmap(f, axis_name="i"))(X), h.mean() * X)


COLLECTIVES = {
    "psum": lambda x: lax.psum(jnp.sin(x), "i") * x,
    "pmean": lambda x: lax.pmean(x * x, "i") * jnp.sin(x),
    "pmax": lambda x: lax.pmax(x, "i") * x,
    "pmin": lambda x: jnp.sin(lax.pmin(x, "i")) * x,
    "all_gather": lambda x: jnp.sum(lax.all_gather(x * x, "i") * X) * x,
    "all_gather tiled": lambda x: jnp.sum(lax.all_gather(x[None], "i", tiled=True) * X) * x,
    "ppermute": lambda x: lax.ppermute(jnp.sin(x), "i", [(0, 1), (1, 2)]) * x,
    "axis_index": lambda x: jnp.sin(x) * lax.axis_index("i"),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_gradients_of_collectives(name):
    """The gradient of the sum over lanes, against a difference quotient."""
    f = nr.vmap(COLLECTIVES[name], axis_name="i")
    loss = lambda x: jnp.sum(f(x) * np.array([1.0, -2.0, 0.5]))  # noqa: E731
    t, h = np.array([0.7, -0.2, 1.1]), 1e-4
    want = (float(loss(X + h * t)) - float(loss(X - h * t))) / (2 * h)
    # h^2 times a third derivative.
    for g in (loss, nr.jit(loss)):
        np.testing.assert_allclose(np.asarray(nr.grad(g)(X)) @ t, want, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(float(nr.jvp(g, (X,), (t,))[1]), want, rtol=1e-6, atol=1e-8)


def test_gradient_inside_the_lanes_sends_cotangents_across():
    # Each lane differentiates the sum of all lanes' squares by its own value; transposing psum
    # adds the cotangents of all lanes, as in JAX.
    got = lanes(nr.grad(lambda x: lax.psum(x * x, "i")), X)
    close(got, 3 * 2 * X)


# ---------------------------------------------------------------- errors
def test_errors_name_arguments_and_sizes():
    def f(x, params):
        return x

    with pytest.raises(
        ValueError,
        match=r"vmap: mapped axes must have equal size; got 3 for `x` "
        r"\(axis 0, f64\[3\]\) and 2 for `params\['w'\]` \(axis 0, f64\[2,3,4\]\)",
    ):
        nr.vmap(f)(X, {"w": A})
    with pytest.raises(
        ValueError, match=r"one of the argument's 1 axes; got 1 for `x` \(f64\[3\]\)"
    ):
        nr.vmap(f, (1, None))(X, 0)
    with pytest.raises(
        ValueError,
        match="in_axes must have one entry for each positional argument; "
        r"got 1 entries for 2 argument\(s\) of f",
    ):
        nr.vmap(f, (0,))(X, 0)
    with pytest.raises(ValueError, match="at least one argument must be mapped.*axis_size"):
        nr.vmap(f, None)(X, 0)
    with pytest.raises(ValueError, match=r"in_axes: must be a tree prefix.*in_axes\[1\]"):
        nr.vmap(f, (0, {"v": 0}))(X, {"w": A})
    with pytest.raises(ValueError, match="axis_size=4 was given; got mapped axes of sizes"):
        nr.vmap(f, (0, None), axis_size=4)(X, 0)
    with pytest.raises(ValueError, match=r"out_axes=None must not depend on mapped arguments"):
        nr.vmap(f, (0, None), None)(X, 0)
    with pytest.raises(ValueError, match=r"out_axes must be one of the output's 1 axes; got 1"):
        nr.vmap(f, (0, None), 1)(X, 0)
    with pytest.raises(ValueError, match="out_axes: must be a tree prefix"):
        nr.vmap(lambda x: {"a": x}, out_axes=({"b": 0},))(X)
    with pytest.raises(TypeError, match="vmap: in_axes must be an int, None, or a tuple"):
        nr.vmap(f, "rows")
    with pytest.raises(TypeError, match="vmap: a function was expected; got 3"):
        nr.vmap(3)
    with pytest.raises(TypeError, match=r"arrays, numbers or pytrees of them; got 'a'"):
        nr.vmap(f)(X, "a")


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_unbound_axis_names(wrap):
    with pytest.raises(
        NameError, match=r"unbound axis name: 'j'; axes in scope: 'i'.*axis_name='j'"
    ):
        nr.vmap(wrap(lambda x: lax.psum(x, "j")), axis_name="i")(X)
    with pytest.raises(NameError, match="unbound axis name: 'i'; axes in scope: none"):
        wrap(lambda x: lax.psum(x, "i"))(X)
    with pytest.raises(NameError, match="unbound axis name: 'i'"):
        wrap(lambda x: x * lax.axis_index("i"))(X)
    with pytest.raises(NameError, match="unbound axis name: 'i'"):
        wrap(lambda x: x * lax.psum(1, "i"))(X)


def test_ppermute_checks_its_pairs():
    with pytest.raises(ValueError, match="ppermute: sources and destinations must be distinct"):
        lanes(lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)]), X)


def test_axes_must_be_numbers():
    for options in ({"in_axes": False}, {"in_axes": (jnp.ones(1),)}, {"out_axes": (0.0,)}):
        with pytest.raises(TypeError, match="must be .*int"):
            nr.vmap(lambda x: x, **options)
