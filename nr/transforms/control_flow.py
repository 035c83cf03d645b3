"""Loops and branches for users: scan, while_loop, fori_loop, map, cond, switch ..."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.config import jit_disabled
from nr.core.errors import ConcretizationTypeError
from nr.core.jaxprs import Jaxpr, trace_to_jaxpr, with_common_operands
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, Tracer, typeof
from nr.core.trees import (
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_map,
    tree_structure,
    tree_unflatten,
)
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add, lt
from nr.lax.rules import canonical_axis, operand, weak_where
from nr.lax.shape import concatenate, pad, rev, slice_in_dim
from nr.transforms.cond import cond_p
from nr.transforms.flat_fun import FlatFun, check_leaves
from nr.transforms.loops import scan_p, while_p
from nr.transforms.plain_loops import number_without_jit, scan_in_python, while_in_python
from nr.transforms.vmap import vmap


# ---------------------------------------------------------------- carries
def _same_type(a: ShapedArray, b: ShapedArray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _strengthened(
    op: str,
    trace: Callable[[list[ShapedArray]], tuple[Jaxpr, list[Any], PyTreeDef, list[ShapedArray]]],
    carry: list[Any],
    carry_tree: PyTreeDef,
    init: Any,
) -> tuple[Jaxpr, list[Any], list[Any]]:
    """Trace a loop body; weak carries (Python scalars) take the dtype that the body gives them.

    Returns:
        The body's jaxpr, its closed-over operands, and the initial carry in its final types.
    """
    avals = [typeof(x) for x in carry]
    jaxpr, operands, out_tree, outs = trace(avals)
    _check_structure(op, carry_tree, out_tree)
    changed = False
    carry = list(carry)  # Python scalars as they are: they take their digits from the final dtype
    for i, (before, after) in enumerate(zip(avals, outs, strict=True)):
        if before.weak_type and not _same_type(before, after):
            kinds = "biufVc"
            grows = kinds.index(after.dtype.kind) >= kinds.index(before.dtype.kind)
            dtype = after.dtype if grows and not after.shape else before.dtype
            carry[i] = convert_element_type(carry[i], dtype)
            changed = True
    if changed:
        jaxpr, operands, out_tree, outs = trace([typeof(x) for x in carry])
    carry = [operand(op, x) for x in carry]
    for x, after, (path, _) in zip(carry, outs, tree_flatten_with_path(init)[0], strict=True):
        before = typeof(x)
        if not _same_type(before, after):
            fix = (
                f"Cast the result with .astype('{before.dtype.name}')"
                if before.shape == after.shape
                else "Give the result the shape of the initial value"
            )
            raise TypeError(
                f"{op}: carry must keep its type; `carry{keystr(path)}` starts as {before} but "
                f"the body returns {after}. {fix}."
            )
    return jaxpr, operands, carry


def _check_structure(op: str, before: PyTreeDef, after: PyTreeDef) -> None:
    if before != after:
        raise TypeError(
            f"{op}: carry must keep its structure; it starts as {before} but the body returns "
            f"{after}."
        )


# ---------------------------------------------------------------- scan
@api_boundary
def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
) -> tuple[Any, Any]:
    """Loop over the leading axis of xs, carrying state: ``carry, y = f(carry, x)``.

    Args:
        f: the body; the carry that it returns has the structure, shapes and dtypes of `init`.
        init: the initial carry, a pytree.
        xs: a pytree of arrays that are scanned over, or None (then give `length`).
        length: the number of steps; needed where xs has no arrays.
        reverse: go from the last to the first.
        unroll: how many steps the compiler may put into one iteration.
        _split_transpose: accepted for compatibility; products of all steps are found anyway.

    Returns:
        The final carry, and the stacked outputs y.

    Raises:
        TypeError: if the carry changes its structure, shapes or dtypes.

    Example:
        >>> import nr
        >>> nr.lax.scan(lambda c, x: (c + x, c * x), 0, nr.numpy.arange(4))
        (Array(6, dtype=int32), Array([0, 0, 2, 9], dtype=int32))
    """
    if not callable(f):
        raise TypeError(f"scan: a function was expected; got {f!r}.")
    carry, carry_tree = tree_flatten(init)
    flat_xs, _ = tree_flatten(xs)
    check_leaves("scan", carry, init, "init")
    check_leaves("scan", flat_xs, xs, "xs")
    flat_xs = [operand("scan", x) for x in flat_xs]
    length = _scan_length(flat_xs, xs, length)
    x_avals = [ShapedArray(x.shape[1:], x.dtype) for x in flat_xs]
    in_tree = tree_structure(((init, xs), {}))
    y_tree: list[PyTreeDef] = []

    def body(c: Any, x: Any) -> Any:
        out = f(c, x)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(
                f"scan: the body must return a pair (carry, y); got {type(out).__name__} from "
                f"{function_name(f)}."
            )
        y_tree[:] = [tree_structure(out[1])]
        return out[0], out[1]

    def trace(avals: list[ShapedArray]) -> Any:
        flat = FlatFun(body, in_tree, "scan")
        jaxpr, operands = trace_to_jaxpr(
            flat, [*avals, *x_avals], name=f"the body of scan, {function_name(f)}"
        )
        out_tree = flat.out_tree.children()[0]
        return jaxpr, operands, out_tree, jaxpr.out_avals[: out_tree.num_leaves]

    if jit_disabled() and length:  # without a step nobody knows what y is
        return scan_in_python(body, init, xs, length, bool(reverse))
    jaxpr, operands, carry = _strengthened("scan", trace, carry, carry_tree, init)
    n = len(carry)
    outs = scan_p.bind(
        *operands,
        *carry,
        *flat_xs,
        jaxpr=jaxpr,
        num_consts=len(operands),
        num_carry=n,
        length=length,
        reverse=bool(reverse),
        unroll=_steps_at_once(unroll, length),
    )
    final = weak_where([a.weak_type for a in jaxpr.out_avals[:n]], outs[:n])
    return tree_unflatten(carry_tree, final), tree_unflatten(y_tree[0], outs[n:])


def _steps_at_once(unroll: int | bool, length: int) -> int:
    if isinstance(unroll, (bool, np.bool_)):
        return max(length, 1) if unroll else 1
    steps = operator.index(unroll)
    if steps < 0:
        raise ValueError(f"scan: unroll must be a bool or a number of steps; got {unroll!r}.")
    return max(steps, 1)


def _scan_length(flat_xs: list[Any], xs: Any, length: int | None) -> int:
    sizes = set()
    for x, (path, _) in zip(flat_xs, tree_flatten_with_path(xs)[0], strict=True):
        if not x.ndim:
            raise ValueError(
                f"scan: arrays to scan over must have rank 1 or more; got {x.aval} at "
                f"xs{keystr(path)}. Pass it in the carry, or close over it."
            )
        sizes.add(x.shape[0])
    if length is not None:
        length = int(length)
        if length < 0:
            raise ValueError(f"scan: length must not be negative; got {length}.")
        if any(n != length for n in sizes):
            raise ValueError(
                f"scan: length={length} must be the size of the leading axes of xs; got sizes "
                f"{sorted(sizes)}."
            )
        return length
    if not sizes:
        raise ValueError("scan: the number of steps is not known; got no xs. Pass length=....")
    if len(sizes) > 1:
        got = ", ".join(
            f"{x.shape[0]} at xs{keystr(path)}"
            for x, (path, _) in zip(flat_xs, tree_flatten_with_path(xs)[0], strict=True)
        )
        raise ValueError(f"scan: leading axes of xs must have equal size; got {got}.")
    return sizes.pop()


# ---------------------------------------------------------------- while_loop, fori_loop, map
@api_boundary
def while_loop(cond_fun: Callable, body_fun: Callable, init_val: Any) -> Any:
    """Apply `body_fun` to a value while `cond_fun` of it holds.

    Differentiable in forward mode; for reverse mode use `scan`, or `fori_loop` with static bounds.

    Example:
        >>> import nr
        >>> nr.lax.while_loop(lambda x: x < 10, lambda x: x * 2, 1)
        Array(16, dtype=int32, weak_type=True)
    """
    carry, tree = tree_flatten(init_val)
    check_leaves("while_loop", carry, init_val, "init_val")
    if jit_disabled():
        with suppress(ConcretizationTypeError):
            return while_in_python(cond_fun, body_fun, init_val)
    in_tree = tree_structure(((init_val,), {}))

    def trace(avals: list[ShapedArray]) -> Any:
        flat = FlatFun(body_fun, in_tree, "while_loop")
        jaxpr, operands = trace_to_jaxpr(
            flat, avals, name=f"the body of while_loop, {function_name(body_fun)}"
        )
        return jaxpr, operands, flat.out_tree, jaxpr.out_avals

    body, body_operands, carry = _strengthened("while_loop", trace, carry, tree, init_val)
    flat = FlatFun(cond_fun, in_tree, "while_loop")
    cond_jaxpr, cond_operands = trace_to_jaxpr(
        flat,
        [typeof(x) for x in carry],
        name=f"the condition of while_loop, {function_name(cond_fun)}",
    )
    outs = cond_jaxpr.out_avals
    if len(outs) != 1 or not flat.out_tree.is_leaf or outs[0] is not ShapedArray((), np.bool_):
        got = ", ".join([str(a) for a in outs])
        raise TypeError(f"while_loop: cond_fun must return one b1[]; got {got}.")
    results = while_p.bind(
        *cond_operands,
        *body_operands,
        *carry,
        cond_jaxpr=cond_jaxpr,
        body_jaxpr=body,
        cond_nconsts=len(cond_operands),
        body_nconsts=len(body_operands),
    )
    return tree_unflatten(tree, weak_where([a.weak_type for a in body.out_avals], results))


@api_boundary
def fori_loop(
    lower: Any, upper: Any, body_fun: Callable, init_val: Any, *, unroll: int | bool | None = None
) -> Any:
    """``for i in range(lower, upper): val = body_fun(i, val)``.

    With static bounds it is a `scan`, differentiable in both modes, whose counter is a Python
    integer's type; with traced ones a `while_loop`, whose counter has the dtype of the bounds.

    Example:
        >>> import nr
        >>> nr.lax.fori_loop(0, 5, lambda i, x: x + i, 0)
        Array(10, dtype=int32, weak_type=True)
    """
    if not callable(body_fun):
        raise TypeError(f"fori_loop: a function was expected; got {body_fun!r}.")
    lower, upper = operand("fori_loop", lower), operand("fori_loop", upper)
    for name, bound in (("lower", lower), ("upper", upper)):
        if bound.shape or bound.dtype.kind == "c":
            raise TypeError(
                f'fori_loop: bounds must be rank-0 integers; got {bound.aval} for "{name}".'
            )
    if lower.dtype != upper.dtype and lower.weak_type == upper.weak_type:
        raise TypeError(
            f"fori_loop: bounds must have one dtype; got {lower.aval} and {upper.aval}. Convert "
            f"one with .astype(...)."
        )
    bounds = _concrete_pair(lower, upper)
    if bounds is not None:
        lo, hi = bounds

        def step(carry: Any, _: Any) -> Any:
            i, value = carry
            return (add(i, 1), body_fun(i, value)), None

        length = max(hi - lo, 0)
        (_, result), _ = scan(step, (lo, init_val), None, length, unroll=unroll or 1)
        return result

    if unroll not in (None, False, 1):
        raise ValueError(
            f"fori_loop: unroll={unroll} needs bounds that are known when the loop is traced; got "
            f"{lower.aval} and {upper.aval}."
        )
    dtype, _ = dtypes.promote([(lower.dtype, lower.weak_type), (upper.dtype, upper.weak_type)])
    one = 1 if lower.weak_type and upper.weak_type else dtype.type(1)
    lower, upper = (convert_element_type(x, dtype) for x in (lower, upper))

    def body(carry: Any) -> Any:
        i, last, value = carry
        return add(i, one), last, body_fun(i, value)

    return while_loop(lambda c: lt(c[0], c[1]), body, (lower, upper, init_val))[2]


def _concrete_pair(lower: Any, upper: Any) -> tuple[int, int] | None:
    values = [x.concrete() if isinstance(x, Tracer) else x for x in (lower, upper)]
    return None if any(v is None for v in values) else (int(values[0]), int(values[1]))


@api_boundary
def map(  # noqa: A001 - JAX's name
    f: Callable, xs: Any, *, batch_size: int | None = None
) -> Any:
    """Apply f to each element along the leading axis, one after another.

    Args:
        f: a function of one element.
        xs: a pytree of arrays.
        batch_size: apply f to batches of that many elements at once (by vmap).

    Example:
        >>> import nr
        >>> nr.lax.map(lambda x: x + 1, nr.numpy.arange(3))
        Array([1, 2, 3], dtype=int32)
    """
    if not batch_size:
        return scan(lambda _, x: ((), f(x)), (), xs)[1]
    n = tree_flatten(xs)[0][0].shape[0]
    whole = n - n % batch_size
    parts = []
    if whole:
        batched = tree_map(
            lambda x: operand("map", x[:whole]).reshape(
                whole // batch_size, batch_size, *x.shape[1:]
            ),
            xs,
        )
        out = scan(lambda _, x: ((), vmap(f)(x)), (), batched)[1]
        parts.append(tree_map(lambda y: y.reshape(whole, *y.shape[2:]), out))
    if whole < n or not n:
        parts.append(vmap(f)(tree_map(lambda x: operand("map", x[whole:]), xs)))
    if len(parts) == 1:
        return parts[0]
    return tree_map(lambda a, b: concatenate([a, b], 0), *parts)


# ---------------------------------------------------------------- cond, switch
_NOT_GIVEN = object()


def _branch_jaxprs(
    op: str, branches: Sequence[Callable], operands: Sequence[Any]
) -> tuple[tuple[Jaxpr, ...], list[Any], PyTreeDef]:
    """The branches' jaxprs over common operands (what each closes over, then the arguments)."""
    leaves, in_tree = tree_flatten((tuple(operands), {}))
    check_leaves(op, leaves, tuple(operands), "operands")
    avals = [typeof(x) for x in leaves]
    known: dict[int, tuple] = {}  # a function that is several branches is traced once
    for branch in branches:
        if id(branch) not in known:
            flat = FlatFun(branch, in_tree, op)
            name = f"a branch of {op}, {function_name(branch)}"
            known[id(branch)] = trace_to_jaxpr(flat, avals, name=name), flat.out_tree
    traced, trees = zip(*[known[id(branch)] for branch in branches], strict=True)
    _check_branches(op, branches, traced, trees)
    jaxprs, closed = with_common_operands(traced)
    return jaxprs, [*closed, *[operand(op, x) for x in leaves]], trees[0]


def _check_branches(
    op: str, branches: Sequence[Callable], traced: Sequence[Any], trees: Sequence[PyTreeDef]
) -> None:
    first = function_name(branches[0])
    for i in range(1, len(traced)):
        other = function_name(branches[i])
        if trees[i] != trees[0]:
            raise TypeError(
                f"{op}: branches must return the same structure; got {trees[0]} from {first} "
                f"and {trees[i]} from {other}."
            )
        for j, (a, b) in enumerate(
            zip(traced[0][0].out_avals, traced[i][0].out_avals, strict=True)
        ):
            if not _same_type(a, b):
                path = tree_flatten_with_path(trees[0].unflatten(range(trees[0].num_leaves)))[0]
                raise TypeError(
                    f"{op}: branches must return the same types; `out{keystr(path[j][0])}` is "
                    f"{a} from {first} and {b} from {other}. Cast one with .astype(...)."
                )


@api_boundary
def cond(
    pred: Any,
    true_fun: Callable,
    false_fun: Callable,
    *operands: Any,
    operand: Any = _NOT_GIVEN,
) -> Any:
    """true_fun(*operands) if pred else false_fun(*operands); only the one chosen runs.

    Args:
        pred: a rank-0 bool (or number).
        true_fun, false_fun: functions that return the same structure, shapes and dtypes.
        operands: their arguments. The order ``pred, true_operand, true_fun, false_operand,
            false_fun`` is understood, too.
        operand: a single operand, by name.

    Raises:
        TypeError: if the branches return different types.

    Example:
        >>> import nr
        >>> nr.lax.cond(True, lambda x: x + 1, lambda x: x - 1, 3)
        Array(4, dtype=int32, weak_type=True)
    """
    if not callable(true_fun) and len(operands) == 2 and callable(operands[1]):
        # JAX's older order: pred, true_operand, true_fun, false_operand, false_fun
        on_true, on_false = false_fun, operands[1]
        operands = (true_fun, operands[0])
        true_fun, false_fun = lambda x, y: on_true(x), lambda x, y: on_false(y)
    if not (callable(true_fun) and callable(false_fun)):
        raise TypeError(
            f"cond: true_fun and false_fun must be functions; got {type(true_fun).__name__} and "
            f"{type(false_fun).__name__}."
        )
    pred = _predicate(pred)
    if operand is not _NOT_GIVEN:
        operands = (*operands, operand)
    known = number_without_jit(pred)
    if known is not None:
        return (true_fun if known else false_fun)(*operands)
    jaxprs, args, out_tree = _branch_jaxprs("cond", (false_fun, true_fun), operands)
    outs = cond_p.bind(pred, *args, branches=jaxprs)
    return tree_unflatten(out_tree, _weak_as_first(jaxprs, outs))


def _predicate(pred: Any) -> Any:
    pred = operand("cond", pred)
    if pred.dtype.kind == "c":
        raise TypeError(f"cond: the predicate must be a bool or a real number; got {pred.aval}.")
    if pred.shape:
        raise TypeError(
            f"cond: the predicate must have rank 0; got {pred.aval}. Use nr.numpy.where to "
            f"choose element by element."
        )
    if pred.dtype != dtypes.bool_dt:
        pred = Primitive.all["ne"].bind(pred, pred.dtype.type(0))
    return pred


@api_boundary
def switch(
    index: Any, branches: Sequence[Callable], *operands: Any, operand: Any = _NOT_GIVEN
) -> Any:
    """branches[index](*operands); the index is held within the range of branches.

    Example:
        >>> import nr
        >>> nr.lax.switch(1, [lambda x: x, lambda x: -x], 3)
        Array(-3, dtype=int32, weak_type=True)
    """
    branches = list(branches)
    if not branches:
        raise ValueError("switch: one branch or more was expected; got none.")
    if not all(callable(b) for b in branches):
        raise TypeError(f"switch: a sequence of functions was expected; got {branches!r}.")
    index = _branch_index(index, len(branches))
    if operand is not _NOT_GIVEN:
        operands = (*operands, operand)
    if len(branches) == 1:
        return branches[0](*operands)
    known = number_without_jit(index)
    if known is not None:
        return branches[int(known)](*operands)
    jaxprs, args, out_tree = _branch_jaxprs("switch", branches, operands)
    outs = cond_p.bind(index, *args, branches=jaxprs)
    return tree_unflatten(out_tree, _weak_as_first(jaxprs, outs))


def _weak_as_first(branches: Sequence[Jaxpr], outs: Sequence[Any]) -> list[Any]:
    """The results of branches, of which those are weak that are in the first, as in JAX."""
    return weak_where([a.weak_type for a in branches[0].out_avals], outs)


def _branch_index(index: Any, n: int) -> Any:
    index = operand("switch", index)
    if index.shape or index.dtype not in dtypes.INTEGER:
        raise TypeError(f"switch: the index must be a rank-0 integer; got {index.aval}.")
    last = index.dtype.type(min(n - 1, np.iinfo(index.dtype).max))
    index = Primitive.all["clamp"].bind(index.dtype.type(0), index, last)
    return convert_element_type(index, np.int32)


# ---------------------------------------------------------------- associative_scan
@api_boundary
def associative_scan(fn: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes combined with an associative function, in a logarithmic number of rounds.

    Args:
        fn: combines two pytrees of slices elementwise along `axis`.
        elems: a pytree of arrays.
        reverse: combine suffixes.
        axis: the axis to scan along.

    Source: G. Blelloch, Prefix Sums and Their Applications, 1990.

    Example:
        >>> import nr
        >>> nr.lax.associative_scan(nr.numpy.add, nr.numpy.arange(5))
        Array([ 0,  1,  3,  6, 10], dtype=int32)
    """
    if not callable(fn):
        raise TypeError(f"associative_scan: a function was expected; got {fn!r}.")
    leaves, tree = tree_flatten(elems)
    leaves = [operand("associative_scan", x) for x in leaves]
    axes = [canonical_axis("associative_scan", axis, x.ndim) for x in leaves]
    sizes = {x.shape[a] for x, a in zip(leaves, axes, strict=True)}
    if len(sizes) != 1:
        raise ValueError(
            f"associative_scan: all arrays must have one size along axis {axis}; got "
            f"{', '.join(str(x.aval) for x in leaves)}."
        )
    if reverse:
        leaves = [rev(x, (a,)) for x, a in zip(leaves, axes, strict=True)]

    def combine(a: list[Array], b: list[Array]) -> list[Array]:
        out = fn(tree_unflatten(tree, a), tree_unflatten(tree, b))
        return [operand("associative_scan", x) for x in tree_flatten(out)[0]]

    def cut(xs: list[Array], start: int, stop: int | None, step: int = 1) -> list[Array]:
        return [slice_in_dim(x, start, stop, step, axis=a) for x, a in zip(xs, axes, strict=True)]

    def prefixes(xs: list[Array]) -> list[Array]:
        n = xs[0].shape[axes[0]]
        if n < 2:
            return xs
        last = n - n % 2
        pairs = combine(cut(xs, 0, last, 2), cut(xs, 1, last, 2))
        odd = prefixes(pairs)
        rest = cut(xs, 2, None, 2)
        n_rest = rest[0].shape[axes[0]]
        even = cut(xs, 0, 1)
        if n_rest:
            tail = combine(cut(odd, 0, n_rest), rest)
            even = [concatenate([a, b], d) for a, b, d in zip(even, tail, axes, strict=True)]
        return [_interleave(a, b, d) for a, b, d in zip(even, odd, axes, strict=True)]

    out = prefixes(leaves)
    if reverse:
        out = [rev(x, (a,)) for x, a in zip(out, axes, strict=True)]
    return tree_unflatten(tree, out)


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """even[0], odd[0], even[1], odd[1], ... along an axis."""
    n, m = even.shape[axis], odd.shape[axis]
    zero = np.zeros((), even.dtype)[()]

    def spread(x: Array, lo: int, hi: int) -> Array:
        config = [(lo, hi, 1) if d == axis else (0, 0, 0) for d in range(x.ndim)]
        return pad(x, zero, config)

    a, b = spread(even, 0, int(m == n)), spread(odd, 1, int(n > m))
    if even.dtype == dtypes.bool_dt:
        return Primitive.all["or"].bind(a, b)
    return add(a, b)
