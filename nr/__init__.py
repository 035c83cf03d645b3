"""nr: NumPy-style pure functions; compose grad, vmap and jit; run as fused native code."""

from nr import backends as _backends  # noqa: F401 - registers the platforms
from nr import dtypes, errors, lax, tree, tree_util
from nr.core.array import Array
from nr.core.config import config
from nr.core.devices import Device, default_device, device, devices
from nr.lax.placement import block_until_ready, device_get, device_put
from nr.transforms import control_flow as _control_flow
from nr.transforms.callbacks import io_callback, pure_callback
from nr.transforms.checkpoint import checkpoint, remat
from nr.transforms.compiled_function import jit
from nr.transforms.custom_derivatives import closure_convert, custom_jvp, custom_vjp
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
from nr.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape, make_jaxpr
from nr.transforms.names import disable_jit, named_call, named_scope
from nr.transforms.vmap import vmap

for _name in (
    "scan",
    "while_loop",
    "fori_loop",
    "map",
    "cond",
    "switch",
    "associative_scan",
):  # higher-order operations stand on the transformations, above nr.lax; users find them there
    setattr(lax, _name, getattr(_control_flow, _name))
del _name

from nr import debug, flatten_util, numpy, random  # noqa: E402 - these use nr.lax complete

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Device",
    "ShapeDtypeStruct",
    "block_until_ready",
    "checkpoint",
    "closure_convert",
    "config",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "default_device",
    "device",
    "device_get",
    "device_put",
    "devices",
    "disable_jit",
    "dtypes",
    "errors",
    "eval_shape",
    "flatten_util",
    "grad",
    "hessian",
    "io_callback",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "named_call",
    "named_scope",
    "numpy",
    "pure_callback",
    "random",
    "remat",
    "tree",
    "tree_util",
    "value_and_grad",
    "vjp",
    "vmap",
]
