"""Matrix products: single-threaded OpenBLAS on blocks of rows, as stages of a region.

OpenBLAS comes from the scipy-openblas32 wheel, through C pointers; it is told to use one thread,
for the threads are the pool's. Blocks depend on shapes only, so results do not depend on how many
threads there are.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from nr.backends.compiler.loops import Buffer
from nr.backends.compiler.plan import Gemm, Place
from nr.backends.cpu import llvm

_ROW, _NO, _YES = 101, 111, 112
# Floating-point operations a block should have at least.
_BLOCK_FLOPS = 4_000_000
_MOST_BLOCKS = 16


def _ir(name: str, kind: str) -> str:
    """``void name(ptr args, i64 low, i64 high, ptr scratch)``: blocks [low, high) of the product.

    args: a, b, c, m, n, k, row strides of a, b and c, transpositions of a and b, strides between
    the matrices of a, b and c, blocks of a matrix, rows of a block, whether blocks are of columns.
    """
    names = [
        "a", "b", "c", "m", "n", "k", "lda", "ldb", "ldc", "ta", "tb", "sa", "sb", "sc", "blocks",
        "rows", "columns",
    ]  # fmt: skip
    loads = "".join([
        f"  %{x}.at = getelementptr i64, ptr %args, i64 {i}\n"
        f"  %{x} = load {'ptr' if i < 3 else 'i64'}, ptr %{x}.at\n"
        for i, x in enumerate(names)
    ])  # fmt: skip
    narrow = "".join([f"  %{x}32 = trunc i64 %{x} to i32\n" for x in ("k", "lda", "ldb", "ldc", "ta", "tb")])
    zero, one = "0.0", "1.0"
    return f"""
declare void @cblas_{name}(i32, i32, i32, i32, i32, i32, {kind}, ptr, i32, ptr, i32, {kind}, ptr, i32)
declare i64 @llvm.smin.i64(i64, i64)
define void @nr_{name}(ptr %args, i64 %low, i64 %high, ptr %scratch) {{
entry:
{loads}{narrow}  %by.columns = icmp ne i64 %columns, 0
  %a.plain = icmp eq i64 %ta, {_NO}
  %b.plain = icmp eq i64 %tb, {_NO}
  %a.row = select i1 %a.plain, i64 %lda, i64 1
  %b.column = select i1 %b.plain, i64 1, i64 %ldb
  %extent = select i1 %by.columns, i64 %n, i64 %m
  br label %next
next:
  %i = phi i64 [ %low, %entry ], [ %i.more, %run ]
  %left = icmp slt i64 %i, %high
  br i1 %left, label %run, label %leave
run:
  %batch = sdiv i64 %i, %blocks
  %block = srem i64 %i, %blocks
  %from = mul i64 %block, %rows
  %rest = sub i64 %extent, %from
  %size = call i64 @llvm.smin.i64(i64 %rest, i64 %rows)
  %mm = select i1 %by.columns, i64 %m, i64 %size
  %nn = select i1 %by.columns, i64 %size, i64 %n
  %a.batch = mul i64 %batch, %sa
  %a.block = mul i64 %from, %a.row
  %a.move = select i1 %by.columns, i64 0, i64 %a.block
  %a.offset = add i64 %a.batch, %a.move
  %b.batch = mul i64 %batch, %sb
  %b.block = mul i64 %from, %b.column
  %b.move = select i1 %by.columns, i64 %b.block, i64 0
  %b.offset = add i64 %b.batch, %b.move
  %c.batch = mul i64 %batch, %sc
  %c.row = mul i64 %from, %ldc
  %c.move = select i1 %by.columns, i64 %from, i64 %c.row
  %c.offset = add i64 %c.batch, %c.move
  %a.ptr = getelementptr {kind}, ptr %a, i64 %a.offset
  %b.ptr = getelementptr {kind}, ptr %b, i64 %b.offset
  %c.ptr = getelementptr {kind}, ptr %c, i64 %c.offset
  %mm32 = trunc i64 %mm to i32
  %nn32 = trunc i64 %nn to i32
  call void @cblas_{name}(i32 {_ROW}, i32 %ta32, i32 %tb32, i32 %mm32, i32 %nn32, i32 %k32,
    {kind} {one}, ptr %a.ptr, i32 %lda32, ptr %b.ptr, i32 %ldb32, {kind} {zero}, ptr %c.ptr, i32 %ldc32)
  %i.more = add i64 %i, 1
  br label %next
leave:
  ret void
}}
"""


@cache
def library() -> ctypes.CDLL:
    """OpenBLAS, told to use one thread."""
    import scipy_openblas32

    lib = ctypes.CDLL(scipy_openblas32.get_lib_dir() + "/" + scipy_openblas32.get_library(fullname=True))
    lib.scipy_openblas_set_num_threads(1)
    return lib


@cache
def _functions() -> tuple[Any, dict[str, int]]:
    lib = library()
    imports = {
        f"cblas_{name}": ctypes.cast(getattr(lib, f"scipy_cblas_{name}"), ctypes.c_void_p).value or 0
        for name in ("sgemm", "dgemm")
    }
    texts = [_ir("sgemm", "float"), _ir("dgemm", "double")]
    code = llvm.compile_many(texts)
    kept = [
        llvm.load(obj, imports=imports, exports=(name,))
        for obj, name in zip(code, ("nr_sgemm", "nr_dgemm"), strict=True)
    ]
    return kept, {"f32": kept[0].address("nr_sgemm"), "f64": kept[1].address("nr_dgemm")}


def stage(step: Gemm, places: dict[Buffer, Place]) -> tuple[int, list[tuple[int, int]], int, int]:
    """The function, its arguments, the number of blocks, and the least number to share out."""
    a_batch, lda, ta = step.a_layout
    b_batch, ldb, tb = step.b_layout
    by_columns = step.n > 2 * step.m
    extent = step.n if by_columns else step.m
    flops = 2.0 * step.m * step.n * step.k
    blocks = int(max(1, min(_MOST_BLOCKS // min(step.batch, _MOST_BLOCKS), flops // _BLOCK_FLOPS, extent // 16)))
    rows = -(-extent // blocks)
    rows = -(-rows // 16) * 16 if blocks > 1 else rows
    blocks = -(-extent // rows)
    args = [(places[b].slot, places[b].offset) for b in (step.a, step.b, step.c)]
    args += [
        (-1, x)
        for x in (
            step.m, step.n, step.k, lda, ldb, step.n, _YES if ta else _NO, _YES if tb else _NO,
            a_batch, b_batch, step.m * step.n, blocks, rows, int(by_columns),
        )
    ]  # fmt: skip
    return _functions()[1][step.dtype], args, step.batch * blocks, 1
