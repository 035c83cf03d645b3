"""pmap: programs written for a row of devices, run on the one that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.source_info import wraps
from nr.transforms.compiled_function import jit
from nr.transforms.vmap import vmap


def pmap(
    fun: Callable,
    axis_name: Any = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    static_broadcasted_argnums: int | Sequence[int] = (),
    devices: Sequence[Any] | None = None,
    backend: str | None = None,
    axis_size: int | None = None,
    donate_argnums: int | Sequence[int] = (),
) -> Callable:
    """A function that maps `fun` over an axis of its arguments: `jit` of `vmap`.

    JAX gives each lane a device. Here all lanes run on one, so that the axis may have any extent;
    programs that ask `nr.local_device_count()` for it make it 1.

    Args:
        fun: a function of arrays or pytrees.
        axis_name: a name by which collectives (`nr.lax.pmean`) refer to the axis.
        in_axes, out_axes: as for `nr.vmap`; entries for static arguments are not looked at.
        static_broadcasted_argnums: arguments that are hashable Python values.
        devices, backend: accepted for JAX's sake.
        axis_size: needed only where no argument is mapped.
        donate_argnums: arguments whose memory results may be written to.

    Example:
        >>> import nr
        >>> nr.pmap(lambda x: x / nr.lax.psum(x, "i"), axis_name="i")(nr.numpy.array([1.0, 3.0]))
        Array([0.25, 0.75], dtype=float32)
    """
    static = static_broadcasted_argnums
    numbers = (static,) if isinstance(static, int) else tuple(static)

    @wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        fixed = {i % len(args): args[i] for i in numbers if i < len(args)}
        places = [i for i in range(len(args)) if i not in fixed]
        axes = in_axes
        if isinstance(in_axes, (tuple, list)):
            axes = tuple([axis for i, axis in enumerate(in_axes) if i not in fixed])

        def lane(*given: Any, **options: Any) -> Any:
            whole = fixed | dict(zip(places, given, strict=True))
            return fun(*[whole[i] for i in range(len(args))], **options)

        run = vmap(lane if fixed else fun, axes, out_axes, axis_name, axis_size)
        return run(*[args[i] for i in places], **kwargs)

    return jit(mapped, static_argnums=numbers, donate_argnums=donate_argnums)
