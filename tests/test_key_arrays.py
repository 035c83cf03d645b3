"""Without this, arrays of typed keys could be torn apart where they are stacked or moved."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp

jax = pytest.importorskip("jax")
MASK = np.array([True, False, True])
MOVES = {
    "stack": lambda m, k, ks: m.stack([k, k]),
    "concatenate": lambda m, k, ks: m.concatenate([ks, ks]),
    "append": lambda m, k, ks: m.append(ks, ks),
    "hstack": lambda m, k, ks: m.hstack([ks, ks]),
    "vstack": lambda m, k, ks: m.vstack([ks, ks]),
    "where": lambda m, k, ks: m.where(MASK, ks, ks[::-1]),
    "where of one": lambda m, k, ks: m.where(MASK, ks, k),
    "reshape": lambda m, k, ks: m.reshape(ks, (3, 1)),
    "expand_dims": lambda m, k, ks: m.expand_dims(ks, 0),
    "squeeze": lambda m, k, ks: m.squeeze(ks[None]),
    "broadcast_to": lambda m, k, ks: m.broadcast_to(k, (3,)),
    "tile": lambda m, k, ks: m.tile(ks, 2),
    "repeat": lambda m, k, ks: m.repeat(ks, 2),
    "take": lambda m, k, ks: m.take(ks, np.array([2, 0])),
    "roll": lambda m, k, ks: m.roll(ks, 1),
    "flip": lambda m, k, ks: m.flip(ks),
    "ravel": lambda m, k, ks: m.ravel(ks[None]),
    "moveaxis": lambda m, k, ks: m.moveaxis(ks[None], 0, 1),
    "swapaxes": lambda m, k, ks: m.swapaxes(ks[None], 0, 1),
    "transpose": lambda m, k, ks: m.transpose(ks[None]),
    "split": lambda m, k, ks: m.split(ks, 3)[1],
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    move = MOVES[name]
    theirs = jax.random.key(0)
    want = jax.random.key_data(move(jax.numpy, theirs, jax.random.split(theirs, 3)))
    key = nr.random.key(0)
    keys = nr.random.split(key, 3)
    for run in (move, nr.jit(move, static_argnums=0)):
        got = run(jnp, key, keys)
        assert isinstance(got, nr.random.PRNGKeyArray)
        np.testing.assert_array_equal(nr.random.key_data(got), want)
    lanes = nr.vmap(lambda key: move(jnp, key, keys))(keys)
    assert lanes.shape == (3, *got.shape)


def test_numbers_cannot_stand_beside_keys():
    key = nr.random.key(0)
    for wrong in (
        lambda: jnp.stack([key, np.uint32(1)]),
        lambda: jnp.where(True, key, 1),
        lambda: jnp.append(key, 3),
        lambda: jnp.add(key, 1),
    ):
        with pytest.raises(TypeError, match="a typed key is no array of numbers"):
            wrong()


def test_vectorized_functions_of_keys():
    keys = nr.random.split(nr.random.key(0), (2, 1, 3))
    draw = jnp.vectorize(
        lambda key, scale: scale * nr.random.normal(key, (4,)), signature="(),()->(n)"
    )
    got = draw(keys, jnp.ones((5, 1)))
    want = nr.vmap(lambda key: nr.random.normal(key, (4,)))(keys.reshape(6)).reshape(2, 1, 3, 4)
    np.testing.assert_array_equal(got, jnp.broadcast_to(want, (2, 5, 3, 4)))
    folded = jnp.vectorize(lambda key: nr.random.fold_in(key, 1))(keys)
    assert folded.shape == keys.shape and folded.dtype == keys.dtype
