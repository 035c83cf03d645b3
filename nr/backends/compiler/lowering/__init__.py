"""Primitives as loops: a rule each, in the file of its family."""

from nr.backends.compiler.lowering import cumulative, elementwise, reduce, scatter, shape  # noqa: F401
