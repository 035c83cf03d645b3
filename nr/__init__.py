"""nr: NumPy-style pure functions; compose grad, vmap and jit; run as fused native code.

Names are imported when they are first used, so that ``import nr`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nr import backends as _backends  # noqa: F401 - registers the platforms

if TYPE_CHECKING:
    from nr import (
        ad_checkpoint,
        api_util,
        cache,
        checkpoint_policies,
        custom_batching,
        custom_derivatives,
        debug,
        dlpack,
        dtypes,
        errors,
        experimental,
        extend,
        flatten_util,
        image,
        interop,
        interpreters,
        lax,
        nn,
        numpy,
        ops,
        optim,
        random,
        scipy,
        sharding,
        stages,
        test_util,
        tree,
        tree_util,
        typing,
    )
    from nr.backends.cpu.threads import get_num_threads, num_threads, set_num_threads
    from nr.core.array import Array
    from nr.core.config import config
    from nr.core.contexts import (
        check_tracer_leaks,
        checking_leaks,
        debug_key_reuse,
        default_matmul_precision,
        default_prng_impl,
        enable_checks,
        enable_custom_prng,
        enable_x64,
        explain_cache_misses,
        legacy_prng_key,
        log_compiles,
        no_tracing,
        numpy_dtype_promotion,
        numpy_rank_promotion,
        threefry_partitionable,
    )
    from nr.core.devices import (
        Device,
        default_backend,
        default_device,
        device,
        device_count,
        devices,
        local_device_count,
        local_devices,
        process_count,
        process_index,
        process_indices,
    )
    from nr.core.dtypes import float0
    from nr.core.environment import print_environment_info
    from nr.core.nans import debug_nans
    from nr.core.shardings import NamedSharding, P, make_mesh, set_mesh
    from nr.core.tracing import typeof
    from nr.lax.placement import block_until_ready, device_get, device_put, effects_barrier
    from nr.transforms.callbacks import io_callback, pure_callback
    from nr.transforms.checkpoint import checkpoint, remat
    from nr.transforms.compiled_function import clear_caches, jit
    from nr.transforms.custom_derivatives import custom_jvp, custom_vjp
    from nr.transforms.custom_gradient import closure_convert, custom_gradient
    from nr.transforms.derivatives import (
        grad,
        hessian,
        jacfwd,
        jacobian,
        jacrev,
        jvp,
        linear_transpose,
        linearize,
        value_and_grad,
        vjp,
    )
    from nr.transforms.fwd_and_bwd import fwd_and_bwd
    from nr.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape, make_jaxpr
    from nr.transforms.names import (
        disable_jit,
        ensure_compile_time_eval,
        named_call,
        named_scope,
    )
    from nr.transforms.plan import plan
    from nr.transforms.pmap import pmap
    from nr.transforms.shard_map import shard_map
    from nr.transforms.vmap import vmap

__version__ = "0.1.0"

# Where each public name lives; the imports above say the same to type checkers.
_HOMES = {
    "nr.backends.cpu.threads": ["get_num_threads", "num_threads", "set_num_threads"],
    "nr.core.array": ["Array"],
    "nr.core.config": ["config"],
    "nr.core.contexts": [
        "check_tracer_leaks",
        "checking_leaks",
        "debug_key_reuse",
        "default_matmul_precision",
        "default_prng_impl",
        "enable_checks",
        "enable_custom_prng",
        "enable_x64",
        "explain_cache_misses",
        "legacy_prng_key",
        "log_compiles",
        "no_tracing",
        "numpy_dtype_promotion",
        "numpy_rank_promotion",
        "threefry_partitionable",
    ],
    "nr.core.dtypes": ["float0"],
    "nr.core.environment": ["print_environment_info"],
    "nr.core.devices": [
        "Device",
        "default_backend",
        "default_device",
        "device",
        "device_count",
        "devices",
        "local_device_count",
        "local_devices",
        "process_count",
        "process_index",
        "process_indices",
    ],
    "nr.core.nans": ["debug_nans"],
    "nr.core.shardings": ["NamedSharding", "P", "make_mesh", "set_mesh"],
    "nr.core.tracing": ["typeof"],
    "nr.lax.placement": ["block_until_ready", "device_get", "device_put", "effects_barrier"],
    "nr.transforms.callbacks": ["io_callback", "pure_callback"],
    "nr.transforms.checkpoint": ["checkpoint", "remat"],
    "nr.transforms.compiled_function": ["clear_caches", "jit"],
    "nr.transforms.custom_derivatives": ["custom_jvp", "custom_vjp"],
    "nr.transforms.custom_gradient": ["closure_convert", "custom_gradient"],
    "nr.transforms.derivatives": [
        "grad",
        "hessian",
        "jacfwd",
        "jacobian",
        "jacrev",
        "jvp",
        "linear_transpose",
        "linearize",
        "value_and_grad",
        "vjp",
    ],
    "nr.transforms.fwd_and_bwd": ["fwd_and_bwd"],
    "nr.transforms.make_jaxpr": ["ShapeDtypeStruct", "eval_shape", "make_jaxpr"],
    "nr.transforms.plan": ["plan"],
    "nr.transforms.names": [
        "disable_jit",
        "ensure_compile_time_eval",
        "named_call",
        "named_scope",
    ],
    "nr.transforms.pmap": ["pmap"],
    "nr.transforms.shard_map": ["shard_map"],
    "nr.transforms.vmap": ["vmap"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = [
    "ad_checkpoint",
    "api_util",
    "cache",
    "checkpoint_policies",
    "custom_batching",
    "custom_derivatives",
    "debug",
    "dlpack",
    "dtypes",
    "errors",
    "experimental",
    "extend",
    "flatten_util",
    "image",
    "interop",
    "interpreters",
    "lax",
    "nn",
    "numpy",
    "ops",
    "optim",
    "random",
    "scipy",
    "sharding",
    "stages",
    "test_util",
    "tree",
    "tree_util",
    "typing",
]

__all__ = [  # noqa: PLE0604 - names, all of them strings
    *_HOME_OF,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"nr.{name}")
    else:
        raise AttributeError(f"module 'nr' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
