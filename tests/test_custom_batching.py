"""Without these tests a function's own rule for vmap could be passed over, or get wrong flags."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.custom_batching import custom_vmap, sequential_vmap

X = np.arange(3.0, dtype="float32")


def marked():
    """x + y, whose rule multiplies by 10, and the calls of the rule."""
    calls = []

    @custom_vmap
    def f(x, y):
        return x + y, {"sin": jnp.sin(x)}

    @f.def_vmap
    def rule(axis_size, in_batched, x, y):
        calls.append((axis_size, list(in_batched), x.shape, y.shape))
        return (10.0 * (x + y), {"sin": jnp.sin(x)}), (True, {"sin": in_batched[0]})

    return f, calls


def test_the_rule_is_for_vmap_only():
    f, calls = marked()
    assert float(f(1.0, 2.0)[0]) == 3.0 and float(nr.jit(f)(1.0, 2.0)[0]) == 3.0
    assert float(f(1.0, y=2.0)[0]) == 3.0
    assert calls == []
    np.testing.assert_array_equal(nr.vmap(f)(X, X)[0], 20 * X)
    assert calls == [(3, [True, True], (3,), (3,))]


@pytest.mark.parametrize(
    "wrap",
    [lambda f, d: nr.vmap(f, d), lambda f, d: nr.jit(nr.vmap(f, d)),
     lambda f, d: nr.vmap(nr.jit(f), d)],
    ids=["vmap", "jit of vmap", "vmap of jit"],
)  # fmt: skip
def test_the_rule_is_told_what_is_mapped(wrap):
    f, calls = marked()
    out, other = wrap(f, (None, 0))(2.0, X)
    np.testing.assert_array_equal(out, 10 * (2.0 + X))
    np.testing.assert_allclose(other["sin"], np.full(3, np.sin(2.0)), rtol=1e-6)
    assert calls == [(3, [False, True], (), (3,))]


def test_mapped_axes_come_first():
    f = custom_vmap(lambda x: x)
    shapes = []
    f.def_vmap(lambda size, batched, x: (shapes.append(x.shape) or x, batched[0]))
    assert nr.vmap(f, in_axes=1, out_axes=1)(jnp.ones((4, 2))).shape == (4, 2)
    assert shapes == [(2, 4)]
    nested = nr.vmap(nr.vmap(f))(jnp.ones((2, 3, 4)))
    assert nested.shape == (2, 3, 4) and shapes[1] == (3, 4)  # a lane of the outer one


def test_forward_derivatives_are_those_of_the_rule():
    f, _ = marked()
    out, dot = nr.jvp(lambda x: nr.vmap(f, (0, None))(x, 1.0)[0], (X,), (np.ones_like(X),))
    np.testing.assert_array_equal(out, 10 * (X + 1))
    np.testing.assert_array_equal(dot, np.full(3, 10.0))
    inside = nr.vmap(lambda x: nr.jvp(lambda v: f(v, 1.0)[0], (x,), (1.0,)))(X)
    np.testing.assert_array_equal(inside[0], 10 * (X + 1))
    np.testing.assert_array_equal(inside[1], np.full(3, 10.0))


def test_reverse_derivatives():
    f, _ = marked()
    assert float(nr.grad(lambda x: f(x, 1.0)[0])(2.0)) == 1.0
    through = nr.grad(lambda x: nr.vmap(f, (0, None))(x, 1.0)[0].sum())(X)
    np.testing.assert_array_equal(through, np.full(3, 10.0))
    lanes = nr.vmap(nr.grad(lambda x: f(x, 1.0)[1]["sin"]))(X)
    np.testing.assert_allclose(lanes, np.cos(X), rtol=1e-6)


def test_sequential_vmap_runs_lane_by_lane():
    ran = []

    @sequential_vmap
    def f(x, y):
        def large(x):
            nr.debug.callback(lambda v: ran.append(float(v)), x)
            return x * y

        return lax.cond(x > 1.0, large, lambda x: y, x)

    np.testing.assert_array_equal(nr.vmap(f, (0, None))(X, 5.0), [5.0, 5.0, 10.0])
    assert ran == [2.0]  # the branch ran for the lane that takes it
    np.testing.assert_array_equal(nr.vmap(f)(X, X), [0.0, 1.0, 4.0])
    assert nr.vmap(nr.vmap(f, (0, None)), (0, None))(jnp.ones((2, 3)), 5.0).shape == (2, 3)
    assert float(f(3.0, 2.0)) == 6.0


def test_errors():
    f = custom_vmap(lambda x: x)
    with pytest.raises(AttributeError, match="custom_vmap: <lambda> has no rule for vmap"):
        f(1.0)
    f.def_vmap(lambda size, batched, x: (x, (True, True)))
    with pytest.raises(ValueError, match="custom_vmap: the rule of <lambda> must return out_bat"):
        nr.vmap(f)(X)
    f.def_vmap(lambda size, batched, x: x)
    with pytest.raises(TypeError, match="custom_vmap: the rule of <lambda> must return a pair"):
        nr.vmap(f)(X)

    def closing(x):
        g = custom_vmap(lambda y: x * y)
        g.def_vmap(lambda size, batched, y: (y, batched[0]))
        return nr.jit(g)(x)

    with pytest.raises(NotImplementedError, match="custom_vmap: the function closes over a value"):
        nr.vmap(closing)(X)
