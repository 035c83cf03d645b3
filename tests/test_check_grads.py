"""Without this, check_grads could pass wrong derivative rules, and every gradient test with it."""

import functools

import numpy as np
import pytest

import nr
from nr import lax
from nr.test_util import check_grads, check_jvp, check_vjp

X = np.array([0.3, -0.7, 1.1])
Z = np.array([0.3 + 0.5j, -0.7 + 0.2j])


# ---------------------------------------------------------------- planted errors
def with_jvp(derivative):
    """sin with a forward rule of our own."""
    sine = nr.custom_jvp(lambda x: lax.sin(x))
    sine.defjvp(lambda primals, tangents: (sine(*primals), derivative(*primals, *tangents)))
    return sine


def with_vjp(pullback):
    """sin with a reverse rule of our own."""
    sine = nr.custom_vjp(lambda x: lax.sin(x))
    sine.defvjp(lambda x: (lax.sin(x), x), lambda x, ct: (pullback(x, ct),))
    return sine


def slightly_wrong_cos(x):
    return lax.mul(lax.cos(x), 1 + 1e-4)


@nr.custom_jvp
def right_once(x):
    """cos, whose value is right and whose own derivative is not."""
    return lax.cos(x)


right_once.defjvp(lambda primals, tangents: (right_once(*primals), tangents[0]))


RIGHT_JVP = with_jvp(lambda x, t: lax.mul(t, lax.cos(x)))
RIGHT_VJP = with_vjp(lambda x, ct: lax.mul(ct, lax.cos(x)))


@pytest.mark.parametrize("wrong", [slightly_wrong_cos, lax.sin, lambda x: lax.neg(lax.cos(x))])
@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_a_wrong_forward_rule_is_caught(wrong, modes):
    f = with_jvp(lambda x, t: lax.mul(t, wrong(x)))
    with pytest.raises(AssertionError, match="differs from central differences"):
        check_grads(f, (X,), order=1, modes=modes)


@pytest.mark.parametrize("wrong", [slightly_wrong_cos, lax.sin])
@pytest.mark.parametrize("modes", ["rev", ("rev",)])
def test_a_wrong_reverse_rule_is_caught(wrong, modes):
    f = with_vjp(lambda x, ct: lax.mul(ct, wrong(x)))
    with pytest.raises(AssertionError, match="^vjp: the derivative differs"):
        check_grads(f, (X,), order=1, modes=modes)


def test_one_wrong_element_is_caught_and_named():
    mask = np.array([1.0, 1.0, 1.001])
    f = with_jvp(lambda x, t: lax.mul(lax.mul(t, lax.cos(x)), mask))
    with pytest.raises(AssertionError, match=r"jvp: .*at \(2,\) of output.*1 of 3 elements"):
        check_grads(lambda x: {"y": f(x)}, (X,), order=1, modes="fwd")
    with pytest.raises(AssertionError, match=r"output\['y'\]"):
        check_grads(lambda x: {"y": f(x)}, (X,), order=1, modes="fwd")


@pytest.mark.parametrize("modes", [("fwd",), ("rev",)])
@pytest.mark.parametrize("make", [with_jvp, with_vjp])
def test_an_error_of_second_order_is_caught_at_second_order_only(make, modes):
    if make is with_vjp and modes == ("fwd",):
        pytest.skip("a custom_vjp function has no forward derivative")
    f = make(lambda x, t: lax.mul(t, right_once(x)))
    check_grads(f, (X,), order=1, modes=modes)
    with pytest.raises(AssertionError, match="^of (jvp|vjp): "):
        check_grads(f, (X,), order=2, modes=modes)


def test_an_error_of_third_order_is_caught_at_third_order():
    twice = with_jvp(lambda x, t: lax.mul(t, right_once(x)))  # the second derivative is wrong
    f = nr.custom_jvp(lambda x: lax.neg(lax.cos(x)))
    f.defjvp(lambda primals, tangents: (f(*primals), lax.mul(tangents[0], twice(*primals))))
    check_grads(f, (X,), order=2)
    with pytest.raises(AssertionError):
        check_grads(f, (X,), order=3)


def test_a_forgotten_argument_is_caught():
    f = nr.custom_vjp(lambda x, y: lax.mul(x, y))
    f.defvjp(lambda x, y: (lax.mul(x, y), y), lambda y, ct: (lax.mul(ct, y), None))
    with pytest.raises(AssertionError):
        check_grads(f, (X, X + 1), order=1, modes="rev")


def test_a_rule_that_does_not_conjugate_is_caught():
    f = nr.custom_jvp(lambda z: lax.conj(z))
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    with pytest.raises(AssertionError):
        check_grads(f, (Z,), order=1)


@pytest.mark.parametrize("modes", ["fwd", "rev"])
def test_a_rule_that_gives_another_value_is_caught(modes):
    f = nr.custom_jvp(lambda x: lax.sin(x))
    f.defjvp(lambda primals, tangents: (lax.cos(*primals), lax.mul(tangents[0], lax.cos(*primals))))
    with pytest.raises(AssertionError, match="differs from the function's own"):
        check_grads(f, (X,), order=1, modes=modes)


def test_nan_is_caught():
    f = with_jvp(lambda x, t: lax.mul(t, np.float64("nan")))
    for modes in ("fwd", "rev"):
        with pytest.raises(AssertionError):
            check_grads(f, (X,), order=1, modes=modes)
    with pytest.raises(AssertionError, match="must be finite"):
        check_grads(lax.log, (np.array([-1.0]),), order=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_wrong_rules_are_caught_in_narrow_dtypes(dtype):
    f = with_jvp(lambda x, t: lax.neg(lax.mul(t, lax.cos(x))))
    x = nr.device_put(lax.convert_element_type(X, dtype))
    with pytest.raises(AssertionError):
        check_grads(f, (x,), order=1)


# ---------------------------------------------------------------- no false alarms
def rational(x, y):
    return lax.div(lax.mul(x, y), lax.add(lax.square(x), 1.0))


WELL_BEHAVED = {
    "sin": (lax.sin, (X,)),
    "exp of large numbers": (lax.exp, (X * 8,)),
    "log": (lax.log, (np.array([0.1, 1.0, 50.0]),)),
    "large values": (lambda x: lax.mul(lax.sin(x), 1e6), (X,)),
    "small values": (lambda x: lax.mul(lax.sin(x), 1e-9), (X,)),
    "two arguments": (rational, (X, X + 2)),
    "Python scalars": (lambda x, y: lax.mul(lax.sin(x), y), (0.5, 2.0)),
    "a constant": (lambda x: lax.full_like(x, 2), (X,)),
    "an unused argument": (lambda x, y: lax.sin(x), (X, X)),
    "integers on the way": (lambda x, i: (lax.sin(x), lax.neg(i)), (X, np.arange(3))),
    "trees": (
        lambda p, s: {"a": lax.mul(p["w"], s), "b": [lax.cos(p["b"])]},
        ({"w": X, "b": X[:2]}, np.float64(2)),
    ),
    "complex": (lambda z: lax.mul(lax.exp(z), z), (Z,)),
    "complex to real": (lax.abs, (Z,)),
    "real to complex": (lambda x: lax.complex(x, lax.sin(x)), (X,)),
    "conjugation": (lambda z: lax.mul(lax.conj(z), z), (Z,)),
    "nothing": (lax.sin, (np.zeros((0, 3)),)),
    "float32": (rational, (X.astype("float32"), X.astype("float32"))),
    "float16": (rational, (X.astype("float16"), X.astype("float16"))),
    "under jit": (nr.jit(rational), (X, X + 2)),
    "a custom forward rule": (RIGHT_JVP, (X,)),
}


@pytest.mark.parametrize("name", WELL_BEHAVED)
def test_right_derivatives_pass(name):
    f, args = WELL_BEHAVED[name]
    check_grads(f, args, order=2)


def test_a_custom_reverse_rule_passes():
    check_grads(RIGHT_VJP, (X,), order=2, modes="rev")


def test_third_order_passes():
    check_grads(rational, (X, X + 2), order=3)


# ---------------------------------------------------------------- arguments
def test_check_jvp_and_check_vjp_judge_what_they_are_given():
    jvp, vjp = functools.partial(nr.jvp, lax.sin), functools.partial(nr.vjp, lax.sin)
    check_jvp(lax.sin, jvp, (X,))
    check_vjp(lax.sin, vjp, (X,))
    with pytest.raises(AssertionError):
        check_jvp(lax.sin, lambda x, t: (lax.sin(*x), lax.mul(*t, 2.0)), (X,))
    with pytest.raises(AssertionError, match="^here: vjp"):
        check_vjp(lax.sin, lambda x: (lax.sin(x), lambda ct: (ct,)), (X,), err_msg="here: ")


def test_check_jvp_and_check_vjp_of_trees_with_integers():
    def f(p):
        return {"y": lax.mul(p["x"], 3.0), "i": lax.neg(p["i"])}

    args = ({"x": X, "i": np.arange(2)},)
    check_jvp(f, functools.partial(nr.jvp, f), args)
    check_vjp(f, functools.partial(nr.vjp, f), args)


def test_tolerances_and_step_are_used():
    f = with_jvp(lambda x, t: lax.mul(lax.mul(t, lax.cos(x)), 1.01))
    check_grads(f, (X,), order=1, atol=0.1, rtol=0.1)
    with pytest.raises(AssertionError):
        check_grads(f, (X,), order=1, atol=1e-3, rtol=1e-3)
    with pytest.raises(AssertionError):  # a step across many periods of the sine
        check_grads(lax.sin, (X,), order=1, eps=50.0)


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"order": 0}, "order must be 1"), ({"modes": ("up",)}, "modes must")]
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        check_grads(lax.sin, (X,), **{"order": 1, **kwargs})


def test_no_floating_argument():
    with pytest.raises(TypeError, match="at least one floating argument"):
        check_grads(lax.neg, (np.arange(3),), order=1)
