"""Without these tests a leaked tracer would fail far from its cause, or memory would be held."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.array([0.31, -0.47, 0.63])
LEAKERS = {
    "jit": lambda f: nr.jit(f)(X),
    "grad": lambda f: nr.grad(lambda x: jnp.sum(f(x)))(X),
    "jvp": lambda f: nr.jvp(f, (X,), (X,)),
    "linearize": lambda f: nr.linearize(f, X),
    "vmap": lambda f: nr.vmap(f)(X),
    "checkpoint": lambda f: nr.checkpoint(f)(X),
    "scan": lambda f: lax.scan(lambda c, _: (f(c), None), X, None, length=2),
    "while": lambda f: lax.while_loop(lambda c: jnp.sum(c) < 9.0, f, X),
    "cond": lambda f: lax.cond(True, f, lambda x: x, X),
    "make_jaxpr": lambda f: nr.make_jaxpr(f)(X),
    "eval_shape": lambda f: nr.eval_shape(f, X),
    "jit of grad": lambda f: nr.jit(nr.grad(lambda x: jnp.sum(f(x))))(X),
}
USES = {
    "operator": lambda x: x + 1.0,
    "function": lambda x: jnp.sin(x),
    "grad": lambda x: nr.grad(lambda y: jnp.sum(y * x))(X[0]),
    "jit": lambda x: nr.jit(lambda y: y * x)(1.0),
    "jit argument": lambda x: nr.jit(lambda y: y * 2.0)(x),
    "vmap": lambda x: nr.vmap(lambda y: y * x)(X),
    "scan": lambda x: lax.scan(lambda c, _: (c, x), 0.0, None, length=2),
    "numpy": lambda x: np.asarray(x),
    "bool": lambda x: bool(jnp.sum(x) > 0),
    "inside another trace": lambda x: nr.make_jaxpr(lambda y: x)(1.0),
}


@pytest.fixture
def among_new_objects():
    """Who holds a tracer is not looked for among the millions of objects of other modules."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("among_new_objects")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("leaker", LEAKERS)
def test_using_a_leaked_tracer_is_an_error_that_says_so(leaker, use):
    held = []

    def f(x):
        held.append(x * 2.0)
        return x * 2.0

    LEAKERS[leaker](f)
    with pytest.raises(nr.errors.UnexpectedTracerError) as info:
        USES[use](held[0])
    text = str(info.value)
    assert "was used after its transformation had ended" in text
    assert "Return it from the function rather than store it" in text


def test_the_message_says_where_the_tracer_was_born_and_who_holds_it():
    class Model:
        pass

    model = Model()

    def step(weights):
        model.activation = weights * 2.0
        return weights

    nr.jit(step)(X)
    with pytest.raises(nr.errors.UnexpectedTracerError) as info:
        model.activation + 1.0
    text = str(info.value)
    assert "f64[3]" in text and "argument `weights` of jit(step)" in text
    assert "test_leaks.py" in text
    assert "attribute 'activation' of object Model" in text


def test_the_message_names_globals_and_dicts():
    cache = {}
    nr.jit(lambda x: cache.setdefault("h", x * 2.0))(X)
    with pytest.raises(nr.errors.UnexpectedTracerError, match="held by a dict under key 'h'"):
        jnp.sin(cache["h"])
    global LEAKED
    nr.vmap(_leak_to_global)(X)
    with pytest.raises(
        nr.errors.UnexpectedTracerError, match="held by global 'LEAKED' of module .*test_leaks"
    ):
        jnp.sin(LEAKED)
    LEAKED = None


LEAKED = None


def _leak_to_global(x):
    global LEAKED
    LEAKED = x * 2.0
    return x


def test_shape_and_repr_of_a_leaked_tracer_still_work():
    held = []
    nr.jit(lambda x: held.append(x) or x)(X)
    assert held[0].shape == (3,) and "f64[3]" in repr(held[0])


# ---------------------------------------------------------------- memory
class Marker:
    pass


@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp", "scan", "jit"])
def test_transformations_do_not_hold_the_function(transform):
    marker = Marker()

    def f(x, keep=marker):
        return x * 2.0

    LEAKERS[transform](f)
    ref = weakref.ref(marker)
    del f, marker
    gc.collect()
    assert ref() is None


def test_intermediate_arrays_of_a_gradient_are_freed():
    refs = []

    def f(x):
        y = jnp.sin(x)
        refs.append(weakref.ref(y.primal))
        return jnp.sum(y * y)

    nr.grad(f)(jnp.asarray(X))
    gc.collect()
    assert [r() for r in refs] == [None]


def test_repeated_calls_do_not_grow():
    @nr.jit
    def step(w, x):
        return w - 0.1 * nr.grad(lambda w: jnp.sum((w * x) ** 2))(w)

    def run():
        w = jnp.asarray(X)
        for _ in range(3):
            w = step(w, X)
            nr.grad(lambda w: jnp.sum(lax.scan(lambda c, _: (jnp.sin(c), None), w, None, 2)[0]))(w)
            nr.vmap(lambda a: nr.checkpoint(jnp.sin)(a))(w)

    run()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(5):
        run()
    gc.collect()
    # Caches of the interpreter may add a few; one leaked program a step would add hundreds.
    assert len(gc.get_objects()) - before < 100


def test_those_who_held_what_they_hold_before_checks_began_are_named():
    kept = []
    with nr.checking_leaks(), pytest.raises(nr.errors.UnexpectedTracerError) as info:
        nr.jit(lambda x: kept.append(x) or x * 2)(1.0)
    assert "it is held by a list of 1" in str(info.value)
    assert gc.get_freeze_count() == 0


def test_what_leaked_before_is_not_reported():
    kept = []
    nr.jit(lambda x: kept.append(x) or x * 2)(1.0)
    with nr.checking_leaks():
        assert nr.grad(lambda x: x * x)(3.0) == 6.0
    assert kept
