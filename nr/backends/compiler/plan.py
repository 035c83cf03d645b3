"""The plan of a program: its steps, and where every buffer lies.

A plan is a tree of steps over *places*. A place is a slot and an offset: slot 0 is the arena of
temporaries, the next ones the inputs and outputs, then constants, then what loops move. Steps of
one region are independent of each other, or depend on each other row by row only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nr.backends.compiler.blocks import with_row_blocks
from nr.backends.compiler.clusters import Call, Cluster, Graph
from nr.backends.compiler.constants import with_constants_laid_out
from nr.backends.compiler.counted import with_counted_rows
from nr.backends.compiler.emission import Emitted, emit_once
from nr.backends.compiler.expr import Expr, compiling
from nr.backends.compiler.fission import split_scans
from nr.backends.compiler.hoist import hoist_invariants
from nr.backends.compiler.lifted import with_lifted_constants
from nr.backends.compiler.loops import FRAME, Buffer, Kernel, Table, validate, walk
from nr.backends.compiler.lowering import half_products
from nr.backends.compiler.lowering.fourier.dimensions import with_dimensions
from nr.backends.compiler.lowering.rules import ELEMENT, KERNELS, REDUCTION, buffer_for, storage
from nr.backends.compiler.math import FUNCTIONS
from nr.backends.compiler.matmul import Body, Layout, is_product, prepare
from nr.backends.compiler.once import Once
from nr.backends.compiler.panels import cut_panels, panel_operand
from nr.backends.compiler.pieces import with_concatenations
from nr.backends.compiler.places import Timeline, begins_carry, shared_place
from nr.backends.compiler.recurrence import scan_kernel, while_kernel
from nr.backends.compiler.regions import form_regions
from nr.backends.compiler.routine import Routine
from nr.backends.compiler.schedule import schedule
from nr.backends.compiler.simplify import inline_checkpoints, reshaped, simplify
from nr.backends.compiler.updates import UPDATES, find_updates
from nr.backends.compiler.views import with_views
from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var
from nr.core.tracing import Primitive

CONTROL = ("scan", "while", "cond")
# Loops of more than so many estimated nanoseconds have no other steps beside them.
_LONG_NS = 5e6
# Results take the memory of donated arguments of at least so many bytes.
REUSED = 32 << 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer begins: a slot of the frame and an offset in bytes."""

    slot: int
    offset: int = 0


@dataclass(slots=True, eq=False)
class Launch:
    """A kernel and the buffers it works on, in the order of its arguments."""

    kernel: Kernel
    emitted: Emitted
    reads: list[Buffer]
    writes: list[Buffer]
    work: float
    source: Any = None
    begins_update: bool = False  # copies an array of which another step writes a part
    begins_carry: bool = False  # such a copy of a loop's carry to what takes its place

    @property
    def alone(self) -> bool:
        """Whether it is a long loop, which only the caller's thread can end for a signal: beside
        other steps another thread might take it."""
        return FRAME in self.emitted.buffers and self.work > _LONG_NS

    @property
    def units(self) -> int:
        """How many pieces it can be shared out in."""
        return self.kernel.units


@dataclass(slots=True, eq=False)
class Gemm:
    """A batch of matrix products in panels. Offsets are in elements."""

    dtype: str
    layout: Layout
    a: Buffer
    b: Buffer
    c: Buffer
    a_offset: int
    b_offset: int
    source: Any = None

    @property
    def reads(self) -> list[Buffer]:
        return [self.a, self.b]

    @property
    def writes(self) -> list[Buffer]:
        return [self.c]

    @property
    def units(self) -> int:
        """How many pieces it can be shared out in."""
        return self.layout.lines

    @property
    def work(self) -> float:
        one = self.layout
        return 1e-2 * one.m * one.n * one.k * one.matrices


@dataclass(slots=True, eq=False)
class View:
    """A part of an array, by an index: the address of `part` is computed, nothing is copied.

    extent: what is added to an index below zero; last: the largest; step: bytes.
    """

    part: Buffer
    whole: Buffer
    index: Buffer
    extent: int
    last: int
    step: int

    @property
    def reads(self) -> list[Buffer]:
        return [self.whole, self.index]

    @property
    def writes(self) -> list[Buffer]:
        return [self.part]


@dataclass(slots=True, eq=False)
class TableCall:
    """An eqn that runs in Python, through the backend's table."""

    eqn: JaxprEqn
    operands: list[Any]  # a Buffer, or a constant
    writes: list[Buffer]

    @property
    def reads(self) -> list[Buffer]:
        return [b for b in self.operands if type(b) is Buffer]


@dataclass(slots=True, eq=False)
class Loop:
    """A scan (`length` is known) or a while loop (`test` gives the condition's buffer).

    Carries are in `carries`, pairs of the buffers of a step and of the next, which swap. `steps`
    are moved buffers: (buffer, the whole array's buffer, bytes from one step to the next).
    """

    body: Block
    carries: list[tuple[Buffer, Buffer]]
    results: list[Buffer]
    initial: list[Any]
    moved: list[tuple[Buffer, Buffer, int]]
    length: int | None = None
    reverse: bool = False
    test: Block | None = None
    condition: Buffer | None = None

    @property
    def reads(self) -> list[Buffer]:
        outside = [b for b in self.initial if type(b) is Buffer]
        outside += [whole for _, whole, _ in self.moved]
        outside += self.body.outside
        return outside + (self.test.outside if self.test is not None else [])

    @property
    def writes(self) -> list[Buffer]:
        return self.results


@dataclass(slots=True, eq=False)
class Branch:
    """One of several blocks, by an integer."""

    index: Buffer
    blocks: list[Block]
    results: list[Buffer]

    @property
    def reads(self) -> list[Buffer]:
        return [self.index, *[b for block in self.blocks for b in block.outside]]

    @property
    def writes(self) -> list[Buffer]:
        return self.results


@dataclass(slots=True, eq=False)
class Block:
    """Steps of a jaxpr, with the buffers of its results; `outside` are buffers from around it."""

    steps: list[Any]
    results: list[Buffer]
    outside: list[Buffer] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Plan:
    """What a program does: the steps, and buffers that are not temporaries. `constants` come with
    their values, `reused` are donated inputs by number of the output that takes their memory, with
    the buffers that lie there in between."""

    inputs: list[Buffer]
    outputs: list[Buffer]
    constants: list[tuple[Buffer, Any]]
    top: Block
    reused: dict[int, tuple[int, list[Buffer]]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Target:
    """What the planner has to know of the machine: bytes of a vector register, by type the
    instructions that multiply matrices of half floats, and whether one rounds to bfloat16."""

    vector_bytes: int
    matrix_types: Mapping[str, str] = field(default_factory=dict)
    rounds_bfloat: bool = False


class Planner:
    """Makes the plan of one program, from a simplified jaxpr."""

    def __init__(self, jaxpr: Jaxpr, target: Target, donated: Sequence[int] = ()) -> None:
        self.target = target
        self.constants: list[tuple[Buffer, Any]] = []
        self.once = Once()
        self.read: set[Buffer] = set()  # by steps that are not done once
        with compiling():
            self.inputs = [buffer_for(f"in{i}", v.aval) for i, v in enumerate(jaxpr.invars)]
            self.outputs = [buffer_for(f"out{i}", a.aval) for i, a in enumerate(jaxpr.outvars)]
            lifted = with_lifted_constants(jaxpr)
            self.top = self.block(lifted, self.inputs, self.outputs, overwritable=donated)
        self.reused = self._reused(jaxpr, donated)

    def plan(self) -> Plan:
        """What a call does. The values of what is done once are None."""
        constants = [(b, v) for b, v in self.constants if b in self.read]
        constants += [(b, None) for b in self.kept()]
        return Plan(self.inputs, self.outputs, constants, self.top, self.reused)

    def preparation(self, wanted: list[Buffer]) -> Plan | None:
        """What is done once, when the program is made, for some of what is kept."""
        steps = self.once.needed(wanted)
        read = {b for step in steps for b in step.reads}
        constants = [(b, v) for b, v in self.constants if b in read]
        return Plan([], wanted, constants, Block(form_regions(steps), wanted)) if steps else None

    def kept(self) -> list[Buffer]:
        """What comes of the steps that are done once, and is read by others."""
        written = dict.fromkeys([b for step in self.once.steps for b in step.writes])
        return [b for b in written if b in self.read]

    def _reused(self, jaxpr: Jaxpr, donated: Sequence[int]) -> dict[int, tuple[int, list[Buffer]]]:
        """By number of an output, the donated input whose memory it takes, and the buffers that
        lie there in between."""
        fixed = {*self.inputs, *self.outputs, *[b for b, _ in self.constants], *self.once.results}
        found: dict[int, tuple[int, list[Buffer]]] = {}
        timeline = Timeline(self.top.steps)
        numbers = range(len(self.outputs))
        for i in donated:
            old, aval = self.inputs[i], jaxpr.invars[i].aval
            if old.nbytes < REUSED:
                continue
            # What is written where the argument is read last comes first.
            last, first = timeline.last_read.get(old), timeline.first_write
            at_last = [j for j in numbers if first.get(self.outputs[j]) == last]
            for j in (*at_last, *numbers):
                other = jaxpr.outvars[j].aval
                if j in found or (aval.shape, aval.dtype) != (other.shape, other.dtype):
                    continue
                taken = shared_place(timeline, old, self.outputs[j], fixed)
                if taken is not None:
                    found[j] = i, taken
                    fixed.update(taken)
                    break
        return found

    # ------------------------------------------------------------------ blocks
    def block(
        self, jaxpr: Jaxpr, inputs: Sequence[Any], outputs: Sequence[Buffer], *,
        overwritable: Sequence[int] = (), carried: Sequence[tuple[int, int]] = (),
    ) -> Block:  # fmt: skip
        """The steps that compute a simplified jaxpr from buffers (or constants) into buffers.

        The inputs `overwritable` may be written over; `carried` are numbers of inputs and of the
        outputs that take their place.
        """
        jaxpr = with_row_blocks(split_scans(hoist_invariants(jaxpr)))
        jaxpr = with_concatenations(with_counted_rows(with_constants_laid_out(jaxpr)))
        jaxpr, groups = inline_checkpoints(jaxpr)
        body = prepare(_with_integer_branches(jaxpr), self.target.matrix_types)
        body = _with_own_outputs(with_dimensions(body))
        free = [body.invars[i] for i in (*overwritable, *[i for i, _ in carried])]
        body = with_views(body, free)
        graph = Graph(body, is_call, groups, find_updates(body, is_call, free))
        outside = []
        for var, value in zip(body.constvars, body.consts, strict=True):
            graph.buffers[var] = self.constant(value, var.aval)
        for var, buffer in zip(body.invars, inputs, strict=True):
            graph.buffers[var] = buffer
            outside.append(buffer)
        for atom, buffer in zip(body.outvars, outputs, strict=True):
            graph.buffers[graph.root(atom)] = buffer
        graph.form()
        graph.order_readers([(body.invars[i], body.outvars[k]) for i, k in carried])
        steps: list[Any] = []
        for unit in _ordered(graph):
            if type(unit) is Call:
                steps += self.call(graph, unit.eqn)
            else:
                steps += self.launches(graph, unit)
        pairs = [(inputs[i], outputs[k]) for i, k in carried]
        for step in steps:
            if getattr(step, "begins_update", False):
                step.begins_carry = (step.reads[0], step.writes[0]) in pairs
        steps = self.once.take(steps, {b for b, _ in self.constants}, outputs)
        self.read.update([b for step in steps for b in step.reads])
        # They need nothing but the block's operands, and would part regions from each other.
        steps.sort(key=lambda step: (type(step) is not View, not begins_carry(step)))
        return Block(form_regions(steps), list(outputs), outside)

    def constant(self, value: Any, aval: Any) -> Buffer:
        buffer = buffer_for(f"c{len(self.constants)}", aval)
        self.constants.append((buffer, value))
        return buffer

    def launches(self, graph: Graph, cluster: Cluster) -> list[Launch | Routine]:
        if not cluster.stored:
            return []
        source = next((graph.producer[v].source for v in cluster.stored), None)
        kernels = []
        for kernel in schedule(graph, cluster, self.target.vector_bytes):
            if kernel.panel is not None and self.is_constant(panel_operand(kernel.panel)):
                kernels.append(cut_panels(kernel))
            kernels.append(kernel)
        return self.kernels(kernels, source)

    def is_constant(self, buffer: Buffer) -> bool:
        """Whether a buffer holds the same in all calls."""
        return buffer in self.once.results or buffer in [b for b, _ in self.constants]

    def kernels(self, kernels: Sequence[Kernel | Routine], source: Any) -> list[Launch | Routine]:
        """Launches of kernels, and routines; of those that have nothing to do, none."""
        result: list[Launch | Routine] = []
        for kernel in kernels:
            if type(kernel) is Routine:
                if kernel.units:
                    self.tables(kernel.reads)
                    kernel.source = source
                    result.append(kernel)
                continue
            assert type(kernel) is Kernel
            validate(kernel)
            emitted = emit_once(kernel, rounds_bfloat=self.target.rounds_bfloat)
            writes = list({id(s.buffer): s.buffer for s in kernel.stores()}.values())
            writes = [b for b in writes if b not in kernel.scratch]
            reads = [b for b in emitted.buffers if b not in writes and b is not FRAME]
            self.tables(reads)
            if math.prod([loop.extent for loop in kernel.kept]) == 0:
                continue
            result.append(Launch(kernel, emitted, reads, writes, _work(kernel), source))
        return result

    def tables(self, reads: Sequence[Buffer]) -> None:
        """Make constants of the tables among what a step reads."""
        known = [b for b, _ in self.constants]
        self.constants += [(b, b.values) for b in reads if type(b) is Table and b not in known]

    def operand(self, graph: Graph, atom: Any) -> Any:
        """A call's operand: a buffer, or for literals a NumPy scalar."""
        if type(atom) is Literal:
            return as_host(atom.val).astype(atom.aval.dtype)
        return graph.buffer(atom)

    def buffer_of(self, graph: Graph, atom: Any) -> Buffer:
        """An operand as a buffer; literals become constants of the program."""
        value = self.operand(graph, atom)
        return value if type(value) is Buffer else self.constant(value, atom.aval)

    def call(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        name = eqn.primitive.name
        if name == "dot_general":
            return self.product(graph, eqn)
        if "view" in eqn.params:
            whole, index = [self.buffer_of(graph, a) for a in eqn.invars]
            return [View(graph.buffer(eqn.outvars[0]), whole, index, *eqn.params["view"])]
        if name == "conv_general_dilated" and "matrix_unit" in eqn.params:
            return self.convolution(graph, eqn)
        if name == "scan":
            return self.scan(graph, eqn)
        if name == "while":
            return self.while_loop(graph, eqn)
        if name == "cond":
            return self.cond(graph, eqn)
        if name in KERNELS and KERNELS[name].supports(eqn):
            atoms = [graph.filling(eqn, k) or a for k, a in enumerate(eqn.invars)]
            buffers = [self.buffer_of(graph, a) for a in atoms]
            results = [graph.buffer(v) for v in eqn.outvars]
            if KERNELS[name].counts is not None:
                wanted = [v in graph.wanted for v in eqn.outvars]
                unread = [Buffer(b.name, b.dtype, 0) for b in results]
                results = [b if w else u for w, b, u in zip(wanted, results, unread, strict=True)]
            build = KERNELS[name].build
            steps = self.kernels(build(eqn, buffers, results, self.target.vector_bytes), eqn.source)
            if name in UPDATES and steps and type(steps[0]) is Launch:
                steps[0].begins_update = buffers[0] in steps[0].reads
            return list(steps)
        operands = [self.operand(graph, a) for a in eqn.invars]
        return [TableCall(eqn, operands, [graph.buffer(v) for v in eqn.outvars])]

    # ------------------------------------------------------------------ matrix products
    def product(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        (a, a_offset), (b, b_offset), found = graph.product_operands(eqn)
        if found.swapped:
            a, a_offset, b, b_offset = b, b_offset, a, a_offset
        left, right, out = [graph.buffer(v) for v in (a, b, eqn.outvars[0])]
        if "matrix_unit" in eqn.params:
            sizes = found.m, found.n, found.k
            steps = half_products.product(
                self.target.matrix_types[left.dtype], left, a_offset, found.a, right, b_offset,
                found.b, out, found.c[0], sizes, found.batch,
            )  # fmt: skip
            return list(self.kernels(steps, eqn.source))
        return [Gemm(out.dtype, found, left, right, out, a_offset, b_offset, eqn.source)]

    def convolution(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        x, w, out = [self.buffer_of(graph, v) for v in (*eqn.invars, *eqn.outvars)]
        images, weights, results = [v.aval.shape for v in (*eqn.invars, *eqn.outvars)]
        p, instruction = eqn.params, self.target.matrix_types[x.dtype]
        if p["matrix_unit"] == "weights":
            steps = half_products.weight_gradient(
                instruction, x, images, w, weights, out, results[1:3], p["window_strides"],
                p["rhs_dilation"], p["slices"], by_images=p["by_images"],
            )  # fmt: skip
            return list(self.kernels(steps, eqn.source))
        steps = half_products.convolution(
            instruction, x, images, w, weights, out, results, p["window_strides"],
            p["rhs_dilation"], by_images=p["matrix_unit"] == "images",
        )  # fmt: skip
        return list(self.kernels(steps, eqn.source))

    # ------------------------------------------------------------------ loops and branches
    def scan(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        p = eqn.params
        jaxpr, length = simplify(p["jaxpr"]), p["length"]
        nconsts, ncarry = p["num_consts"], p["num_carry"]
        operands = [self.buffer_of(graph, a) for a in eqn.invars]
        results = [graph.buffer(v) for v in eqn.outvars]
        consts, initial = operands[:nconsts], operands[nconsts : nconsts + ncarry]
        kernel = scan_kernel(
            jaxpr, consts, initial, operands[nconsts + ncarry :], results, length,
            p["reverse"], self.target.vector_bytes,
        )  # fmt: skip
        if kernel is not None:
            return list(self.kernels([kernel], eqn.source))
        carries = self.carries(jaxpr.in_avals[nconsts : nconsts + ncarry])
        moved = []
        pieces = []
        for whole, aval in zip(
            operands[nconsts + ncarry :], jaxpr.in_avals[nconsts + ncarry :], strict=True
        ):
            piece = buffer_for("x", aval)
            pieces.append(piece)
            moved.append((piece, whole, piece.nbytes))
        out_pieces = []
        for whole, aval in zip(results[ncarry:], jaxpr.out_avals[ncarry:], strict=True):
            piece = buffer_for("y", aval)
            out_pieces.append(piece)
            moved.append((piece, whole, piece.nbytes))
        body = self.block(
            jaxpr, [*consts, *[c for c, _ in carries], *pieces],
            [*[c for _, c in carries], *out_pieces],
            carried=[(nconsts + k, k) for k in range(ncarry)],
        )  # fmt: skip
        body.outside = consts
        return [Loop(body, carries, results[:ncarry], initial, moved, length, p["reverse"])]

    def carries(self, avals: Sequence[Any]) -> list[tuple[Buffer, Buffer]]:
        return [(buffer_for("carry", a), buffer_for("next", a)) for a in avals]

    def while_loop(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        p = eqn.params
        test_jaxpr, body_jaxpr = simplify(p["cond_jaxpr"]), simplify(p["body_jaxpr"])
        nc, nb = p["cond_nconsts"], p["body_nconsts"]
        operands = [self.buffer_of(graph, a) for a in eqn.invars]
        cond_consts, body_consts, initial = (
            operands[:nc],
            operands[nc : nc + nb],
            operands[nc + nb :],
        )
        results = [graph.buffer(v) for v in eqn.outvars]
        kernel = while_kernel(
            test_jaxpr, body_jaxpr, cond_consts, body_consts, initial, results,
            self.target.vector_bytes,
        )  # fmt: skip
        if kernel is not None:
            return list(self.kernels([kernel], eqn.source))
        carries = self.carries(body_jaxpr.out_avals)
        now = [c for c, _ in carries]
        condition = buffer_for("condition", test_jaxpr.out_avals[0])
        test = self.block(test_jaxpr, [*cond_consts, *now], [condition])
        test.outside = cond_consts
        body = self.block(
            body_jaxpr, [*body_consts, *now], [c for _, c in carries],
            carried=[(nb + k, k) for k in range(len(carries))],
        )  # fmt: skip
        body.outside = body_consts
        return [Loop(body, carries, results, initial, [], test=test, condition=condition)]

    def cond(self, graph: Graph, eqn: JaxprEqn) -> list[Any]:
        index, *operands = [self.buffer_of(graph, a) for a in eqn.invars]
        results = [graph.buffer(v) for v in eqn.outvars]
        every = range(len(operands))
        blocks = [
            self.block(simplify(b), operands, results, overwritable=every)
            for b in eqn.params["branches"]
        ]
        return [Branch(index, blocks, results)]


# ------------------------------------------------------------------------------ what is a call
def is_call(eqn: JaxprEqn) -> bool:
    """Whether an eqn is a step of its own, rather than loops of a kernel."""
    name = eqn.primitive.name
    if name in CONTROL or not eqn.outvars:
        return True
    if any([storage(a.aval.dtype) is None for a in (*eqn.invars, *eqn.outvars)]):
        return True
    if name == "dot_general":
        return is_product(eqn)
    if "matrix_unit" in eqn.params or "view" in eqn.params:
        return True
    rule = ELEMENT.get(name) or REDUCTION.get(name)
    return rule is None or not rule.supports(eqn)


def runs_in_table(eqn: JaxprEqn) -> bool:
    """Whether an eqn is a step in Python."""
    name = eqn.primitive.name
    if name in KERNELS and KERNELS[name].supports(eqn):
        return False
    return is_call(eqn) and name not in (*CONTROL, "dot_general", "conv_general_dilated")


def _with_integer_branches(jaxpr: Jaxpr) -> Jaxpr:
    """A jaxpr whose branches are chosen by 32-bit integers."""
    eqns = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "cond" and eqn.invars[0].aval.dtype != np.dtype(np.int32):
            fresh = Var(eqn.invars[0].aval.update(dtype=np.dtype(np.int32), weak_type=False))
            convert = Primitive.all["convert_element_type"]
            params = {"new_dtype": fresh.aval.dtype, "weak_type": False}
            eqns.append(JaxprEqn(convert, [eqn.invars[0]], [fresh], params, eqn.source))
            eqn = eqn.replace(invars=[fresh, *eqn.invars[1:]])
        eqns.append(eqn)
    return jaxpr.replace(eqns=eqns)


def _with_own_outputs(jaxpr: Body) -> Body:
    """A body each of whose outputs is computed by an eqn, and for itself."""
    copy = Primitive.all["copy"]
    produced = {v: q for q in jaxpr.eqns for v in q.outvars}
    eqns, outvars, taken = list(jaxpr.eqns), [], set()
    for atom in jaxpr.outvars:
        root = atom
        while (before := reshaped(produced.get(root))) is not None:
            root = before
        if type(atom) is Literal or root not in produced or root in taken:
            fresh = Var(atom.aval)
            eqns.append(JaxprEqn(copy, [atom], [fresh], {}, None))
            atom = fresh
        else:
            taken.add(root)
        outvars.append(atom)
    return dataclasses.replace(jaxpr, eqns=eqns, outvars=outvars)


def _ordered(graph: Graph) -> list[Cluster | Call]:
    """Units in an order in which each comes after what it needs, close to the program's own."""
    position = {v: i for i, q in enumerate(graph.jaxpr.eqns) for v in q.outvars}

    def place(unit: Cluster | Call) -> int:
        if type(unit) is Call:
            return min(
                [position[v] for v in unit.eqn.outvars], default=graph.jaxpr.eqns.index(unit.eqn)
            )
        return max([position[v] for v in unit.order], default=0)

    order: list[Cluster | Call] = []
    done: set = set()

    def visit(unit: Cluster | Call) -> None:
        stack = [unit]
        while stack:
            top = stack[-1]
            if top in done:
                stack.pop()
                continue
            missing = [u for u in graph.before[top] if u not in done]
            if missing:
                stack += sorted(missing, key=place, reverse=True)
            else:
                done.add(top)
                order.append(top)
                stack.pop()

    for unit in sorted(graph.units, key=place):
        visit(unit)
    return order


def _cost(e: Expr) -> float:
    if e.op in FUNCTIONS:
        return 40
    return 20 if e.op in ("div", "sqrt") else 8 if e.op == "load" else 2


def _work(kernel: Kernel) -> float:
    """Estimated nanoseconds of one thread."""
    points = math.prod([loop.extent for loop in (*kernel.kept, *kernel.reduced)])
    nodes = [e for e in walk(list(kernel.roots())) if e.op not in ("const", "index", "acc")]
    cost = sum([_cost(e) for e in nodes])
    return points * cost * 0.02 / kernel.tile + 50
