"""custom_linear_solve and custom_root: what a solver finds, differentiated by what it solves.

The derivative of ``A x = b`` is another system with A, and that of ``f(x) = 0`` is a linear system
with the Jacobian of f, whatever steps the solver takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from nr.core.avals import ShapedArray, Zero
from nr.core.jaxprs import Jaxpr, eval_jaxpr, trace_to_jaxpr, with_common_operands
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, typeof
from nr.core.trees import PyTreeDef, tree_flatten, tree_map, tree_structure, tree_unflatten
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import neg, sub
from nr.lax.rules import instantiate, operand, to_front, zero_tangent
from nr.transforms.ad import jvp_jaxpr, transpose_jaxpr
from nr.transforms.batching import batch_jaxpr, jaxpr_uses_axis
from nr.transforms.custom_derivatives import custom_jvp
from nr.transforms.derivatives import jvp, linearize, zero_tangents
from nr.transforms.flat_fun import FlatFun, check_leaves


# ---------------------------------------------------------------- the primitive
# Operands: consts, b. The four jaxprs take all of them (the vector in the place of b):
# `jaxpr` solves A x = b and gives (*x, *aux), `matvec` is A, `vecmat` its transpose, and
# `transpose_solve` solves with that; the latter two are None where no rule was given.
def _solve_aval(*avals: ShapedArray, jaxpr: Jaxpr, **params: Any) -> list[ShapedArray]:
    return [a.strip_weak_type() for a in jaxpr.out_avals]


def _solve_evaluate(*args: Any, jaxpr: Jaxpr, **params: Any) -> list[Any]:
    return [operand("custom_linear_solve", x) for x in eval_jaxpr(jaxpr, *args)]


def _solve_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, matvec: Jaxpr, num_b: int, **params: Any
) -> Any:
    # A x = b, so A x' = b' - A' x.
    n = len(primals) - num_b
    consts = primals[:n]
    outs = linear_solve_p.bind(*primals, matvec=matvec, num_b=num_b, **params)
    right: list[Any] = list(tangents[n:])
    given = [t for t in tangents[:n] if type(t) is not Zero]
    if given:
        flags = (*[type(t) is not Zero for t in tangents[:n]], *[False] * num_b)
        dual, nonzero = jvp_jaxpr(matvec, flags)
        moved = iter(eval_jaxpr(dual, *consts, *outs[:num_b], *given)[num_b:])
        for i, depends in enumerate(nonzero):
            if depends:
                t = next(moved)
                right[i] = neg(t) if type(right[i]) is Zero else sub(right[i], t)
    dots: list[Any] = [zero_tangent(x) for x in outs]
    if any(type(t) is not Zero for t in right):
        right = [instantiate(t) for t in right]
        solved = linear_solve_p.bind(*consts, *right, matvec=matvec, num_b=num_b, **params)
        dots[:num_b] = solved[:num_b]
    return outs, dots


def _solve_transpose(
    cts: Sequence[Any],
    *args: Any,
    jaxpr: Jaxpr,
    matvec: Jaxpr,
    transpose_solve: Jaxpr | None,
    vecmat: Jaxpr | None,
    num_b: int,
) -> list[Any]:
    if transpose_solve is None:
        raise TypeError(
            "custom_linear_solve: reverse mode needs a solver for the transposed system; got "
            "none. Pass transpose_solve=..., or symmetric=True."
        )
    n = len(args) - num_b
    solved = linear_solve_p.bind(
        *args[:n],
        *[instantiate(ct) for ct in cts[:num_b]],
        jaxpr=transpose_solve,
        matvec=vecmat,
        transpose_solve=jaxpr,
        vecmat=matvec,
        num_b=num_b,
    )
    return [*[None] * n, *solved[:num_b]]


def _solve_batch(axis: Any, args: Any, dims: Any, *, num_b: int, **jaxprs: Jaxpr | None) -> Any:
    n = len(args) - num_b
    ins = [
        to_front(x, d, axis.size) if d is not None or i >= n else x
        for i, (x, d) in enumerate(zip(args, dims, strict=True))
    ]
    flags = (*[None if d is None else 0 for d in dims[:n]], *[0] * num_b)
    batched = {
        name: jaxpr and batch_jaxpr(jaxpr, flags, axis.size, axis.name, True)[0]
        for name, jaxpr in jaxprs.items()
    }
    outs = linear_solve_p.bind(*ins, num_b=num_b, **batched)
    return outs, [0] * len(outs)


linear_solve_p = Primitive(
    "linear_solve",
    multiple_results=True,
    abstract_eval=_solve_aval,
    evaluate=_solve_evaluate,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=_solve_batch,
    uses_axis=jaxpr_uses_axis,
)


# ---------------------------------------------------------------- users' functions
class _Vectors:
    """The space that a system is in, by an example; traces functions on it and checks them."""

    def __init__(self, op: str, example: Any, name: str) -> None:
        self.op = op
        self.name = name
        leaves, self.tree = tree_flatten(example)
        check_leaves(op, leaves, example, name)
        leaves = [operand(op, x) for x in leaves]
        self.leaves = [convert_element_type(x, x.dtype) if x.weak_type else x for x in leaves]
        self.avals = [typeof(x) for x in self.leaves]
        self._in_tree = tree_structure(((example,), {}))

    def __len__(self) -> int:
        return len(self.avals)

    def vector(self, leaves: Sequence[Any]) -> Any:
        """Leaves as a vector, a pytree of arrays."""
        return tree_unflatten(self.tree, [operand(self.op, x) for x in leaves])

    def check(self, f: Callable, avals: Sequence[ShapedArray], tree: PyTreeDef) -> None:
        """What f returned has the structure and the shapes of the example."""
        if tree != self.tree:
            raise TypeError(
                f"{self.op}: {function_name(f)} must return the structure of {self.name}, "
                f"{self.tree}; got {tree}."
            )
        for got, aval in zip(avals, self.avals, strict=True):
            if got.shape != aval.shape:
                raise ValueError(
                    f"{self.op}: {function_name(f)} must return the shapes of {self.name}; got "
                    f"{got} for {aval}."
                )

    def map(self, f: Callable) -> tuple[Jaxpr, list[Any]]:
        """A map of the space into itself as a jaxpr, and what it closes over."""
        flat = FlatFun(f, self._in_tree, self.op)
        traced = trace_to_jaxpr(flat, self.avals, name=f"{self.op}: {function_name(f)}")
        self.check(f, traced[0].out_avals, flat.out_tree)
        return traced

    def solver(
        self, solve: Callable, f: Callable, has_aux: bool
    ) -> tuple[tuple[Jaxpr, list[Any]], PyTreeDef]:
        """``solve(f, vector)`` as a jaxpr ``vector -> (*x, *aux)``, and the structure of aux."""

        def pair(vector: Any) -> Any:
            out = solve(f, vector)
            if not has_aux:
                return out, ()
            if not isinstance(out, (tuple, list)) or len(out) != 2:
                raise TypeError(
                    f"{self.op}: with has_aux=True {function_name(solve)} must return a pair "
                    f"(solution, aux); got {type(out).__name__}."
                )
            return tuple(out)

        flat = FlatFun(pair, self._in_tree, self.op)
        traced = trace_to_jaxpr(flat, self.avals, name=f"{self.op}: {function_name(solve)}")
        x_tree, aux_tree = flat.out_tree.children()
        self.check(solve, traced[0].out_avals[: x_tree.num_leaves], x_tree)
        return traced, aux_tree


@api_boundary
def custom_linear_solve(
    matvec: Callable,
    b: Any,
    solve: Callable,
    transpose_solve: Callable | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """Solve a linear system by any solver; its derivatives solve systems with the same matrix.

    Derivatives are with respect to b and to what `matvec` closes over.

    Args:
        matvec: the matrix, as a linear function from vectors to vectors like b.
        b: the right-hand side, a pytree of arrays.
        solve: ``solve(matvec, b)`` gives the solution x of ``matvec(x) == b``, linear in b.
        transpose_solve: ``transpose_solve(vecmat, b)`` solves with the transposed matrix. Needed
            by reverse mode, unless the system is symmetric.
        symmetric: the matrix is its own transpose (not conjugated): `solve` solves both systems.
        has_aux: `solve` returns ``(x, aux)``; aux has no derivative.

    Returns:
        The solution, of the structure and shapes of b; ``(solution, aux)`` with has_aux.

    Raises:
        TypeError, ValueError: if a function returns something not of the structure, or shapes, of
            b; if the result is differentiated in reverse mode without `transpose_solve`.

    Example:
        >>> import nr
        >>> def solve(matvec, b):
        ...     return b / matvec(nr.numpy.ones_like(b))
        >>> def root(a):
        ...     return nr.lax.custom_linear_solve(lambda x: a * x, 3.0, solve, symmetric=True)
        >>> nr.value_and_grad(root)(2.0)
        (Array(1.5, dtype=float32), Array(-0.75, dtype=float32, weak_type=True))
    """
    space = _Vectors("custom_linear_solve", b, "b")
    matrix, matrix_operands = space.map(matvec)
    solver, aux_tree = space.solver(solve, matvec, has_aux)
    parts = [(matrix, matrix_operands), solver]
    if symmetric:
        parts += parts
    elif transpose_solve is not None:
        linear = (*[False] * len(matrix_operands), *[True] * len(space))
        transposed = transpose_jaxpr(matrix, linear)

        def vecmat(vector: Any) -> Any:
            cts = [operand(space.op, x) for x in tree_flatten(vector)[0]]
            return space.vector(eval_jaxpr(transposed, *matrix_operands, *cts))

        parts += [(transposed, matrix_operands), space.solver(transpose_solve, vecmat, has_aux)[0]]
    jaxprs, closed = with_common_operands(parts)
    names = ("matvec", "jaxpr", "vecmat", "transpose_solve")
    given = dict(zip_longest(names, jaxprs))
    outs = linear_solve_p.bind(*closed, *space.leaves, num_b=len(space), **given)
    x = space.vector(outs[: len(space)])
    return (x, tree_unflatten(aux_tree, outs[len(space) :])) if has_aux else x


# ---------------------------------------------------------------- custom_root
@api_boundary
def custom_root(
    f: Callable,
    initial_guess: Any,
    solve: Callable,
    tangent_solve: Callable,
    has_aux: bool = False,
) -> Any:
    """A root of a function, found by any solver; its derivatives are those of the equation.

    Derivatives are with respect to what f closes over; none go through the initial guess.

    Args:
        f: a function whose root is wanted; its result is like its argument.
        initial_guess: where the solver starts, a pytree of arrays.
        solve: ``solve(f, initial_guess)`` gives the root.
        tangent_solve: ``tangent_solve(g, y)`` solves ``g(x) == y`` with a linear function g. For
            reverse mode it must be transposable, as what `custom_linear_solve` returns is; for
            scalars, ``lambda g, y: y / g(1.0)``.
        has_aux: `solve` returns ``(root, aux)``; aux has no derivative.

    Returns:
        The root; ``(root, aux)`` with has_aux.

    Raises:
        TypeError, ValueError: if a function returns something not of the structure, or shapes, of
            the initial guess.

    Example:
        >>> import nr
        >>> def newton(f, x):
        ...     return nr.lax.fori_loop(0, 8, lambda _, x: x - f(x) / nr.grad(f)(x), x)
        >>> def sqrt(a):
        ...     return nr.lax.custom_root(
        ...         lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
        >>> nr.value_and_grad(sqrt)(4.0)
        (Array(2., dtype=float32), Array(0.25, dtype=float32, weak_type=True))
    """
    space = _Vectors("custom_root", initial_guess, "initial_guess")
    equation, closed = space.map(f)
    (solving, operands), aux_tree = space.solver(solve, f, has_aux)

    def value(consts: Sequence[Any], x: Any) -> Any:
        return space.vector(eval_jaxpr(equation, *consts, *tree_flatten(x)[0]))

    @custom_jvp
    def root(consts: Sequence[Any], start: Sequence[Any]) -> Any:
        outs = eval_jaxpr(solving, *start)
        aux = [operand(space.op, x) for x in outs[len(space) :]]
        return space.vector(outs[: len(space)]), tree_unflatten(aux_tree, aux)

    @root.defjvp
    def root_jvp(primals: Any, tangents: Any) -> Any:
        # f(x, consts) = 0 holds for all consts, so the derivative of f along x' and consts' is 0.
        x, aux = root(*primals)
        consts = primals[0]
        y_dot = jvp(lambda *c: value(c, x), tuple(consts), tuple(tangents[0]))[1]
        derivative = linearize(lambda x: value(consts, x), x)[1]
        x_dot = tangent_solve(derivative, tree_map(neg, y_dot))
        dots, tree = tree_flatten(x_dot)
        space.check(tangent_solve, [typeof(t) for t in dots], tree)
        return (x, aux), (x_dot, zero_tangents(aux))

    x, aux = root(closed, [*operands, *space.leaves])
    return (x, aux) if has_aux else x
