"""The exceptions that nr raises beside the built-in ones."""

from nr.core.errors import (
    ConcretizationTypeError,
    JAXIndexError,
    JAXTypeError,
    NonConcreteBooleanIndexError,
    ShapeMismatchError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)
from nr.core.jaxpr_check import JaxprTypeError

JaxRuntimeError = RuntimeError
"""What goes wrong while programs run has Python's type for it; callbacks' errors keep their own."""

__all__ = [
    "ConcretizationTypeError",
    "JAXIndexError",
    "JAXTypeError",
    "JaxRuntimeError",
    "JaxprTypeError",
    "NonConcreteBooleanIndexError",
    "ShapeMismatchError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
    "UnexpectedTracerError",
]
