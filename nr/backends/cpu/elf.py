"""A loader of the objects that LLVM emits for x86-64 Linux, without LLVM.

A process that finds all its code in the cache needs no more than this: it lays the sections of
relocatable files out in memory and fills in the addresses they refer to. (Sources: Tool Interface
Standard ELF specification 1.2; System V ABI, AMD64 supplement, 4.4 Relocation.) Unwind tables are
left out, for no exception passes through compiled code.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import sys
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_IDENT, _RELOCATABLE, _X86_64 = b"\x7fELF\x02\x01\x01", 1, 62
_SYMTAB, _RELA, _NOBITS, _REL, _UNWIND = 2, 4, 8, 9, 0x70000001
_WRITE, _ALLOC, _THREAD_LOCAL = 1, 2, 0x400
_UNDEFINED = 0
_ABS64, _PC32, _PLT32, _PC64 = 1, 2, 4, 24
_GOT = (9, 41, 42)  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
# An address, and a jump to it: what a symbol that may be anywhere is reached by. In bytes, jmp
# [rip - 14] and two nops.
_JUMP, _CELL = b"\xff\x25\xf2\xff\xff\xff\x90\x90", 16
_MAP_FAILED = ctypes.c_void_p(-1).value


class UnsupportedError(Exception):
    """The object has something in it that this loader does not know."""


def available() -> bool:
    """Whether the objects of this machine are of the kind that can be loaded here."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 2**32


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.mprotect.argtypes = [pointer, size, number]
    libc.munmap.argtypes = [pointer, size]
    return libc


class Memory:
    """Pages that hold code; they go when this does, but not when the interpreter exits."""

    def __init__(self, size: int) -> None:
        self.size = size
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = _libc().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
        if address == _MAP_FAILED:
            raise _denied()
        self.address: int = address
        # Other threads may still run the code while the interpreter is being torn down.
        weakref.finalize(self, _libc().munmap, address, size).atexit = False

    def fill(self, content: bytearray, code: int) -> None:
        """Copies the content and makes its first `code` bytes executable, not writable."""
        source = (ctypes.c_char * self.size).from_buffer(content)
        ctypes.memmove(self.address, source, self.size)
        if _libc().mprotect(self.address, code, mmap.PROT_READ | mmap.PROT_EXEC):
            raise _denied()


def _denied() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"no executable memory for compiled code: {os.strerror(code)}")


def _up(offset: int, alignment: int) -> int:
    return -(-offset // max(alignment, 1)) * max(alignment, 1)


class _Object:
    """One relocatable file, and where it will lie."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        header = _HEADER.unpack_from(data)
        ident, kind, machine, start = *header[:3], header[6]
        count, names = header[12:]
        if ident[:7] != _IDENT or (kind, machine) != (_RELOCATABLE, _X86_64):
            raise UnsupportedError("not a relocatable x86-64 file")
        end = start + count * _SECTION.size
        self.sections = list(_SECTION.iter_unpack(data[start:end]))
        titles = self.sections[names][4]
        self.symbols: list[tuple] = []
        self.strings = 0
        self.relocations: list[tuple[int, int, int, int, int]] = []
        kept = set()
        for index, (name, kind, flags, _, at, size, link, info, *_) in enumerate(self.sections):
            content = data[at : at + size] if kind in (_SYMTAB, _RELA) else b""
            if kind == _SYMTAB:
                self.symbols = list(_SYMBOL.iter_unpack(content))
                self.strings = self.sections[link][4]
            elif kind == _RELA and info in kept:
                for offset, what, addend in _RELOCATION.iter_unpack(content):
                    relocation = (info, offset, what & 0xFFFFFFFF, what >> 32, addend)
                    self.relocations.append(relocation)
            elif kind == _REL or flags & _THREAD_LOCAL:
                raise UnsupportedError(f"section {index} of type {kind}, flags {flags:#x}")
            elif flags & _ALLOC and kind != _UNWIND and self._text(titles + name) != b".eh_frame":
                kept.add(index)
        self.kept = sorted(kept)
        self.where: dict[int, int] = {}  # by section, from the start of all memory
        self.cells: dict[int, int] = {}  # by symbol

    def _text(self, at: int) -> bytes:
        return self.data[at : self.data.index(b"\0", at)]

    def lay_out(self, offset: int, *, writable: bool) -> int:
        """Takes memory from an offset on for the code, or for what is writable; where it ends."""
        for index in self.kept:
            _, _, flags, _, _, size, _, _, alignment, _ = self.sections[index]
            if bool(flags & _WRITE) == writable:
                self.where[index] = _up(offset, alignment)
                offset = self.where[index] + size
        if not writable:
            for _, _, kind, symbol, _ in self.relocations:
                outside = kind == _PLT32 and self.symbols[symbol][3] == _UNDEFINED
                if (kind in _GOT or outside) and symbol not in self.cells:
                    self.cells[symbol] = offset = _up(offset, _CELL)
                    offset += _CELL
        return offset

    def place(self, memory: bytearray, base: int, imports: Mapping[str, int]) -> None:
        """Writes the sections, with the addresses they refer to, for memory that is at `base`."""
        for index in self.kept:
            _, kind, _, _, at, size, *_ = self.sections[index]
            if kind != _NOBITS:
                start = self.where[index]
                memory[start : start + size] = self.data[at : at + size]
        for symbol, cell in self.cells.items():
            address = self._address(symbol, base, imports)
            memory[cell : cell + _CELL] = address.to_bytes(8, "little") + _JUMP
        for section, offset, kind, symbol, addend in self.relocations:
            at = self.where[section] + offset
            if kind in _GOT:
                value = base + self.cells[symbol]
            elif kind == _PLT32 and symbol in self.cells:
                value = base + self.cells[symbol] + 8
            else:
                value = self._address(symbol, base, imports)
            value += addend
            if kind in (_ABS64, _PC64):
                value -= base + at if kind == _PC64 else 0
                struct.pack_into("<Q", memory, at, value % 2**64)
            elif kind in (_PC32, _PLT32, *_GOT):
                value -= base + at
                if not -(2**31) <= value < 2**31:
                    raise UnsupportedError(f"symbol {symbol} is too far away")
                struct.pack_into("<i", memory, at, value)
            else:
                raise UnsupportedError(f"relocation of type {kind}")

    def _address(self, symbol: int, base: int, imports: Mapping[str, int]) -> int:
        name, _, _, section, value, _ = self.symbols[symbol]
        if section in self.where:
            return base + self.where[section] + value
        text = self._text(self.strings + name).decode()
        if section != _UNDEFINED or not text:
            raise UnsupportedError(f"symbol {text!r} of section {section:#x}")
        if text not in imports:
            raise LookupError(f"compiled code calls {text!r}, which it was given no address of")
        return imports[text]

    def addresses(self, base: int, names: Sequence[str]) -> dict[str, int]:
        """Where the symbols of these names are."""
        found = {}
        for name, info, _, section, value, _ in self.symbols:
            if info >> 4 and section in self.where:  # not a local one
                text = self._text(self.strings + name).decode()
                found[text] = base + self.where[section] + value
        for name in names:
            if name not in found:
                raise LookupError(f"compiled code has no function {name!r}")
        return {name: found[name] for name in names}


def load(
    objs: Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]
) -> tuple[Memory, list[dict[str, int]]]:
    """Puts objects into memory, and tells the addresses of each one's exports.

    Raises:
        UnsupportedError: There is something in an object that this loader does not know.
        LookupError: An import or export is missing.
    """
    objects = [_Object(data) for data in objs]
    code = data = 0
    for each in objects:
        code = each.lay_out(code, writable=False)
    code = data = max(_up(code, mmap.PAGESIZE), mmap.PAGESIZE)
    for each in objects:
        data = each.lay_out(data, writable=True)
    memory = Memory(_up(data, mmap.PAGESIZE))
    content = bytearray(memory.size)
    for each in objects:
        each.place(content, memory.address, imports)
    memory.fill(content, code)
    return memory, [each.addresses(memory.address, exports) for each in objects]
