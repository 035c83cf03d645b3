"""Without this file arrays could lose methods or operators, be mutable, or not meet NumPy."""

import copy
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.core.array import ArrayImpl

X = np.float32([[3, -1, 2], [0.5, 4, -6]])


def same(got, want):
    assert isinstance(got, nr.Array)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6)


# ---------------------------------------------------------------- operators
OPERATORS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "truediv": lambda x, y: x / y,
    "floordiv": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "pow": lambda x, y: abs(x) ** y,
    "matmul": lambda x, y: x @ y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
}
INTEGER_OPERATORS = {
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "lshift": lambda x, y: x << y,
    "rshift": lambda x, y: x >> y,
}


@pytest.mark.parametrize("name", [*OPERATORS, *INTEGER_OPERATORS])
def test_binary_operators_and_their_reflections(name):
    if name in INTEGER_OPERATORS:
        f, x, y = INTEGER_OPERATORS[name], np.int32([[5, -6], [7, 9]]), np.int32([[1, 2], [3, 0]])
    else:
        f, x, y = OPERATORS[name], np.float32([[3, -1], [0.5, 4]]), np.float32([[2, 3], [1, 2.5]])
    a, b = jnp.array(x), jnp.array(y)
    want = f(x, y)
    for got in (f(a, b), f(a, y), f(x, b), nr.jit(f)(a, b)):
        same(got, want)
        assert got.dtype == want.dtype
    if name != "matmul":
        same(f(a, 2), f(x, 2))
        same(f(2, b), f(2, y))
        same(nr.jit(lambda b: f(2, b))(b), f(2, y))


def test_unary_operators():
    x = jnp.array(X)
    same(-x, -X)
    same(+x, X)
    same(abs(x), abs(X))
    same(round(x * 1.26, 1), np.round(X * np.float32(1.26), 1))
    whole = round(jnp.array([2.5, -0.7]))  # as of a Python number: integers
    assert whole.dtype == np.int32 and whole.tolist() == [2, -1]
    same(~jnp.array([1, 2]), [-2, -3])
    quotient, rest = divmod(x, 2)
    same(quotient, X // 2)
    same(rest, X % 2)
    quotient, rest = divmod(7, jnp.array([2, 3]))
    assert quotient.tolist() == [3, 2] and rest.tolist() == [1, 1]


def test_integer_powers_differentiate_at_zero():
    assert nr.grad(lambda x: x**3)(jnp.float32(0)) == 0
    assert (jnp.array([2.0]) ** -2).tolist() == [0.25]
    with pytest.raises(TypeError, match="negative powers"):
        jnp.array([2]) ** -2


def test_foreign_operands_are_left_to_their_class():
    x = jnp.ones(2)

    class Foreign:
        def __radd__(self, other):
            return "mine"

    assert x + Foreign() == "mine"
    for bad in ("text", [1, 2], None, object()):
        with pytest.raises(TypeError, match="unsupported operand"):
            x + bad
    assert (x == None) is False  # noqa: E711 - that is what is tested
    assert (x != "text") is True


def test_fast_operators_leave_errors_and_traces_to_the_general_ones():
    x = jnp.ones(3)
    x.delete()
    with pytest.raises(RuntimeError, match="given away"):
        x + 1
    constant = jnp.array([1.0, 2.0])
    jaxpr = nr.make_jaxpr(lambda y: (constant + constant) * y)(constant)
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["add", "mul"]


# ---------------------------------------------------------------- methods
METHODS = {
    "sum": lambda x: x.sum(axis=1, keepdims=True),
    "prod": lambda x: x.prod(),
    "mean": lambda x: x.mean(axis=0),
    "std": lambda x: x.std(axis=0),
    "var": lambda x: x.var(ddof=1),
    "max": lambda x: x.max(axis=-1),
    "min": lambda x: x.min(),
    "ptp": lambda x: np.ptp(x) if isinstance(x, np.ndarray) else x.ptp(),
    "all": lambda x: (x > 0).all(axis=0),
    "any": lambda x: (x > 3).any(),
    "argmax": lambda x: x.argmax(axis=1),
    "argmin": lambda x: x.argmin(),
    "cumsum": lambda x: x.cumsum(axis=1),
    "cumprod": lambda x: x.cumprod(),
    "clip": lambda x: x.clip(-1, 2),
    "round": lambda x: x.round(1),
    "reshape": lambda x: x.reshape(3, -1),
    "reshape to tuple": lambda x: x.reshape((3, 2)),
    "reshape to one": lambda x: x.reshape(-1),
    "reshape by columns": lambda x: x.reshape(3, 2, order="F"),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: x.transpose(),
    "transpose axes": lambda x: x[None].transpose(1, 2, 0),
    "transpose tuple": lambda x: x[None].transpose((1, 2, 0)),
    "T": lambda x: x.T,
    "mT": lambda x: x[None].mT,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[None].squeeze(),
    "repeat": lambda x: x.repeat(2, axis=1),
    "take": lambda x: x.take(np.array([2, 0]), axis=1),
    "compress": lambda x: x.compress(np.array([True, False, True]), axis=1),
    "sort": lambda x: np.sort(x) if isinstance(x, np.ndarray) else x.sort(),
    "argsort": lambda x: x.argsort(axis=0),
    "searchsorted": lambda x: x[1, :2].searchsorted(np.float32(1)),
    "nonzero": lambda x: x.nonzero()[1],
    "diagonal": lambda x: x.diagonal(),
    "trace": lambda x: x.trace(),
    "dot": lambda x: x.dot(np.ones(3, np.float32)),
    "choose": lambda x: (x > 0).astype("int32").choose([10, 20], mode="clip"),
    "astype": lambda x: x.astype("int32"),
    "astype of a type": lambda x: x.astype(bool),
    "view": lambda x: x.view(np.int32),
    "view narrower": lambda x: x.view(np.int16),
    "view wider": lambda x: x[:, :2].copy().view(np.int64),
    "conj": lambda x: (x + 1j).conj(),
    "conjugate": lambda x: x.conjugate(),
    "real": lambda x: (x + 2j).real,
    "imag": lambda x: (x + 2j).imag,
    "copy": lambda x: x.copy(),
    "getitem": lambda x: x[1, ::-1],
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_equal_numpy(name):
    f = METHODS[name]
    x = jnp.array(X)
    want = f(X)
    got = f(x)
    same(got, want)
    assert got.shape == want.shape
    if name not in ("nonzero", "searchsorted"):
        jitted = nr.jit(f)(x)
        same(jitted, want)
        assert jitted.dtype == got.dtype


def test_trace_of_a_traced_array():
    same(nr.jit(lambda x: x.trace())(jnp.array(X)), X.trace())


def test_methods_of_jax_arrays_are_all_there():
    jax = pytest.importorskip("jax")
    # Of one device's shards, of byte order, and of deprecated names nothing is offered.
    left_out = {
        "addressable_shards", "byteswap", "clone", "device_buffer", "device_buffers", "flat",
        "format", "global_shards", "is_fully_addressable", "is_fully_replicated", "is_ready",
        "on_device_size_in_bytes", "platform", "traceback", "unsafe_buffer_pointer",
    }  # fmt: skip
    theirs = {name for name in dir(jax.numpy.ones(2)) if not name.startswith("_")}
    missing = {name for name in theirs - left_out if not hasattr(jnp.ones((2, 2)), name)}
    assert not missing


def test_properties():
    x = jnp.zeros((2, 3), jnp.bfloat16)
    assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes) == ((2, 3), 2, 6, 2, 12)
    assert x.dtype == jnp.bfloat16 and len(x) == 2
    assert str(x.device) == "cpu:0" and x.devices() == {x.device}
    assert x.to_device(x.device).device is x.device
    assert x.__array_namespace__() is jnp
    with pytest.raises(ValueError, match="api_version"):
        x.__array_namespace__(api_version="1999.1")


def test_iteration_and_scalars():
    x = jnp.array([1, 2, 3])
    assert [int(v) for v in x] == [1, 2, 3]
    assert float(x[0]) == 1.0 and complex(x[1]) == 2 and [10, 20, 30][x[1]] == 30
    assert bool(x[0]) and x.tolist() == [1, 2, 3] and x[2].item() == 3
    assert f"{jnp.float32(2.5):.2f}" == "2.50" and f"{x.mean():.1f}" == "2.0"
    with pytest.raises(ValueError, match="truth value"):
        bool(x)
    for several in (x, x[:1]):
        with pytest.raises(TypeError, match="rank 0 was expected"):
            float(several)
    with pytest.raises(TypeError, match="rank"):
        iter(jnp.array(1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


# ---------------------------------------------------------------- immutability
def test_arrays_are_immutable():
    source = np.float32([1, 2, 3])
    x = jnp.array(source)
    with pytest.raises(TypeError, match=r"Write x = x\.at\[1:2\]\.set"):
        x[1:2] = 0
    with pytest.raises(TypeError, match="immutable"):
        del x[0]
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 9
    source[0] = 9
    y = x
    y += 1
    assert x.tolist() == [1, 2, 3] and y.tolist() == [2, 3, 4]
    assert x.at[0].set(5).tolist() == [5, 2, 3] and x.tolist() == [1, 2, 3]


def test_python_copies_are_the_array_itself():
    x = jnp.ones(2)
    assert copy.copy(x) is x and copy.deepcopy([x])[0] is x
    assert nr.grad(lambda x: (copy.deepcopy(x) * x).sum())(x).tolist() == [2, 2]


# ---------------------------------------------------------------- NumPy and others
def test_numpy_interplay():
    x = jnp.array([1.0, 4.0])
    for got in (np.float32([1, 1]) + x, x + np.float32([1, 1]), np.float32(1) + x, x + np.int8(1)):
        same(got, [2, 5])
        assert got.dtype == np.float32
    assert type(np.asarray(x)) is np.ndarray and np.asarray(x).dtype == np.float32
    np.testing.assert_array_equal(np.sqrt(x), [1, 2])
    assert np.array(x, copy=True).flags.writeable
    same(jnp.asarray(np.arange(3)[::-1]) * 2, [4, 2, 0])
    assert isinstance(x, jnp.ndarray) and not isinstance(np.ones(1), nr.Array)


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "bfloat16", "complex64"])
def test_pickle_keeps_everything(dtype):
    x = jnp.array([[0, 1]], dtype)
    y = pickle.loads(pickle.dumps(x))
    assert type(y) is ArrayImpl and y.dtype == x.dtype and y.shape == (1, 2)
    assert jnp.array_equal(x, y)
    weak = pickle.loads(pickle.dumps(jnp.add(1, 2)))
    assert weak.weak_type


def test_dlpack_both_ways():
    x = jnp.arange(3, dtype="float32")
    np.testing.assert_array_equal(np.from_dlpack(x), [0, 1, 2])
    same(jnp.from_dlpack(np.float32([4, 5])), [4, 5])
    with pytest.raises(BufferError, match="bf16"):
        jnp.ones(1, jnp.bfloat16).__dlpack__()


def test_saved_and_loaded(tmp_path):
    for dtype in ("float32", "bfloat16"):
        x = jnp.array([1.5, 2.0], dtype)
        jnp.save(tmp_path / "x.npy", x)
        y = jnp.load(tmp_path / "x.npy")
        assert y.dtype == x.dtype and jnp.array_equal(x, y)


def test_repr():
    assert repr(jnp.array([1.0, 2.5])) == "Array([1. , 2.5], dtype=float32)"
    assert repr(jnp.add(1, 2)) == "Array(3, dtype=int32, weak_type=True)"
    assert repr(jnp.ones(1, jnp.bfloat16)) == "Array([1.], dtype=bfloat16)"
    assert repr(jnp.zeros((0, 3))) == "Array([], shape=(0, 3), dtype=float32)"
    assert str(jnp.array([[1, 2]])) == "[[1 2]]"


# ---------------------------------------------------------------- the namespace
def test_namespace_of_the_array_api():
    info = jnp.__array_namespace_info__()
    assert info.default_dtypes()["real floating"] == np.float32
    assert set(info.dtypes(kind="bool")) == {"bool"}
    assert info.default_device() in info.devices()
    assert jnp.__array_api_version__ == "2024.12"


def test_default_dtypes_follow_the_configuration():
    assert jnp.float_ is jnp.float32 and jnp.int_ is jnp.int32
    with nr.config.using(default_float="float64", default_int="int64"):
        assert jnp.float_ is jnp.float64 and jnp.int_ is jnp.int64
        assert jnp.add(1, 2.5).dtype == np.float64
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = jnp.no_such_name


def test_scalar_types_make_arrays():
    for name in ("bool_", "int8", "uint32", "bfloat16", "float32", "complex64"):
        kind, dtype = getattr(jnp, name), np.dtype(getattr(jnp, name))
        assert kind == dtype and dtype == kind
        assert kind == dtype.type and hash(kind) == hash(dtype.type)
        made = kind([0, 1])
        assert isinstance(made, nr.Array) and made.dtype == kind and not kind(1).weak_type
        assert nr.jit(lambda x, kind=kind: kind(x))(2).dtype == dtype  # traced values, too
    assert jnp.float32 != jnp.float64 and {np.float32: 1}[jnp.float32] == 1
    assert jnp.bool_(jnp.array([0.0, 2.0])).tolist() == [False, True]
    assert isinstance(np.float32(1), jnp.float32) and not isinstance(np.float64(1), jnp.float32)
    assert np.zeros(2, jnp.bfloat16).dtype == jnp.bfloat16
    assert jnp.issubdtype(jnp.bfloat16, jnp.floating) and np.issubdtype(jnp.int8, np.integer)


def test_the_transpose_method_counts_from_the_end():
    x = jnp.ones((2, 3, 4))
    assert x.transpose(-1, 0, -2).shape == (4, 2, 3) and x.transpose((0, -1, 1)).shape == (2, 4, 3)


def test_all_public_names_exist():
    assert [name for name in jnp.__all__ if not hasattr(jnp, name)] == []
    assert len(set(jnp.__all__)) == len(jnp.__all__)
