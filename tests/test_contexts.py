"""Without these tests options for a block could be without effect, or outlive their block."""

import logging

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.array([0.31, -0.47, 0.63], "float32")


# ---------------------------------------------------------------- options
def test_wide_numbers_for_a_block():
    with nr.enable_x64():
        assert nr.config.jax_enable_x64
        assert jnp.zeros(2).dtype == np.float64 and jnp.arange(2).dtype == np.int64
        with nr.enable_x64(False):
            assert jnp.zeros(2).dtype == np.float32
    assert jnp.zeros(2).dtype == np.float32 and not nr.config.jax_enable_x64


def test_options_by_jaxs_names():
    assert nr.config.jax_log_compiles is False and nr.config.read("jax_enable_checks") in (0, 1)
    with nr.config.using(jax_log_compiles=True):
        assert nr.config.log_compiles
    assert not nr.config.log_compiles
    with pytest.raises(AttributeError, match="config: there is no option 'jax_speed'"):
        _ = nr.config.jax_speed


@pytest.mark.parametrize(
    ("context", "good", "bad"),
    [
        (nr.default_matmul_precision, "highest", "exact"),
        (nr.default_prng_impl, "threefry2x32", "rbg"),
        (nr.threefry_partitionable, True, False),
        (nr.legacy_prng_key, "allow", "error"),
        (nr.enable_custom_prng, False, True),
        (nr.debug_key_reuse, False, True),
    ],
    ids=["matmul", "prng", "threefry", "legacy", "custom", "reuse"],
)
def test_what_can_be_in_one_way_only(context, good, bad):
    with context(good):
        assert jnp.ones(2) @ jnp.ones(2) == 2
    message = f"config.update: .* must be .*; got {bad!r}"
    with pytest.raises(ValueError, match=message), context(bad):
        pass


def test_traces_and_compilations_are_logged(caplog):
    f = nr.jit(lambda x: x + 1.0)
    with caplog.at_level(logging.WARNING, "nr"):
        f(X)
        assert caplog.messages == []
        with nr.log_compiles():
            f(X), f(X[:2]), f(X[:2])
    traced, compiled = caplog.messages
    assert traced.startswith("Finished tracing jit(<lambda>) in") and "f32[3] -> f32[2]" in traced
    assert compiled.startswith("Finished native compilation of jit(<lambda>) in")


def test_no_tracing():
    f = nr.jit(lambda x: x + 1.0)
    f(X)
    with nr.no_tracing():
        f(X + 1)
        message = r"no_tracing: jit\(<lambda>\).*f32\[3\] -> f32\[2\]"
        with pytest.raises(RuntimeError, match=message):
            f(X[:2])
    f(X[:2])


def test_programs_are_checked_between_passes():
    with nr.enable_checks():
        assert nr.config.check
        assert float(nr.jit(nr.grad(jnp.sin))(0.0)) == 1.0


# ---------------------------------------------------------------- implicit promotion
A, B = jnp.ones(3), jnp.ones((2, 3))
RANKS_DIFFER = {
    "add": lambda: A + B,
    "maximum": lambda: jnp.maximum(A, B),
    "numpy": lambda: np.ones(3, "float32") * B,
    "comparison": lambda: B < A,
    "jit": lambda: nr.jit(lambda a, b: a + b)(A, B),
    "three": lambda: jnp.clip(B, 0, A),
}
RANKS_ARE_RIGHT = {
    "scalar": lambda: B + 1 + jnp.float32(1) + jnp.ones(()),
    "product": lambda: B @ A,
    "where": lambda: B.at[0].set(A),
    "explicit": lambda: jnp.broadcast_to(A, (2, 3)) + B + A[None],
    "inside": lambda: B.var(0) + jnp.dot(B, A).sum() + nr.nn.softmax(B)[0],
}


@pytest.mark.parametrize("name", RANKS_DIFFER)
def test_ranks_that_are_not_promoted(name):
    f = RANKS_DIFFER[name]
    f()
    with nr.numpy_rank_promotion("raise"):
        with pytest.raises(ValueError, match="Operands could not be broadcast together.*'raise'"):
            f()
        with nr.numpy_rank_promotion("allow"):
            f()
        with nr.numpy_rank_promotion("warn"), pytest.warns(UserWarning, match="one rank .* 'warn'"):
            f()
    f()


@pytest.mark.parametrize("name", RANKS_ARE_RIGHT)
def test_ranks_that_are_right(name):
    with nr.numpy_rank_promotion("raise"):
        RANKS_ARE_RIGHT[name]()


N, H = jnp.arange(3), jnp.ones(3, "bfloat16")
DTYPES_DIFFER = {
    "add": lambda: A + N,
    "number": lambda: N + 1.0,
    "complex": lambda: A + 1j,
    "bool": lambda: N + True,
    "half": lambda: A + H,
    "element": lambda: A * N[0],
    "product": lambda: A @ N,
    "comparison": lambda: A == N,
    "stack": lambda: jnp.stack([A, H]),
    "where": lambda: jnp.where(A > 0, A, N),
    "result_type": lambda: jnp.result_type(A, N),
    "jit": lambda: nr.jit(lambda a, b: a + b)(A, N),
}
DTYPES_ARE_RIGHT = {
    "numbers": lambda: (A + 1) * 2.0 + H.astype("float32") ** 2,
    "integers": lambda: ((N << 1) * 2, N / 2),
    "complex": lambda: A.astype("complex64") * 1j + 1,
    "weak": lambda: jnp.where(A > 0, 1.0, 0),
    "inside": lambda: jnp.mean(N) + jnp.var(A) + nr.nn.softmax(H).astype("float32"),
}


@pytest.mark.parametrize("name", DTYPES_DIFFER)
def test_dtypes_that_are_not_promoted(name):
    f = DTYPES_DIFFER[name]
    f()
    with (
        nr.numpy_dtype_promotion("strict"),
        pytest.raises(nr.dtypes.TypePromotionError, match="promotion: one dtype was expected"),
    ):
        f()
    f()


@pytest.mark.parametrize("name", DTYPES_ARE_RIGHT)
def test_dtypes_that_are_right(name):
    with nr.numpy_dtype_promotion("strict"):
        DTYPES_ARE_RIGHT[name]()


def test_words_that_are_no_promotion():
    with pytest.raises(ValueError, match="config: .* one of standard, strict; got 'none'"):
        nr.config.update("jax_numpy_dtype_promotion", "none")
    with pytest.raises(ValueError, match="config: .* one of allow, warn, raise; got 'never'"):
        nr.config.update("jax_numpy_rank_promotion", "never")


# ---------------------------------------------------------------- leaks
KEPT = []
LEAKERS = {
    "jit": lambda f: nr.jit(f)(X),
    "grad": lambda f: nr.grad(lambda x: jnp.sum(f(x)))(X),
    "vmap": lambda f: nr.vmap(f)(X),
    "linearize": lambda f: nr.linearize(f, X),
    "make_jaxpr": lambda f: nr.make_jaxpr(f)(X),
    "scan": lambda f: lax.scan(lambda c, _: (f(c), None), X, None, length=2),
    "checkpoint": lambda f: nr.checkpoint(f)(X),
}


@pytest.mark.parametrize("name", LEAKERS)
def test_leaks_are_found_where_they_happen(name):
    def leaky(x):
        KEPT.append(x)
        return x * 2

    LEAKERS[name](leaky)  # nothing is said without being asked
    with nr.checking_leaks(), pytest.raises(nr.errors.UnexpectedTracerError, match="Leaked trace"):
        LEAKERS[name](leaky)
    with nr.checking_leaks():
        LEAKERS[name](lambda x: x * 2)  # reported once
    KEPT.clear()


def test_what_nr_keeps_itself_is_no_leak():
    @nr.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct * jnp.cos(x),))
    loss = lambda x: jnp.sum(f(x) * lax.scan(lambda c, v: (c * v, c), x[0], x)[0])  # noqa: E731
    with nr.checking_leaks():
        squares = nr.grad(lambda x: jnp.sum(nr.checkpoint(f)(x) ** 2))
        nr.jit(nr.grad(lambda x: jnp.sum(squares(x))))(X)
        _, pullback = nr.vjp(loss, X)
        _, push = nr.linearize(nr.jit(jnp.sin), X)
        pullback(1.0), nr.vmap(push)(np.eye(3, dtype="float32"))


def test_options_of_jax_can_be_read():
    """Those with one possible value say what nr does."""
    assert nr.config.jax_platforms == "cpu" and nr.config.jax_threefry_partitionable is True
    assert nr.config.jax_default_matmul_precision is None
    assert not nr.config.x64_enabled
    with nr.config.using(default_float="float64", default_int="int64"):
        assert nr.config.x64_enabled
    with pytest.raises(AttributeError, match="no option 'jax_nonsense'"):
        nr.config.jax_nonsense  # noqa: B018


def test_options_for_what_is_otherwise_here_are_kept_without_effect():
    assert nr.config.jax_compilation_cache_dir is None
    try:
        nr.config.update("jax_compilation_cache_dir", "/nowhere")
        assert nr.config.read("jax_compilation_cache_dir") == "/nowhere"
    finally:
        nr.config.update("jax_compilation_cache_dir", None)
    with pytest.raises(ValueError, match="jax_debug_infs must be False here; got True"):
        nr.config.update("jax_debug_infs", True)


def test_jit_disabled_as_an_option():
    f = nr.jit(lambda x: x + 1 if x > 0 else x)
    try:
        nr.config.update("jax_disable_jit", True)
        assert nr.config.jax_disable_jit and f(1) == 2
    finally:
        nr.config.update("jax_disable_jit", False)
    with pytest.raises(nr.errors.TracerBoolConversionError):
        f(1)


def test_what_is_set_within_a_block_for_other_options_stays():
    try:
        with nr.log_compiles():
            nr.config.update("jax_numpy_rank_promotion", "warn")
        assert nr.config.numpy_rank_promotion == "warn" and not nr.config.log_compiles
    finally:
        nr.config.update("jax_numpy_rank_promotion", "allow")


def test_reasons_of_traces_are_logged(caplog):
    f = nr.jit(lambda x: x * 2)
    f(jnp.ones(2))
    with nr.explain_cache_misses():
        f(jnp.ones(3))
    assert "x: f32[2] -> f32[3]" in caplog.text
