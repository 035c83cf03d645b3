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
    "unstack": lambda m, k, ks: m.unstack(ks)[1],
    "array": lambda m, k, ks: m.array([k, k]),
    "asarray": lambda m, k, ks: m.asarray(k),
    "full_like": lambda m, k, ks: m.full_like(ks, k),
    "zeros_like": lambda m, k, ks: m.zeros_like(ks),
    "at set": lambda m, k, ks: ks.at[1].set(k),
    "at set of several": lambda m, k, ks: ks[None].at[..., np.array([2, 0])].set(k),
    "at get": lambda m, k, ks: ks.at[1].get(mode="clip"),
}
LAX_MOVES = {
    "concatenate": lambda m, k, ks: m.concatenate([ks, ks], 0),
    "reshape": lambda m, k, ks: m.reshape(ks, (3, 1)),
    "transpose": lambda m, k, ks: m.transpose(ks[None], (1, 0)),
    "rev": lambda m, k, ks: m.rev(ks, (0,)),
    "slice_in_dim": lambda m, k, ks: m.slice_in_dim(ks, 0, 2),
    "dynamic_slice": lambda m, k, ks: m.dynamic_slice(ks, (1,), (2,)),
    "dynamic_index_in_dim": lambda m, k, ks: m.dynamic_index_in_dim(ks, 1, keepdims=False),
    "dynamic_update_slice": lambda m, k, ks: m.dynamic_update_slice(ks, ks[:1], (1,)),
    "select": lambda m, k, ks: m.select(True, k, ks[1]),
    "broadcast_in_dim": lambda m, k, ks: m.broadcast_in_dim(k, (2,), ()),
    "loop": lambda m, k, ks: m.fori_loop(0, 3, lambda i, a: a.at[i].set(k), ks),
}
CASES = [(jnp, name) for name in MOVES] + [(nr.lax, name) for name in LAX_MOVES]


@pytest.mark.parametrize(("module", "name"), CASES)
def test_moves(module, name):
    move = (MOVES if module is jnp else LAX_MOVES)[name]
    theirs = jax.random.key(0)
    want = move(jax.numpy if module is jnp else jax.lax, theirs, jax.random.split(theirs, 3))
    want = jax.random.key_data(want)
    key = nr.random.key(0)
    keys = nr.random.split(key, 3)
    for run in (move, nr.jit(move, static_argnums=0)):
        got = run(module, key, keys)
        assert isinstance(got, nr.random.PRNGKeyArray)
        np.testing.assert_array_equal(nr.random.key_data(got), want)
    lanes = nr.vmap(lambda key: move(module, key, keys))(keys)
    assert lanes.shape == (3, *got.shape)


def test_numbers_cannot_stand_beside_keys():
    key = nr.random.key(0)
    for wrong in (
        lambda: jnp.stack([key, np.uint32(1)]),
        lambda: jnp.where(True, key, 1),
        lambda: jnp.append(key, 3),
        lambda: jnp.add(key, 1),
        lambda: jnp.result_type(key),
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


def test_questions_about_keys():
    keys = nr.random.split(nr.random.key(0), 3)
    assert (jnp.shape(keys), jnp.ndim(keys), jnp.size(keys)) == ((3,), 1, 3)
    assert getattr(keys, "weak_type", None) is False
    assert keys.devices() == {keys.device}
    dtypes = nr.tree.map(lambda x: x.dtype, keys)  # of the words: no keys any more
    assert dtypes == nr.tree.map(lambda x: x.dtype, keys)
    with pytest.raises(TypeError, match="set: typed keys were expected"):
        keys.at[0].set(1)
