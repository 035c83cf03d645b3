"""Without this, lax functions that are composed of others could differ from JAX's."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.test_util import check_grads

jax = pytest.importorskip("jax")
RNG = np.random.default_rng(0)
TOL = 1e-5  # sums of up to some dozens of float32 products


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def both(f, *args, **options):
    """f(lax module) of the arguments gives what it gives with JAX's, eagerly and jitted."""
    want = [np.asarray(x) for x in jax.tree.leaves(f(jax.lax)(*args, **options))]
    ours = lambda *xs: f(lax)(*xs, **options)  # noqa: E731
    for run in (ours, nr.jit(ours)):
        got = [np.asarray(x) for x in nr.tree.leaves(run(*args))]
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, TOL, TOL)


# ---------------------------------------------------------------- stacking
def test_stacking():
    x, y = normal(2, 3), normal(2, 3)
    both(lambda m: lambda x, y: [m.stack([x, y], axis) for axis in (0, 1, 2, -1)], x, y)
    both(lambda m: lambda x: m.unstack(x, 1), x)
    both(lambda m: lambda x: m.tile(x, (2, 3)), x)
    both(lambda m: lambda x: m.tile(x, (0, 1)), x)
    both(lambda m: lambda x: m.broadcast_like(x, np.zeros((4, 2, 3))), x)
    assert lax.empty((2, 3), "int8").dtype == jnp.int8
    with pytest.raises(ValueError, match="stack: arrays must have the same shape"):
        lax.stack([x, x[:1]])
    with pytest.raises(ValueError, match="stack: one array or more was expected"):
        lax.stack([])
    with pytest.raises(ValueError, match="tile: as many repeats as dimensions"):
        lax.tile(x, (2,))
    with pytest.raises(ValueError, match="broadcast_like: the array must broadcast"):
        lax.broadcast_like(x, np.zeros(3))


def test_extents_of_one_are_stretched():
    """Among operands of one rank, as in JAX; other ranks are errors."""
    x, y = np.abs(normal(3, 4)), np.abs(normal(1, 4))
    for name in ("add", "mul", "pow", "atan2", "max", "lt", "igamma", "nextafter", "complex"):
        both(lambda m, name=name: getattr(m, name), x, y)
        both(lambda m, name=name: getattr(m, name), y, x)
    both(lambda m: m.bitwise_and, np.int32([[1], [2]]), np.int32([[3, 4, 5]]))
    check_grads(lax.mul, (x[:, :1], y), order=1, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)
    lanes = nr.vmap(lax.add, (0, None))(np.stack([x, 2 * x]), y)
    np.testing.assert_allclose(lanes[1], 2 * x + y, TOL)
    for wrong in (x[:2], x[0], x[None]):
        with pytest.raises(TypeError, match="add: operands must have the same shape"):
            lax.add(x, wrong)


def test_products_of_two_dtypes():
    """In the dtype that holds both, and in another one if that is preferred."""
    x, y = normal(2, 3), np.arange(12, dtype=np.int32).reshape(3, 4)
    half = y.astype("bfloat16")
    for a, b in ((x, y), (y.T, x.T), (x, half), (half.T, x.T)):
        both(lambda m: m.dot, a, b)
    dims = (((1,), (0,)), ((), ()))
    both(lambda m: lambda a, b: m.dot_general(a, b, dims, None, np.float32), x, half)
    both(lambda m: m.batch_matmul, x[None], y[None])
    grads = nr.grad(lambda a, b: lax.dot(a, b).sum(), (0, 1))(x, jnp.asarray(half))
    assert [g.dtype for g in grads] == [jnp.float32, jnp.bfloat16]


# ---------------------------------------------------------------- ragged products
def _ragged(dims):
    return lambda m: (
        lambda x, y, g: m.ragged_dot_general(x, y, g, m.RaggedDotDimensionNumbers(*dims))
    )


def test_ragged_dot():
    x, y, sizes = normal(6, 3), normal(3, 3, 4), np.array([2, 0, 3], np.int32)
    both(lambda m: m.ragged_dot, x, y, sizes)
    both(lambda m: lambda *a: m.ragged_dot(*a, preferred_element_type=np.float32),
         x.astype("bfloat16"), y.astype("bfloat16"), sizes)  # fmt: skip
    check_grads(lambda x, y: lax.ragged_dot(x, y, sizes), (x, y), order=1, modes=("fwd", "rev"),
                atol=1e-2, rtol=1e-2)  # fmt: skip
    lanes = nr.vmap(lax.ragged_dot, (0, None, 0))(np.stack([x, 2 * x]), y, np.stack([sizes] * 2))
    np.testing.assert_allclose(lanes[1], 2 * lax.ragged_dot(x, y, sizes), TOL)


@pytest.mark.parametrize("sizes", [(2,), (2, 6, 2)])
def test_ragged_rows_with_batches(sizes):
    x, y = normal(6, 2, 4, 3), normal(2, 3, 5, 2)
    groups = RNG.integers(0, 3, sizes).astype(np.int32)
    both(_ragged((((((3,), (1,)), ((1,), (0,)))), [2], [3])), x, y, groups)


@pytest.mark.parametrize("sizes", [(2,), (2, 2)])
def test_ragged_contraction(sizes):
    x, y = normal(6, 2, 4, 3), normal(2, 4, 5, 3)
    groups = RNG.integers(0, 3, sizes).astype(np.int32)
    both(_ragged(((((2, 3), (1, 3)), ((1,), (0,))), [2], [])), x, y, groups)


def test_ragged_batch_and_errors():
    x, y, sizes = normal(4, 2, 3), normal(4, 3, 5), np.array([1, 3], np.int32)
    both(_ragged(((((2,), (1,)), ((0,), (0,))), [0], [])), x, y, sizes)
    with pytest.raises(ValueError, match="lhs must have one ragged dimension"):
        _ragged(((((2,), (1,)), ((0,), (0,))), [0, 1], []))(lax)(x, y, sizes)
    with pytest.raises(ValueError, match="rhs must have one group dimension"):
        _ragged(((((2,), (1,)), ((0,), (0,))), [1], []))(lax)(x, y, sizes)
    with pytest.raises(TypeError, match="ragged_dot: shapes"):
        lax.ragged_dot(x, y, sizes)
    with pytest.raises(NotImplementedError, match="group_offset is not supported"):
        lax.ragged_dot(x[0], y[:2], sizes, group_offset=np.zeros(1))


# ---------------------------------------------------------------- convolutions
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("layout", [None, ("NHWC", "HWIO", "NHWC"), ("NHWC", "WHIO", "NCWH")])
def test_unshared_convolution(layout, padding):
    x, window = normal(2, 6, 7, 3), (2, 3)
    windows = lax.conv_general_dilated_patches(x, window, (2, 1), padding, dimension_numbers=layout)
    specs = lax.conv_dimension_numbers(x.shape, (1,) * 4, layout)
    shape = [0] * 4
    for d, n in zip(
        specs.rhs_spec, [4, *[windows.shape[k] for k in specs.out_spec[1:]]], strict=True
    ):
        shape[d] = n
    both(lambda m: m.conv_general_dilated_local, x, normal(*shape), window_strides=(2, 1),
         padding=padding, filter_shape=window, dimension_numbers=layout)  # fmt: skip


def test_shapes_of_convolutions():
    x, y, letters = (2, 3, 8, 8), (4, 3, 3, 3), ("NCHW", "OIHW", "NCHW")
    for name, args in (
        ("conv_general_shape_tuple", (x, y, (1, 2), "SAME", letters)),
        ("conv_shape_tuple", (x, y, (1, 2), [(1, 1), (0, 0)])),
        ("conv_transpose_shape_tuple", (x, y, (1, 2), "SAME", letters)),
        ("reduce_window_shape_tuple", ((8, 8), (3, 3), (2, 2), ((0, 0), (1, 1)))),
        ("conv_general_permutations", (("NHWC", "HWIO", "NCHW"),)),
    ):
        assert getattr(lax, name)(*args) == getattr(jax.lax, name)(*args), name


# ---------------------------------------------------------------- windows
WINDOWS = [
    {"window_strides": (1, 1)},
    {"window_strides": (2, 1), "padding": "SAME"},
    {"window_strides": (1, 1), "padding": ((1, 2), (0, 1)), "base_dilation": (2, 1)},
    {"window_strides": (1, 2), "window_dilation": (2, 2)},
]


@pytest.mark.parametrize("options", WINDOWS)
def test_windows_of_any_function(options):
    x, places = normal(7, 6), np.arange(42, dtype=np.int32).reshape(7, 6)

    def window(m, operand, init, computation):
        return m.reduce_window(operand, init, computation, (3, 2), **options)

    both(lambda m: lambda x: window(m, x, np.float32(1), m.mul), x)
    both(lambda m: lambda i: window(m, i, np.int32(0), m.bitwise_or), places)

    def larger(m):
        def computation(left, right):
            first = m.ge(left[0], right[0])
            return tuple(m.select(first, a, b) for a, b in zip(left, right, strict=True))

        return lambda x, i: window(m, (x, i), (np.float32(-np.inf), np.int32(-1)), computation)

    both(larger, x, places)


def test_windows_of_any_function_have_derivatives():
    x = np.abs(normal(5, 4)) + 0.5
    check_grads(lambda x: lax.reduce_window(x, 1.0, lax.mul, (2, 2)), (x,), order=1,
                modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)  # fmt: skip
    lanes = nr.vmap(lambda x: lax.reduce_window(x, 1.0, lax.mul, (2,)))(x)
    np.testing.assert_allclose(lanes, x[:, 1:] * x[:, :-1], TOL)
    assert lax.reduce_window(x[:1], 1.0, lax.mul, (2, 2)).shape == (0, 3)
    with pytest.raises(TypeError, match="operand and init_value must have one structure"):
        lax.reduce_window((x, x), 1.0, lax.mul, (2, 2))
    with pytest.raises(TypeError, match="operands must have one shape"):
        lax.reduce_window((x, x[1:]), (1.0, 1.0), lambda a, b: a, (2, 2))
    with pytest.raises(TypeError, match="must return the structure of its operands"):
        lax.reduce_window(x, 1.0, lambda a, b: (a, b), (2, 2))


# ---------------------------------------------------------------- JAX's words
def test_operands_have_jaxs_names():
    x = jnp.arange(6.0).reshape(2, 3)
    calls = [
        (lax.pad, {"operand": x, "padding_value": 0.0, "padding_config": [(1, 0, 0), (0, 0, 0)]}),
        (lax.slice, {"operand": x, "start_indices": (0, 1), "limit_indices": (2, 3)}),
        (lax.transpose, {"operand": x, "permutation": (1, 0)}),
        (lax.squeeze, {"array": x[None], "dimensions": [0]}),
        (lax.expand_dims, {"array": x, "dimensions": [0]}),
        (lax.concatenate, {"operands": [x, x], "dimension": 1}),
        (lax.broadcast_in_dim, {"operand": x[0], "shape": (2, 3), "broadcast_dimensions": (1,)}),
        (lax.convert_element_type, {"operand": x, "new_dtype": int}),
        (lax.argmax, {"operand": x, "axis": 1, "index_dtype": "int8"}),
        (lax.cumsum, {"operand": x, "axis": 1}),
        (lax.nextafter, {"x1": x, "x2": x + 1}),
    ]
    for f, options in calls:
        np.testing.assert_array_equal(f(**options), f(*options.values()))
    total = lax.reduce(operands=x, init_values=0.0, computation=lax.add, dimensions=(0,))
    np.testing.assert_array_equal(total, lax.reduce_sum(operand=x, axes=(0,)))
    dims = (((1,), (1,)), ((), ()))
    np.testing.assert_array_equal(lax.dot(x, x, dimension_numbers=dims), x @ x.T)


@pytest.mark.parametrize(
    "left, right, product",
    [
        ("bfloat16", "float16", "bfloat16"),
        ("int8", "uint16", "uint16"),
        ("int16", "uint16", "int16"),
        ("int32", "float16", "float16"),
        ("complex64", "float64", "complex64"),
        ("bool", "int8", "int8"),
    ],
)
def test_products_have_the_dtype_of_an_operand(left, right, product):
    x, y = jnp.ones((2, 3), left), jnp.ones((3, 2), right)
    for a, b in ((x, y), (y.T, x.T)):
        out = lax.dot(a, b)
        assert out.dtype == product and (np.asarray(out).real == 3).all()


# ---------------------------------------------------------------- approximate extremes
def test_approximate_extremes():
    x = normal(4, 6)
    both(lambda m: lambda x: m.approx_max_k(x, 2), x)
    both(lambda m: lambda x: m.approx_min_k(x, 3, reduction_dimension=0), x)
    with pytest.raises(TypeError, match="approx_max_k: the dtype must be floating"):
        lax.approx_max_k(np.arange(3), 1)
    with pytest.raises(ValueError, match="recall_target must lie in"):
        lax.approx_max_k(x, 1, recall_target=2.0)


# ---------------------------------------------------------------- integers and bits
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_mulhi(dtype):
    ends = np.iinfo(dtype)
    x, y = RNG.integers(ends.min, ends.max, (2, 40), dtype, endpoint=True)
    x[:4], y[:4] = [ends.min, ends.max, 0, ends.min], [ends.min, ends.max, 1, ends.max]
    want = [int(a) * int(b) >> 8 * x.itemsize for a, b in zip(x, y, strict=True)]
    for run in (lax.mulhi, nr.jit(lax.mulhi)):
        assert [int(v) for v in run(x, y)] == want
    with pytest.raises(TypeError, match="mulhi: the dtype must be an integer type"):
        lax.mulhi(1.0, 2.0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("shape", [(), (5,), (4,), (3, 3), (3, 4), (2, 3, 5), (0, 3)])
def test_bits_of_threefry(shape, dtype):
    """Those of XLA, also where the counter's lower half overflows."""
    with jax.enable_x64(True):
        for key in (
            np.array([1, 2, 2**32 - 1, 4], "uint32"),
            np.array([2**40 + 1, 2**33], "uint64"),
        ):
            want = jax.lax.rng_bit_generator(
                key, shape, dtype, algorithm=jax.lax.RandomAlgorithm.RNG_THREE_FRY
            )
            got = lax.rng_bit_generator(key, shape, dtype, lax.RandomAlgorithm.RNG_THREE_FRY)
            for a, b in zip(got, want, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_bits_errors():
    with pytest.raises(TypeError, match=r"u32\[4\] or u64\[2\] was expected"):
        lax.rng_bit_generator(np.zeros(2, "uint32"), (3,))
    with pytest.raises(TypeError, match="the dtype must be u8, u16, u32 or u64"):
        lax.rng_bit_generator(np.zeros(4, "uint32"), (3,), np.int32)
    with pytest.raises(NotImplementedError, match="must be Threefry"):
        lax.rng_bit_generator(np.zeros(4, "uint32"), (3,), algorithm=lax.RandomAlgorithm.RNG_PHILOX)


# ---------------------------------------------------------------- collectives
@pytest.mark.parametrize(
    "f",
    [
        lambda m, x: m.psum_scatter(x, "i"),
        lambda m, x: m.psum_scatter(x, "i", scatter_dimension=1, tiled=True),
        lambda m, x: m.pswapaxes(x, "i", 1),
    ],
)
def test_collectives(f):
    x = normal(3, 3, 3)
    want = jax.vmap(lambda x: f(jax.lax, x), axis_name="i")(x)
    got = nr.jit(nr.vmap(lambda x: f(lax, x), axis_name="i"))(x)
    np.testing.assert_allclose(got, want, TOL, TOL)


def test_broadcast_from_a_lane():
    x = {"x": normal(3, 2)}
    got = nr.vmap(lambda x: lax.pbroadcast(x, "i", 2), axis_name="i")(x)
    np.testing.assert_array_equal(got["x"], np.stack([x["x"][2]] * 3))
    with pytest.raises(ValueError, match="psum_scatter: dimension 0 must be equal to"):
        nr.vmap(lambda x: lax.psum_scatter(x, "i"), axis_name="i")(x["x"])


# ---------------------------------------------------------------- staging
def test_barriers_keep_work_apart():
    def f(x):
        return lax.sin(x) + lax.sin(lax.optimization_barrier(x))

    text = nr.jit(f).lower(np.float32(1)).as_text("jaxpr")
    assert text.count("sin") == 2
    np.testing.assert_allclose(nr.jit(f)(1.0), 2 * np.sin(1.0), TOL)
    assert nr.tree.map(int, lax.optimization_barrier({"a": (1, 2)})) == {"a": (1, 2)}
    assert lax.after_all(lax.create_token(), lax.create_token()).dtype == bool


def test_platforms_and_composites():
    assert lax.platform_dependent(3, cpu=lambda x: -x, default=lambda x: x) == -3
    assert lax.platform_dependent(3, tpu=lambda x: -x, default=lambda x: x) == 3
    with pytest.raises(NotImplementedError, match="a function for cpu is needed; got tpu"):
        lax.platform_dependent(3, tpu=lambda x: x)
    scaled = lax.composite(lambda x, *, by: x * by, name="my.scale")
    np.testing.assert_array_equal(nr.jit(lambda x: scaled(x, by=2.0))(normal(2) * 0 + 3), [6, 6])
    assert lax.dtype(np.dtype("int8")) == lax.dtype("int8") == "int8"
    assert (lax.dtype(1), lax.dtype(np.zeros(2, "int8")), lax.dtype(bool)) == (
        "int32",
        "int8",
        "bool",
    )
    assert isinstance(lax.stage(1.0), nr.Array)


def test_primitives_by_jax_names():
    for name in ("add_p", "tanh_p", "dot_general_p", "while_p", "scan_p", "cond_p", "psum_p",
                 "linear_solve_p", "device_put_p"):  # fmt: skip
        primitive = getattr(lax, name)
        assert primitive.name == name[:-2]
    assert lax.linalg.cholesky_p.name == "cholesky"
    eqn = nr.make_jaxpr(lax.tanh)(1.0).eqns[0]
    assert eqn.primitive is lax.tanh_p
    with pytest.raises(AttributeError, match="no attribute 'nothing_p'"):
        lax.nothing_p  # noqa: B018


def test_what_only_tells_its_shape():
    like = nr.ShapeDtypeStruct((2, 3), "int8")
    assert (jnp.shape(like), jnp.ndim(like), jnp.size(like), jnp.size(like, 1)) == ((2, 3), 2, 6, 3)
    assert lax.dtype(like) == "int8"
    x = lax.full_like(like, 7)
    assert x.dtype == "int8" and np.array_equal(x, np.full((2, 3), 7))
    assert (jnp.shape([[1.0, 2.0]]), jnp.ndim(3), jnp.size([1, 2])) == ((1, 2), 0, 2)
    for shape in ((), (2, 3)):
        extents = lax.shape_as_value(shape)
        assert extents.dtype == "int32" and tuple(extents.tolist()) == shape
