"""Large convolutions, made such that tiled loops run through them at full speed.

Padding and spread operands are written out, so that no tap of a window needs a test; operands and
results are transposed where the loop over output features (channels last), or over the pixels of
a line (channels first), would not go through neighbouring elements. Gradients arrive as
convolutions with other dimension numbers and are treated alike. Windows of one pixel are matrix
products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nr.backends.compiler import winograd
from nr.backends.compiler.lowering.amx import DEPTH, SIDE, is_worth
from nr.backends.compiler.lowering.rules import storage
from nr.backends.compiler.panels import FEWEST_PANELS, LARGE, PANEL
from nr.core.jaxprs import JaxprEqn, Literal, Var
from nr.core.tracing import Primitive

# Below so many multiplications a convolution is done as it is: copies would take longer.
_SMALLEST = 1 << 15
_HALVES = ("bf16", "f16")
# Lines of pixels are a vector loop where they fill this part of the vectors.
_FILLED = 0.7
_LANES = 16
# Summing up the lanes of a vector takes about so many products.
_LANE_SUM = 8
# Features of half floats that are worth a matrix unit, whose tiles are rows of 32.
_FEWEST_FEATURES = 16
# Numbers that are summed in one go, so that what is read for them stays in cache; and how many
# such parts there are at most.
_SLICE = 1 << 12
_MOST_SLICES = 32
# Operands read vector by vector lie in panels, if they are larger than this.
_MOST_NEAR = 1 << 17
NO_TYPES: Mapping[str, str] = {}
# What only moves elements is not stored for itself.
_MOVES = ("transpose", "slice", "reshape", "squeeze", "broadcast_in_dim", "rev")
# Convolutions of spread operands are made of others, up to so many.
_MOST_PHASES = 16


def prepare_convolutions(
    eqns: Sequence[JaxprEqn], matrix_types: Mapping[str, str] = NO_TYPES
) -> list[JaxprEqn]:
    """Equivalent eqns whose convolutions loops can do, and large ones at full speed; or the
    processor's matrix unit, for the types it has."""
    preparation = Preparation(matrix_types)
    for eqn in eqns:
        if eqn.primitive.name == "conv_general_dilated":
            preparation.convolution(eqn)
        else:
            preparation.add(eqn)
    return preparation.eqns


class Preparation:
    """Eqns in the place of those of a jaxpr."""

    def __init__(self, matrix_types: Mapping[str, str]) -> None:
        self.matrix_types = matrix_types
        self.eqns: list[JaxprEqn] = []
        self.known: dict[tuple, Var] = {}
        self.made: set[Var] = set()
        self.producer: dict[Var, JaxprEqn] = {}
        self.zeros: dict[Any, Literal] = {}
        self.source: Any = None

    # ------------------------------------------------------------------ eqns
    def bind(self, name: str, operands: Sequence[Any], aval: Any, **params: Any) -> Var:
        """A new eqn, or the result of an equal one."""
        key = (name, aval, *[id(a) for a in operands], *params.items())
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = Var(aval)
            self.made.add(known)
            self.result(name, operands, known, **params)
        return known

    def result(self, name: str, operands: Sequence[Any], out: Var, **params: Any) -> None:
        """An eqn that computes a value of the jaxpr."""
        self.add(JaxprEqn(Primitive.all[name], list(operands), [out], params, self.source))

    def add(self, eqn: JaxprEqn) -> None:
        """An eqn as it is."""
        self.eqns.append(eqn)
        self.producer.update([(v, eqn) for v in eqn.outvars])

    def zero(self, dtype: Any) -> Literal:
        """The number 0 of a type, one and the same."""
        return self.zeros.setdefault(dtype, Literal(np.zeros((), dtype)))

    def convert(self, x: Any, dtype: Any) -> Any:
        """An operand as another type."""
        if x.aval.dtype == dtype:
            return x
        aval = x.aval.update(dtype=np.dtype(dtype), weak_type=False)
        return self.bind("convert_element_type", [x], aval, new_dtype=aval.dtype, weak_type=False)

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """An operand with its dimensions in another order."""
        if list(order) == list(range(x.aval.ndim)):
            return x
        aval = x.aval.update(shape=tuple([x.aval.shape[d] for d in order]))
        return self.bind("transpose", [x], aval, permutation=tuple(order))

    def stored(self, x: Any) -> Any:
        """An operand that lies in memory as its dimensions say."""
        return self.bind("copy", [x], x.aval) if self.moves(x) else x

    def kept(self, x: Any) -> Any:
        """An operand that is stored, if it was made here, though it costs little to compute."""
        x = self.stored(x)
        if x in self.made:
            self.producer[x].params["stored"] = True
        return x

    def moves(self, x: Any) -> bool:
        """Whether an operand is what another one's elements are moved to, and not stored."""
        eqn = self.producer.get(x)
        return eqn is not None and eqn.primitive.name in _MOVES

    def in_panels(self, x: Any) -> Any:
        """An operand whose last dimension, if that is long, lies in memory in parts, each within
        one after the other for all other dimensions: then a loop over those reads neighbours. A
        large one that is stored is left to the tasks, each of which copies a part."""
        *outer, n = x.aval.shape
        wide = PANEL // x.aval.dtype.itemsize
        nbytes = x.aval.size * x.aval.dtype.itemsize
        left = not self.moves(x) and nbytes > LARGE and n >= FEWEST_PANELS * wide
        if n % wide or n <= 4 * wide or nbytes < _MOST_NEAR or left:
            return self.stored(x)
        rank = len(outer)
        x = self.reshape(x, (*outer, n // wide, wide))
        x = self.stored(self.transpose(x, (rank, *range(rank), rank + 1)))
        x = self.transpose(x, (*range(1, rank + 1), 0, rank + 1))
        return self.reshape(x, (*outer, n))

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """An operand as another shape."""
        if tuple(shape) == x.aval.shape:
            return x
        aval = x.aval.update(shape=tuple(shape))
        return self.bind("reshape", [x], aval, new_sizes=tuple(shape))

    def slice(self, x: Any, places: Mapping[int, tuple[int, int, int]]) -> Any:
        """Every so manieth element from one place to another, of some dimensions."""
        chosen = [places.get(d, (0, n, 1)) for d, n in enumerate(x.aval.shape)]
        start, stop, step = [tuple(numbers) for numbers in zip(*chosen, strict=True)]
        shape = tuple([-(-(b - a) // s) for a, b, s in chosen])
        if shape == x.aval.shape:
            return x
        return self.bind(
            "slice", [x], x.aval.update(shape=shape), start_indices=start, limit_indices=stop,
            strides=step,
        )  # fmt: skip

    def concatenate(self, parts: Sequence[Any], d: int) -> Any:
        """Operands one after the other along a dimension."""
        shape = list(parts[0].aval.shape)
        shape[d] = sum([x.aval.shape[d] for x in parts])
        aval = parts[0].aval.update(shape=tuple(shape))
        return self.bind("concatenate", parts, aval, dimension=d)

    def pad(self, x: Any, config: Sequence[tuple[int, int, int]]) -> Any:
        """An operand with zeros around and between its elements."""
        if all([c == (0, 0, 0) for c in config]):
            return x
        shape = [
            low + (n - 1) * (between + 1) + 1 + high if n else low + high
            for n, (low, high, between) in zip(x.aval.shape, config, strict=True)
        ]
        return self.bind(
            "pad",
            [x, self.zero(x.aval.dtype)],
            x.aval.update(shape=tuple(shape)),
            padding_config=tuple(config),
        )

    # ------------------------------------------------------------------ convolutions
    def convolution(self, eqn: JaxprEqn) -> None:
        """A convolution, as it is or prepared."""
        (out,) = eqn.outvars
        self.source = eqn.source
        lhs, rhs = eqn.invars
        if self.multiplied(eqn):
            return
        if _is_large(eqn) and self._suits_matrix_unit(lhs, rhs, eqn.params, out.aval):
            if max(eqn.params["lhs_dilation"]) > 1:
                self.phases(lhs, rhs, eqn.params, out, on_matrix_unit=True)
            else:
                self.on_matrix_unit(lhs, rhs, eqn.params, out)
            return
        kind = _sum_type(eqn)
        if kind == out.aval.dtype and (not _is_large(eqn) or storage(kind) not in ("f32", "f64")):
            self.add(self.apart(eqn))
            return
        lhs, rhs = self.convert(lhs, kind), self.convert(rhs, kind)
        params = {**eqn.params, "preferred_element_type": None}
        result = out
        if kind != out.aval.dtype:
            result = Var(out.aval.update(dtype=np.dtype(kind), weak_type=False))
        if not _is_large(eqn):
            self.result("conv_general_dilated", [lhs, rhs], result, **params)
        else:
            if not self.product(lhs, rhs, params, result):
                self.large(lhs, rhs, params, result)
        if result is not out:
            self.result(
                "convert_element_type", [result], out, new_dtype=out.aval.dtype, weak_type=False
            )

    def multiplied(self, eqn: JaxprEqn) -> bool:
        """A convolution with a few features for each one of the other side, as one of as many
        groups as features: loops over a few would not fill vectors. False if it is none."""
        lhs, rhs = eqn.invars
        (out,) = eqn.outvars
        p, dims = eqn.params, eqn.params["dimension_numbers"]
        lhs_spec, rhs_spec, out_spec = dims
        kind = "batch_group_count" if p["batch_group_count"] > 1 else "feature_group_count"
        d = lhs_spec[kind == "feature_group_count"]
        groups, last = p[kind], out.aval.ndim - 1
        each, results = lhs.aval.shape[d] // groups, rhs.aval.shape[rhs_spec[0]] // groups
        many = max(each, results)
        if not (groups > 1 and min(each, results) == 1 < many < _LANES and d == last):
            return False
        if each > 1 and kind == "batch_group_count":  # images of a group are not added up
            return False
        if out_spec[1] != last and kind == "feature_group_count" or lhs.aval.size < _SMALLEST:
            return False
        params = {**p, kind: groups * many}
        if each == 1:
            lhs, rhs = self.kept(self.repeated(lhs, d, many)), self.kept(rhs)
            self.convolution(eqn.replace(invars=[lhs, rhs], params=params))
            return True
        # A result of each feature, which are added up for each group.
        rhs = self.transpose(rhs, (*rhs_spec[2:], rhs_spec[0], rhs_spec[1]))
        rhs = self.kept(self.reshape(rhs, (*rhs.aval.shape[:-2], 1, groups * many)))
        params["dimension_numbers"] = type(dims)(
            lhs_spec, (last, last - 1, *range(last - 1)), out_spec
        )
        wide = np.promote_types(out.aval.dtype, np.float32)
        shape = (*out.aval.shape[:-1], groups * many)
        parts = Var(out.aval.update(shape=shape, dtype=wide, weak_type=False))
        params["preferred_element_type"] = wide
        self.convolution(eqn.replace(invars=[lhs, rhs], outvars=[parts], params=params))
        value = self.reshape(parts, (*out.aval.shape, many))
        aval = out.aval.update(dtype=wide, weak_type=False)
        value = self.bind("reduce_sum", [value], aval, axes=(out.aval.ndim,))
        self.result("convert_element_type", [value], out, new_dtype=out.aval.dtype, weak_type=False)
        return True

    def repeated(self, x: Any, d: int, times: int) -> Any:
        """An operand with each element so often, one after the other along a dimension."""
        shape = x.aval.shape
        wide = (*shape[: d + 1], times, *shape[d + 1 :])
        places = tuple([k + (k > d) for k in range(len(shape))])
        x = self.bind(
            "broadcast_in_dim", [x], x.aval.update(shape=wide), shape=wide,
            broadcast_dimensions=places,
        )  # fmt: skip
        return self.reshape(x, (*shape[:d], shape[d] * times, *shape[d + 1 :]))

    def apart(self, eqn: JaxprEqn) -> JaxprEqn:
        """A convolution each of whose results is a sum of few products, or a small one."""
        lhs, rhs = eqn.invars
        (out,) = eqn.outvars
        params = eqn.params
        if _sums_images(params, rhs.aval, out.aval):
            params = {**params, "tiled": "weights"}
            return eqn.replace(invars=[lhs, rhs], params=params)
        halves = storage(lhs.aval.dtype) in _HALVES and out.aval.size >= _SMALLEST
        if halves and params["dimension_numbers"].rhs_spec[0] == rhs.aval.ndim - 1:
            # Weights that are read many times, as vectors, are widened once.
            rhs = self.kept(self.convert(rhs, np.float32))
        return eqn.replace(invars=[lhs, rhs], params=params)

    def _suits_matrix_unit(self, left: Any, right: Any, p: dict[str, Any], out: Any) -> bool:
        """Whether a convolution is one that the processor's matrix unit does, of images of two
        dimensions and with enough features."""
        if out.ndim != 4 or not _has_phases(p) and max(p["lhs_dilation"]) > 1:
            return False
        kind, other = [storage(a.aval.dtype) or "" for a in (left, right)]
        lhs_spec, rhs_spec, out_spec = p["dimension_numbers"]
        lhs, rhs = left.aval.shape, right.aval.shape
        pixels = math.prod([out.shape[d] for d in out_spec[2:]])
        taps = math.prod([rhs[d] for d in rhs_spec[2:]])
        features, results = lhs[lhs_spec[int(taps <= pixels)]], rhs[rhs_spec[0]]
        return (
            kind == other
            and kind in self.matrix_types
            and storage(out.dtype) in (kind, "f32")
            and max(p["feature_group_count"], p["batch_group_count"]) == 1
            and min(features, results) >= _FEWEST_FEATURES
            and is_worth(self.matrix_types[kind], features, results)
        )

    def on_matrix_unit(self, lhs: Any, rhs: Any, params: dict[str, Any], out: Var) -> None:
        """A convolution as the matrix unit does it: features last, in whole tiles, and as many
        pixels of padding as a tile needs; where lines are short, images side by side."""
        if self.product(lhs, rhs, params, out):
            return
        lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
        if _sums_images(params, rhs.aval, out.aval):
            self.weights_on_matrix_unit(lhs, rhs, params, out)
            return
        height, width = [out.aval.shape[d] for d in out_spec[2:]]
        images, features = [lhs.aval.shape[d] for d in lhs_spec[:2]]
        by_images = images >= width and _filled(images) > _filled(width)
        order = [*lhs_spec[2:], lhs_spec[0], lhs_spec[1]] if by_images else [
            lhs_spec[0], *lhs_spec[2:], lhs_spec[1]
        ]  # fmt: skip
        missing = (0, -features % DEPTH, 0)
        config = [(0, 0, 0)] * 4
        for d, (low, high), role in zip(lhs_spec[2:], params["padding"], (2, 3), strict=True):
            step, spread = [params[k][role - 2] for k in ("window_strides", "rhs_dilation")]
            taps, count = rhs.aval.shape[rhs_spec[role]], out.aval.shape[out_spec[role]]
            if role == 3 and not by_images:
                count = max(count, SIDE)
            needed = (count - 1) * step + (taps - 1) * spread + 1
            high = max(high, needed - low - lhs.aval.shape[d])
            config[order.index(d)] = low, high, 0
        config[3] = missing
        if by_images:
            config[2] = 0, max(SIDE - images, 0), 0
        lhs = self.stored(self.pad(self.transpose(lhs, order), config))
        rhs = self.transpose(rhs, (*rhs_spec[2:], rhs_spec[1], rhs_spec[0]))
        rhs = self.stored(self.pad(rhs, [(0, 0, 0), (0, 0, 0), missing, (0, 0, 0)]))
        target, order = out, [out_spec[0], *out_spec[2:], out_spec[1]]
        if order != [0, 1, 2, 3]:
            target = Var(out.aval.update(shape=tuple([out.aval.shape[d] for d in order])))
        self.result(
            "conv_general_dilated", [lhs, rhs], target,
            **{**params, "matrix_unit": "images" if by_images else "pixels"},
        )  # fmt: skip
        if target is not out:
            back = tuple([order.index(d) for d in range(4)])
            self.result("transpose", [target], out, permutation=back)

    def weights_on_matrix_unit(self, lhs: Any, rhs: Any, params: dict[str, Any], out: Var) -> None:
        """A convolution whose window is larger than its result, as gradients of weights are: sums
        over parts of the images, then the sum of these."""
        lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
        window = [out.aval.shape[d] for d in out_spec[2:]]
        config = [(0, 0, 0)] * 4
        for k, (low, high) in enumerate(params["padding"]):
            d, taps = lhs_spec[2 + k], rhs.aval.shape[rhs_spec[2 + k]]
            needed = (window[k] - 1) * params["window_strides"][k]
            needed += (taps - 1) * params["rhs_dilation"][k] + 1
            config[1 + k] = low, min(max(high, 0), max(needed - low - lhs.aval.shape[d], 0)), 0
        lhs = self.transpose(lhs, (lhs_spec[1], *lhs_spec[2:], lhs_spec[0]))
        lhs = self.stored(self.pad(lhs, config))
        rhs = self.stored(self.transpose(rhs, (rhs_spec[1], *rhs_spec[2:], rhs_spec[0])))
        images, height, width, m = rhs.aval.shape
        by_images = _filled(images, DEPTH) >= _filled(width, DEPTH)
        lines, each = (height, images * width) if by_images else (images, height * width)
        slices = min(-(-lines * each // _SLICE), _MOST_SLICES, lines)
        slices = max([s for s in range(1, slices + 1) if lines % s == 0])
        shape = (slices, *window, m, lhs.aval.shape[3])
        parts = Var(out.aval.update(shape=shape, dtype=np.dtype(np.float32), weak_type=False))
        params = {**params, "matrix_unit": "weights", "slices": slices, "by_images": by_images}
        self.result("conv_general_dilated", [lhs, rhs], parts, **params)
        value = self.bind("reduce_sum", [parts], parts.aval.update(shape=shape[1:]), axes=(0,))
        value = self.convert(value, out.aval.dtype)
        dims = [out_spec.index(d) for d in range(4)]  # what each dimension of the result is
        order = tuple([(3, 2, 0, 1)[role] for role in dims])
        self.result("transpose", [value], out, permutation=order)

    def large(self, lhs: Any, rhs: Any, params: dict[str, Any], out: Var) -> None:
        """A convolution of stored operands without padding, in a layout that suits it."""
        dims = params["dimension_numbers"]
        spreads = params["lhs_dilation"]
        if _has_phases(params):
            self.phases(lhs, rhs, params, out)
            return
        along_lines = _along_lines(dims, params, lhs.aval, out.aval)
        if not along_lines and winograd.suits(params, lhs.aval, rhs.aval, out.aval):
            winograd.convolve(self, lhs, rhs, params, out)
            return
        config = [(0, 0, 0)] * lhs.aval.ndim
        for d, (low, high), spread in zip(
            dims.lhs_spec[2:], params["padding"], spreads, strict=True
        ):
            config[d] = (max(low, 0), max(high, 0), spread - 1)
        lhs = self.pad(lhs, config)
        params = {
            **params, "padding": tuple([(min(a, 0), min(b, 0)) for a, b in params["padding"]]),
            "lhs_dilation": (1,) * len(spreads), "tiled": True,
        }  # fmt: skip
        if _sums_images(params, rhs.aval, out.aval):
            params["tiled"] = "weights"
        lhs_spec, rhs_spec, out_spec = dims
        last = lhs.aval.ndim - 1
        if along_lines:
            operands = [self.stored(lhs), self.stored(rhs)]
            self.result("conv_general_dilated", operands, out, **params)
            return
        # Output features last, in what they are read from and written to; of a few, what is summed.
        if params["tiled"] is True and _are_few(params, rhs.aval):
            order = [rhs_spec[0], *rhs_spec[2:], rhs_spec[1]]
            rhs, rhs_spec = self.transpose(rhs, order), _moved(rhs_spec, order)
        elif rhs_spec[0] != last:
            order = [*[d for d in range(last + 1) if d != rhs_spec[0]], rhs_spec[0]]
            rhs, rhs_spec = self.transpose(rhs, order), _moved(rhs_spec, order)
        channels = max(lhs_spec[:2])  # in a weight's gradient they are what images are elsewhere
        if channels != last:
            order = [*[d for d in range(last + 1) if d != channels], channels]
            lhs, lhs_spec = self.transpose(lhs, order), _moved(lhs_spec, order)
        target = out
        back: list[int] = []
        if out_spec[1] != last:
            order = [*[d for d in range(last + 1) if d != out_spec[1]], out_spec[1]]
            out_spec = _moved(out_spec, order)
            target = Var(out.aval.update(shape=tuple([out.aval.shape[d] for d in order])))
            back = [order.index(d) for d in range(last + 1)]
        params["dimension_numbers"] = type(dims)(lhs_spec, rhs_spec, out_spec)
        lhs, rhs = self.stored(lhs), self.in_panels(rhs)
        self.result("conv_general_dilated", [lhs, rhs], target, **params)
        if back:
            self.result("transpose", [target], out, permutation=tuple(back))

    def product(self, lhs: Any, rhs: Any, params: dict[str, Any], out: Var) -> bool:
        """A convolution that is a matrix product: windows of one pixel, channels last. False if
        it is none."""
        lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
        groups = max(params["feature_group_count"], params["batch_group_count"])
        taps = math.prod([rhs.aval.shape[d] for d in rhs_spec[2:]])
        ones = [*params["lhs_dilation"], *params["window_strides"], taps, groups]
        last = out.aval.ndim - 1
        if max(ones) > 1 or any(itertools.chain(*params["padding"])) or out_spec[1] != last:
            return False
        order = (*rhs_spec[2:], rhs_spec[1], rhs_spec[0])
        rhs = self.stored(self.transpose(rhs, order))
        rhs = self.reshape(rhs, rhs.aval.shape[-2:])
        roles = [r for r in sorted(range(last + 1), key=lambda r: lhs_spec[r]) if r != 1]
        shape = (*[out.aval.shape[out_spec[r]] for r in roles], out.aval.shape[last])
        value = self.bind(
            "dot_general", [lhs, rhs], out.aval.update(shape=shape),
            dimension_numbers=(((lhs_spec[1],), (0,)), ((), ())), preferred_element_type=None,
        )  # fmt: skip
        back = sorted(range(last + 1), key=lambda k: out_spec[[*roles, 1][k]])
        self.result("transpose", [value], out, permutation=tuple(back))
        return True

    def phases(
        self, lhs: Any, rhs: Any, params: dict[str, Any], out: Var, *, on_matrix_unit: bool = False
    ) -> None:
        """A convolution of a spread operand: one of its own for the results that are so many
        places from a multiple of the spread, with the taps that meet elements for these."""
        dims = params["dimension_numbers"]
        config = [(0, 0, 0)] * lhs.aval.ndim
        choices = []
        for k, s in enumerate(params["lhs_dilation"]):
            d, window = dims.lhs_spec[2 + k], rhs.aval.shape[dims.rhs_spec[2 + k]]
            steps = -(-out.aval.shape[dims.out_spec[2 + k]] // s)
            low, high = params["padding"][k]
            ways = []  # first tap, number of taps, padding
            for phase in range(s):
                first = (low - phase) % s
                taps = max(-(-(window - first) // s), 0)
                before = (low - phase - first) // s
                after = (
                    params["window_strides"][k] * (steps - 1) + taps - lhs.aval.shape[d] - before
                )
                ways.append((first, taps, (before, after) if s > 1 else (low, high)))
            choices.append(ways)
            config[d] = (
                max(0, *[before for _, _, (before, _) in ways]),
                max(0, *[after for _, _, (_, after) in ways]), 0,
            )  # fmt: skip
        if on_matrix_unit:  # each of them pads as it needs
            config = [(0, 0, 0)] * lhs.aval.ndim
        lhs = self.pad(lhs, config)
        shape = list(out.aval.shape)
        for k, s in enumerate(params["lhs_dilation"]):
            d = dims.out_spec[2 + k]
            shape[d] = -(-shape[d] // s)
        aval = out.aval.update(shape=tuple(shape))
        pieces = [
            self.phase(lhs, rhs, params, config, chosen, aval)
            for chosen in itertools.product(*choices)
        ]
        self.interleave(pieces, params["lhs_dilation"], dims.out_spec[2:], out)

    def phase(
        self, lhs: Any, rhs: Any, params: dict[str, Any], config: Sequence[tuple[int, int, int]],
        chosen: Sequence[tuple[int, int, tuple[int, int]]], aval: Any,
    ) -> Var:  # fmt: skip
        """One of the convolutions that make up that of a spread operand, which is padded."""
        dims, spreads = params["dimension_numbers"], params["lhs_dilation"]
        if any([not taps for _, taps, _ in chosen]):
            zero = self.zero(aval.dtype)
            return self.bind(
                "broadcast_in_dim", [zero], aval, shape=aval.shape, broadcast_dimensions=()
            )
        places, padding = {}, []
        for k, (first, _, (before, after)) in enumerate(chosen):
            d, there = dims.rhs_spec[2 + k], config[dims.lhs_spec[2 + k]]
            if spreads[k] > 1:
                places[d] = first, rhs.aval.shape[d], spreads[k]
            padding.append((before - there[0], after - there[1]))
        rhs = self.slice(rhs, places)
        piece = Var(aval)
        params = {**params, "padding": tuple(padding), "lhs_dilation": (1,) * len(spreads)}
        if storage(lhs.aval.dtype) in _HALVES:
            self.on_matrix_unit(lhs, rhs, params, piece)
        else:
            self.large(lhs, rhs, params, piece)
        return piece

    def interleave(
        self, pieces: list[Var], spreads: Sequence[int], dims: Sequence[int], out: Var
    ) -> None:
        """Results of all phases, each of which has every so manieth element."""
        aval = pieces[0].aval
        joined = self.concatenate([self.reshape(p, (1, *aval.shape)) for p in pieces], 0)
        joined = self.reshape(joined, (*spreads, *aval.shape))
        order: list[int] = []
        for d in range(aval.ndim):
            order.append(len(spreads) + d)
            if d in dims:
                order.append(dims.index(d))
        joined = self.transpose(joined, order)
        merged = list(aval.shape)
        for d, s in zip(dims, spreads, strict=True):
            merged[d] *= s
        joined = self.reshape(joined, merged)
        self.result(
            "slice", [joined], out, start_indices=(0,) * aval.ndim,
            limit_indices=out.aval.shape, strides=(1,) * aval.ndim,
        )  # fmt: skip


def _are_few(params: dict[str, Any], rhs: Any) -> bool:
    """Whether vectors of what is summed, and then the sums of their lanes, are less work than
    vectors of output features."""
    spec = params["dimension_numbers"].rhs_spec
    results, row = rhs.shape[spec[0]], rhs.shape[spec[1]]
    if params["rhs_dilation"][-1] == 1:
        row *= rhs.shape[spec[-1]]
    steps = rhs.size // max(results, 1)
    vectors = -(-row // _LANES) * (steps // max(row, 1))
    alone = params["feature_group_count"] == params["batch_group_count"] == 1
    return alone and results * (vectors + _LANE_SUM) < -(-results // _LANES) * steps


def _sums_images(params: dict[str, Any], rhs: Any, out: Any) -> bool:
    """Whether a convolution's window is larger than its result, as of gradients of weights."""
    _, rhs_spec, out_spec = params["dimension_numbers"]
    taps = math.prod([rhs.shape[d] for d in rhs_spec[2:]])
    return taps > math.prod([out.shape[d] for d in out_spec[2:]])


def _has_phases(params: dict[str, Any]) -> bool:
    """Whether a convolution of a spread operand is made of others."""
    spreads = params["lhs_dilation"]
    alone = [
        s == 1 or (stride == 1 and taps == 1)
        for s, stride, taps in zip(
            spreads, params["window_strides"], params["rhs_dilation"], strict=True
        )
    ]
    return 1 < math.prod(spreads) <= _MOST_PHASES and all(alone)


def _filled(rows: int, tile: int = SIDE) -> float:
    """Which part of tiles so many rows fill; nearly full is as good."""
    return min(rows / (-(-rows // tile) * tile), 0.85)


def _moved(spec: tuple[int, ...], order: Sequence[int]) -> tuple[int, ...]:
    """Where dimensions are after a transpose."""
    return tuple([list(order).index(d) for d in spec])


def _along_lines(dims: Any, params: dict[str, Any], lhs: Any, out: Any) -> bool:
    """Whether neighbouring pixels are neighbours in memory, and enough of them in a line."""
    lhs_spec, _, out_spec = dims
    last = lhs.ndim - 1
    if last not in lhs_spec[2:]:
        return False
    k = lhs_spec.index(last)
    pixels = out.shape[last]
    filled = pixels / (-(-pixels // _LANES) * _LANES)
    return params["window_strides"][k - 2] == 1 and out_spec[k] == last and filled >= _FILLED


def _sum_type(eqn: JaxprEqn) -> Any:
    """The type in which a convolution's products are added up."""
    left, out = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
    if storage(left) == "f64" and storage(out) not in ("f64", "c128"):
        return left
    if storage(out) in _HALVES and _is_large(eqn):
        return np.dtype(np.float32)
    return out


def _is_large(eqn: JaxprEqn) -> bool:
    """Whether copies of operands pay."""
    if any([type(a) is not Var for a in eqn.invars]):
        return False
    lhs, rhs = [a.aval for a in eqn.invars]
    out = eqn.outvars[0].aval
    p = eqn.params
    spec = p["dimension_numbers"].rhs_spec
    groups = max(p["feature_group_count"], p["batch_group_count"])
    if groups > 1 and (rhs.shape[spec[1]] == 1 or rhs.shape[spec[0]] == groups):
        return False  # one feature a group: reading is what takes time
    window = rhs.size // max(rhs.shape[spec[0]], 1)
    return lhs.size > 0 and out.size * window >= _SMALLEST
