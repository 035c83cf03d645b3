"""Rules of primitives, where JAX's programs look them up and give those of their own primitives."""

from nr.interpreters import ad, batching, mlir, partial_eval, xla

__all__ = ["ad", "batching", "mlir", "partial_eval", "xla"]
