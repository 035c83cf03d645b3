"""What the compiler has to know of this machine: its vectors and matrices."""

from __future__ import annotations

from functools import cache

from nr.backends.compiler.lowering.amx import DOT
from nr.backends.compiler.plan import Target
from nr.backends.cpu import limits, llvm


def _matrix_types(features: set[str]) -> dict[str, str]:
    """By type, the instructions that multiply matrices of half floats, where they are faster than
    those of float32."""
    tiles = {"bf16": ("tdpbf16ps", "+amx-bf16"), "f16": ("tdpfp16ps", "+amx-fp16")}
    found = {t: name for t, (name, needed) in tiles.items() if needed in features}
    if not {"+avx512bf16", "+avx512bw"} <= features:
        return {}
    if found and limits.matrix_unit():
        return found
    # Dot products of pairs do twice the work of a product and sum of float32 on AMD's processors;
    # Intel's take them half as often.
    return {"bf16": DOT} if llvm.host().cpu.startswith("znver") else {}


@cache
def target() -> Target:
    """The machine's vectors and matrices."""
    features = {*llvm.host().features.split(",")}
    if "+avx512f" in features:
        rounds_bfloat = {"+avx512bf16", "+avx512dq", "+avx512vl"} <= features
        return Target(64, _matrix_types(features), rounds_bfloat)
    return Target(32 if "+avx2" in features else 16)
