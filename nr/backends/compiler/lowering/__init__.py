"""Primitives as loops: a rule each, in the file of its family."""

from nr.backends.compiler.lowering import elementwise, reduce, shape  # noqa: F401
