"""Writing LLVM IR by hand: one function's loops, branches and variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# The parameters of routines and kernels (routine.py).
KERNEL = "ptr %args, i64 %low, i64 %high, ptr %scratch"


class Variable:
    """A scalar or vector that changes: memory, which LLVM turns into registers."""

    def __init__(self, code: Code, kind: str, value: str) -> None:
        self.code = code
        self.kind = kind
        self.place = code.room(kind)
        self.set(value)

    def get(self) -> str:
        """Its value now."""
        return self.code.load(self.kind, self.place)

    def set(self, value: str) -> None:
        """Give it another value."""
        self.code.store(self.kind, value, self.place)


class Code:
    """A function under construction. Values are names or constants in LLVM's notation; without
    a type, they are 64-bit integers."""

    def __init__(self) -> None:
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    def _name(self, prefix: str = "t") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def do(self, text: str) -> None:
        """Add an instruction without a result."""
        self.lines.append(f"  {text}")

    def op(self, text: str) -> str:
        """Add an instruction; the name of its result."""
        name = f"%{self._name()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def function(
        self, name: str, parameters: str, result: str = "void", internal: bool = True
    ) -> str:
        """The text of the function; it returns after its last line if it has no result."""
        linkage = "internal " if internal else ""
        end = ["  ret void"] if result == "void" else []
        lines = ["entry:", *self.entry, "  br label %start", "start:", *self.lines, *end]
        return "\n".join([f"define {linkage}{result} @{name}({parameters}) {{", *lines, "}"])

    # ------------------------------------------------------------------ memory
    def room(self, kind: str, count: int = 1) -> str:
        """Memory of the function's own, the same for all iterations."""
        name = f"%{self._name('a')}"
        many = f", i64 {count}" if count > 1 else ""
        self.entry.append(f"  {name} = alloca {kind}{many}, align 64")
        return name

    def at(self, kind: str, place: str, index: str) -> str:
        """The address of an element."""
        return self.op(f"getelementptr {kind}, ptr {place}, i64 {index}")

    def load(
        self, kind: str, place: str, index: str | None = None, align: int | None = None
    ) -> str:
        """An element in memory, `index` elements of its type from a place."""
        if index is not None:
            place = self.at(kind, place, index)
        return self.op(f"load {kind}, ptr {place}" + (f", align {align}" if align else ""))

    def store(
        self, kind: str, value: str, place: str, index: str | None = None, align: int | None = None
    ) -> None:
        """Write an element to memory."""
        if index is not None:
            place = self.at(kind, place, index)
        self.do(f"store {kind} {value}, ptr {place}" + (f", align {align}" if align else ""))

    # ------------------------------------------------------------------ arithmetic, of one type
    def add(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The sum."""
        return self.op(f"add {kind} {a}, {b}")

    def sub(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The difference."""
        return self.op(f"sub {kind} {a}, {b}")

    def mul(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The product."""
        return self.op(f"mul {kind} {a}, {b}")

    def both(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The bits that both have."""
        return self.op(f"and {kind} {a}, {b}")

    def either(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The bits that either has."""
        return self.op(f"or {kind} {a}, {b}")

    def differ(self, a: str, b: str | int, kind: str = "i64") -> str:
        """The bits in which they differ."""
        return self.op(f"xor {kind} {a}, {b}")

    def shift(self, how: str, a: str, b: str | int, kind: str = "i64") -> str:
        """A shift: `shl`, `lshr` or `ashr`."""
        return self.op(f"{how} {kind} {a}, {b}")

    def divide(self, a: str, b: str | int) -> tuple[str, str]:
        """The quotient and remainder of numbers that are not negative."""
        quotient = self.op(f"udiv i64 {a}, {b}")
        return quotient, self.sub(a, self.mul(quotient, b))

    def test(self, how: str, a: str, b: str | int, kind: str = "i64") -> str:
        """A comparison by one of LLVM's conditions."""
        return self.op(f"icmp {how} {kind} {a}, {b}")

    def choose(self, condition: str, a: str, b: str, kind: str = "i64") -> str:
        """One of two values, by a condition that is a scalar."""
        return self.op(f"select i1 {condition}, {kind} {a}, {kind} {b}")

    def least(self, a: str, b: str | int) -> str:
        """The lesser of two signed integers."""
        return self.choose(self.test("slt", a, b), a, str(b))

    def most(self, a: str, b: str | int) -> str:
        """The greater of two signed integers."""
        return self.choose(self.test("sgt", a, b), a, str(b))

    def resize(self, value: str, source: str, target: str, width: int = 0) -> str:
        """An unsigned integer, or a vector of them, as another type."""
        a, b = int(source[1:]), int(target[1:])
        if a == b:
            return value
        how = "zext" if b > a else "trunc"
        return self.op(f"{how} {wide(source, width)} {value} to {wide(target, width)}")

    def call(self, name: str, kind: str, *values: str) -> str:
        """Call an intrinsic whose operands and result are of one type."""
        arguments = ", ".join([f"{kind} {v}" for v in values])
        return self.op(f"call {kind} @llvm.{name}.{intrinsic_suffix(kind)}({arguments})")

    def shuffle(self, kind: str, a: str, b: str, lanes: Sequence[int]) -> str:
        """Lanes of two vectors."""
        width = len(lanes)
        source = int(kind[1:].split()[0])
        assert all([lane < 2 * source for lane in lanes])
        mask = ", ".join([f"i32 {lane}" for lane in lanes])
        return self.op(f"shufflevector {kind} {a}, {kind} {b}, <{width} x i32> <{mask}>")

    def transpose(self, kind: str, rows: Sequence[str]) -> list[str]:
        """Each square of lanes, transposed; its side is the number of vectors."""
        rows, width, distance = list(rows), int(kind[1:].split()[0]), 1
        while distance < len(rows):
            result = list(rows)
            low = [j - distance + width if j & distance else j for j in range(width)]
            high = [j + width if j & distance else j + distance for j in range(width)]
            for i in range(len(rows)):
                if not i & distance:
                    a, b = rows[i], rows[i + distance]
                    result[i] = self.shuffle(kind, a, b, low)
                    result[i + distance] = self.shuffle(kind, a, b, high)
            rows = result
            distance *= 2
        return rows

    def splat(self, value: str, kind: str, width: int) -> str:
        """A vector of one number."""
        vector = wide(kind, width)
        one = self.op(f"insertelement {vector} poison, {kind} {value}, i32 0")
        zeros = ", ".join(["i32 0"] * width)
        return self.op(f"shufflevector {vector} {one}, {vector} poison, <{width} x i32> <{zeros}>")

    # ------------------------------------------------------------------ control flow
    def variable(self, kind: str, value: str) -> Variable:
        """A variable with its first value."""
        return Variable(self, kind, value)

    def label(self, name: str) -> None:
        """Go on in a new block."""
        self.do(f"br label %{name}")
        self.lines.append(f"{name}:")

    @contextmanager
    def loop(self, first: str | int, last: str | int, step: str | int = 1) -> Iterator[str]:
        """For first, first + step, … below last."""
        counter = self.variable("i64", str(first))
        with self.repeat_while(lambda: self.test("slt", counter.get(), last)):
            index = counter.get()
            yield index
            counter.set(self.add(index, step))

    @contextmanager
    def repeat_while(self, condition: Callable[[], str]) -> Iterator[None]:
        """While a condition, which is computed before each step, holds."""
        head, body, end = [self._name(p) for p in ("head", "body", "end")]
        self.label(head)
        self.do(f"br i1 {condition()}, label %{body}, label %{end}")
        self.lines.append(f"{body}:")
        yield
        self.do(f"br label %{head}")
        self.lines.append(f"{end}:")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """If a condition holds."""
        then, end = self._name("then"), self._name("end")
        self.do(f"br i1 {condition}, label %{then}, label %{end}")
        self.lines.append(f"{then}:")
        yield
        self.do(f"br label %{end}")
        self.lines.append(f"{end}:")


def wide(kind: str, width: int) -> str:
    """The type of a vector, or of a scalar for width 0."""
    return f"<{width} x {kind}>" if width else kind


def intrinsic_suffix(kind: str) -> str:
    """A type as the names of intrinsics have it."""
    if kind.startswith("<"):
        count, _, element = kind[1:-1].partition(" x ")
        return f"v{count}{element}"
    return kind


def numbers(kind: str, values: Sequence[int | str]) -> str:
    """A constant vector."""
    return "<" + ", ".join([f"{kind} {v}" for v in values]) + ">"


def every(kind: str, value: int, width: int) -> str:
    """A constant vector of one number; for width 0 the number."""
    return numbers(kind, [value] * width) if width else str(value)


def arguments(code: Code, pointers: int, integers: int) -> list[str]:
    """A routine's arguments: addresses, then integers."""
    kinds = ["ptr"] * pointers + ["i64"] * integers
    return [code.load(kind, code.at("i64", "%args", str(k))) for k, kind in enumerate(kinds)]
