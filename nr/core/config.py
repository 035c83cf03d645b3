"""The few options of nr: default dtypes, checks for NaNs, jaxpr checking, tracebacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_FLOATS = {name: np.dtype(name) for name in ("float32", "float64")}
# Options of nr; those that JAX has, too, are also understood with "jax_" in front.
_OWN = (
    "check_indices",
    "default_float",
    "default_int",
    "debug_nans",
    "check",
    "check_tracer_leaks",
    "disable_jit",
    "log_compiles",
    "no_tracing",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "traceback_filtering",
)
# Options of JAX whose named values (None: all values) describe what nr does anyway.
_AS_HERE: dict[str, tuple | None] = {
    "jax_debug_infs": (False,),
    "jax_debug_key_reuse": (False,),
    "jax_default_matmul_precision": (
        None,
        "default",
        "fastest",
        "high",
        "highest",
        "bfloat16",
        "bfloat16_3x",
        "tensorfloat32",
        "float32",
    ),
    "jax_default_prng_impl": ("threefry2x32",),
    "jax_enable_custom_prng": (False,),
    "jax_legacy_prng_key": ("allow",),
    "jax_num_cpu_devices": (-1, 1),
    "jax_platform_name": ("cpu",),
    "jax_platforms": ("cpu",),
    "jax_threefry_partitionable": (True,),
    "jax_traceback_filtering": None,
}
# Options of JAX for what is otherwise here, such as its cache; they keep what they are set to.
_WITHOUT_EFFECT: dict[str, Any] = {
    "jax_array_garbage_collection_guard": None,
    "jax_captured_constants_warn_bytes": 2_000_000_000,
    "jax_compilation_cache_dir": None,
    "jax_cpu_collectives_implementation": "gloo",
    "jax_enable_compilation_cache": True,
    "jax_include_full_tracebacks_in_locations": True,
    "jax_persistent_cache_enable_xla_caches": "xla_gpu_per_fusion_autotune_cache_dir",
    "jax_persistent_cache_min_compile_time_secs": 1.0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
    "jax_pprint_use_color": True,
    "jax_raise_persistent_cache_errors": False,
    "jax_softmax_custom_jvp": True,
    "jax_traceback_in_locations_limit": 100,
    "jax_transfer_guard": None,
    "jax_use_shardy_partitioner": True,
}
_SAME_AS_JAX = {
    f"jax_{name}": name
    for name in _OWN
    if name not in ("default_float", "default_int", "check", "check_indices", "traceback_filtering")
} | {"jax_enable_checks": "check", "jax_explain_cache_misses": "log_compiles"}
_INTS = {name: np.dtype(name) for name in ("int32", "int64")}


_jit_disabled: ContextVar[bool] = ContextVar("jit_disabled", default=False)
jit_disabled = _jit_disabled.get
_CHECK_INDICES = os.environ.get("NR_CHECK_INDICES", "1") not in ("", "0")
_AT_FIRST = (_FLOATS["float32"], _INTS["int32"], False, "standard", "allow", _CHECK_INDICES)


class _Traced:
    """An option that traced programs depend on: one place of `Config.trace_key`."""

    def __init__(self, place: int, check: Callable[[Any], Any]) -> None:
        self.place, self.check = place, check

    def __get__(self, config: Config, owner: type | None = None) -> Any:
        return config._traced.get()[self.place]

    def __set__(self, config: Config, value: Any) -> None:
        values = list(config._traced.get())
        values[self.place] = self.check(value)
        config._traced.set(tuple(values))
        if self.place > 1:  # eager code must take no way around what looks at these
            from nr.core.nans import check_eager_code

            check_eager_code(config.trace_key()[2:] != _AT_FIRST[2:])


class Config:
    """Options as attributes; set one for a block of code with ``nr.config.using(...)``.

    default_float, default_int: dtype of creation functions and Python scalars ("float32"/"float64",
    "int32"/"int64"). debug_nans: raise where a NaN is made, as `nr.debug_nans` does.
    numpy_dtype_promotion ("standard", "strict"), numpy_rank_promotion ("allow", "warn", "raise"):
    which implicit promotions `nr.numpy` does; see the functions of nr of these names.
    check_indices: raise IndexError for what is out of range (``NR_CHECK_INDICES=0``: hold indices
    within the range, fill or drop, as JAX does).
    disable_jit: run jitted functions as plain Python, as `nr.disable_jit` does for a block.
    check: validate every jaxpr between passes (``NR_CHECK=1``).
    check_tracer_leaks, log_compiles, no_tracing: as `nr.checking_leaks`, `nr.log_compiles` and
    `nr.no_tracing` set them for a block.
    traceback_filtering: hide nr's own frames in tracebacks (``NR_TRACEBACKS=full`` shows them).

    Example:
        >>> import nr
        >>> with nr.config.using(default_float="float64"):
        ...     print(nr.numpy.zeros(2).dtype)
        float64
    """

    default_float = _Traced(0, lambda value: _one_of("default_float", value, _FLOATS))
    default_int = _Traced(1, lambda value: _one_of("default_int", value, _INTS))
    debug_nans = _Traced(2, bool)
    numpy_dtype_promotion = _Traced(3, lambda value: _word(value, "standard", "strict"))
    numpy_rank_promotion = _Traced(4, lambda value: _word(value, "allow", "warn", "raise"))
    check_indices = _Traced(5, bool)

    def __init__(self) -> None:
        # What programs depend on is one tuple: every call of a jitted function asks for it.
        self._traced: ContextVar[tuple] = ContextVar("options", default=_AT_FIRST)
        self.trace_key = self._traced.get  # what a traced program depends on beside its arguments
        self.check = os.environ.get("NR_CHECK", "0") not in ("", "0")
        self._check_tracer_leaks = self.log_compiles = self.no_tracing = False
        self._without_effect = dict(_WITHOUT_EFFECT)
        self.traceback_filtering = os.environ.get("NR_TRACEBACKS", "filtered") != "full"

    @property
    def jax_enable_x64(self) -> bool:
        """Whether both default dtypes have 64 bits."""
        return (self.default_float, self.default_int) == (_FLOATS["float64"], _INTS["int64"])

    x64_enabled = jax_enable_x64

    @property
    def check_tracer_leaks(self) -> bool:
        """Whether a traced value that outlives its transformation is an error."""
        return self._check_tracer_leaks

    @check_tracer_leaks.setter
    def check_tracer_leaks(self, value: bool) -> None:
        if bool(value) != self._check_tracer_leaks:
            from nr.core import leaks

            (leaks.begin if value else leaks.end)()
        self._check_tracer_leaks = bool(value)

    @property
    def disable_jit(self) -> bool:
        """Whether jitted functions run as plain Python."""
        return jit_disabled()

    @disable_jit.setter
    def disable_jit(self, value: bool) -> None:
        _jit_disabled.set(bool(value))

    @property
    def jax_default_device(self) -> Any:
        """The device that was chosen for new arrays, or None."""
        from nr.core.devices import chosen_default

        return chosen_default()

    def __getattr__(self, name: str) -> Any:
        if name in _SAME_AS_JAX:
            return getattr(self, _SAME_AS_JAX[name])
        if name in _AS_HERE:
            return (_AS_HERE[name] or (None,))[0]
        if name in _WITHOUT_EFFECT:
            return self._without_effect[name]
        raise AttributeError(f"config: there is no option {name!r}.")

    def read(self, name: str) -> Any:
        """One option by name."""
        return getattr(self, name)

    def update(self, name: str, value: Any) -> None:
        """Set one option by name; ``jax_enable_x64`` is understood as the 64-bit default dtypes."""
        if name == "jax_enable_x64":
            self.default_float = "float64" if value else "float32"
            self.default_int = "int64" if value else "int32"
        elif name == "jax_default_device":
            from nr.core.devices import choose_default

            choose_default(value)
        elif name in _OWN:
            setattr(self, name, value)
        elif name in _SAME_AS_JAX:
            setattr(self, _SAME_AS_JAX[name], value)
        elif name in _WITHOUT_EFFECT:
            self._without_effect[name] = value
        elif name in _AS_HERE:
            allowed = _AS_HERE[name]
            if allowed is not None and value not in allowed:
                raise ValueError(
                    f"config.update: {name} must be {' or '.join(map(repr, allowed))} here; "
                    f"got {value!r}."
                )
        else:
            raise AttributeError(
                f"config.update: the option must be one of {', '.join(_OWN)} or jax_enable_x64; "
                f"got {name!r}."
            )

    @contextmanager
    def using(self, **options: Any) -> Iterator[None]:
        """Set options for the duration of a ``with`` block."""
        before = {name: getattr(self, name) for name in _OWN}
        changed = list(_OWN)
        try:
            for name, value in options.items():
                self.update(name, value)
            changed = [name for name in _OWN if getattr(self, name) != before[name]]
            yield
        finally:
            for name in changed:  # what else is set within the block stays so
                setattr(self, name, before[name])


def _word(value: Any, *words: str) -> str:
    if value not in words:
        raise ValueError(f"config: the option must be one of {', '.join(words)}; got {value!r}.")
    return value


def _one_of(option: str, value: Any, choices: dict[str, np.dtype]) -> np.dtype:
    name = np.dtype(value).name
    if name not in choices:
        raise ValueError(f"config: {option} must be one of {', '.join(choices)}; got {name}.")
    return choices[name]


config = Config()
