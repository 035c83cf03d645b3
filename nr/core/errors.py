"""Exceptions of nr. All subclass the built-in that fits."""

from __future__ import annotations

# One text for the eager and the compiled run.
CUSTOM_VJP_FORWARD_MODE = (
    "custom_vjp: forward mode (jvp, jacfwd, linearize) was used on a function that has a "
    "custom_vjp only. Define a custom_jvp, or use reverse mode (grad, vjp, jacrev)."
)

RULE_CLOSES_OVER = (
    "custom derivatives: the rule of a function that is used in a loop, a branch, a checkpoint or "
    "another jitted function must not close over a traced value. Pass the value as an argument."
)


class JAXTypeError(TypeError):
    """A traced value was used as only its numbers could be."""


class ShapeMismatchError(TypeError, ValueError):
    """Shapes that do not broadcast; in JAX a TypeError where ranks agree, else a ValueError."""


class JAXIndexError(IndexError):
    """An index that a traced program can't have."""


class ConcretizationTypeError(JAXTypeError):
    """A traced value was used where its numbers are needed."""


class TracerBoolConversionError(ConcretizationTypeError):
    """bool() of a traced value."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """int() or index() of a traced value."""


class TracerArrayConversionError(JAXTypeError):
    """NumPy conversion of a traced value."""


class NonConcreteBooleanIndexError(JAXIndexError):
    """A boolean mask that is traced, so that the result's shape is not known."""


class UnexpectedTracerError(JAXTypeError):
    """A traced value was used after its transformation had ended (a leaked tracer)."""


class TypePromotionError(ValueError):
    """Dtypes met that are not promoted implicitly, strict promotion being asked for."""
