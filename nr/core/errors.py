"""Exceptions of nr. All subclass the built-in that fits."""

from __future__ import annotations


class ConcretizationTypeError(TypeError):
    """A traced value was used where its numbers are needed."""


class TracerBoolConversionError(ConcretizationTypeError):
    """bool() of a traced value."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """int() or index() of a traced value."""


class TracerArrayConversionError(TypeError):
    """NumPy conversion of a traced value."""


class NonConcreteBooleanIndexError(IndexError):
    """A boolean mask that is traced, so that the result's shape is not known."""


class UnexpectedTracerError(Exception):
    """A traced value was used after its transformation had ended (a leaked tracer)."""


class KeyReuseError(RuntimeError):
    """A random key was used twice."""
