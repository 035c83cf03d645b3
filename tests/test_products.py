"""Without this large matrix products could be wrong where vectors are not as wide as here."""

import ctypes
from functools import cache

import numpy as np
import pytest

import nr
from nr.backends.cpu import llvm
from nr.backends.cpu.gemm import Tile, gemm_text, pack_text

# Bytes of a vector and number of registers: AVX-512, AVX2, NEON, SSE.
MACHINES = [(64, 32), (32, 16), (16, 32), (16, 16)]
KINDS = ["i64"] * 3 + ["ptr", "i64", "i64"] * 2 + ["ptr", "i64", "ptr"]
# Sums of up to 600 products of numbers around 1, over the largest of some thousand results.
TOLERANCE = {"f4": 2e-6, "f8": 4e-15}


@cache
def gemm(itemsize, vector_bytes, registers):
    """The product as a function of the address of its arguments."""
    tile = Tile(itemsize, vector_bytes, registers)
    lines, values = [], []
    for i, kind in enumerate(KINDS):
        lines.append(f"  %q{i} = getelementptr i64, ptr %p, i64 {i}")
        lines.append(f"  %v{i} = load {kind}, ptr %q{i}")
        values.append(f"{kind} %v{i}")
    call = f"  call void @gemm({', '.join(values)})\n  ret void\n}}\n"
    body = "\n".join(["define void @entry(ptr %p) {", *lines, call])
    packs = llvm.load(llvm.compile_ir(pack_text(tile)), imports={}, exports=("pack",))
    code = llvm.compile_ir(gemm_text(tile) + "\n" + body)
    loaded = llvm.load(code, imports={"pack": packs.address("pack")}, exports=("entry",))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("entry"))
    return function, np.full(tile.scratch(1 << 20), 0xFF, np.uint8), (packs, loaded)


def guarded(shape, dtype):
    """An array with NaN on all sides, which a product must neither use nor write over."""
    room = np.full((shape[0] + 2, shape[1] + 40), np.nan, dtype)
    return room, room[1:-1, 20:-20]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products_of_all_layouts_and_rests(machine, dtype):
    itemsize = np.dtype(dtype).itemsize
    function, scratch, _ = gemm(itemsize, *machine)
    rng = np.random.default_rng(0)
    sizes = [(1, 1, 1), (14, 32, 16), (15, 33, 17), (5, 3, 600), (130, 70, 257), (113, 300, 40)]
    sizes += [tuple(rng.integers(1, 60, 3)) for _ in range(12)]
    sizes += [(3, 1100, 5)]  # more columns than there is room for at a time
    for m, n, k in sizes:
        for a_turned in (False, True):
            for b_turned in (False, True):
                a_room, a = guarded((k, m) if a_turned else (m, k), dtype)
                b_room, b = guarded((n, k) if b_turned else (k, n), dtype)
                a[:], b[:] = rng.standard_normal(a.shape), rng.standard_normal(b.shape)
                c_room, c = guarded((m, n), dtype)
                a, b = (a.T if a_turned else a), (b.T if b_turned else b)
                strides = [[s // itemsize for s in x.strides] for x in (a, b, c)]
                words = (ctypes.c_int64 * 12)(
                    m, n, k, a.ctypes.data, *strides[0], b.ctypes.data, *strides[1][::-1],
                    c.ctypes.data, strides[2][0], scratch.ctypes.data,
                )  # fmt: skip
                function(ctypes.addressof(words))
                exact = a.astype("longdouble") @ b.astype("longdouble")
                error = np.abs(c - exact).max() / np.abs(exact).max()
                assert error < TOLERANCE[dtype], (m, n, k, a_turned, b_turned)
                assert np.isnan(c_room[[0, -1]]).all() and np.isnan(c_room[:, :20]).all()
                assert np.isnan(c_room[:, -20:]).all()


def test_products_do_not_depend_on_blocks():
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(s, np.float32) for s in ((300, 520), (520, 700)))
    product = nr.jit(lambda x, w: x @ w)
    results = []
    for threads in (1, 2, 3):
        with nr.num_threads(threads):
            results.append(np.asarray(product(x, w)))
    assert all([np.array_equal(results[0], r) for r in results])
    # Rows are the same alone and among others.
    alone = np.asarray(nr.jit(lambda x, w: x @ w)(x[:64], w))
    np.testing.assert_array_equal(alone, results[0][:64])


def test_infinities_and_nans_stay_in_their_rows_and_columns():
    x, w = np.ones((100, 300), np.float32), np.ones((300, 600), np.float32)
    x[3, 5], w[7, 9] = np.inf, np.nan
    y = np.asarray(nr.jit(lambda x, w: x @ w)(x, w))
    assert np.isnan(y[:, 9]).all() and np.isinf(np.delete(y[3], 9)).all()
    assert (np.delete(np.delete(y, 3, 0), 9, 1) == 300).all()
