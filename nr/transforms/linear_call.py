"""linear_call: a linear function that comes with its transpose.

Reverse mode transposes what is linear eqn by eqn. Where another program is the better transpose,
as one that sums up block by block what the linear function spreads, both are written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.jaxprs import Jaxpr, eval_jaxpr, trace_to_jaxpr, with_common_operands
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, typeof
from nr.core.trees import tree_flatten, tree_structure, tree_unflatten
from nr.lax.rules import add_tangents, instantiate, operand, to_front
from nr.transforms.ad import jvp_jaxpr, zeros_filled
from nr.transforms.batching import batch_jaxpr, jaxpr_uses_axis
from nr.transforms.flat_fun import FlatFun, check_leaves

_OP = "linear_call"


# ---------------------------------------------------------------- the primitive
# Operands: the residuals, then what the function is linear in. `jaxpr` takes these, `transposed`
# the residuals and cotangents of the results.
def _aval(*avals: ShapedArray, jaxpr: Jaxpr, **params: Any) -> list[ShapedArray]:
    return [a.strip_weak_type() for a in jaxpr.out_avals]


def _evaluate(*args: Any, jaxpr: Jaxpr, **params: Any) -> list[Any]:
    return [operand(_OP, x) for x in eval_jaxpr(jaxpr, *args)]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    jaxpr, n = params["jaxpr"], params["n_residuals"]
    outs = linear_call_p.bind(*primals, **params)
    dots: list[Any] = zeros_filled(outs, [], (False,) * len(outs))
    if any([type(t) is not Zero for t in tangents[n:]]):
        linear = [instantiate(t) for t in tangents[n:]]
        dots = linear_call_p.bind(*primals[:n], *linear, **params)
    given = [t for t in tangents[:n] if type(t) is not Zero]
    if given:
        flags = (*[type(t) is not Zero for t in tangents[:n]], *[False] * (len(primals) - n))
        dual, nonzero = jvp_jaxpr(jaxpr, flags)
        moved = eval_jaxpr(dual, *primals, *given)[len(outs) :]
        dots = [*map(add_tangents, dots, zeros_filled(outs, moved, nonzero))]
    return outs, dots


def _transpose(
    cts: Sequence[Any], *args: Any, jaxpr: Jaxpr, transposed: Jaxpr, n_residuals: int
) -> list[Any]:
    n = n_residuals
    outs = linear_call_p.bind(
        *args[:n],
        *[instantiate(ct) for ct in cts],
        jaxpr=transposed,
        transposed=jaxpr,
        n_residuals=n,
    )
    found = [
        ct if type(x) is UndefinedPrimal else None for x, ct in zip(args[n:], outs, strict=True)
    ]
    return [*[None] * n, *found]


def _batch(
    axis: Any, args: Any, dims: Any, *, jaxpr: Jaxpr, transposed: Jaxpr, n_residuals: int
) -> Any:
    n = n_residuals
    ins = [
        x if d is None and i < n else to_front(x, d, axis.size)
        for i, (x, d) in enumerate(zip(args, dims, strict=True))
    ]
    known = tuple([None if d is None else 0 for d in dims[:n]])
    batched = [
        batch_jaxpr(one, (*known, *[0] * (len(one.invars) - n)), axis.size, axis.name, True)[0]
        for one in (jaxpr, transposed)
    ]
    outs = linear_call_p.bind(*ins, jaxpr=batched[0], transposed=batched[1], n_residuals=n)
    return outs, [0] * len(outs)


linear_call_p = Primitive(
    "linear_call",
    multiple_results=True,
    abstract_eval=_aval,
    evaluate=_evaluate,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    uses_axis=jaxpr_uses_axis,
)


# ---------------------------------------------------------------- for users
@api_boundary
def linear_call(
    fun: Callable, fun_transpose: Callable, residual_args: Any, linear_args: Any
) -> Any:  # fmt: skip
    """``fun(residual_args, linear_args)``, whose transpose is another function.

    Reverse mode calls ``fun_transpose`` where it would transpose ``fun``; forward mode, and what
    is differentiated by the residuals, follows the functions themselves.

    Args:
        fun: linear in its second argument.
        fun_transpose: ``fun_transpose(residual_args, cts)``, of cotangents of what fun returns,
            gives those of linear_args.
        residual_args: a pytree of arrays.
        linear_args: a pytree of arrays.

    Returns:
        What fun returns.

    Raises:
        TypeError, ValueError: if fun_transpose gives not the structure, or shapes, of linear_args.

    Example:
        >>> import nr
        >>> def scaled(a, x):
        ...     return a * x
        >>> nr.grad(lambda x: nr.custom_derivatives.linear_call(scaled, scaled, 3.0, x))(1.0)
        Array(3., dtype=float32, weak_type=True)
    """
    known, known_tree = tree_flatten(residual_args)
    linear, linear_tree = tree_flatten(linear_args)
    check_leaves(_OP, known, residual_args, "residual_args")
    check_leaves(_OP, linear, linear_args, "linear_args")
    known, linear = [[operand(_OP, x) for x in leaves] for leaves in (known, linear)]

    def traced(f: Callable, avals: Sequence[ShapedArray], tree: Any) -> tuple[Any, Any]:
        example = (tree_unflatten(known_tree, known), tree_unflatten(tree, avals))
        flat = FlatFun(f, tree_structure((example, {})), _OP)
        avals = [*[typeof(x) for x in known], *avals]
        return trace_to_jaxpr(flat, avals, name=f"{_OP}: {function_name(f)}"), flat.out_tree

    forward, out_tree = traced(fun, [typeof(x) for x in linear], linear_tree)
    backward, back_tree = traced(fun_transpose, forward[0].out_avals, out_tree)
    _check_transposed(back_tree, backward[0].out_avals, linear_tree, linear)
    (jaxpr, transposed), closed = with_common_operands([forward, backward])
    outs = linear_call_p.bind(
        *closed, *known, *linear,
        jaxpr=jaxpr, transposed=transposed, n_residuals=len(closed) + len(known),
    )  # fmt: skip
    return tree_unflatten(out_tree, outs)


def _check_transposed(
    tree: Any, avals: Sequence[ShapedArray], linear_tree: Any, linear: Sequence[Any]
) -> None:
    if tree != linear_tree:
        raise TypeError(
            f"{_OP}: fun_transpose must return the structure of linear_args, {linear_tree}; "
            f"got {tree}. Return a cotangent for each of them."
        )
    for got, x in zip(avals, linear, strict=True):
        aval = typeof(x)
        if (got.shape, got.dtype) != (aval.shape, aval.dtype):
            raise ValueError(
                f"{_OP}: fun_transpose must return the shapes and dtypes of linear_args; got {got} "
                f"for {aval}. Sum over what was broadcast, and convert with .astype."
            )
