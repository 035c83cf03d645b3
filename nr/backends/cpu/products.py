"""Matrix products: blocks of rows, or columns, as stages of a region.

Blocks depend on shapes and on the machine's processors only, and elements of a result not on
blocks, so results do not depend on how many threads a program uses.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.matmul import Layout
from nr.backends.compiler.plan import Gemm, Place
from nr.backends.compiler.tiling import REGISTERS
from nr.backends.cpu import llvm
from nr.backends.cpu.gemm import Tile, gemm_text, pack_text
from nr.backends.cpu.limits import processors
from nr.backends.cpu.target import target

# Floating-point operations a task should have at least, and from how many on a processor gets
# several tasks.
_BLOCK_FLOPS = 250_000
_LARGE = 2e9


_ARGS = (
    "a", "b", "c", "m", "n", "k", "a.row", "a.step", "b.column", "b.step", "ldc", "columns",
    "e1", "e2", "a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2",
)  # fmt: skip


def _ir(kind: str) -> str:
    """``void product(ptr args, i64 low, i64 high, ptr scratch)``: lines [low, high) of a batch.

    Lines are the rows of all matrices, or their columns, one matrix after the other. args: those
    of `_ARGS`: addresses, extents, strides between lines, transpositions, whether lines are
    columns, then of three batch dimensions the extents of the inner two, and the strides.
    """
    loads = "".join([
        f"  %{x}.at = getelementptr i64, ptr %args, i64 {i}\n"
        f"  %{x} = load {'ptr' if i < 3 else 'i64'}, ptr %{x}.at\n"
        for i, x in enumerate(_ARGS)
    ])  # fmt: skip
    move = "".join([
        f"  %{x}.s0 = mul i64 %i0, %{x}0\n  %{x}.s1 = mul i64 %i1, %{x}1\n"
        f"  %{x}.s2 = mul i64 %i2, %{x}2\n  %{x}.s01 = add i64 %{x}.s0, %{x}.s1\n"
        f"  %{x}.batch = add i64 %{x}.s01, %{x}.s2\n"
        for x in "abc"
    ])  # fmt: skip
    return f"""
declare i64 @llvm.smin.i64(i64, i64)
define void @product(ptr %args, i64 %low, i64 %high, ptr %scratch) {{
entry:
{loads}  %by.columns = icmp ne i64 %columns, 0
  %extent = select i1 %by.columns, i64 %n, i64 %m
  br label %next
next:
  %i = phi i64 [ %low, %entry ], [ %i.more, %run ]
  %left = icmp slt i64 %i, %high
  br i1 %left, label %run, label %leave
run:
  %batch = sdiv i64 %i, %extent
  %from = srem i64 %i, %extent
  %i2 = srem i64 %batch, %e2
  %batch1 = sdiv i64 %batch, %e2
  %i1 = srem i64 %batch1, %e1
  %i0 = sdiv i64 %batch1, %e1
{move}  %rest = sub i64 %extent, %from
  %wanted = sub i64 %high, %i
  %size = call i64 @llvm.smin.i64(i64 %rest, i64 %wanted)
  %mm = select i1 %by.columns, i64 %m, i64 %size
  %nn = select i1 %by.columns, i64 %size, i64 %n
  %a.block = mul i64 %from, %a.row
  %a.move = select i1 %by.columns, i64 0, i64 %a.block
  %a.offset = add i64 %a.batch, %a.move
  %b.block = mul i64 %from, %b.column
  %b.move = select i1 %by.columns, i64 %b.block, i64 0
  %b.offset = add i64 %b.batch, %b.move
  %c.row = mul i64 %from, %ldc
  %c.move = select i1 %by.columns, i64 %from, i64 %c.row
  %c.offset = add i64 %c.batch, %c.move
  %a.ptr = getelementptr {kind}, ptr %a, i64 %a.offset
  %b.ptr = getelementptr {kind}, ptr %b, i64 %b.offset
  %c.ptr = getelementptr {kind}, ptr %c, i64 %c.offset
  call void @gemm(i64 %mm, i64 %nn, i64 %k, ptr %a.ptr, i64 %a.row, i64 %a.step, ptr %b.ptr,
    i64 %b.column, i64 %b.step, ptr %c.ptr, i64 %ldc, ptr %scratch)
  %i.more = add i64 %i, %size
  br label %next
leave:
  ret void
}}
"""


@cache
def _tile(dtype: str) -> Tile:
    vector_bytes = target().vector_bytes
    return Tile(ITEMSIZE[dtype], vector_bytes, REGISTERS[vector_bytes])


@cache
def _function(dtype: str) -> tuple[int, Any]:
    """The address of the stage's function for a type, and what keeps it in place."""
    tile = _tile(dtype)
    packing, code = llvm.compile_many([pack_text(tile), gemm_text(tile) + _ir(tile.kind)])
    packs = llvm.load(packing, imports={}, exports=("pack",))
    imports = {"pack": packs.address("pack")}
    loaded = llvm.load(code, imports=imports, exports=("product",))
    return loaded.address("product"), (packs, loaded)


def scratch(step: Gemm) -> int:
    """The bytes that a thread needs for its panels."""
    return _tile(step.dtype).scratch(step.layout.n)


def stage(step: Gemm, places: dict[Buffer, Place]) -> tuple[int, list[tuple[int, int]], int, int]:
    """The function, its arguments, the number of lines, and how many a task should take."""
    one = step.layout
    batch = [*[(1, 0, 0, 0)] * (3 - len(one.batch)), *one.batch]
    itemsize = ITEMSIZE[step.dtype]
    args = []
    for buffer, offset in ((step.a, step.a_offset), (step.b, step.b_offset), (step.c, 0)):
        args.append((places[buffer].slot, places[buffer].offset + offset * itemsize))
    numbers = [
        one.m,
        one.n,
        one.k,
        *one.a,
        one.b[1],
        one.b[0],
        one.c[0],
        int(one.by_columns),
        batch[1][0],
        batch[2][0],
    ]
    numbers += [d[side] for side in (1, 2, 3) for d in batch]
    args += [(-1, x) for x in numbers]
    return _function(step.dtype)[0], args, one.lines, _lines(one, _tile(step.dtype))


def _lines(one: Layout, tile: Tile) -> int:
    """How many lines a task takes: few large blocks, for each call packs its operands anew.

    It depends on shapes and on the machine, not on how many threads are used.
    """
    extent, matrices = one.lines // one.matrices, one.matrices
    flops = 2.0 * one.m * one.n * one.k
    if flops * matrices < 2 * _BLOCK_FLOPS:
        return extent * matrices
    tasks = processors() * (2 if flops * matrices > processors() * _LARGE else 1)
    if matrices >= 2 * tasks or flops < 2 * _BLOCK_FLOPS:
        together = max(-(-matrices // (4 * tasks)), int(_BLOCK_FLOPS // flops), 1)
        return extent * together
    wanted = min(-(-tasks // matrices), int(flops // _BLOCK_FLOPS))
    blocks = max(min(wanted, extent // 32), 1)
    lines = -(-extent // blocks)
    whole = tile.columns if one.by_columns else tile.rows
    return min(-(-lines // whole) * whole, extent)
