"""closure_convert, and custom_gradient: a rule given along with the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.core.jaxprs import JaxprCallable, trace_to_jaxpr
from nr.core.source_info import wraps
from nr.core.tracing import typeof
from nr.core.trees import Partial, tree_flatten, tree_map, tree_unflatten
from nr.lax.rules import operand
from nr.transforms.custom_derivatives import custom_vjp
from nr.transforms.flat_fun import FlatFun


def closure_convert(fun: Callable, *example_args: Any) -> tuple[Callable, list[Any]]:
    """A function without closed-over tracers, and those as a list of extra arguments.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([1.0, 3.0])
        >>> f, consts = nr.closure_convert(lambda x: x * 2.0, x)
        >>> f(x, *consts), consts
        (Array([2., 6.], dtype=float32), [])
    """
    leaves, in_tree = tree_flatten((example_args, {}))
    flat = FlatFun(fun, in_tree, "closure_convert")
    jaxpr, operands = trace_to_jaxpr(flat, [typeof(x) for x in leaves])
    out_tree, n = flat.out_tree, len(example_args)

    def converted(*args: Any) -> Any:
        given, tree = tree_flatten((args[:n], {}))
        if tree != in_tree or len(args) != n + len(operands):
            raise TypeError(
                f"closure_convert: the function takes {n} argument(s) of the structure of the "
                f"examples and {len(operands)} that were closed over; got {len(args)}."
            )
        return tree_unflatten(out_tree, JaxprCallable(jaxpr)(*args[n:], *given))

    return converted, operands


def custom_gradient(fun: Callable) -> Callable:
    """A function from one that returns its value and the function of the cotangent.

    Args:
        fun: ``f(*args) -> (value, pullback)``; ``pullback(ct)`` gives the cotangents of args as a
            tuple (or, of a single argument, the cotangent itself).

    Example:
        >>> import nr
        >>> f = nr.custom_gradient(lambda x: (x ** 2, lambda ct: (ct * 5.0,)))
        >>> f(3.0), nr.grad(f)(3.0)
        (Array(9., dtype=float32, weak_type=True), Array(5., dtype=float32, weak_type=True))
    """

    def forward(*args: Any) -> tuple[Any, Any]:
        out, pullback = fun(*args)
        # the pullback closes over values of the forward pass: they become residuals
        like = tree_map(lambda x: operand("custom_gradient", x), out)
        converted, residuals = closure_convert(pullback, like)
        return out, (Partial(converted), residuals)

    def backward(kept: Any, ct: Any) -> tuple:
        converted, residuals = kept
        cts = converted(ct, *residuals)
        return cts if isinstance(cts, tuple) else (cts,)

    wrapped = custom_vjp(wraps(fun)(lambda *args: fun(*args)[0]))
    wrapped.defvjp(forward, backward)
    return wrapped
