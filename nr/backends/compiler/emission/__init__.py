"""LLVM IR of kernels, explicitly vectorized.

A kernel becomes ``void kernel(ptr args, i64 low, i64 high, ptr scratch)``: `args` holds the
addresses of its buffers, then its integers; [low, high) is the range of its flattened tasks. Loop
extents, strides and offsets are integers read at run time, so that kernels which differ in shapes
only are the same text and are compiled once. Each expression is emitted in the outermost loop it
is constant in, as a scalar where it does not depend on the vector loop, else as a vector.
"""

from nr.backends.compiler.emission.function import Emitted, scratch_bytes
from nr.backends.compiler.emission.kernel import emit_kernel
from nr.backends.compiler.emission.known import emit_once

__all__ = ["Emitted", "emit_kernel", "emit_once", "scratch_bytes"]
