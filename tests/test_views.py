"""Without this, loops could copy the blocks they take, or take another one than the index says."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

BLOCKS = np.random.default_rng(0).standard_normal((5, 40, 32)).astype("f4")
# Below zero they count from the end; beyond they are clamped.
INDICES = np.array([3, 0, -1, 7, -9, 4], np.int32)
PLACES = [3, 0, 4, 4, 0, 4]


def sums(blocks, indices, **options):
    """The sum of the blocks at some places, each by its number, as products."""

    def step(total, i):
        block = lax.dynamic_index_in_dim(blocks, i, 0, keepdims=False, **options)
        return total + block @ block.T, None

    return lax.scan(step, jnp.zeros((40, 40)), indices)[0]


def text(f, *args):
    return nr.jit(f).lower(*args).as_text("loops")


def test_a_view_takes_the_block_that_is_meant():
    assert "= part x of" in text(sums, BLOCKS, INDICES)
    expected = sum(BLOCKS[i] @ BLOCKS[i].T for i in PLACES)
    np.testing.assert_allclose(nr.jit(sums)(BLOCKS, INDICES), expected, rtol=1e-5, atol=1e-4)


def test_without_negative_indices_they_are_clamped():
    def f(blocks, indices):
        return sums(blocks, indices, allow_negative_indices=False)

    places = np.clip(INDICES, 0, 4)
    expected = sum(BLOCKS[i] @ BLOCKS[i].T for i in places)
    assert "= part x of" in text(f, BLOCKS, INDICES)
    np.testing.assert_allclose(nr.jit(f)(BLOCKS, INDICES), expected, rtol=1e-5, atol=1e-4)


def test_parts_of_several_rows():
    def f(x, i):
        return lax.dynamic_slice(x, (0, i, 0), (1, 70, 32)) @ x[0, :32]

    x = BLOCKS.reshape(1, 200, 32)
    assert "part in1 of in0" in text(f, x, np.int32(60))
    for i, start in ((60, 60), (150, 130), (-80, 120)):
        expected = x[:, start : start + 70] @ x[0, :32]
        np.testing.assert_allclose(nr.jit(f)(x, np.int32(i)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unroll_twice", [False, True])
def test_what_is_overwritten_is_no_view(unroll_twice):
    """The block is read after the array has got another in its place."""

    def step(blocks, i):
        old = lax.dynamic_index_in_dim(blocks, i, 0, keepdims=False)
        blocks = lax.dynamic_update_index_in_dim(blocks, 2 * old, i, 0)
        if unroll_twice:
            blocks = lax.dynamic_update_index_in_dim(blocks, old @ old.T @ old, 0, 0)
        return blocks, jnp.sum(old, 1)

    def f(blocks):
        return lax.scan(step, blocks, jnp.arange(5))

    assert "= part" not in text(f, BLOCKS)
    with nr.disable_jit():
        expected = f(BLOCKS / 8)
    for got, wanted in zip(nr.jit(f)(BLOCKS / 8), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_counter_may_be_the_index():
    def f(blocks):
        def step(i, total):
            block = lax.dynamic_index_in_dim(blocks, i, 0, keepdims=False)
            return total @ block[:32] / 6 + block[8:]

        return lax.fori_loop(0, 5, step, jnp.ones((32, 32)))

    with nr.disable_jit():
        expected = f(BLOCKS)
    np.testing.assert_allclose(nr.jit(f)(BLOCKS), expected, rtol=1e-4, atol=1e-4)


def test_layers_of_a_branch():
    """A branch may write over its operands: nothing is a view there, and results are right."""

    def f(blocks, i):
        return lax.cond(
            i > 1,
            lambda b: lax.dynamic_index_in_dim(b, i, 0, keepdims=False) @ b[0].T,
            lambda b: b[1] @ b[2].T,
            blocks,
        )

    for i, expected in ((3, BLOCKS[3] @ BLOCKS[0].T), (0, BLOCKS[1] @ BLOCKS[2].T)):
        got = nr.jit(f)(BLOCKS, np.int32(i))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
