"""Without these tests jit could retrace in silence, bake in data, or return what it should not."""

from __future__ import annotations

import functools
import gc
import weakref

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax, stages

X = np.array([0.31, -0.47, 0.63])


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13, atol=1e-14)


def counted(f=lambda x: x * 2.0, **options):
    calls = []

    @functools.wraps(f)
    def g(*args, **kwargs):
        calls.append(1)
        return f(*args, **kwargs)

    return nr.jit(g, **options), calls


# ---------------------------------------------------------------- one trace a signature
def test_a_signature_is_traced_once():
    f, calls = counted()
    x32 = jnp.asarray(X.astype(np.float32))
    for _ in range(3):
        f(X), f(jnp.asarray(X)), f(x32), f(jnp.zeros((2, 2)))
    assert len(calls) == 3
    assert f._cache_size() == 3
    f.clear_cache()
    f(X)
    assert len(calls) == 4


def test_jit_written_where_it_is_called_traces_once():
    calls = []

    def f(x):
        calls.append(1)
        return x * 2.0

    for _ in range(3):
        nr.jit(f)(X)
    assert len(calls) == 1
    nr.jit(f, donate_argnums=0)(X)  # other options, another program
    assert len(calls) == 2
    nr.jit(f).clear_cache()
    nr.jit(f)(X)
    assert len(calls) == 3
    nr.clear_caches()
    nr.jit(f)(X)
    assert len(calls) == 4


def test_programs_live_as_long_as_their_function():
    def adding(kept):
        return (lambda x: x + kept), weakref.ref(kept)

    f, gone = adding(jnp.ones(3))
    nr.jit(f)(X)
    assert gone() is not None
    del f
    gc.collect()
    assert gone() is None


def test_signatures_are_kept_in_any_number():
    f, calls = counted()
    for _ in range(2):
        for n in range(40):
            assert f(np.zeros(n)).shape == (n,)
    assert len(calls) == 40


def test_the_structure_of_arguments_is_part_of_the_signature():
    f, calls = counted(lambda t: nr.tree.map(lambda x: x + 1, t))
    assert set(f({"a": X, "b": X})) == {"a", "b"}
    assert isinstance(f((X, X)), tuple) and isinstance(f([X, X]), list)
    assert f({"a": X, "b": None})["b"] is None
    assert len(calls) == 4


def test_the_order_of_dict_keys_is_not():
    f, calls = counted(lambda t: t["a"] - t["b"])
    close(f({"a": X, "b": 2 * X}), -X)
    close(f({"b": 2 * X, "a": X}), -X)
    assert len(calls) == 1


def test_weak_and_strong_scalars_are_different_signatures():
    f, calls = counted(lambda s, x: s * x)
    half = np.ones(3, np.float16)
    assert f(2.0, half).dtype == np.float16
    assert f(np.float32(2.0), half).dtype == np.float32
    assert f(2, half).dtype == np.float16
    assert len(calls) == 3
    f(3.0, half), f(np.float32(7.0), half), f(5, half)
    assert len(calls) == 3


def test_python_scalars_are_arguments_not_constants():
    f, calls = counted(lambda n, flag, x: x * n + jnp.where(flag, 1.0, 0.0))
    close(f(2, True, X), 2 * X + 1)
    close(f(3, False, X), 3 * X)
    assert len(calls) == 1
    assert nr.jit(lambda x, y: x * y)(2, 1.0).weak_type
    g = nr.jit(lambda x: x)
    assert g(3).dtype == np.int32 and g(3).weak_type
    assert g(True).dtype == np.bool_ and g(1.5).dtype == np.float32 and g(1j).dtype == np.complex64


def test_keyword_arguments_and_defaults():
    f, calls = counted(lambda x, *, y=2.0, z=None: x * y if z is None else x * y + z)
    close(f(X), 2 * X)
    close(f(X, y=3.0), 3 * X)
    close(f(X, y=3.0, z=X), 4 * X)
    close(f(X, z=X, y=5.0), 6 * X)
    assert len(calls) == 3
    close(f(x=X, y=2.0), 2 * X)


def test_default_dtypes_are_part_of_the_signature():
    f, calls = counted(lambda x: x + jnp.ones(()))
    assert f(1).dtype == np.float32
    with nr.config.using(default_float="float64"):
        assert f(1).dtype == np.float64
    assert f(1).dtype == np.float32
    assert len(calls) == 2


def test_traces_say_what_differed():
    f = nr.jit(lambda x, params, n=1: x * n, static_argnames="n")
    f(X, {"w": X})
    f(X[:2], {"w": X})
    f(X, {"w": X.astype(np.float32)})
    f(X, {"w": X}, n=2)
    f(X, {"v": X})
    f(2.0, {"w": X})
    records = f.traces()
    assert [r.differs for r in records[:3]] == [
        "first trace",
        "x: f64[3] -> f64[2]",
        "params['w']: f64[3] -> f32[3]",
    ]
    assert "n: 1 -> 2" in records[3].differs or "n: None -> 2" in records[3].differs
    assert records[4].differs == "the structure of the arguments"
    assert "f32[] (weak)" in records[5].differs
    assert records[0].signature == {"x": "f64[3]", "params['w']": "f64[3]"}
    assert all(r.seconds > 0 and "test_jit.py" in r.called_from for r in records)


# ---------------------------------------------------------------- static arguments
def test_static_arguments_by_number_and_name():
    for options in ({"static_argnums": 1}, {"static_argnames": "n"}, {"static_argnums": (-1,)}):
        f, calls = counted(lambda x, n: x * sum(range(n)), **options)
        close(f(X, 4), 6 * X)
        close(f(X, 4), 6 * X)
        close(f(X, 5), 10 * X)
        assert len(calls) == 2
    f, calls = counted(lambda x, n: x * sum(range(n)), static_argnames=("n",))
    close(f(X, n=4), 6 * X)
    close(f(X, n=5), 10 * X)
    close(f(X, n=4), 6 * X)
    assert len(calls) == 2


def test_static_values_that_are_equal_but_of_different_types():
    f, calls = counted(lambda x, n: x if n is True else x * n, static_argnums=1)
    assert f(X, 1).dtype == np.float64
    f(X, True), f(X, 1.0)
    assert len(calls) == 3


def test_static_arguments_may_be_functions_and_frozen_objects():
    f, calls = counted(lambda act, x: act(x), static_argnums=0)
    close(f(jnp.sin, X), np.sin(X))
    close(f(jnp.cos, X), np.cos(X))
    close(f(jnp.sin, X), np.sin(X))
    assert len(calls) == 2


def test_jitted_methods():
    class Scale:
        def __init__(self, by):
            self.by = by

        @functools.partial(nr.jit, static_argnums=0)
        def apply(self, x):
            return x * self.by

        @functools.partial(nr.jit, static_argnames=("self", "power"))
        def raised(self, x, power=2):
            return (x * self.by) ** power

    one, two = Scale(2.0), Scale(3.0)
    close(one.apply(X), 2 * X)
    close(two.apply(X), 3 * X)
    close(one.apply(X), 2 * X)
    close(two.raised(X), 9 * X**2)
    close(two.raised(X, power=3), 27 * X**3)


def test_unhashable_static_argument():
    f = nr.jit(lambda x, shape: x.reshape(shape), static_argnames="shape")
    with pytest.raises(
        ValueError,
        match=r"jit: static arguments must be hashable; got list for "
        "`shape` of <lambda>. Pass a tuple",
    ):
        f(X, [3, 1])
    with pytest.raises(ValueError, match="static arguments must be hashable; got list for `shape`"):
        f(X, shape=[3, 1])
    assert f(X, (3, 1)).shape == (3, 1)
    with pytest.raises(ValueError, match="jit: static arguments must .*array|hashable"):
        f(X, jnp.asarray(3))


# ---------------------------------------------------------------- donation
def test_a_donated_array_is_gone():
    f = nr.jit(lambda x, y: x + y, donate_argnums=0)
    for _ in range(2):  # the first call traces, the second takes the quick path
        x, y = jnp.asarray(X), jnp.asarray(X)
        close(f(x, y), 2 * X)
        assert x.is_deleted() and not y.is_deleted()
        assert x.shape == (3,)
        with pytest.raises(RuntimeError, match="array: its memory was given away.*donat"):
            x + 1
        with pytest.raises(RuntimeError, match="array: its memory was given away"):
            f(x, y)
        with pytest.raises(RuntimeError, match="given away"):
            np.asarray(x)
        assert "deleted" in repr(x)


def test_donation_of_trees_and_by_name():
    f = nr.jit(
        lambda state, *, extra: nr.tree.map(lambda s: s + extra, state),
        donate_argnums=(0,),
        donate_argnames=("extra",),
    )
    state, extra = {"a": jnp.asarray(X), "b": jnp.asarray(X)}, jnp.asarray(1.5)
    out = f(state, extra=extra)
    close(out["a"], X + 1.5)
    assert state["a"].is_deleted() and state["b"].is_deleted() and extra.is_deleted()


def test_donation_does_not_touch_numpy_arrays_or_the_results():
    x = X.copy()
    f = nr.jit(lambda x: x, donate_argnums=0)
    close(f(x), X)
    y = jnp.asarray(X)
    out = f(y)
    close(out, X)
    close(out + 1, X + 1)


def test_the_same_array_donated_and_kept():
    x = jnp.asarray(X)
    out = nr.jit(lambda a, b: a * b, donate_argnums=0)(x, x)
    close(out, X * X)


# ---------------------------------------------------------------- constants
def test_closed_over_arrays_are_passed_not_baked_in():
    big = jnp.asarray(np.arange(1000.0))
    f = nr.jit(lambda x: x + big)
    jaxpr = f.lower(1.0).jaxpr
    assert [c is big for c in jaxpr.consts] == [True]
    assert "999" not in str(jaxpr)
    host = np.arange(4.0)
    g = nr.jit(lambda x: x + host)
    close(g(1.0), np.arange(4.0) + 1)
    host[:] = -1.0  # the program keeps what it saw
    close(g(1.0), np.arange(4.0) + 1)
    close(g(2.0), np.arange(4.0) + 2)


def test_a_constant_used_twice_is_held_once():
    big = jnp.asarray(np.arange(1000.0))
    inner = nr.jit(lambda x: x * big)
    assert len(nr.jit(lambda x: (x + big) * big).lower(1.0).jaxpr.consts) == 1
    close(nr.jit(lambda x: inner(x) + inner(x + 1.0) + big)(1.0), np.arange(1000.0) * 4)


def test_results_do_not_share_memory_with_numpy_arguments():
    x = X.copy()
    identity, pair = nr.jit(lambda a: a), nr.jit(lambda a: (a.reshape(1, 3), a[::-1], {"k": a}))
    for _ in range(2):
        out, (row, reverse, tree) = identity(x), pair(x)
        assert not any(
            np.may_share_memory(np.asarray(o), x) for o in (out, row, reverse, tree["k"])
        )
    x[:] = 0.0
    close(out, X)
    close(row[0], X)


def test_results_are_not_writable_through_numpy():
    out = np.asarray(nr.jit(lambda a: a + 1)(X))
    with pytest.raises(ValueError, match="read-only"):
        out[0] = 5.0


# ---------------------------------------------------------------- nesting, transforms
def test_nested_jit_is_traced_once_a_signature():
    inner, inner_calls = counted(lambda x: jnp.sin(x))
    outer, outer_calls = counted(lambda x: inner(x) + inner(x * 2.0) + inner(inner(x)))
    close(outer(X), np.sin(X) + np.sin(2 * X) + np.sin(np.sin(X)))
    outer(X), outer(X + 1)
    assert len(inner_calls) == 1 and len(outer_calls) == 1


def test_closed_over_tracers_of_an_outer_transformation():
    def f(x):
        g = nr.jit(lambda y: y * x + jnp.sum(x))
        return jnp.sum(g(x) * g(X))

    h = 1e-5
    want = [(float(f(X + h * e)) - float(f(X - h * e))) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(np.asarray(nr.grad(f)(X)), want, rtol=1e-7)
    np.testing.assert_allclose(np.asarray(nr.jit(nr.grad(f))(X)), want, rtol=1e-7)
    close(nr.vmap(f)(np.stack([X, X + 1])), [float(f(X)), float(f(X + 1))])


def test_a_jitted_function_does_not_keep_tracers_of_the_outer_transformation():
    state = {}

    def f(x):
        state.setdefault("g", nr.jit(lambda y: y * 2.0))
        return jnp.sum(state["g"](x))

    close(nr.grad(f)(X), np.full(3, 2.0))
    close(nr.vmap(f)(np.stack([X])), [2 * X.sum()])
    close(f(X), 2 * X.sum())


def test_gradients_of_a_jitted_function_do_not_trace_it_again():
    f, calls = counted(lambda x: jnp.sum(jnp.sin(x)))
    for _ in range(3):
        nr.grad(f)(X)
        nr.jvp(f, (X,), (X,))
        nr.vmap(f)(np.stack([X]))
    assert len(calls) == 1


def test_recursion():
    @functools.partial(nr.jit, static_argnums=1)
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    close(power(X, 5), X**5)

    @nr.jit
    def forever(x):
        return forever(x)

    with pytest.raises(RecursionError):
        forever(X)


def test_inline():
    inner = nr.jit(lambda x: jnp.sin(x), inline=True)
    assert "jit" not in str(nr.make_jaxpr(lambda x: inner(x))(X))
    close(nr.jit(inner)(X), np.sin(X))


def test_disable_jit_runs_python():
    seen = []
    f = nr.jit(lambda x: (seen.append(type(x)), x * 2)[1])
    with nr.disable_jit():
        close(f(jnp.asarray(X)), 2 * X)
    assert not issubclass(seen[0], nr.core.tracing.Tracer)
    f(X)
    assert issubclass(seen[1], nr.core.tracing.Tracer)


# ---------------------------------------------------------------- failures
def test_an_exception_leaves_no_state():
    fail = [True]

    @nr.jit
    def f(x):
        if fail[0]:
            raise KeyError("mine")
        return x * 2.0

    for transform in (
        lambda f: f,
        nr.vmap,
        lambda f: nr.grad(lambda x: jnp.sum(f(x))),
        nr.checkpoint,
    ):
        with pytest.raises(KeyError, match="mine"):
            transform(f)(X)
        close(jnp.sin(X), np.sin(X))  # eager work is eager again
        assert nr.core.tracing.current_trace() is nr.core.tracing.EVAL
        assert nr.core.tracing.axis_env() == ()
    fail[0] = False
    close(f(X), 2 * X)


def test_an_exception_of_the_running_program_leaves_no_state():
    def check(v):
        if v[0] > 1:
            raise ValueError("too large")
        return v

    f = nr.jit(lambda x: nr.pure_callback(check, x, x) * 2.0)
    close(f(X), 2 * X)
    with pytest.raises(ValueError, match="too large"):
        f(X + 5)
    close(f(X), 2 * X)


def test_large_python_integers():
    f = nr.jit(lambda n: n + 1)
    with pytest.raises(OverflowError):
        f(2**40)
    assert int(f(2**31 - 2)) == 2**31 - 1
    assert int(f(np.int64(2**40))) == 2**40 + 1


def test_argument_errors_name_the_argument():
    f = nr.jit(lambda x, params: x)
    with pytest.raises(
        TypeError,
        match=r"jit: arguments must be arrays, numbers or pytrees of them; "
        r"got 'adam' of type str at .*\['name'\].*static",
    ):
        f(X, {"name": "adam"})
    with pytest.raises(TypeError, match="jit: the function must return arrays or numbers.*'text'"):
        nr.jit(lambda x: {"a": "text"})(X)
    with pytest.raises(TypeError, match="jit: a function was expected; got 3"):
        nr.jit(3)
    with pytest.raises(TypeError, match="missing .*argument"):
        f(X)


# ---------------------------------------------------------------- ahead of time
def test_lower_and_compile():
    f = nr.jit(lambda x, p, n=2: {"y": x * p["w"] * n}, static_argnames="n")
    lowered = f.lower(nr.ShapeDtypeStruct((3,), "float64"), {"w": X}, n=3)
    assert "mul" in lowered.as_text()
    assert lowered.out_info["y"] == nr.ShapeDtypeStruct((3,), "float64")
    compiled = lowered.compile()
    close(compiled(X, {"w": X})["y"], 3 * X * X)
    with pytest.raises(TypeError, match=r"compiled.*f64\[3\], f64\[3\]; got f64\[2\], f64\[3\]"):
        compiled(X[:2], {"w": X})
    with pytest.raises(TypeError, match="compiled.*static ones left out; got"):
        compiled(X, {"w": X}, n=2)
    assert f.eval_shape(X, {"w": X})["y"] == nr.ShapeDtypeStruct((3,), "float64")


def test_compiled_programs_keep_their_static_arguments():
    def f(x, n, y, *, m=2):
        return x * n + y * m

    for donated in ((), (0,)):
        jitted = nr.jit(f, static_argnums=1, static_argnames="m", donate_argnums=donated)
        compiled = jitted.lower(X, 3, X, m=5).compile()
        close(compiled(jnp.array(X), X), 8 * X)
        with pytest.raises(TypeError, match="compiled f: arguments must have the structure"):
            compiled(X, 4, X)


def test_eval_shape_does_not_run():
    ran = []

    def f(x, y):
        nr.debug.callback(lambda: ran.append(1))
        return {"a": x @ y, "b": jnp.sum(y)}

    shapes = nr.eval_shape(f, nr.ShapeDtypeStruct((2, 3), "float32"), np.zeros((3, 4), np.float32))
    assert shapes["a"] == nr.ShapeDtypeStruct((2, 4), "float32") and shapes["b"].shape == ()
    assert ran == []


def test_shapes_of_arrays_that_are_there():
    x = jnp.ones((2, 3))
    shape = nr.ShapeDtypeStruct.like(x)
    assert shape == nr.eval_shape(lambda y: y, x) and shape.sharding == x.sharding
    assert nr.ShapeDtypeStruct.like(2.0).weak_type
    assert repr(nr.ShapeDtypeStruct.like(2)).endswith("(shape=(), dtype=int32, weak_type=True)")
    assert nr.ShapeDtypeStruct((2,), "int32", sharding=x.sharding).update(shape=()).shape == ()
    assert nr.ShapeDtypeStruct((2,), "int32").sharding is None
    pair = nr.eval_shape(lambda y: {"a": (y @ x, shape)}, jnp.ones(2))
    assert pair == {"a": (nr.ShapeDtypeStruct((3,), "float32"), shape)}


# ---------------------------------------------------------------- memory, attributes
def test_programs_do_not_keep_their_arguments_alive():
    f = nr.jit(lambda x: x * 2.0)
    x = jnp.asarray(np.zeros(1000))
    f(x)
    ref = weakref.ref(x)
    del x
    gc.collect()
    assert ref() is None


def test_the_wrapper_keeps_name_and_docstring():
    @nr.jit
    def clever(x):
        """A docstring."""
        return x

    assert clever.__name__ == "clever" and clever.__doc__ == "A docstring."
    assert "clever" in repr(clever)
    assert clever.__wrapped__(3) == 3


def test_jit_of_functions_without_arguments_or_results():
    close(nr.jit(lambda: jnp.asarray(X) * 2)(), 2 * X)
    assert nr.jit(lambda x: None)(X) is None
    assert nr.jit(lambda x: ())(X) == ()
    out = nr.jit(lambda x: (x, x, 1, 2.5))(X)
    assert int(out[2]) == 1 and float(out[3]) == 2.5


def test_jit_in_a_loop_under_scan_and_grad():
    step = nr.jit(lambda w, x: w - 0.1 * nr.grad(lambda w: jnp.sum((w * x - 1.0) ** 2))(w))
    out = lax.scan(lambda w, x: (step(w, x), jnp.sum(w)), jnp.asarray(X), np.ones((4, 3)))[0]
    w = X.copy()
    for _ in range(4):
        w = w - 0.2 * (w - 1.0)
    close(out, w)


def test_static_arguments_must_exist():
    with pytest.raises(
        ValueError, match=r"jit: static and donated arguments .* got 2 for \(x, y\)"
    ):
        nr.jit(lambda x, y: x, static_argnums=2)
    with pytest.raises(ValueError, match=r"got 'n' for \(x\)"):
        nr.jit(lambda x: x, static_argnames="n")
    assert nr.jit(lambda *xs, **kw: xs[0], static_argnums=3, static_argnames="n")(1, 2) == 1


def test_devices_and_options_of_other_compilers():
    f = nr.jit(lambda x: x + 1, device=nr.devices()[0], compiler_options={"xla_flag": True})
    assert f(1) == 2 and nr.jit(lambda x: x + 1, backend="cpu")(1) == 2
    with pytest.raises(ValueError, match="jit: the default device.*got tpu.*device_put"):
        nr.jit(lambda x: x, backend="tpu")


def test_numbers_and_names_that_are_both_given_do_not_complete_each_other():
    @functools.wraps(lambda a, b: None)  # a signature that is not the function's
    def f(tag, x, *args, b=2):
        return x * b

    assert float(nr.jit(f, static_argnums=(0,), static_argnames=["b"])("tag", 2.0, b=3)) == 6.0
    with pytest.raises(nr.errors.TracerBoolConversionError):
        nr.jit(lambda a, b: a if b else -a, static_argnums=(0,), static_argnames=["b"])(1, True)
    assert nr.jit(lambda a, b: a if b else -a, static_argnames=["b"])(1, False) == -1


def test_numbers_of_arguments_may_be_numpys():
    f = nr.jit(lambda x, n: x * n, static_argnums=np.int64(1))
    assert f.static_argnums == (1,) and f.static_argnames == ("n",)


@pytest.mark.parametrize("kind", ["static_argnames", "donate_argnames"])
def test_names_of_arguments_that_have_none_are_refused(kind):
    def f(a, /, b, *rest, **options):
        return a

    nr.jit(f, **{kind: ("b", "any")})
    for name in ("a", "rest"):
        with pytest.raises(ValueError, match=f"must be arguments of the function; got '{name}'"):
            nr.jit(f, **{kind: name})
    with pytest.raises(TypeError, match="names of arguments must be strings; got 0"):
        nr.jit(f, **{kind: (0,)})


def test_an_argument_is_not_both_static_and_donated():
    for options in (
        {"static_argnums": 0, "donate_argnums": 0},
        {"static_argnames": "x", "donate_argnames": "x"},
        {"static_argnames": "x", "donate_argnums": 0},
    ):
        with pytest.raises(ValueError, match="must not be both static and donated"):
            nr.jit(lambda x: x, **options)


def test_masked_arrays_are_refused():
    masked = np.ma.array([1, 2, 3], mask=[True, False, True])
    for f in (nr.jit(lambda x: x), jnp.asarray, jnp.sin, nr.device_put):
        with pytest.raises(ValueError, match="an array without a mask was expected"):
            f(masked)


# ---------------------------------------------------------------- stages
def test_the_stages_of_a_program():
    f = nr.jit(lambda x, n: {"y": x * n}, static_argnums=1, donate_argnums=0)
    traced = f.trace(nr.ShapeDtypeStruct((3,), "float32"), 2)
    lowered = traced.lower()
    compiled = lowered.compile()
    assert [type(s) for s in (f, traced, lowered, compiled)] == [
        stages.Wrapped, stages.Traced, stages.Lowered, stages.Compiled
    ]  # fmt: skip
    assert traced.fun_name == "<lambda>" and "mul" in str(traced.jaxpr)
    for stage in (traced, lowered, compiled):
        assert stage.args_info == ((stages.ArgInfo((3,), np.dtype("float32"), True),), {})
        assert stage.out_info == {"y": nr.ShapeDtypeStruct((3,), "float32")}
        assert stage.donate_argnums == (0,)
        assert [str(a) for a in (*stage.in_avals[0], *stage.out_avals)] == ["f32[3]", "f32[3]"]
    assert lowered.cost_analysis() == compiled.cost_analysis() == {"flops": 3.0}
    assert compiled(jnp.ones(3))["y"].tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(TypeError, match=r"compiled <lambda>: arguments must be .*f32\[3\]; got f3"):
        compiled(jnp.ones(2))


def test_ensure_compile_time_eval_traces_what_depends_on_tracers():
    def f(x):
        with nr.ensure_compile_time_eval():
            known = float(nr.numpy.sin(1.0)) * int(nr.numpy.arange(4).sum())
            scaled = nr.custom_jvp(lambda t: t * 2.0)
            scaled.defjvp(lambda p, t: (scaled(*p), 2.0 * t[0]))
            slope = nr.grad(lambda t: (t * x).sum())(nr.numpy.ones(3))
            return (scaled(x) * known * slope).sum()

    x = nr.numpy.arange(3.0)
    wanted = 4.0 * 6 * np.sin(1.0) * np.arange(3)
    np.testing.assert_allclose(nr.grad(f)(x), wanted, rtol=1e-6)
    np.testing.assert_allclose(nr.jit(nr.grad(f))(x), wanted, rtol=1e-6)
    np.testing.assert_allclose(nr.vmap(nr.grad(f))(x[None])[0], wanted, rtol=1e-6)
