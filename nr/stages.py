"""The stages of a jitted function for given arguments (the names of jax.stages)."""

from nr.transforms.compiled_function import JitFunction as Wrapped
from nr.transforms.stages import ArgInfo, Compiled, Lowered, Traced

__all__ = ["ArgInfo", "Compiled", "Lowered", "Traced", "Wrapped"]
