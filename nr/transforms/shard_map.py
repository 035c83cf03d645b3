"""shard_map: programs of the pieces of arrays, each of which is all of its array on one device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nr.core.shardings import Mesh
from nr.core.source_info import wraps
from nr.core.trees import tree_map
from nr.transforms.vmap import vmap


def shard_map(
    f: Callable | None = None,
    *,
    mesh: Mesh,
    in_specs: Any = None,
    out_specs: Any = None,
    **options: Any,
) -> Callable:
    """A function of arrays from one of their pieces; collectives go by the names of a mesh's axes.

    Args:
        f: a function of arrays or pytrees.
        mesh: names the axes, which all have the extent 1.
        in_specs, out_specs, options: accepted for JAX's sake; a piece is all of an array.

    Example:
        >>> import nr
        >>> mesh = nr.make_mesh((1,), ("i",))
        >>> f = nr.shard_map(lambda x: nr.lax.psum(x, "i"), mesh=mesh)
        >>> f(nr.numpy.arange(3))
        Array([0, 1, 2], dtype=int32)
    """
    if f is None:
        return functools.partial(shard_map, mesh=mesh, in_specs=in_specs, out_specs=out_specs)

    @wraps(f)
    def mapped(*args: Any) -> Any:
        def run(*given: Any) -> Any:
            return f(*given)

        for name in reversed(mesh.axis_names):
            run = vmap(run, in_axes=None, axis_name=name, axis_size=1)
        return tree_map(lambda x: x[(0,) * len(mesh.axis_names)], run(*args))

    return mapped
