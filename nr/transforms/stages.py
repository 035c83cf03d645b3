"""What becomes of a jitted function for given arguments: traced, lowered, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nr.backends.base import NO_OPTIONS, Options, ProgramPlan
from nr.core import devices
from nr.core.array import weak_scalar
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr
from nr.core.trees import PyTreeDef, tree_flatten, tree_unflatten
from nr.lax.rules import operand
from nr.transforms.jit import jit_p
from nr.transforms.make_jaxpr import ShapeDtypeStruct, aval_of

if TYPE_CHECKING:
    from nr.transforms.compiled_function import JitFunction


@dataclass(frozen=True)
class Program:
    """A function traced for a signature: what all stages know."""

    function: JitFunction
    jaxpr: Jaxpr
    in_tree: PyTreeDef
    out_tree: PyTreeDef
    in_avals: tuple[ShapedArray, ...]
    statics: tuple[tuple[int | str, type, Any], ...]
    options: Options


@dataclass(frozen=True)
class ArgInfo:
    """The type of an argument, and whether its memory is given away."""

    shape: tuple[int, ...]
    dtype: np.dtype
    donated: bool


class Stage:
    """What there is to know at any stage."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.jaxpr = program.jaxpr
        self.in_tree, self.out_tree = program.in_tree, program.out_tree
        self.out_avals = program.jaxpr.out_avals

    @property
    def in_avals(self) -> Any:
        """The types of ``(args, kwargs)``, static arguments left out."""
        return tree_unflatten(self.in_tree, self._program.in_avals)

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """The leaves of the arguments whose memory is given away, by their number."""
        return self._program.options.donated

    @property
    def args_info(self) -> Any:
        """An `ArgInfo` for each leaf of ``(args, kwargs)``, static arguments left out."""
        donated = self.donate_argnums
        avals = self._program.in_avals
        infos = [ArgInfo(a.shape, a.dtype, i in donated) for i, a in enumerate(avals)]
        return tree_unflatten(self.in_tree, infos)

    @property
    def out_info(self) -> Any:
        """The outputs' shapes and dtypes."""
        shapes = [ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in self.out_avals]
        return tree_unflatten(self.out_tree, shapes)


class Traced(Stage):
    """A function as a jaxpr."""

    @property
    def fun_name(self) -> str:
        return self._program.function.name

    def lower(self) -> Lowered:
        """The program, to look at or compile."""
        return Lowered(self._program)


class Lowered(Stage):
    """A traced program: `jaxpr`, its text, and `compile()`."""

    def as_text(self, stage: str = "simplified") -> str:
        """A stage of the compilation.

        Args:
            stage: "jaxpr", "simplified" (the jaxpr that is compiled), "loops" (the loop IR),
                "llvm", "assembly", "memory" (where the bytes go), or "report" (seconds a stage,
                kernels, and what is not compiled).

        Raises:
            ValueError: if there is no such stage.

        Example:
            >>> import nr, nr.numpy as jnp
            >>> lowered = nr.jit(lambda x: jnp.sin(x) + 1).lower(jnp.zeros(100))
            >>> print(lowered.as_text("loops"))  # doctest: +ELLIPSIS
            kernel width=...:
              for i0 in 100 vector:
                out0[i0] = add(sin(in0[i0]), 1.0)
        """
        backend = devices.current_default().backend
        return backend.as_text(self.jaxpr, stage, self._program.options)

    def plan(self) -> ProgramPlan:
        """Bytes and arithmetic operations of a call; see `nr.plan`."""
        return devices.current_default().backend.plan(self.jaxpr, self._program.options)

    def cost_analysis(self) -> dict[str, float]:
        """The arithmetic operations of a call."""
        return {"flops": self.plan().flops}

    def compile(self, compiler_options: dict[str, Any] | None = None) -> Compiled:
        """The program, ready to run; options of XLA have no meaning here."""
        backend = devices.current_default().backend
        backend.compile(self.jaxpr, self._program.options)
        return Compiled(self)


class Compiled(Stage):
    """A compiled program: call it with arguments of the signature it was lowered for.

    Static arguments are part of the program, and are left out.
    """

    def __init__(self, lowered: Lowered) -> None:
        super().__init__(lowered._program)
        self._lowered = lowered

    def as_text(self, stage: str = "loops") -> str:
        """A stage of the compilation; see `Lowered.as_text`."""
        return self._lowered.as_text(stage)

    def memory_analysis(self) -> ProgramPlan:
        """Bytes that a call takes; see `nr.plan`."""
        return self._lowered.plan()

    def cost_analysis(self) -> dict[str, float]:
        """The arithmetic operations of a call."""
        return self._lowered.cost_analysis()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self._program.function
        leaves, in_tree = tree_flatten((args, kwargs))
        if in_tree != self.in_tree:
            raise TypeError(
                f"compiled {function.name}: arguments must have the structure it was lowered for, "
                f"{self.in_tree}, static ones left out; got {in_tree}."
            )
        avals = [aval_of(weak_scalar(x)) for x in leaves]
        expected = self._program.in_avals
        if [(a.shape, a.dtype) for a in avals] != [(a.shape, a.dtype) for a in expected]:
            raise TypeError(
                f"compiled {function.name}: arguments must be those it was lowered for, "
                f"{', '.join(map(str, expected))}; got {', '.join(map(str, avals))}."
            )
        if self._program.options != NO_OPTIONS:
            whole = list(args)
            for place, _, value in self._program.statics:
                if isinstance(place, int):
                    whole.insert(place, value)
                else:
                    kwargs[place] = value
            return function(*whole, **kwargs)
        operands = [operand("jit", x) for x in leaves]
        outs = jit_p.bind(*operands, jaxpr=self.jaxpr, name=function.name)
        return tree_unflatten(self.out_tree, outs)
