"""Without this the Dice loss could differ from Optax's, or be undefined where nothing is marked."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from nr.test_util import check_grads

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 6, 3)).astype("float32")
LABELS = RNG.integers(0, 3, (2, 5, 6))


def ours(logits, **options):
    targets = nn.one_hot(LABELS, 3)
    return nn.dice_loss(nn.softmax(logits), targets, axes=(-3, -2), **options)


@pytest.mark.parametrize(
    "options", [{}, {"smooth": 0.1, "alpha": 0.3, "beta": 0.9}, {"alpha": 1.0, "beta": 1.0}]
)
def test_values_and_gradients_are_those_of_optax(options):
    jax, losses = pytest.importorskip("jax"), pytest.importorskip("optax.losses")

    def theirs(logits):
        return losses.dice_loss(logits, jax.nn.one_hot(LABELS, 3), **options).mean()

    expected = jax.value_and_grad(theirs)(LOGITS)
    for f in (nr.value_and_grad, lambda f: nr.jit(nr.value_and_grad(f))):
        value, grad = f(lambda x: ours(x, **options))(jnp.asarray(LOGITS))
        # Sums of thirty numbers below 1, and a quotient of them.
        np.testing.assert_allclose(value, expected[0], rtol=30 * 6e-8)
        np.testing.assert_allclose(grad, expected[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours(LOGITS, reduction="none", **options).mean(), value, rtol=2e-6)


def test_it_is_the_intersection_over_the_union():
    p, t = RNG.integers(0, 2, (2, 40)).astype(bool)
    loss = nn.dice_loss(p * 1.0, t * 1.0, axes=-1, smooth=0.0, alpha=1.0, beta=1.0)
    np.testing.assert_allclose(1 - loss, (p & t).sum() / (p | t).sum(), rtol=1e-6)


def test_nothing_marked_and_nothing_there_is_no_loss():
    zeros = jnp.zeros((2, 4, 1))
    np.testing.assert_array_equal(nn.dice_loss(zeros, zeros, axes=-2, reduction="none"), 0)
    assert nn.dice_loss(zeros.astype("bfloat16"), zeros.astype("bfloat16"), axes=-2).dtype == (
        jnp.bfloat16
    )
    check_grads(lambda p: nn.dice_loss(p, zeros, axes=-2), (zeros + 0.5,), 2, rtol=2e-2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match=r'got \(-3, -2\) for "axes" and f32\[4\]'):
        nn.dice_loss(jnp.zeros(4), jnp.zeros(4), axes=(-3, -2))
    with pytest.raises(TypeError, match=r'the shape of "probabilities", f32\[2,4\]'):
        nn.dice_loss(jnp.zeros((2, 4)), jnp.zeros(4), axes=-1)
