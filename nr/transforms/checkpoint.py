"""checkpoint (rematerialization): recompute in the backward pass what the forward pass computed.

The primal is the call itself; the tangent is one `checkpoint` eqn over inputs and tangents, so that
the residuals are the inputs only. Its transpose evaluates the body again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from nr.core.jaxprs import Jaxpr, cached_on_jaxpr, eval_jaxpr, trace_closed, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, typeof
from nr.core.trees import tree_flatten, tree_unflatten
from nr.lax.rules import operand
from nr.transforms.ad import call_jvp, call_transpose, linearize_jaxpr, zeros_filled
from nr.transforms.batching import call_batch, jaxpr_uses_axis
from nr.transforms.flat_fun import FlatFun, check_leaves
from nr.transforms.jit import call_aval


@cached_on_jaxpr
def _tangent_jaxpr(jaxpr: Jaxpr, nonzeros: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
    """``(*primals, *nonzero tangents) -> nonzero output tangents``.

    Made of the linearized program, so that what is linear stands apart from what is recomputed.
    """
    primal, tangent, n_residuals, nz_out = linearize_jaxpr(jaxpr, nonzeros)
    n = len(nonzeros)

    def f(*args: Any) -> list[Any]:
        outs = eval_jaxpr(primal, *args[:n])
        return eval_jaxpr(tangent, *outs[len(outs) - n_residuals :], *args[n:])

    avals = [*jaxpr.in_avals, *tangent.in_avals[n_residuals:]]
    return trace_closed(f, avals), nz_out


def _linearize(nonzeros: Sequence[bool], *primals: Any, jaxpr: Jaxpr) -> Any:
    # The linearized program, not the original: in it custom rules stand in place of the functions
    # they belong to, should an outer transformation differentiate it.
    primal = linearize_jaxpr(jaxpr, tuple(nonzeros))[0]
    forward = primal.cache.setdefault(
        "checkpoint_forward", primal.replace(outvars=primal.outvars[: len(jaxpr.outvars)])
    )
    outs = checkpoint_p.bind(*primals, jaxpr=forward)
    tangent, nz_out = _tangent_jaxpr(jaxpr, tuple(nonzeros))

    def linear_fun(*tangents: Any) -> list[Any]:
        results = checkpoint_p.bind(*primals, *tangents, jaxpr=tangent)
        return zeros_filled(outs, results, nz_out)

    return outs, linear_fun


def _bind(jaxpr: Jaxpr, *args: Any) -> list[Any]:
    return checkpoint_p.bind(*args, jaxpr=jaxpr)


checkpoint_p = Primitive(
    "checkpoint",
    multiple_results=True,
    abstract_eval=call_aval,
    jvp=lambda primals, tangents, *, jaxpr: call_jvp(_bind, primals, tangents, jaxpr),
    linearize=_linearize,
    transpose=lambda cts, *args, jaxpr: call_transpose(_bind, cts, args, jaxpr),
    batch=lambda axis, args, dims, *, jaxpr: call_batch(_bind, axis, args, dims, jaxpr),
    uses_axis=jaxpr_uses_axis,
)


def checkpoint(
    fun: Callable | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable | None = None,
    static_argnums: int | Sequence[int] = (),
    concrete: bool = False,
) -> Any:
    """A function whose intermediate values are recomputed, not kept, for the backward pass.

    Args:
        fun: a function of arrays and pytrees.
        prevent_cse: accepted for compatibility; recomputation is never merged with the forward
            pass here.
        policy: not supported yet; None (recompute everything).
        static_argnums: arguments that are Python values.

    Example:
        >>> import nr
        >>> f = nr.checkpoint(lambda x: nr.numpy.sin(nr.numpy.sin(x)))
        >>> nr.grad(f)(0.0)
        Array(1., dtype=float32)
    """
    if fun is None:
        return functools.partial(
            checkpoint, policy=policy, static_argnums=static_argnums, prevent_cse=prevent_cse
        )
    if policy is not None:
        raise NotImplementedError(
            "checkpoint: policies are not supported yet; got a policy. Pass policy=None, and "
            "apply nr.checkpoint to the parts that are to be recomputed."
        )
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    @functools.wraps(fun)
    @api_boundary
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        static = {i % len(args) for i in numbers}
        dynamic = tuple([x for i, x in enumerate(args) if i not in static])

        def f(*given: Any, **options: Any) -> Any:
            rest = iter(given)
            return fun(
                *[args[i] if i in static else next(rest) for i in range(len(args))], **options
            )

        leaves, in_tree = tree_flatten((dynamic, kwargs))
        check_leaves("checkpoint", leaves, dynamic)
        flat = FlatFun(f, in_tree, "checkpoint")
        jaxpr, operands = trace_to_jaxpr(
            flat, [typeof(x) for x in leaves], name=f"checkpoint({function_name(fun)})"
        )
        outs = checkpoint_p.bind(
            *operands, *[operand("checkpoint", x) for x in leaves], jaxpr=jaxpr
        )
        return tree_unflatten(flat.out_tree, outs)

    return checkpointed


remat = checkpoint
