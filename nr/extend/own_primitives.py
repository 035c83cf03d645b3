"""Primitives that users define: rules are given one by one, as in JAX, to `nr.interpreters`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core import tracing
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, trace_closed
from nr.core.trees import tree_map
from nr.lax.rules import operand
from nr.transforms.callbacks import pure_callback
from nr.transforms.make_jaxpr import ShapeDtypeStruct


class Primitive(tracing.Primitive):
    """A new operation.

    Args:
        name: what jaxprs call it.

    Example:
        >>> import nr
        >>> double_p = nr.extend.core.Primitive("double")
        >>> rule = double_p.def_impl(lambda x: 2 * x)
        >>> rule = double_p.def_abstract_eval(lambda x: x)
        >>> double_p.bind(nr.numpy.float32(3))
        Array(6., dtype=float32)
        >>> nr.make_jaxpr(double_p.bind)(3.0)
        { lambda ; a:f32[] . let
            b:f32[] = double a
          in (b,) }
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            abstract_eval=self._no_rule("def_abstract_eval"),
            evaluate=self._no_rule("def_impl"),
            expand=self._expand,
        )
        self.lowering: Callable | None = None

    def _no_rule(self, method: str) -> Callable:
        def missing(*args: Any, **params: Any) -> Any:
            raise NotImplementedError(
                f"{self.name}: a rule that has not been given was asked for. Give it with "
                f"{self.name}_p.{method}(rule)."
            )

        return missing

    def def_impl(self, impl: Callable) -> Callable:
        """Set how it runs outside of jit: a function of arrays."""

        def evaluate(*args: Any, **params: Any) -> Any:
            outs = impl(*[operand(self.name, x) for x in args], **params)
            if not self.multiple_results:
                return operand(self.name, outs)
            return [operand(self.name, out) for out in outs]

        self.custom_evaluate = evaluate
        return impl

    def def_abstract_eval(self, abstract_eval: Callable) -> Callable:
        """Set the function of avals (and params) that gives the result's aval, or a list."""
        self.abstract_eval = abstract_eval
        return abstract_eval

    @property
    def impl(self) -> Callable:
        """How it runs outside of jit."""
        assert self.custom_evaluate is not None
        return self.custom_evaluate

    def _expand(self, avals: Sequence[ShapedArray], params: dict[str, Any]) -> Jaxpr:
        """What programs run in its place: its lowering, or else its `impl` as a Python step."""

        def lowered(*args: Any) -> list[Any]:
            if self.lowering is not None:
                outs = self.lowering(*args, **params)
            else:
                shapes = tree_map(
                    lambda a: ShapeDtypeStruct(a.shape, a.dtype),
                    self.abstract_eval(*avals, **params),
                )
                outs = pure_callback(lambda *xs: self.impl(*xs, **params), shapes, *args)
            return list(outs) if self.multiple_results else [outs]

        return trace_closed(lowered, avals)
