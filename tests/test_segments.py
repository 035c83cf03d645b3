"""Without these, sums over segments could count rows that belong to none, or differ from JAX's."""

import numpy as np
import pytest

import nr
from nr import ops

DATA = np.array([1.0, 2.0, 3.0, 4.0, 0.5], np.float32)
IDS = np.array([0, -1, 5, 1, 1])
NAMES = ["segment_sum", "segment_prod", "segment_max", "segment_min"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
@pytest.mark.parametrize("options", [{}, {"num_segments": 3}, {"num_segments": 4, "mode": "clip"}])
def test_like_jax(name, dtype, options):
    jax = pytest.importorskip("jax")
    data = DATA.astype(dtype)
    if dtype == "bool" and name in ("segment_sum", "segment_prod"):
        pytest.skip("jax has no sums of bool")
    wanted = getattr(jax.ops, name)(data, IDS, **options)
    got = getattr(ops, name)(data, IDS, **options)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)
    if options:
        jitted = nr.jit(lambda x, i: getattr(ops, name)(x, i, **options))(data, IDS)
        np.testing.assert_array_equal(jitted, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_buckets(name):
    rng = np.random.default_rng(0)
    data, ids = rng.uniform(1, 2, (11, 3)).astype(np.float32), rng.integers(-1, 5, 11)
    function = getattr(ops, name)
    whole = function(data, ids, 4)
    assert whole.shape == (4, 3)
    np.testing.assert_allclose(function(data, ids, 4, bucket_size=3), whole, rtol=1e-6)
    batched = nr.vmap(lambda x: function(x, ids, 4), 1, 1)(data)
    np.testing.assert_allclose(batched, whole, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rows_broadcast_to_the_ids(name):
    function, ids = getattr(ops, name), np.array([[0, 2], [2, 0], [2, 2]])
    for data in (2.0, DATA[1:2], DATA[:2], DATA[:3, None], np.ones((3, 1, 4), np.float32)):
        row = np.shape(data)[2:]
        whole = np.broadcast_to(np.asarray(data, np.float32), (3, 2, *row))
        np.testing.assert_array_equal(function(data, ids, 3), function(whole, ids, 3))
    with pytest.raises(ValueError, match=r"broadcast to it; got i32\[3,2\] for f32\[3\]"):
        function(DATA[:3], ids.astype(np.int32), 3)


def test_gradients():
    slope = nr.grad(lambda x: (ops.segment_sum(x, IDS, 2) ** 2).sum())(DATA)
    np.testing.assert_allclose(slope, [2.0, 0.0, 0.0, 9.0, 9.0])
    slope = nr.grad(lambda x: ops.segment_max(x, IDS, 2).sum())(DATA)
    np.testing.assert_allclose(slope, [1.0, 0.0, 0.0, 1.0, 0.0])
    slope = nr.grad(lambda x: ops.segment_prod(x, IDS, 2).sum())(DATA)
    np.testing.assert_allclose(slope, [1.0, 0.0, 0.0, 0.5, 4.0])


def test_errors():
    with pytest.raises(TypeError, match=r'segment_sum: integers .* got f32\[5\] for "segment_ids"'):
        ops.segment_sum(DATA, DATA)
    with pytest.raises(ValueError, match="segment_sum: the shape"):
        ops.segment_sum(DATA, IDS[:3])
    with pytest.raises(ValueError, match="num_segments must not be negative; got -2"):
        ops.segment_sum(DATA, IDS, -2)
    with pytest.raises(TypeError, match="traced"):
        nr.jit(lambda i: ops.segment_sum(DATA, i))(IDS)
