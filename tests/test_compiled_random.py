"""Without these, compiled programs could draw other numbers than eager code, or store masks."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import random

KEY = random.key(7)
SHAPE = (37, 53)  # rows' ends, and several vectors
FLOATS = ("float32", "float64", "bfloat16", "float16")
LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(20, 7)).astype("float32"))

# Those whose numbers are the same to the bit: they take no function that compiled code rounds
# otherwise.
SAMPLERS = {
    **{f"uniform-{t}": lambda k, t=t: random.uniform(k, SHAPE, t) for t in FLOATS},
    **{f"between-{t}": lambda k, t=t: random.uniform(k, SHAPE, t, -3.1, 2.7) for t in FLOATS},
    **{f"normal-{t}": lambda k, t=t: random.normal(k, SHAPE, t) for t in FLOATS},
    "truncated": lambda k: random.truncated_normal(k, -2, 2.0, SHAPE),
    "lecun": lambda k: nr.nn.initializers.lecun_normal()(k, (40, 30)),
    "normal-complex": lambda k: random.normal(k, SHAPE, "complex64"),
    "bits-8": lambda k: random.bits(k, SHAPE, "uint8"),
    "bits-64": lambda k: random.bits(k, SHAPE, "uint64"),
    "bernoulli": lambda k: random.bernoulli(k, 0.3, SHAPE),
    "randint": lambda k: random.randint(k, SHAPE, -5, 1000),
    "rademacher": lambda k: random.rademacher(k, SHAPE),
    "split": lambda k: random.key_data(random.split(k, 11)),
    "fold_in": lambda k: random.key_data(random.fold_in(k, 3)),
    "permutation": lambda k: random.permutation(k, 1001),
    "rows": lambda k: random.permutation(k, LOGITS),
    "choice": lambda k: random.choice(k, 10, SHAPE),
    "categorical": lambda k: random.categorical(k, LOGITS),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_numbers_are_the_eager_ones(name):
    sampler = SAMPLERS[name]
    eager, compiled = np.asarray(sampler(KEY)), np.asarray(nr.jit(sampler)(KEY))
    assert (compiled.dtype, compiled.shape) == (eager.dtype, eager.shape)
    np.testing.assert_array_equal(compiled.view(np.uint8), eager.view(np.uint8))


@pytest.mark.parametrize("name", [*SAMPLERS, "gamma", "poisson", "gumbel", "truncated_normal"])
def test_samplers_are_compiled(name):
    others = {
        "gamma": lambda k: random.gamma(k, 2.0, SHAPE),
        "poisson": lambda k: random.poisson(k, 2.0, SHAPE),
        "gumbel": lambda k: random.gumbel(k, SHAPE, "float64"),
        "truncated_normal": lambda k: random.truncated_normal(k, -1.0, 2.0, SHAPE, "float64"),
    }
    text = nr.jit({**SAMPLERS, **others}[name]).lower(KEY).as_text("report")
    assert "everything is compiled" in text


def dropout(key, x):
    return jnp.where(random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)


def test_dropout_is_one_kernel_without_a_mask():
    x = nr.ShapeDtypeStruct((200, 300), "float32")
    text = nr.jit(dropout).lower(KEY, x).as_text("loops")
    assert text.count("kernel") == 1
    assert nr.plan(dropout, KEY, x).temporary_bytes == 0


def test_masks_kept_for_the_gradient_are_bytes():
    """A mask is kept between the passes, at most, and not what it was compared from."""
    n = 256
    w, x = [nr.ShapeDtypeStruct((n, n), "float32")] * 2

    def loss(w, x, key):
        return jnp.sum(jnp.tanh(dropout(key, jnp.tanh(x @ w)) @ w) ** 2)

    def without(w, x):
        return jnp.sum(jnp.tanh(jnp.tanh(x @ w) / 0.9 @ w) ** 2)

    kept = nr.plan(nr.grad(loss), w, x, KEY).temporary_bytes
    assert kept <= nr.plan(nr.grad(without), w, x).temporary_bytes + 4 * n * n + n * n + 64


def test_normal_samples_at_the_ends_of_the_interval():
    """Infinite at -1 and 1, NaN of NaN: not what a logarithm written out makes of zero."""
    from nr.lax.threefry import normal_from_uniform_p

    for dtype in FLOATS:
        u = jnp.asarray([-1.0, 1.0, 0.0, np.nan], dtype)
        for draw in (normal_from_uniform_p.bind, nr.jit(normal_from_uniform_p.bind)):
            got = np.asarray(draw(u)).astype("float64")
            np.testing.assert_array_equal(got, [-np.inf, np.inf, 0.0, np.nan])
