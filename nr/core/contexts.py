"""Options for a block of code, under JAX's names: ``with nr.enable_x64(): ...`` and its kin.

Each is `nr.config.using` with one option. Those about precision, keys and platforms take the values
that describe what nr does, and refuse others.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from nr.core.config import config


def enable_x64(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether creation functions and Python numbers have 64 bits by default.

    Example:
        >>> import nr
        >>> with nr.enable_x64():
        ...     print(nr.numpy.zeros(2).dtype)
        float64
    """
    return config.using(jax_enable_x64=new_val)


def checking_leaks(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether a traced value that is kept beyond its transformation is an error at once.

    Example:
        >>> import nr
        >>> kept = []
        >>> with nr.checking_leaks():
        ...     nr.grad(lambda x: kept.append(x) or x * x)(1.0)
        Traceback (most recent call last):
        nr.core.errors.UnexpectedTracerError: Leaked trace. ...: a traced value f32[] was used ...
    """
    return config.using(check_tracer_leaks=new_val)


check_tracer_leaks = checking_leaks


def log_compiles(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether traces and compilations of jitted functions are logged as warnings of logger "nr"."""
    return config.using(log_compiles=new_val)


def explain_cache_misses(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether it is logged why a jitted function is traced: as `log_compiles`, which says so."""
    return config.using(log_compiles=new_val)


def no_tracing(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether a jitted function that would have to be traced anew raises RuntimeError.

    Example:
        >>> import nr
        >>> f = nr.jit(lambda x: x + 1.0)
        >>> f(1.0)
        Array(2., dtype=float32, weak_type=True)
        >>> with nr.no_tracing():
        ...     f(2.0)
        Array(3., dtype=float32, weak_type=True)
    """
    return config.using(no_tracing=new_val)


def enable_checks(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether every program is validated between passes."""
    return config.using(check=new_val)


def default_matmul_precision(new_val: str | None) -> AbstractContextManager[None]:
    """The least precision of products. On CPUs they always have their operands' precision."""
    return config.using(jax_default_matmul_precision=new_val)


def default_prng_impl(new_val: str) -> AbstractContextManager[None]:
    """The kind of random keys; there is "threefry2x32"."""
    return config.using(jax_default_prng_impl=new_val)


def legacy_prng_key(new_val: str) -> AbstractContextManager[None]:
    """What becomes of keys as plain arrays: "allow", they are as good as typed ones."""
    return config.using(jax_legacy_prng_key=new_val)


def enable_custom_prng(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether `nr.random.PRNGKey` makes typed keys: False; `nr.random.key` makes them."""
    return config.using(jax_enable_custom_prng=new_val)


def debug_key_reuse(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether a key that is used twice is an error: False."""
    return config.using(jax_debug_key_reuse=new_val)


def threefry_partitionable(new_val: bool = True) -> AbstractContextManager[None]:
    """Whether random bits do not depend on how arrays are partitioned; they never do."""
    return config.using(jax_threefry_partitionable=new_val)


def numpy_dtype_promotion(new_val: str) -> AbstractContextManager[None]:
    """Which dtypes `nr.numpy` promotes implicitly.

    Args:
        new_val: "standard", or "strict": a Python number beside arrays of one dtype; else
            `nr.dtypes.TypePromotionError` is raised.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> with nr.numpy_dtype_promotion("strict"):
        ...     jnp.ones(2) * jnp.arange(2)
        Traceback (most recent call last):
        nr.core.errors.TypePromotionError: promotion: one dtype was expected, ... got f32 and i32...
    """
    return config.using(numpy_dtype_promotion=new_val)


def numpy_rank_promotion(new_val: str) -> AbstractContextManager[None]:
    """Whether elementwise functions of `nr.numpy` broadcast arrays of several ranks (but 0).

    Args:
        new_val: "allow", "warn" (and broadcast), or "raise" (ValueError).

    Example:
        >>> import nr, nr.numpy as jnp
        >>> with nr.numpy_rank_promotion("raise"):
        ...     jnp.ones((2, 3)) + jnp.ones(3)
        Traceback (most recent call last):
        ValueError: add: Operands could not be broadcast together: arrays of one rank ...
    """
    return config.using(numpy_rank_promotion=new_val)
