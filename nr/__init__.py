"""nr: NumPy-style pure functions, composable with grad, vmap and jit, run as native code."""

from nr import backends as _backends  # noqa: F401 - registers the platforms
from nr.core.array import Array
from nr.core.config import config
from nr.core.devices import Device, default_device, device, devices
from nr.transforms.compiled_function import jit
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
from nr.transforms.vmap import vmap
