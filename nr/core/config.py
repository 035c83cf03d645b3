"""The few options of nr: default dtypes, jaxpr checking, traceback filtering."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_FLOATS = {name: np.dtype(name) for name in ("float32", "float64")}
# Options of JAX whose named values (None: all values) describe what nr does anyway.
_AS_HERE: dict[str, tuple | None] = {
    "jax_check_tracer_leaks": None,
    "jax_debug_nans": (False,),
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": ("threefry2x32",),
    "jax_log_compiles": (False,),
    "jax_numpy_dtype_promotion": ("standard",),
    "jax_numpy_rank_promotion": ("allow",),
    "jax_platform_name": ("cpu",),
    "jax_platforms": ("cpu",),
    "jax_threefry_partitionable": (True,),
    "jax_traceback_filtering": None,
}
_INTS = {name: np.dtype(name) for name in ("int32", "int64")}


class Config:
    """Options as attributes; set one for a block of code with ``nr.config.using(...)``.

    default_float, default_int: dtype of creation functions and Python scalars ("float32"/"float64",
    "int32"/"int64"). check: validate every jaxpr between passes (``NR_CHECK=1``).
    traceback_filtering: hide nr's own frames in tracebacks (``NR_TRACEBACKS=full`` shows them).

    Example:
        >>> import nr
        >>> with nr.config.using(default_float="float64"):
        ...     print(nr.numpy.zeros(2).dtype)
        float64
    """

    def __init__(self) -> None:
        self._default_float = ContextVar("default_float", default=_FLOATS["float32"])
        self._default_int = ContextVar("default_int", default=_INTS["int32"])
        self.check = os.environ.get("NR_CHECK", "0") not in ("", "0")
        self.traceback_filtering = os.environ.get("NR_TRACEBACKS", "filtered") != "full"

    @property
    def default_float(self) -> np.dtype:
        return self._default_float.get()

    @default_float.setter
    def default_float(self, value: Any) -> None:
        self._default_float.set(_one_of("default_float", value, _FLOATS))

    @property
    def default_int(self) -> np.dtype:
        return self._default_int.get()

    @default_int.setter
    def default_int(self, value: Any) -> None:
        self._default_int.set(_one_of("default_int", value, _INTS))

    @property
    def jax_enable_x64(self) -> bool:
        """Whether both default dtypes have 64 bits."""
        return (self.default_float, self.default_int) == (_FLOATS["float64"], _INTS["int64"])

    def read(self, name: str) -> Any:
        """One option by name."""
        return getattr(self, name)

    def update(self, name: str, value: Any) -> None:
        """Set one option by name; ``jax_enable_x64`` is understood as the 64-bit default dtypes."""
        if name == "jax_enable_x64":
            self.default_float = "float64" if value else "float32"
            self.default_int = "int64" if value else "int32"
        elif name in ("default_float", "default_int", "check", "traceback_filtering"):
            setattr(self, name, value)
        elif name in _AS_HERE:
            allowed = _AS_HERE[name]
            if allowed is not None and value not in allowed:
                raise ValueError(
                    f"config.update: {name} must be {' or '.join(map(repr, allowed))} here; "
                    f"got {value!r}."
                )
        else:
            raise ValueError(
                f"config.update: the option must be one of default_float, default_int, check, "
                f"traceback_filtering or jax_enable_x64; got {name!r}."
            )

    @contextmanager
    def using(self, **options: Any) -> Iterator[None]:
        """Set options for the duration of a ``with`` block."""
        names = ["default_float", "default_int", "check", "traceback_filtering"]
        before = {name: getattr(self, name) for name in names}
        try:
            for name, value in options.items():
                self.update(name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def trace_key(self) -> tuple[np.dtype, np.dtype]:
        """What a traced program depends on besides its arguments."""
        return self._default_float.get(), self._default_int.get()


def _one_of(option: str, value: Any, choices: dict[str, np.dtype]) -> np.dtype:
    name = np.dtype(value).name
    if name not in choices:
        raise ValueError(f"config: {option} must be one of {', '.join(choices)}; got {name}.")
    return choices[name]


config = Config()
