"""Primitives as loops: a rule each, in the file of its family."""

from nr.backends.compiler.lowering import (  # noqa: F401
    conv,
    cumulative,
    elementwise,
    precision,
    reduce,
    sampling,
    scatter,
    shape,
    window,
)
