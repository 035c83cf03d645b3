"""Derivatives for users: grad, value_and_grad, jvp, vjp, linearize, Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import ArrayImpl, weak_scalar
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.jaxprs import Jaxpr, eval_jaxpr, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name, wraps
from nr.core.tracing import typeof
from nr.core.trees import (
    Partial,
    PyTreeDef,
    keystr,
    register_pytree_node,
    tree_flatten,
    tree_flatten_with_path,
    tree_map,
    tree_structure,
    tree_unflatten,
)
from nr.lax.rules import float0_array, instantiate, operand, weak_where, zeros_of
from nr.transforms.ad import backward_pass, jvp_flat, linearize_flat
from nr.transforms.flat_fun import FlatFun, argument_names, check_leaves, signature_of
from nr.transforms.vmap import vmap


def _fun_of(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], PyTreeDef]:
    return tree_flatten((tuple(args), kwargs))


# ---------------------------------------------------------------- jvp
@api_boundary
def jvp(
    fun: Callable, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> Any:
    """The value of a function and its derivative along a direction (forward mode).

    Args:
        fun: a function of arrays or pytrees of arrays.
        primals: tuple of arguments.
        tangents: tuple of directions, of the arguments' structure, shapes and dtypes.
        has_aux: fun returns a pair whose second part is passed through.

    Returns:
        ``(out, out_tangent)``, and ``aux`` if has_aux.

    Example:
        >>> import nr
        >>> nr.jvp(nr.numpy.sin, (0.0,), (1.0,))
        (Array(0., dtype=float32, weak_type=True), Array(1., dtype=float32, weak_type=True))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            f"jvp: primals and tangents must be tuples or lists of arguments; "
            f"got {type(primals).__name__} and {type(tangents).__name__}."
        )
    leaves, in_tree = _fun_of(primals, {})
    check_leaves("jvp", leaves, tuple(primals), "primals")
    leaves = [operand("jvp", weak_scalar(x)) for x in leaves]
    dots, dot_tree = _fun_of(tangents, {})
    if dot_tree != in_tree:
        raise TypeError(
            f"jvp: primals and tangents must have the same structure; "
            f"got {tree_structure(tuple(primals))} and {tree_structure(tuple(tangents))}."
        )
    flat = FlatFun(fun, in_tree, "jvp", has_aux=has_aux)
    dots = _check_tangents("jvp", primals, leaves, dots)
    outs, outs_dot = jvp_flat(flat, leaves, dots, flat.primal_aux)
    out = tree_unflatten(flat.out_tree, [operand("jvp", x) for x in outs])
    out_dot = tree_unflatten(flat.out_tree, [_public_tangent(t) for t in outs_dot])
    return (out, out_dot, flat.aux) if has_aux else (out, out_dot)


def _check_tangents(op: str, primals: Any, leaves: Sequence[Any], dots: Sequence[Any]) -> list[Any]:
    result: list[Any] = []
    for i, (x, t) in enumerate(zip(leaves, dots, strict=True)):
        expected = typeof(x).to_tangent()
        if type(t) is ArrayImpl and t.aval is expected:
            result.append(t)
            continue
        if expected.dtype == dtypes.float0:
            if getattr(t, "dtype", None) != dtypes.float0 and not _is_int_zero(t):
                path, _ = tree_flatten_with_path(tuple(primals))[0][i]
                raise (TypeError if op == "jvp" else ValueError)(
                    f"{op}: the tangent of an integer or bool primal must be float0; got "
                    f"{typeof(t)} for {typeof(x)} at primals{keystr(path)}. "
                    f"Use np.zeros(shape, nr.dtypes.float0)."
                )
            result.append(Zero(expected))
            continue
        t = of_free_type(op, t, expected)
        got = typeof(t)
        if got.dtype != expected.dtype:
            path, _ = tree_flatten_with_path(tuple(primals))[0][i]
            raise (TypeError if op == "jvp" else ValueError)(
                f"{op}: a tangent must have the dtype of its primal; got {got} for {typeof(x)} "
                f"at primals{keystr(path)}. Convert with .astype({expected.dtype.name!r})."
            )
        if (got.shape, got.dtype) != (expected.shape, expected.dtype):
            path, _ = tree_flatten_with_path(tuple(primals))[0][i]
            raise ValueError(
                f"{op}: a tangent must have the shape and dtype of its primal; got {got} "
                f"for {typeof(x)} at primals{keystr(path)}."
            )
        result.append(operand(op, t))
    return result


_NARROWED = (("float64", "float32"), ("complex128", "complex64"))


def of_free_type(op: str, x: Any, expected: ShapedArray) -> Any:
    """x in the expected dtype, if its own was nobody's choice: a number's, or NumPy's 64 bits."""
    got = typeof(x)
    if got.dtype == expected.dtype or got.dtype not in dtypes.INEXACT:
        return x
    if got.dtype in dtypes.COMPLEX and expected.dtype not in dtypes.COMPLEX:
        return x
    pair = (got.dtype.name, expected.dtype.name)
    from_numpy = isinstance(x, (np.ndarray, np.generic)) and pair in _NARROWED
    free = from_numpy or (got.weak_type and not got.shape)
    return operand(op, x).astype(expected.dtype) if free else x


def _is_int_zero(t: Any) -> bool:
    return type(t) in (int, bool) and not t


def _public_tangent(t: Any) -> Any:
    if type(t) is Zero and t.aval.dtype == dtypes.float0:
        return float0_array(t.aval)
    return operand("jvp", instantiate(t))


# ---------------------------------------------------------------- linearize, vjp
@api_boundary
def linearize(fun: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """The value of a function, and its derivative as a linear function of directions.

    fun is evaluated once; the linear function may be called often.

    Returns:
        ``(out, fun_jvp)``, and ``aux`` if has_aux.

    Example:
        >>> import nr
        >>> y, f_jvp = nr.linearize(nr.numpy.sin, 0.0)
        >>> f_jvp(2.0)
        Array(2., dtype=float32, weak_type=True)
    """
    leaves, in_tree = _fun_of(primals, {})
    check_leaves("linearize", leaves, primals, "primals")
    leaves = [operand("linearize", weak_scalar(x)) for x in leaves]
    flat = FlatFun(fun, in_tree, "linearize", has_aux=has_aux)
    outs, jaxpr, residuals, nz_out = linearize_flat(flat, leaves, primal_aux=flat.primal_aux)
    out_tree, out_avals = flat.out_tree, [typeof(x).to_tangent() for x in outs]
    in_avals = [typeof(x) for x in leaves]

    def push(residuals: list[Any], *tangents: Any) -> Any:
        dots, dot_tree = _fun_of(tangents, {})
        likes = in_tree.unflatten(in_avals)[0]
        if dot_tree != in_tree:
            raise TypeError(
                f"linearize: the tangents must have the structure of the primals; got "
                f"{tree_structure(tangents)} for {tree_structure(tuple(likes))}."
            )
        dots = _check_tangents("linearize", likes, in_avals, dots)
        given = [t for t in dots if type(t) is not Zero]
        results = iter(eval_jaxpr(jaxpr, *residuals, *given))
        filled = [next(results) if nz else Zero(a) for nz, a in zip(nz_out, out_avals, strict=True)]
        return tree_unflatten(out_tree, [_public_tangent(t) for t in filled])

    out = tree_unflatten(out_tree, [operand("linearize", x) for x in outs])
    fun_jvp = Partial(push, residuals)  # a pytree, as the pullback of vjp is
    return (out, fun_jvp, flat.aux) if has_aux else (out, fun_jvp)


class Pullback:
    """The function that `vjp` returns: cotangents of outputs to cotangents of arguments."""

    __slots__ = ("jaxpr", "residuals", "nz_in", "nz_out", "in_avals", "in_tree", "out_tree", "outs")
    jaxpr: Jaxpr
    residuals: list[Any]
    nz_in: Sequence[bool]
    nz_out: tuple[bool, ...]
    in_avals: Sequence[ShapedArray]
    in_tree: PyTreeDef
    out_tree: PyTreeDef
    outs: Sequence[ShapedArray]

    def flat(self, cts: Sequence[Any]) -> list[Any]:
        """Cotangents of the argument leaves, as arrays or `Zero`."""
        given = [ct for ct, nz in zip(cts, self.nz_out, strict=True) if nz]
        linear = [UndefinedPrimal(a) for a, nz in zip(self.in_avals, self.nz_in, strict=True) if nz]
        in_cts = backward_pass(self.jaxpr, [*self.residuals, *linear], given)
        rest = iter(in_cts[len(self.residuals) :])
        return [
            next(rest) if nz else Zero(a) for nz, a in zip(self.nz_in, self.in_avals, strict=True)
        ]

    def __call__(self, ct: Any) -> Any:
        """The cotangents of the arguments, as a tuple."""
        leaves, tree = tree_flatten(ct)
        if tree != self.out_tree:
            raise ValueError(
                f"vjp: the cotangent must have the structure of the output, {self.out_tree}; "
                f"got {tree}."
            )
        cts = []
        for aval, leaf in zip(self.outs, leaves, strict=True):
            cts.append(_check_cotangent(aval, leaf))
        args, _ = self.in_tree.unflatten([_public_tangent(x) for x in self.flat(cts)])
        return args


def _flatten_pullback(f: Pullback) -> tuple[list[Any], tuple]:
    lists = (f.nz_in, f.nz_out, f.in_avals, f.outs)
    return f.residuals, (f.jaxpr, f.in_tree, f.out_tree, *map(tuple, lists))


def _unflatten_pullback(kept: tuple, residuals: Any) -> Pullback:
    f = Pullback()
    f.jaxpr, f.in_tree, f.out_tree, f.nz_in, f.nz_out, f.in_avals, f.outs = kept
    f.residuals = list(residuals)
    return f


# A pytree of its residuals: so it may leave jitted functions, and enter them.
register_pytree_node(Pullback, _flatten_pullback, _unflatten_pullback)


def _check_cotangent(aval: ShapedArray, ct: Any) -> Any:
    expected = aval.to_tangent()
    if expected.dtype == dtypes.float0:
        return Zero(expected)
    ct = of_free_type("vjp", ct, expected)
    got = typeof(ct)
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        raise ValueError(
            f"vjp: a cotangent must have the shape and dtype of its output, {expected}; got {got}."
        )
    return operand("vjp", ct)


def _vjp_flat(flat: FlatFun, leaves: list[Any]) -> tuple[list[Any], Pullback]:
    pullback = Pullback()
    avals = [typeof(x).to_tangent() for x in leaves]
    pullback.nz_in = [a.dtype != dtypes.float0 for a in avals]
    outs, pullback.jaxpr, pullback.residuals, pullback.nz_out = linearize_flat(
        flat, leaves, pullback.nz_in, primal_aux=flat.primal_aux
    )
    pullback.in_avals = avals
    pullback.in_tree, pullback.out_tree = flat.in_tree, flat.out_tree
    pullback.outs = [typeof(x) for x in outs]
    return outs, pullback


@api_boundary
def vjp(fun: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """The value of a function, and the pullback of cotangents (reverse mode).

    Returns:
        ``(out, fun_vjp)``, and ``aux`` if has_aux; ``fun_vjp(ct)`` is a tuple of the arguments'
        cotangents.

    Example:
        >>> import nr
        >>> y, f_vjp = nr.vjp(lambda x, y: x * y, 2.0, 3.0)
        >>> f_vjp(1.0)
        (Array(3., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True))
    """
    leaves, in_tree = _fun_of(primals, {})
    check_leaves("vjp", leaves, primals, "primals")
    leaves = [operand("vjp", weak_scalar(x)) for x in leaves]
    flat = FlatFun(fun, in_tree, "vjp", has_aux=has_aux)
    outs, pullback = _vjp_flat(flat, leaves)
    out = tree_unflatten(flat.out_tree, [operand("vjp", x) for x in outs])
    return (out, pullback, flat.aux) if has_aux else (out, pullback)


@api_boundary
def linear_transpose(fun: Callable, *primals: Any) -> Callable:
    """The transpose of a linear function, from example arguments (arrays or ShapeDtypeStructs).

    Example:
        >>> import nr
        >>> f_t = nr.linear_transpose(lambda x: 3.0 * x, nr.ShapeDtypeStruct((2,), "float32"))
        >>> f_t(nr.numpy.ones(2))
        (Array([3., 3.], dtype=float32),)
    """
    leaves, in_tree = _fun_of(primals, {})
    avals = [ShapedArray(x.shape, x.dtype) if hasattr(x, "shape") else typeof(x) for x in leaves]
    flat = FlatFun(fun, in_tree, "linear_transpose")
    jaxpr, captured = trace_to_jaxpr(flat, avals, name="linear_transpose")
    types = [*avals, *jaxpr.out_avals]
    if not (all([a.dtype in dtypes.INEXACT for a in types])
            or all([a.dtype in dtypes.INTEGER for a in types])):  # fmt: skip
        raise TypeError(
            f"linear_transpose: arguments and results must all be floating or complex, or all be "
            f"integers; got {', '.join(map(str, types))}."
        )

    def transposed(captured: list[Any], ct: Any) -> Any:
        cts, tree = tree_flatten(ct)
        if tree != flat.out_tree:
            raise TypeError(
                f"linear_transpose: the cotangent must have the structure {flat.out_tree}; "
                f"got {tree}."
            )
        cts = [of_free_type("vjp", c, a) for a, c in zip(jaxpr.out_avals, cts, strict=True)]
        for aval, x in zip(jaxpr.out_avals, cts, strict=True):
            if (typeof(x).shape, typeof(x).dtype) != (aval.shape, aval.dtype):
                raise TypeError(
                    f"linear_transpose: a cotangent must have the type of its output, {aval}; "
                    f"got {typeof(x)}."
                )
        cts = [operand("linear_transpose", x) for x in cts]
        args = [*captured, *[UndefinedPrimal(a.strip_weak_type()) for a in avals]]
        in_cts = backward_pass(jaxpr, args, cts)[len(captured) :]
        result, _ = in_tree.unflatten([_public_tangent(c) for c in in_cts])
        return result

    return Partial(transposed, captured)  # a pytree, as the pullback of vjp is


# ---------------------------------------------------------------- grad
def value_and_grad(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable:
    """A function that gives both the value of a scalar function and its gradient.

    Args:
        fun: returns a scalar (a pair of a scalar and anything if has_aux).
        argnums: which positional arguments to differentiate by; a tuple gives a tuple.
        has_aux: fun returns ``(value, aux)``.
        holomorphic: fun is a holomorphic function of complex arguments.
        allow_int: allow integer arguments, whose gradients are float0.

    Returns:
        ``f(*args) -> (value, grad)``, or ``((value, aux), grad)``.

    Raises:
        TypeError: if the result is not a real scalar, or an argument is not floating.

    Example:
        >>> import nr
        >>> nr.value_and_grad(lambda w: (w ** 2).sum())(nr.numpy.array([1., 2.]))
        (Array(5., dtype=float32), Array([2., 4.], dtype=float32))
    """
    if not callable(fun):
        raise TypeError(f"grad: a function was expected; got {fun!r}.")
    name = function_name(fun)
    nums = _check_argnums(argnums)
    signature = signature_of(fun)

    @wraps(fun)
    @api_boundary
    def value_and_grad_f(*args: Any, **kwargs: Any) -> Any:
        positions = [_position("grad", i, len(args), name) for i in nums]
        dyn, partial = _of_positions(fun, positions, args, kwargs)
        leaves, in_tree = tree_flatten((dyn, {}))
        for x in leaves:
            _check_input(x, dyn, positions, signature, args, holomorphic, allow_int)
        leaves = [operand("grad", weak_scalar(x)) for x in leaves]
        flat = FlatFun(partial, in_tree, "grad", has_aux=has_aux)
        outs, pullback = _vjp_flat(flat, leaves)
        _check_scalar(outs, flat.out_tree, name, holomorphic)
        one = np.ones((), typeof(outs[0]).dtype)
        cts = [_public_tangent(t) for t in pullback.flat([ArrayImpl(one)])]
        cts = weak_where([typeof(x).weak_type for x in leaves], cts)
        grads, _ = in_tree.unflatten(cts)
        grad_out = grads[0] if isinstance(argnums, int) or hasattr(argnums, "__index__") else grads
        value = operand("grad", outs[0])
        return ((value, flat.aux) if has_aux else value), grad_out

    return value_and_grad_f


def grad(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable:
    """The gradient of a scalar function; arguments as in `value_and_grad`.

    Returns:
        ``f(*args) -> grad``, or ``(grad, aux)`` if has_aux.

    Example:
        >>> import nr
        >>> nr.grad(lambda x: x ** 3)(2.0)
        Array(12., dtype=float32, weak_type=True)
    """
    both = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int)

    @wraps(fun)
    @api_boundary
    def grad_f(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return grad_f


def _check_argnums(argnums: Any) -> tuple[int, ...]:
    if hasattr(argnums, "__index__"):
        return (argnums.__index__(),)
    if isinstance(argnums, (tuple, list)) and all(hasattr(i, "__index__") for i in argnums):
        return tuple([i.__index__() for i in argnums])
    raise TypeError(f"grad: argnums must be an int or a tuple of ints; got {argnums!r}.")


def _of_positions(
    fun: Callable, positions: Sequence[int], args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, Callable]:
    """The arguments at some positions, and fun as a function of those."""

    def partial(*chosen: Any) -> Any:
        full = list(args)
        for i, x in zip(positions, chosen, strict=True):
            full[i] = x
        return fun(*full, **kwargs)

    return tuple([args[i] for i in positions]), partial


def _position(op: str, i: int, n: int, name: str) -> int:
    if not -n <= i < n:
        raise (TypeError if op == "grad" else ValueError)(
            f"{op}: argnums {i} was asked for, but {name} was called with {n} positional "
            f"argument(s). Pass that argument by position."
        )
    return i % n


def _check_input(
    x: Any, dyn: Any, positions: Any, signature: Any, args: Any, holomorphic: bool, allow_int: bool
) -> None:
    try:
        dtype = typeof(x).dtype
    except TypeError:
        dtype = None
    if dtype is None:
        names = argument_names(signature, args, {})
        check_leaves("grad", [x], dyn, f"argument `{names[positions[0]]}` ")
    elif holomorphic:
        if dtype not in dtypes.COMPLEX:
            raise TypeError(
                f"grad: with holomorphic=True arguments must be complex; got {typeof(x)}. "
                f"Convert with .astype('complex64')."
            )
    elif dtype in dtypes.COMPLEX or dtype in dtypes.FLOATING:
        return
    elif not allow_int:
        names = argument_names(signature, args, {})
        which = ", ".join(f"`{names[i]}`" for i in positions)
        raise TypeError(
            f"grad: arguments to differentiate must be floating or complex; got {typeof(x)} in "
            f"{which}. Convert with .astype('float32'), or pass allow_int=True."
        )


def _check_scalar(outs: list[Any], out_tree: PyTreeDef, name: str, holomorphic: bool) -> None:
    if not out_tree.is_leaf:
        raise TypeError(
            f"grad: the function must return a scalar; {name} returned {out_tree}. "
            f"Return one number, and the rest with has_aux=True."
        )
    aval = typeof(outs[0])
    if aval.shape:
        raise TypeError(
            f"grad: the function must return a scalar; got {aval} from {name}. Reduce it (for "
            f"example .sum()), or use nr.jacrev for all outputs."
        )
    if holomorphic:
        if aval.dtype not in dtypes.COMPLEX:
            raise TypeError(f"grad: with holomorphic=True the result must be complex; got {aval}.")
    elif aval.dtype not in dtypes.FLOATING:
        raise TypeError(
            f"grad: the function must return a real floating scalar; got {aval} from {name}. "
            f"Return its real part, or pass holomorphic=True, or convert with .astype('float32')."
        )


# ---------------------------------------------------------------- Jacobians
def jacfwd(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable:
    """The Jacobian by forward mode: one column a pass; best for few inputs.

    Returns:
        A function that gives, for each output leaf and each argument leaf, an array of shape
        ``output.shape + argument.shape``.

    Example:
        >>> import nr
        >>> nr.jacfwd(lambda x: x ** 2)(nr.numpy.array([1., 2.]))
        Array([[2., 0.],
               [0., 4.]], dtype=float32)
    """
    return _jacobian(fun, argnums, has_aux, holomorphic, _columns)


def jacrev(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable:
    """The Jacobian by reverse mode: one row a pass; best for few outputs. Results as `jacfwd`."""
    return _jacobian(fun, argnums, has_aux, holomorphic, _rows, allow_int)


jacobian = jacrev


def _jacobian(
    fun: Callable,
    argnums: Any,
    has_aux: bool,
    holomorphic: bool,
    method: Callable,
    allow_int: bool = False,
) -> Callable:
    if not callable(fun):
        raise TypeError(f"jacobian: a function was expected; got {fun!r}.")
    nums = _check_argnums(argnums)
    single = hasattr(argnums, "__index__")
    name = function_name(fun)
    signature = signature_of(fun)

    @wraps(fun)
    @api_boundary
    def jacobian_f(*args: Any, **kwargs: Any) -> Any:
        positions = [_position("jacobian", i, len(args), name) for i in nums]
        dyn, partial = _of_positions(fun, positions, args, kwargs)
        leaves, in_tree = tree_flatten(dyn)
        for x in leaves:
            _check_input(x, dyn, positions, signature, args, holomorphic, allow_int)
        leaves = [operand("jacobian", weak_scalar(x)) for x in leaves]
        dyn = tree_unflatten(in_tree, leaves)
        blocks, out_tree, aux = method(partial, dyn, leaves, in_tree, has_aux, holomorphic)
        rows = []
        for row in blocks:  # one an output leaf, of one block an argument leaf
            tree = tree_unflatten(in_tree, row)
            rows.append(tree[0] if single else tree)
        jac = tree_unflatten(out_tree, rows)
        return (jac, aux) if has_aux else jac

    return jacobian_f


def _standard_basis(avals: Sequence[ShapedArray]) -> list[Any]:
    """For each aval, an array (total size, *shape): the identity cut into the avals' columns."""
    total = sum(a.size for a in avals)
    result, start = [], 0
    for a in avals:
        eye = np.zeros((total, a.size), a.dtype)
        eye[range(start, start + a.size), range(a.size)] = 1
        result.append(ArrayImpl(eye.reshape(total, *a.shape)))
        start += a.size
    return result


def _columns(
    fun: Callable,
    dyn: Any,
    leaves: list,
    in_tree: PyTreeDef,
    has_aux: bool,
    holomorphic: bool,
) -> Any:
    box: dict[str, Any] = {}

    def push(*dots: Any) -> Any:
        out = jvp(fun, dyn, tree_unflatten(in_tree, dots), has_aux)
        if has_aux:
            box["aux"] = out[2]
        box["dtypes"] = [typeof(x).dtype for x in tree_flatten(out[0])[0]]
        outs_dot, box["tree"] = tree_flatten(out[1])
        return outs_dot, (out[2] if has_aux else None)

    avals = [typeof(x).strip_weak_type() for x in leaves]
    if not holomorphic and any(a.dtype in dtypes.COMPLEX for a in avals):
        raise TypeError(
            "jacfwd: arguments must be real; got a complex one. Pass holomorphic=True for a "
            "holomorphic function, or use nr.jvp along the real and the imaginary direction."
        )
    outs_dot, aux = vmap(push, out_axes=(-1, None))(*_standard_basis(avals))
    blocks = []
    for column, dtype in zip(outs_dot, box["dtypes"], strict=True):
        row, start = [], 0
        column = _numbers(column, dtype)
        shape = column.shape[:-1]
        for a in avals:
            block = column[..., start : start + a.size]
            row.append(block.reshape(*shape, *a.shape))
            start += a.size
        blocks.append(row)
    return blocks, box["tree"], aux


def _numbers(block: Any, dtype: np.dtype) -> Any:
    """A block of a Jacobian: of integers, whose derivatives are float0, it is zero."""
    if block.dtype != dtypes.float0:
        return block
    return zeros_of(ShapedArray(block.shape, dtype))


def _rows(
    fun: Callable,
    dyn: Any,
    leaves: list,
    in_tree: PyTreeDef,
    has_aux: bool,
    holomorphic: bool,
) -> Any:
    out, pullback, *aux = vjp(fun, *dyn, has_aux=has_aux)
    outs, out_tree = tree_flatten(out)
    avals = [typeof(x).strip_weak_type() for x in outs]
    for aval in avals:
        if aval.dtype not in (dtypes.COMPLEX if holomorphic else dtypes.FLOATING):
            kind = "complex, with holomorphic=True" if holomorphic else "real and floating"
            raise TypeError(
                f"jacrev: outputs must be {kind}; got {aval}. For complex outputs of a function "
                f"that is not holomorphic use nr.vjp."
            )

    def pull(*cts: Any) -> list[Any]:
        return tree_flatten(pullback(tree_unflatten(out_tree, cts)))[0]

    columns = vmap(pull)(*_standard_basis(avals))
    columns = [_numbers(c, typeof(x).dtype) for c, x in zip(columns, leaves, strict=True)]
    blocks, start = [], 0
    for a in avals:
        part = [c[start : start + a.size] for c in columns]
        blocks.append([c.reshape(*a.shape, *c.shape[1:]) for c in part])
        start += a.size
    return blocks, out_tree, aux[0] if aux else None


def hessian(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable:
    """The matrix of second derivatives, by forward mode over reverse mode.

    Example:
        >>> import nr
        >>> nr.hessian(lambda x: (x ** 3).sum())(nr.numpy.array([1., 2.]))
        Array([[ 6.,  0.],
               [ 0., 12.]], dtype=float32)
    """
    return jacfwd(
        jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic),
        argnums,
        has_aux=has_aux,
        holomorphic=holomorphic,
    )


def zero_tangents(tree: Any) -> Any:
    """Zero tangents for a tree of primals (float0 for integers)."""
    return tree_map(lambda x: _public_tangent(Zero(typeof(x).to_tangent())), tree)
