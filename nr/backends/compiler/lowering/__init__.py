"""Primitives as loops: a rule each, in the file of its family."""

from nr.backends.compiler.lowering import (  # noqa: F401
    conv,
    cumulative,
    elementwise,
    fft,
    linalg,
    precision,
    reduce,
    reductions,
    sampling,
    scatter,
    shape,
    sort,
    window,
)
