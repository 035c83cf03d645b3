"""The kernel table: one function of raw arrays for each primitive, for NumPy and for CuPy."""

from types import ModuleType

from ._structure import Kernel


def kernel_table(xp: ModuleType) -> dict[str, Kernel]:
    """Return every kernel of the table over the arrays of one module.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name: a function of raw arrays and of the primitive's parameters.

    Raises:
        ValueError: if two files define a kernel for the same primitive.

    Example:
        >>> import numpy as np
        >>> table = kernel_table(np)
        >>> table["reduce_sum"](np.arange(4, dtype=np.float32), axes=(0,))
        array(6., dtype=float32)
    """
    from . import (
        conv,
        dot,
        elementwise,
        fft,
        indexing,
        lapack,
        linalg,
        reduce,
        sampling,
        shape,
        sort,
        special,
        threefry,
        window,
    )

    table: dict[str, Kernel] = {}
    for module in (
        shape,
        reduce,
        indexing,
        sort,
        threefry,
        sampling,
        elementwise,
        special,
        dot,
        conv,
        window,
        linalg,
        lapack,
        fft,
    ):
        for name, kernel in module.rows(xp).items():
            if name in table:
                raise ValueError(
                    f"kernel_table: two kernels for {name!r}, one in {module.__name__}"
                )
            table[name] = kernel
    return table
