"""Without these tests callbacks could run a wrong number of times, out of order, or be dropped."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.array([0.31, -0.47, 0.63])
F3 = nr.ShapeDtypeStruct((3,), "float64")


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13, atol=1e-14)


def spy(f=np.sin):
    calls = []

    def callback(*args):
        calls.append([np.asarray(a) for a in args])
        return f(*[np.asarray(a) for a in args])

    return callback, calls


# ---------------------------------------------------------------- pure_callback
@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit, nr.checkpoint], ids=["eager", "jit", "ckpt"])
def test_pure_callback_gives_values(wrap):
    callback, _ = spy()
    close(wrap(lambda x: nr.pure_callback(callback, F3, x) * 2.0)(X), 2 * np.sin(X))


def test_pure_callback_of_trees_and_keywords():
    shape = {"s": F3, "n": nr.ShapeDtypeStruct((), "int32")}
    f = lambda p, *, k: {"s": np.asarray(p["a"]) * k, "n": 7}  # noqa: E731
    for wrap in (lambda f: f, nr.jit):
        out = wrap(lambda x: nr.pure_callback(f, shape, {"a": x}, k=2.0))(X)
        close(out["s"], 2 * X)
        assert int(out["n"]) == 7 and out["n"].dtype == np.int32


def test_pure_callback_in_a_loop():
    callback, calls = spy()
    f = nr.jit(
        lambda x: lax.scan(lambda c, _: (nr.pure_callback(callback, F3, c), None), x, None, 3)[0]
    )
    close(f(X), np.sin(np.sin(np.sin(X))))
    assert len(calls) == 3


def test_pure_callback_that_is_not_needed_is_dropped():
    callback, calls = spy()
    nr.jit(lambda x: (nr.pure_callback(callback, F3, x), x * 2.0)[1])(X)
    assert calls == []


@pytest.mark.parametrize(
    "method, shapes",
    [
        ("sequential", [(3,), (3,)]),
        ("expand_dims", [(2, 3)]),
        ("broadcast_all", [(2, 3)]),
    ],
)
def test_vmap_methods(method, shapes):
    callback, calls = spy()
    batch = np.stack([X, X + 1.0])
    f = nr.vmap(lambda x: nr.pure_callback(callback, F3, x, vmap_method=method))
    close(f(batch), np.sin(batch))
    assert [c[0].shape for c in calls] == shapes
    close(nr.jit(f)(batch), np.sin(batch))


def test_vmap_methods_with_an_unmapped_argument():
    callback, calls = spy(lambda x, y: x * y)
    f = lambda method: nr.vmap(  # noqa: E731
        lambda x, y: nr.pure_callback(callback, F3, x, y, vmap_method=method), (0, None)
    )(np.stack([X, X + 1.0]), X)
    for method, shape in (("expand_dims", (1, 3)), ("broadcast_all", (2, 3)), ("sequential", (3,))):
        calls.clear()
        close(f(method), np.stack([X * X, (X + 1.0) * X]))
        assert calls[0][1].shape == shape


def test_pure_callback_errors():
    callback, _ = spy()
    with pytest.raises(
        NotImplementedError, match="pure_callback: under vmap.*vmap_method='sequential'"
    ):
        nr.vmap(lambda x: nr.pure_callback(callback, F3, x))(np.stack([X]))
    with pytest.raises(ValueError, match="vmap_method must be .*got 'fast'"):
        nr.pure_callback(callback, F3, X, vmap_method="fast")
    with pytest.raises(ValueError, match="can't be differentiated.*custom_jvp or nr.custom_vjp"):
        nr.grad(lambda x: jnp.sum(nr.pure_callback(callback, F3, x)))(X)
    for wrap in (lambda f: f, nr.jit):
        with pytest.raises(
            ValueError, match=r"callback must return f64\[3\], as declared; got shape \(\)"
        ):
            wrap(lambda x: nr.pure_callback(lambda v: 1.0, F3, x))(X)
        with pytest.raises(ValueError, match="must return the declared structure"):
            wrap(lambda x: nr.pure_callback(lambda v: (v, v), F3, x))(X)


# ---------------------------------------------------------------- io_callback
def test_io_callback_runs_in_order_and_is_kept():
    log = []

    def write(tag):
        def run(x):
            log.append((tag, float(np.asarray(x))))
            return np.float64(len(log))

        return run

    scalar = nr.ShapeDtypeStruct((), "float64")

    @nr.jit
    def f(x):
        nr.io_callback(write("a"), scalar, x)
        y = nr.io_callback(write("b"), scalar, x * 2.0, ordered=True)
        nr.io_callback(write("a"), scalar, x)
        return y

    assert float(f(np.float64(1.5))) == 2.0
    assert log == [("a", 1.5), ("b", 3.0), ("a", 1.5)]
    f(np.float64(1.5))
    assert len(log) == 6


def test_io_callback_is_not_merged_with_its_equal():
    calls = []

    def draw():
        calls.append(1)
        return np.float64(len(calls))

    scalar = nr.ShapeDtypeStruct((), "float64")
    f = nr.jit(lambda: (nr.io_callback(draw, scalar), nr.io_callback(draw, scalar)))
    assert [float(v) for v in f()] == [1.0, 2.0]


def test_io_callback_under_vmap_runs_once_a_lane():
    seen = []
    scalar = nr.ShapeDtypeStruct((), "float64")

    def f(x):
        return nr.io_callback(lambda v: (seen.append(float(v)), np.asarray(v) * 2)[1], scalar, x)

    close(nr.vmap(f)(X), 2 * X)
    assert seen == X.tolist()


# ---------------------------------------------------------------- debug
def test_debug_print(capsys):
    f = lambda x: (nr.debug.print("x = {x}, twice {}", x * 2, x=x), x)[1]  # noqa: E731
    for wrap in (lambda f: f, nr.jit, nr.checkpoint):
        wrap(f)(np.float64(1.5))
        assert capsys.readouterr().out == "x = 1.5, twice 3.0\n"
    nr.vmap(f)(np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "x = 1.0, twice 2.0\nx = 2.0, twice 4.0\n"
    nr.debug.print("{x:.3f} and {{braces}} {t}", x=np.float64(1 / 3), t={"a": np.int32(1)})
    assert capsys.readouterr().out == "0.333 and {braces} {'a': Array(1, dtype=int32)}\n"


def test_debug_print_in_loops_branches_and_gradients(capsys):
    def f(x):
        h = lax.scan(lambda c, e: ((nr.debug.print("{}", e), c * e)[1], None), x, np.arange(3))[0]
        return lax.cond(x > 0, lambda y: (nr.debug.print("positive"), y)[1], lambda y: y, h)

    nr.jit(f)(1.5)
    assert capsys.readouterr().out == "0\n1\n2\npositive\n"
    nr.jit(nr.grad(f))(1.5)
    assert capsys.readouterr().out.count("positive") == 1


def test_debug_print_reports_bad_formats_where_they_are_written():
    with pytest.raises(KeyError, match="y"):
        nr.jit(lambda x: (nr.debug.print("{y}", x=x), x)[1])(X)
    with pytest.raises(IndexError):
        nr.debug.print("{} {}", 1)


def test_debug_callback_sees_arrays_and_ignores_the_result():
    seen = []
    f = nr.jit(lambda x: (nr.debug.callback(lambda v, *, k: seen.append((v, k)), x, k=x[0]), x)[1])
    f(X)
    (value, k) = seen[0]
    close(value, X)
    close(k, X[0])
    assert not isinstance(value, nr.core.tracing.Tracer)


def test_callbacks_see_what_the_caller_may_not_overwrite():
    def overwrite(v):
        v = np.asarray(v)
        if v.flags.writeable:
            v[...] = 99.0
        return v * 1.0

    x = jnp.asarray(X)
    nr.jit(lambda x: nr.pure_callback(overwrite, F3, x))(x)
    close(x, X)


def test_an_error_in_a_callback_is_the_users_own():
    class Mine(Exception):
        pass

    def fail(x):
        raise Mine("here")

    for wrap in (lambda f: f, nr.jit, nr.vmap):
        with pytest.raises(Mine, match="here"):
            wrap(lambda x: nr.pure_callback(fail, x, x, vmap_method="sequential"))(X)


def test_debug_callbacks_take_what_is_no_array(capsys):
    @nr.jit
    def f(x):
        nr.debug.print("{} {name} {dtype}", x, name="loss", dtype=x.dtype)
        nr.debug.callback(lambda a, mode: print(mode, a), x, mode="train")

    f(jnp.float32(2))
    assert capsys.readouterr().out == "2.0 loss float32\ntrain 2.0\n"


def test_values_without_a_field_are_refused():
    with pytest.raises(ValueError, match="debug.print: there must be a field for each.*none for 1"):
        nr.debug.print("{}", 1, 2)
    with pytest.raises(ValueError, match="none for 'y'"):
        nr.debug.print("{x}", x=1, y=2)


def test_debug_log_goes_to_the_logger(caplog):
    with caplog.at_level("INFO", logger="nr"):
        nr.jit(lambda x: nr.debug.log("x = {}", x))(1)
    assert caplog.messages == ["x = 1"]


def test_containers_of_results_may_be_others_than_declared():
    shapes = [F3, F3]
    out = nr.jit(lambda x: nr.pure_callback(lambda x: (x, x + 1), shapes, x))(jnp.asarray(X))
    assert type(out) is list
    close(out[1], X + 1)


def test_legacy_vectorized_callbacks_see_unmapped_arguments_as_they_are():
    seen = []

    def add(x, y):
        seen.append((x.shape, y.shape))
        return np.asarray(x) + np.asarray(y)

    f = lambda x, y: nr.pure_callback(add, x, x, y, vmap_method="legacy_vectorized")  # noqa: E731
    close(nr.vmap(f, (0, None))(X, X[0]), X + X[0])
    assert seen == [((3,), ())]
