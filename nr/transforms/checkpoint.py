"""checkpoint (rematerialization): recompute in the backward pass what the forward pass computed.

The primal is the call itself; the tangent is one `checkpoint` eqn over inputs and tangents, so that
the residuals are the inputs, and what a policy keeps. Its transpose evaluates the rest again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from nr.core.jaxprs import Jaxpr, cached_on_jaxpr, eval_jaxpr, trace_closed, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name, wraps
from nr.core.tracing import Primitive, typeof
from nr.core.trees import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten
from nr.lax.rules import operand, weak_where
from nr.transforms.ad import (
    call_jvp,
    call_transpose,
    differentiable,
    linearize_jaxpr,
    zeros_filled,
)
from nr.transforms.batching import call_batch, jaxpr_uses_axis
from nr.transforms.checkpoint_policies import Policy, nothing_saveable, split_by_policy
from nr.transforms.flat_fun import FlatFun, check_leaves, signature_of
from nr.transforms.jit import call_aval


@cached_on_jaxpr
def _forward_and_tangent(
    jaxpr: Jaxpr, nonzeros: tuple[bool, ...], policy: Policy
) -> tuple[Jaxpr, Jaxpr, tuple[bool, ...]]:
    """``(*primals) -> (*outs, *kept)`` and ``(*kept, *primals, *nonzero tangents) -> nonzero
    output tangents``; which these are.

    Both are of the linearized program. In it what is linear stands apart from what is recomputed,
    and custom rules stand in place of the functions they belong to, should an outer
    transformation differentiate it.
    """
    primal, tangent, n_residuals, nz_out = linearize_jaxpr(jaxpr, nonzeros)
    forward, again = split_by_policy(primal, n_residuals, policy)
    n = len(again.invars)

    def f(*args: Any) -> list[Any]:
        return eval_jaxpr(tangent, *eval_jaxpr(again, *args[:n]), *args[n:])

    avals = [*again.in_avals, *tangent.in_avals[n_residuals:]]
    return forward, trace_closed(f, avals), nz_out


def _linearize(nonzeros: Sequence[bool], *primals: Any, jaxpr: Jaxpr, policy: Policy) -> Any:
    forward, tangent, nz_out = _forward_and_tangent(jaxpr, tuple(nonzeros), policy)
    results = checkpoint_p.bind(*primals, jaxpr=forward, policy=policy)
    n = len(jaxpr.outvars)
    outs, kept = results[:n], results[n:]

    def linear_fun(*tangents: Any) -> list[Any]:
        dots = checkpoint_p.bind(*kept, *primals, *tangents, jaxpr=tangent, policy=policy)
        return zeros_filled(outs, dots, nz_out)

    return outs, linear_fun


def _binder(policy: Policy) -> Callable[..., list[Any]]:
    return lambda jaxpr, *args: checkpoint_p.bind(*args, jaxpr=jaxpr, policy=policy)


checkpoint_p = Primitive(
    "checkpoint",
    multiple_results=True,
    abstract_eval=call_aval,
    jvp=lambda primals, tangents, *, jaxpr, policy: call_jvp(
        _binder(policy), primals, tangents, jaxpr
    ),
    linearize=_linearize,
    transpose=lambda cts, *args, jaxpr, policy: call_transpose(_binder(policy), cts, args, jaxpr),
    batch=lambda axis, args, dims, *, jaxpr, policy: call_batch(
        _binder(policy), axis, args, dims, jaxpr
    ),
    uses_axis=jaxpr_uses_axis,
)


def checkpoint(
    fun: Callable | None = None,
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    concrete: bool = False,
) -> Any:
    """A function whose intermediate values are recomputed, not kept, for the backward pass.

    Args:
        fun: a function of arrays and pytrees.
        prevent_cse: accepted for compatibility; recomputation is never merged with the forward
            pass here.
        policy: which intermediate values are kept after all: one of `nr.checkpoint_policies`, or a
            function ``policy(primitive, *avals, **params) -> bool`` of the operation that makes
            them. None keeps the inputs only. Loops are one operation: what is kept of one is its
            results, and what its backward pass needs.
        static_argnums, static_argnames: arguments that are Python values.

    Example:
        >>> import nr
        >>> f = nr.checkpoint(lambda x: nr.numpy.sin(nr.numpy.sin(x)))
        >>> nr.grad(f)(0.0)
        Array(1., dtype=float32, weak_type=True)
    """
    if fun is None:
        return functools.partial(
            checkpoint,
            policy=policy,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            prevent_cse=prevent_cse,
        )
    policy = policy or nothing_saveable
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)
    signature = signature_of(fun)
    if names and signature is not None:
        parameters = enumerate(signature.parameters.values())
        both = inspect.Parameter.POSITIONAL_OR_KEYWORD
        numbers += tuple([i for i, p in parameters if p.name in names and p.kind == both])

    @wraps(fun)
    @api_boundary
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        static = {i % len(args) for i in numbers if i < len(args)}
        fixed = {k: kwargs.pop(k) for k in names & kwargs.keys()}
        dynamic = tuple([x for i, x in enumerate(args) if i not in static])

        def f(*given: Any, **options: Any) -> Any:
            rest = iter(given)
            positional = [args[i] if i in static else next(rest) for i in range(len(args))]
            return fun(*positional, **options, **fixed)

        leaves, in_tree = tree_flatten((dynamic, kwargs))
        check_leaves("checkpoint", leaves, dynamic)
        flat = FlatFun(f, in_tree, "checkpoint")
        jaxpr, operands = trace_to_jaxpr(
            flat, [typeof(x) for x in leaves], name=f"checkpoint({function_name(fun)})"
        )
        outs = checkpoint_p.bind(
            *operands,
            *[operand("checkpoint", x) for x in leaves],
            jaxpr=jaxpr,
            policy=policy,
        )
        weak = [a.weak_type for a in jaxpr.out_avals]
        return tree_unflatten(flat.out_tree, weak_where(weak, outs))

    return checkpointed


remat = checkpoint


def print_saved_residuals(fun: Callable, *args: Any, **kwargs: Any) -> None:
    """Print what the backward pass of a function of given arguments keeps, and where it is from.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> f = nr.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
        >>> nr.ad_checkpoint.print_saved_residuals(f, jnp.ones(3))
        f32[3] from the argument args[0]
    """
    paths, in_tree = tree_flatten_with_path((args, kwargs))
    avals = [typeof(x) for _, x in paths]
    flat = FlatFun(fun, in_tree, "print_saved_residuals")
    jaxpr, closed = trace_to_jaxpr(flat, avals)
    nonzeros = tuple([differentiable(a) for a in jaxpr.in_avals])
    primal, _, n_residuals, _ = linearize_jaxpr(jaxpr, nonzeros)
    n = len(closed)
    names = dict.fromkeys(primal.invars[:n], "from a closed-over value")
    for var, (path, _) in zip(primal.invars[n:], paths, strict=True):
        name = f"args{keystr(path[1:])}" if path[0].idx == 0 else f"kwargs{keystr(path[1:])}"
        names[var] = f"from the argument {name}"
    names |= dict.fromkeys(primal.constvars, "from a constant")
    for eqn in primal.eqns:
        where = f" at {eqn.source}" if eqn.source else ""
        names |= dict.fromkeys(eqn.outvars, f"output of {eqn.primitive.name}{where}")
    for atom in dict.fromkeys(primal.outvars[len(primal.outvars) - n_residuals :]):
        print(atom.aval, names.get(atom, "from a literal"))
