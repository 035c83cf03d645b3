"""Einstein summation: an equation becomes a plan of pairwise contractions, made once a shape.

opt_einsum chooses the order from the shapes; each step is lowered here to sums, diagonals, one
`dot_general` and a transpose, so that derivatives and batching are those of the primitives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.dot import dot_general
from nr.lax.reduce import reduce_or, reduce_sum
from nr.lax.rules import operand
from nr.lax.shape import reshape, slice_in_dim, squeeze, transpose
from nr.numpy.promotion import promote

__all__ = ["einsum", "einsum_path"]

Labels = tuple[Hashable, ...]


# ---------------------------------------------------------------- equations
class Equation(NamedTuple):
    """The labels of each operand and of the result; an ellipsis is spelled out in integers."""

    inputs: tuple[Labels, ...]
    output: Labels
    text: str


def _split_string(subscripts: str) -> tuple[list[list[Hashable]], list[Hashable] | None]:
    """ "ij,jk->ik" as lists of labels, with Ellipsis for dots; None where there is no arrow."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = [_labels(term, subscripts) for term in left.split(",")]
    return terms, _labels(right, subscripts) if arrow else None


def _labels(term: str, subscripts: str) -> list[Hashable]:
    before, dots, after = term.partition("...")
    labels: list[Hashable] = [*before, *([Ellipsis] if dots else []), *after]
    for label in labels:
        if label is not Ellipsis and not label.isalpha():  # type: ignore[attr-defined]
            raise ValueError(
                f"einsum: subscripts must be letters, commas, at most one '...' a term, and one "
                f"'->'; got {label!r} in {subscripts!r}."
            )
    return labels


def _expand(
    terms: Sequence[Sequence[Hashable]],
    output: Sequence[Hashable] | None,
    ranks: tuple[int, ...],
    text: str,
) -> Equation:
    """Spell out ellipses and the implicit output, and check labels against ranks."""
    if len(terms) != len(ranks):
        raise ValueError(
            f"einsum: as many operands as terms were expected; got {len(terms)} terms in "
            f"{text!r} and {len(ranks)} operands."
        )
    widest = 0
    for number, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        named, dotted = len([x for x in term if x is not Ellipsis]), Ellipsis in term
        if named > rank or (named < rank and not dotted):
            raise ValueError(
                f"einsum: a term must have a label a dimension; got {named} labels for operand "
                f"{number} of rank {rank} in {text!r}. Write '...' for the dimensions left out."
            )
        if dotted:
            widest = max(widest, rank - named)
    dots = tuple(range(-widest, 0))
    inputs = []
    for term, rank in zip(terms, ranks, strict=True):
        extra = rank - len(term) + 1
        inputs.append(_spell_out(term, dots[len(dots) - extra :] if Ellipsis in term else ()))
    flat = [label for term in terms for label in term if label is not Ellipsis]
    if output is None:
        once = sorted(label for label in set(flat) if flat.count(label) == 1)  # type: ignore
        return Equation(tuple(inputs), (*dots, *once), text)
    for label in output:
        if label is not Ellipsis and label not in flat:
            raise ValueError(
                f"einsum: labels of the result must occur in a term; got {label!r} in {text!r}."
            )
    if len(set(output)) != len(output):
        raise ValueError(f"einsum: labels of the result must be distinct; got {text!r}.")
    # Without an ellipsis in the result its dimensions are summed over.
    return Equation(tuple(inputs), _spell_out(output, dots), text)


def _spell_out(term: Sequence[Hashable], dots: tuple[int, ...]) -> Labels:
    labels: list[Hashable] = []
    for label in term:
        labels.extend(dots if label is Ellipsis else [label])
    return tuple(labels)


def _interleaved(args: Sequence[Any]) -> tuple[list[Any], Any, Any]:
    """Operands, terms and output of the form einsum(x, [0, 1], y, [1, 2], [0, 2])."""
    output = list(args[-1]) if len(args) % 2 else None
    pairs = args[: len(args) // 2 * 2]
    xs, terms = list(pairs[::2]), pairs[1::2]
    for term in terms:
        if not isinstance(term, (list, tuple)):
            raise TypeError(
                f"einsum: after each operand its list of labels was expected; got {term!r}. "
                f"Or write an equation first, as in einsum('ij,jk->ik', x, y)."
            )
    return xs, [list(term) for term in terms], output


def _understand_interleaved(subscripts: Any, args: Sequence[Any]) -> tuple[Equation, list[Any]]:
    xs, terms, output = _interleaved((subscripts, *args))
    xs = [operand("einsum", x) for x in xs]
    arrow = "" if output is None else f" -> {output}"
    text = ", ".join(map(str, terms)) + arrow
    return _expand(terms, output, tuple([x.ndim for x in xs]), text), xs


# ---------------------------------------------------------------- plans
class Prepare(NamedTuple):
    """What happens to an operand before a product: dimensions dropped, diagonals taken, sums."""

    squeezed: tuple[int, ...]
    diagonals: tuple[tuple[int, ...], ...]
    summed: tuple[int, ...]


class Step(NamedTuple):
    """One contraction: operands at `places` are prepared, multiplied and transposed."""

    places: tuple[int, ...]
    prepare: tuple[Prepare | None, ...]
    dims: Any
    swapped: bool
    permutation: tuple[int, ...] | None


def _extents(equation: Equation, shapes: Sequence[tuple[int, ...]]) -> dict[Hashable, int]:
    """The extent of each label; 1 gives way to others."""
    extents: dict[Hashable, int] = {}
    for number, (labels, shape) in enumerate(zip(equation.inputs, shapes, strict=True)):
        for label, n in zip(labels, shape, strict=True):
            known = extents.setdefault(label, n)
            if known == 1:
                extents[label] = n
            elif n not in (1, known):
                what = "the dots" if isinstance(label, int) and label < 0 else repr(label)
                raise ValueError(
                    f"einsum: dimensions with one label must have equal extents; got {known} and "
                    f"{n} for {what} of {equation.text!r}, operand {number} of shape {shape}."
                )
    return extents


def _without_ones(
    labels: Labels, shape: tuple[int, ...], extents: dict
) -> tuple[Labels, tuple[int, ...]]:
    """Drop the dimensions of extent 1 whose label is wider elsewhere (they are broadcast)."""
    ones = [d for d, label in enumerate(labels) if shape[d] == 1 != extents[label]]
    return tuple([x for d, x in enumerate(labels) if d not in ones]), tuple(ones)


def _prepare(
    labels: Labels, squeezed: tuple[int, ...], needed: frozenset
) -> tuple[Labels, Prepare | None]:
    """The labels of an operand after its diagonals and the sums over labels not needed."""
    diagonals = []
    for label in dict.fromkeys(labels):
        dims = tuple([d for d, other in enumerate(labels) if other == label])
        if len(dims) > 1:
            diagonals.append(dims)
            labels = (*[x for x in labels if x != label], label)
    summed = tuple([d for d, label in enumerate(labels) if label not in needed])
    labels = tuple([label for label in labels if label in needed])
    if not (squeezed or diagonals or summed):
        return labels, None
    return labels, Prepare(squeezed, tuple(diagonals), summed)


def _pair_step(
    x: Labels, y: Labels, kept: frozenset, output: Labels | None
) -> tuple[Labels, Any, bool]:
    """The labels of a product, its dimension numbers, and whether operands change places."""
    common = [label for label in x if label in y]
    batch = [label for label in common if label in kept]
    if output is not None:
        batch.sort(key=output.index)
    contract = [label for label in common if label not in kept]
    x_free = [label for label in x if label not in common]
    y_free = [label for label in y if label not in common]
    swapped = output is not None and output == (*batch, *y_free, *x_free) and bool(x_free)
    if swapped:
        x, y, x_free, y_free = y, x, y_free, x_free

    def places(labels: Labels, wanted: Sequence[Hashable]) -> tuple[int, ...]:
        return tuple([labels.index(label) for label in wanted])

    dims = (
        (places(x, contract), places(y, contract)),
        (places(x, batch), places(y, batch)),
    )
    return (*batch, *x_free, *y_free), dims, swapped


@functools.lru_cache(maxsize=2048)
def _plan(equation: Equation, shapes: tuple[tuple[int, ...], ...], optimize: Any) -> list[Step]:
    extents = _extents(equation, shapes)
    live, ones = [], []
    for labels, shape in zip(equation.inputs, shapes, strict=True):
        labels, squeezed = _without_ones(labels, shape, extents)
        live.append(labels)
        ones.append(squeezed)
    steps = []
    path = _path(equation, live, extents, optimize)
    for number, taken in enumerate(path):
        last_group = number == len(path) - 1
        group = sorted(taken)
        # A group of three or more is taken from the left, two at a time.
        turns = max(len(group) - 1, 1)
        for turn in range(turns):
            # What a contraction makes comes last, and what it takes no longer counts.
            places = (len(live) - 1, group[turn + 1] - turn - 1) if turn else tuple(group[:2])
            last = last_group and turn == turns - 1
            steps.append(_take_step(live, ones, places, equation.output, last))
    return steps


@functools.lru_cache(maxsize=4096)
def _plan_of_string(
    subscripts: str, shapes: tuple[tuple[int, ...], ...], optimize: Any
) -> list[Step]:
    ranks = tuple([len(shape) for shape in shapes])
    return _plan(_expand(*_split_string(subscripts), ranks, subscripts), shapes, optimize)


def _take_step(
    live: list[Labels],
    ones: list[tuple[int, ...]],
    places: tuple[int, ...],
    output: Labels,
    last: bool,
) -> Step:
    """Plan one contraction; its operands leave `live`, and its result is appended."""
    others = [labels for place, labels in enumerate(live) if place not in places]
    kept = frozenset(output).union(*others)
    taken = [live[place] for place in places]
    prepared = []
    for i, labels in enumerate(taken):
        partner = frozenset(taken[1 - i]) if len(taken) == 2 else frozenset()
        prepared.append(_prepare(labels, ones[places[i]], kept | partner))
    for place in sorted(places, reverse=True):
        del live[place], ones[place]
    dims, swapped = None, False
    result = prepared[0][0]
    if len(taken) == 2:
        result, dims, swapped = _pair_step(
            prepared[0][0], prepared[1][0], kept, output if last else None
        )
    permutation = None
    if last:
        order = tuple([result.index(label) for label in output])
        permutation = None if order == tuple(range(len(order))) else order
        result = output
    live.append(result)
    ones.append(())
    return Step(places, tuple([p for _, p in prepared]), dims, swapped, permutation)


def _path(
    equation: Equation, live: list[Labels], extents: dict[Hashable, int], optimize: Any
) -> list[tuple[int, ...]]:
    if len(live) <= 2:
        return [tuple(range(len(live)))]
    import opt_einsum  # not needed for two operands

    names = {label: opt_einsum.get_symbol(i) for i, label in enumerate(extents)}
    text = ",".join(["".join([names[label] for label in labels]) for labels in live])
    text += "->" + "".join([names[label] for label in equation.output])
    shapes = [tuple([extents[label] for label in labels]) for labels in live]
    path, _ = opt_einsum.contract_path(text, *shapes, shapes=True, optimize=optimize)
    return [tuple(group) for group in path]


def _hashable_optimize(optimize: Any) -> Any:
    if isinstance(optimize, (list, tuple)):  # an explicit path, perhaps as np.einsum_path gives it
        return tuple([tuple(step) for step in optimize if not isinstance(step, str)])
    return optimize


# ---------------------------------------------------------------- running a plan
def _diagonal(x: Any, dims: tuple[int, ...]) -> Any:
    """The common diagonal of dimensions of one extent, as the last dimension."""
    rank = x.ndim
    shape = x.shape
    n, kept = shape[dims[0]], [d for d in range(rank) if d not in dims]
    lead = tuple([shape[d] for d in kept])
    x = reshape(transpose(x, (*kept, *dims)), (*lead, n ** len(dims)))
    step = sum(n**k for k in range(len(dims)))  # from one diagonal element to the next
    return slice_in_dim(x, 0, n ** len(dims), step, axis=len(kept)) if n else x


def _prepared(x: Any, prepare: Prepare | None, preferred: np.dtype | None) -> Any:
    if prepare is None:
        return x
    squeezed, diagonals, summed = prepare
    if squeezed:
        x = squeeze(x, squeezed)
    for dims in diagonals:
        x = _diagonal(x, dims)
    if summed and preferred is not None:
        x = convert_element_type(x, preferred)  # sums are results, too
    return _sum(x, summed) if summed else x


def _sum(x: Any, axes: tuple[int, ...]) -> Any:
    return reduce_or(x, axes) if x.dtype == dtypes.bool_dt else reduce_sum(x, axes)


def _run(
    plan: list[Step], xs: list[Any], product: Callable, preferred: np.dtype | None = None
) -> Any:
    xs = list(xs)
    for places, prepare, dims, swapped, permutation in plan:
        taken = [
            _prepared(xs[place], how, preferred) for place, how in zip(places, prepare, strict=True)
        ]
        for place in sorted(places, reverse=True):
            del xs[place]
        if dims is None:
            out = taken[0]
        else:
            x, y = reversed(taken) if swapped else taken
            if x.dtype != y.dtype:  # an earlier product already has the preferred dtype
                x, y = promote("einsum", x, y)
            out = product(x, y, dims)
        xs.append(out if permutation is None else transpose(out, permutation))
    return xs[0]


def einsum(
    subscripts: Any,
    /,
    *operands: Any,
    out: None = None,
    optimize: Any = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
    _dot_general: Callable = dot_general,
) -> Array:
    """Einstein summation: products of arrays, summed over the labels that the result lacks.

    Args:
        subscripts: an equation such as "ij,jk->ik"; or the interleaved form, operands each followed
            by its list of labels, and the result's list last.
        operands: the arrays. Dimensions with one label have one extent, or 1, which is broadcast.
        out: must be None.
        optimize: how opt_einsum chooses the order of three and more operands ("auto", "greedy",
            "optimal", a path, ...).
        precision: accepted for JAX's sake; products have the full precision of their dtype.
        preferred_element_type: the dtype of the result, where not the operands' common one.
        _dot_general: what computes products, called as `nr.lax.dot_general` is.

    Returns:
        An array whose dimensions are those of the labels after "->"; without an arrow, of the
        labels that occur once, in alphabetical order.

    Raises:
        ValueError: for an equation that is malformed or does not fit the operands.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.array([[1., 2.], [3., 4.]])
        >>> jnp.einsum("ij,kj->ik", x, x)
        Array([[ 5., 11.],
               [11., 25.]], dtype=float32)
        >>> jnp.einsum("ii", x)
        Array(5., dtype=float32)
    """
    if out is not None:
        raise NotImplementedError("einsum: out must be None; arrays are immutable.")
    optimize = _hashable_optimize(optimize)
    if isinstance(subscripts, str):
        if not operands:
            raise TypeError(f"einsum: operands were expected after {subscripts!r}; got none.")
        xs = promote("einsum", *operands)
        plan = _plan_of_string(subscripts, tuple([x.shape for x in xs]), optimize)
    else:
        equation, xs = _understand_interleaved(subscripts, operands)
        xs = promote("einsum", *xs)
        plan = _plan(equation, tuple([x.shape for x in xs]), optimize)
    preferred = None
    if preferred_element_type is not None:
        preferred = dtypes.canonicalize(preferred_element_type)
    result = _run(
        plan,
        xs,
        functools.partial(_dot_general, precision=precision, preferred_element_type=preferred),
        preferred,
    )
    if preferred is not None and typeof(result).dtype != preferred:
        return convert_element_type(result, preferred)
    return result


def einsum_path(
    subscripts: Any, /, *operands: Any, optimize: bool | str | Callable | list = "auto"
) -> tuple[list[tuple[int, ...]], Any]:
    """The order in which `einsum` contracts, and opt_einsum's account of what it costs.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.ones((2, 3))
        >>> jnp.einsum_path("ij,kj,kl->il", x, x, x)[0]
        [(0, 1), (0, 1)]
    """
    import opt_einsum

    if isinstance(subscripts, str):
        shapes = [operand("einsum_path", x).shape for x in operands]
        return opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize=optimize)
    return opt_einsum.contract_path(subscripts, *operands, optimize=optimize)
