"""LLVM's notation: types, constants, and a function under construction."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from nr.backends.compiler.expr import FLOATS
from nr.backends.compiler.loops import Buffer

LLVM = {
    "b1": "i1", "i8": "i8", "u8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32",
    "i64": "i64", "u64": "i64", "f32": "float", "f64": "double",
}  # fmt: skip
MEMORY = {**LLVM, "b1": "i8", "bf16": "i16", "f16": "half", "c64": "float", "c128": "double"}
SIZE = {t: {"i1": 1, "float": 4, "double": 8}.get(s) or int(s[1:]) // 8 for t, s in LLVM.items()}

FLOAT_BINARY = {
    "add": "fadd contract", "sub": "fsub contract", "mul": "fmul contract", "div": "fdiv",
    "rem": "frem",
}  # fmt: skip
INT_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor",
    "shl": "shl", "lshr": "lshr",
}  # fmt: skip
FLOAT_COMPARE = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
INTRINSIC = {
    "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round_even": "rint",
}  # fmt: skip
# The word of a program's frame that holds the function that looks for signals (see the machine
# of the CPU backend).
POLL_WORD = 3


def literal(value: Any, dtype: str) -> str:
    """A constant in LLVM's notation."""
    if dtype in FLOATS:
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"
    if dtype == "b1":
        return "true" if value else "false"
    return str(int(value))


@dataclass(slots=True)
class Emitted:
    """A kernel's text, its buffers in the order of its arguments, and the integers that follow."""

    text: str
    buffers: list[Buffer]
    integers: list[int]


class Scope:
    """The code of one loop body: lines, and what has been computed in it."""

    __slots__ = ("lines", "values")

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines: list[str] = [] if lines is None else lines
        self.values: dict[Any, str] = {}


class Function:
    """Names, declarations and the entry block of one LLVM function under construction."""

    def __init__(self) -> None:
        self.count = 0
        self.entry: list[str] = []
        self.globals: dict[str, str] = {}
        self.declared: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.integers: dict[int, str] = {}
        self.scopes: list[Scope] = [Scope()]

    @property
    def scope(self) -> Scope:
        """The innermost loop body."""
        return self.scopes[-1]

    def name(self, prefix: str = "t") -> str:
        """A name that is not used yet."""
        self.count += 1
        return f"%{prefix}{self.count}"

    def line(self, text: str, scope: Scope | None = None) -> None:
        """Add a line to a scope, the innermost by default."""
        (scope or self.scopes[-1]).lines.append(text)

    def op(self, text: str, scope: Scope | None = None) -> str:
        """Add an instruction; the name of its result."""
        name = self.name()
        self.line(f"{name} = {text}", scope)
        return name

    def declare(self, name: str, signature: str) -> str:
        """Declare ``result @name(args)``, where the signature has {} for the name."""
        self.declared[name] = signature.format(f"@{name}")
        return f"@{name}"

    def alloca(self, kind: str) -> str:
        """Room for a value, the same for all iterations."""
        name = self.name("a")
        self.entry.append(f"{name} = alloca {kind}, align 64")
        return name

    def buffer(self, buffer: Buffer) -> str:
        """The address of a buffer, an argument."""
        name = self.buffers.get(buffer)
        if name is None:
            name = self.buffers[buffer] = f"%buffer{len(self.buffers)}"
        return name

    def integer(self, value: int) -> str:
        """A run-time integer: 0, 1 and -1 alone stand in the text."""
        if -1 <= value <= 1:
            return str(value)
        name = self.integers.get(value)
        if name is None:
            name = self.integers[value] = f"%n{len(self.integers)}"
        return name


def scratch_bytes(buffer: Buffer) -> int:
    """The bytes a scratch buffer takes, padded to whole cache lines."""
    return -(-buffer.nbytes // 64) * 64


def suffix(dtype: str, width: int) -> str:
    """What the names of LLVM's intrinsics end with: `v16f32`, or `f32` for width 0."""
    scalar = dtype if dtype in FLOATS else LLVM[dtype]
    return f"v{width}{scalar}" if width else scalar


def short(kind: str) -> str:
    """An LLVM type as the names of intrinsics have it: `f32` for `float`."""
    return {"float": "f32", "double": "f64", "half": "f16"}.get(kind, kind)
