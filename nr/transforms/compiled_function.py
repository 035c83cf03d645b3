"""jit for users: signatures, generated dispatch, tracing once a signature, donation, reports."""

from __future__ import annotations

import functools
import inspect
import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import index
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from nr.backends.base import Options
from nr.core import devices, dtypes
from nr.core.array import DELETED, Array, ArrayImpl, weak_scalar
from nr.core.avals import ShapedArray
from nr.core.config import config, jit_disabled
from nr.core.jaxprs import Jaxpr, eval_jaxpr, trace_to_jaxpr
from nr.core.leaks import refuse_leaks
from nr.core.nans import CHECKING, debug_nans
from nr.core.source_info import filtered, function_name, user_source
from nr.core.tracing import EVAL, PYTHON_SCALARS, axis_env, current_trace, typeof
from nr.core.tree_codegen import emit_flatten, emit_unflatten
from nr.core.trees import PyTreeDef, tree_flatten, tree_unflatten
from nr.lax.rules import as_users_get_it, float0_array, operand
from nr.transforms.flat_fun import (
    FlatFun,
    argument_names,
    check_leaves,
    names_of_leaves,
    signature_of,
)
from nr.transforms.jit import jit_p
from nr.transforms.make_jaxpr import aval_of
from nr.transforms.stages import Lowered, Program, Traced


@dataclass(frozen=True)
class TraceRecord:
    """One trace of a jitted function: when, why, and how long it took.

    signature: the arguments' avals by name. differs: what differed from the nearest earlier trace.
    seconds: time spent tracing. called_from: the user's line.
    """

    signature: dict[str, str]
    differs: str
    seconds: float
    called_from: str


@dataclass(frozen=True)
class _Traced:
    """What one signature traced to. `operands` are closed-over tracers (then it is not kept)."""

    jaxpr: Jaxpr
    out_tree: PyTreeDef
    operands: list[Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The quick path for one signature: `flatten(args, kwargs)` gives raw arrays or None.

    Donated arrays it deletes: the program may write over what only the result refers to.
    """

    flatten: Callable
    program: Callable
    rebuild: Callable
    context: tuple
    device: devices.Device | None


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a function jitted with some options."""

    plans: list[_Plan] = field(default_factory=list)
    traced: dict[Any, _Traced] = field(default_factory=dict)
    records: list[tuple[Any, TraceRecord]] = field(default_factory=list)


_LOGGER = logging.getLogger("nr")
_MAX_PLANS = 16
_functions: weakref.WeakSet[JitFunction] = weakref.WeakSet()
# So that ``jit(f)(x)``, written where it is called, traces f once: by function, then by options.
_shared: weakref.WeakKeyDictionary[FunctionType, dict] = weakref.WeakKeyDictionary()


def _known_of(fun: Callable, options: tuple) -> _Known:
    if type(fun) is not FunctionType:  # others may change, or be equal without being the same
        return _Known()
    return _shared.setdefault(fun, {}).setdefault(options, _Known())


def clear_caches() -> None:
    """Forget what all jitted functions have traced and compiled."""
    _shared.clear()
    for function in list(_functions):
        function.clear_cache()


class JitFunction:
    """A function that is traced once a signature and then runs as a compiled program."""

    def __init__(
        self,
        fun: Callable,
        *,
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
        donate_argnums: int | Sequence[int] | None,
        donate_argnames: str | Sequence[str] | None,
        inline: bool,
        check: str | None,
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.signature = signature_of(fun)
        self.static_argnums, self.static_argnames = _both(
            self.signature, static_argnums, static_argnames
        )
        self.donate_argnums, self.donate_argnames = _both(
            self.signature, donate_argnums, donate_argnames
        )
        self.inline = inline
        self.check = check
        self.name = function_name(fun)
        both = _overlap(self.static_argnums, self.donate_argnums)
        both += _overlap(self.static_argnames, self.donate_argnames)
        if both:
            raise ValueError(
                f"jit: an argument must not be both static and donated; got "
                f"{', '.join(map(repr, both))} of {self.name}."
            )
        known = _known_of(
            fun,
            (
                *(self.static_argnums, self.static_argnames),
                *(self.donate_argnums, self.donate_argnames),
                *(inline, check),
            ),
        )
        self._plans, self._traced, self._records = known.plans, known.traced, known.records
        _functions.add(self)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<jitted function {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if jit_disabled():
            return self.fun(*args, **kwargs)
        trace = current_trace()
        if trace is EVAL or trace is CHECKING:
            context = _context()
            for plan in self._plans:
                if plan.context == context:
                    values = plan.flatten(args, kwargs)
                    if values is not None:
                        return _run(plan, values)
        try:
            return self._call_slowly(args, kwargs)
        except Exception as err:
            raise filtered(err) from err.__cause__

    # ------------------------------------------------------------ the generic path
    def _split(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, tuple]:
        """Dynamic args and kwargs, and the static ones as a hashable key."""
        if not self.static_argnums and not self.static_argnames:
            return args, kwargs, ()
        n = len(args)
        nums = {i % n if i < 0 else i for i in self.static_argnums if -n <= i < n}
        statics = [(i, args[i]) for i in sorted(nums)]
        statics += [(k, kwargs[k]) for k in sorted(kwargs) if k in self.static_argnames]
        for place, value in statics:
            try:
                hash(value)
            except TypeError:
                names = argument_names(self.signature, args, {})
                name = names[place] if isinstance(place, int) else place
                raise ValueError(
                    f"jit: static arguments must be hashable; got {type(value).__name__} for "
                    f"`{name}` of {self.name}. Pass a tuple or another immutable value, or don't "
                    f"make it static."
                ) from None
            if isinstance(value, Array):
                raise ValueError(
                    f"jit: static arguments must not be arrays; got {typeof(value)} for {place!r} "
                    f"of {self.name}."
                )
        dynamic = tuple([x for i, x in enumerate(args) if i not in nums])
        named = {k: v for k, v in kwargs.items() if k not in self.static_argnames}
        return dynamic, named, tuple([(p, type(v), v) for p, v in statics])

    def _trace(
        self, args: tuple, kwargs: dict, *, abstract: bool = False
    ) -> tuple[_Traced, list[Any], Any]:
        """The program for arguments; with `abstract`, they need only have shapes and dtypes."""
        if self.check is not None and not config.debug_nans and current_trace() in (EVAL, CHECKING):
            with debug_nans():
                return self._trace(args, kwargs, abstract=abstract)
        dynamic, named, statics = self._split(args, kwargs)
        leaves, in_tree = tree_flatten((dynamic, named))
        if not abstract:
            check_leaves("jit", leaves, dynamic)
        avals = tuple([_input_aval(x) for x in leaves])
        key = (in_tree, avals, statics, _context(), axis_env())
        found = self._traced.get(key)
        if found is None:
            found = self._trace_anew(key, args, kwargs, dynamic, named)
        return found, leaves, key

    def _trace_anew(
        self, key: Any, args: tuple, kwargs: dict, dynamic: tuple, named: dict
    ) -> _Traced:
        in_tree, avals, statics = key[:3]
        positional = {p: v for p, _, v in statics if isinstance(p, int)}
        by_name = {p: v for p, _, v in statics if isinstance(p, str)}

        def fun(*given: Any, **options: Any) -> Any:
            rest = iter(given)
            full = [positional[i] if i in positional else next(rest) for i in range(len(args))]
            return self.fun(*full, **options, **by_name)

        parameter_names = [
            name
            for i, name in enumerate(argument_names(self.signature, args, kwargs))
            if i not in positional
        ]
        names = names_of_leaves(parameter_names, dynamic, named)
        differs = self._difference(key, names)
        if config.no_tracing:
            raise RuntimeError(
                f"no_tracing: jit({self.name}) would be traced anew: {differs}. Call it with "
                f"such arguments beforehand."
            )
        start = time.perf_counter()
        flat = FlatFun(fun, in_tree, "jit")
        jaxpr, operands = trace_to_jaxpr(flat, avals, name=f"jit({self.name})", arg_names=names)
        found = _Traced(jaxpr, flat.out_tree, operands)
        seconds = time.perf_counter() - start
        if not operands:
            self._traced[key] = found
        record = TraceRecord(
            signature=dict(zip(names, map(_describe, avals), strict=True)),
            differs=differs,
            seconds=seconds,
            called_from=str(user_source() or ""),
        )
        self._records.append((key, record))
        if config.log_compiles:
            _LOGGER.warning("Finished tracing jit(%s) in %.6f s (%s)", self.name, seconds, differs)
        if config.check_tracer_leaks:
            refuse_leaks(f"jit({self.name})")
        return found

    def _difference(self, key: Any, names: list[str]) -> str:
        """What differs from the earlier trace that is nearest."""
        best: list[str] | None = None
        for old, _ in self._records:
            parts = []
            if old[0] != key[0]:
                parts.append("the structure of the arguments")
            else:
                parts += [
                    f"{name}: {_describe(a)} -> {_describe(b)}"
                    for name, a, b in zip(names, old[1], key[1], strict=True)
                    if a is not b
                ]
            before = {p: v for p, _, v in old[2]}
            parts += [
                f"static {p}: {before.get(p)!r} -> {v!r}"
                for p, _, v in key[2]
                if p not in before or before[p] != v or type(before[p]) is not type(v)
            ]
            if old[3] != key[3]:
                parts.append("the default dtypes or device")
            if old[4] != key[4]:
                parts.append("the axis names in scope")
            if best is None or len(parts) < len(best):
                best = parts
        if best is None:
            return "first trace"
        return "; ".join(best) or "a closed-over traced value (such programs are not kept)"

    def _call_slowly(self, args: tuple, kwargs: dict) -> Any:
        traced, leaves, key = self._trace(args, kwargs)
        for x in leaves:
            if type(x) is ArrayImpl and x.data is None:
                raise RuntimeError(DELETED)
        if current_trace() in (EVAL, CHECKING):
            self._add_plan(traced, key, args, kwargs, leaves)
            values = self._plans[0].flatten(args, kwargs) if self._plans else None
            if values is not None:
                return _run(self._plans[0], values)
        flat = [operand("jit", weak_scalar(x)) for x in leaves]
        if self.inline:
            outs = eval_jaxpr(traced.jaxpr, *traced.operands, *flat)
        else:
            outs = jit_p.bind(*traced.operands, *flat, jaxpr=traced.jaxpr, name=self.name)
        return tree_unflatten(traced.out_tree, list(map(as_users_get_it, outs)))

    # ------------------------------------------------------------ the quick path
    def _add_plan(
        self, traced: _Traced, key: Any, args: tuple, kwargs: dict, leaves: list[Any]
    ) -> None:
        placed = {x.committed for x in leaves if type(x) is ArrayImpl}
        if traced.operands or len(placed) > 1:
            return
        device = next(iter(placed), None) or devices.chosen_default()
        backend = (device or devices.cpu()).backend
        donated = self._donated_leaves(args, kwargs)
        flatten = _make_flatten(self, args, kwargs, leaves, device, donated)
        if flatten is None:
            return
        start = time.perf_counter()
        program = backend.compile(traced.jaxpr, self._options(donated))
        if config.log_compiles:
            seconds = time.perf_counter() - start
            _LOGGER.warning("Finished native compilation of jit(%s) in %.6f s", self.name, seconds)
        plan = _Plan(
            flatten=flatten,
            program=program,
            rebuild=_make_rebuild(traced, device),
            context=_context(),
            device=device,
        )
        self._plans.insert(0, plan)
        del self._plans[_MAX_PLANS:]

    def _options(self, donated: tuple[int, ...]) -> Options:
        return Options(donated, self.check == "nan" or config.debug_nans)

    def _donated_leaves(self, args: tuple, kwargs: dict) -> tuple[int, ...]:
        if not self.donate_argnums and not self.donate_argnames:
            return ()
        n = len(args)
        nums = {i % n if i < 0 else i for i in self.donate_argnums}
        static = {i % n if i < 0 else i for i in self.static_argnums if -n <= i < n}
        flags: list[bool] = []
        for i, x in enumerate(args):
            if i not in static:
                flags += [i in nums] * len(tree_flatten(x)[0])
        for k in sorted(kwargs):
            if k not in self.static_argnames:
                flags += [k in self.donate_argnames] * len(tree_flatten(kwargs[k])[0])
        return tuple([i for i, flag in enumerate(flags) if flag])

    # ------------------------------------------------------------ for users
    def traces(self) -> list[TraceRecord]:
        """A record of every trace so far: signature, what differed, seconds, caller.

        Example:
            >>> import nr
            >>> f = nr.jit(lambda x: x + 1)
            >>> _ = f(nr.numpy.zeros(2)), f(nr.numpy.zeros(3))
            >>> f.traces()[1].differs
            'x: f32[2] -> f32[3]'
        """
        return [record for _, record in self._records]

    def clear_cache(self) -> None:
        """Forget all traces."""
        self._plans.clear()
        self._traced.clear()

    def _cache_size(self) -> int:
        return len(self._traced)

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """The traced program for the given arguments (arrays or ShapeDtypeStructs)."""
        traced, _, key = self._trace(args, kwargs, abstract=True)
        options = self._options(self._donated_leaves(args, kwargs))
        in_tree, avals, statics = key[:3]
        program = Program(self, traced.jaxpr, in_tree, traced.out_tree, avals, statics, options)
        return Traced(program)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for given arguments (arrays or ShapeDtypeStructs), to look at or compile."""
        return self.trace(*args, **kwargs).lower()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The output's shapes and dtypes, without running."""
        return self.trace(*args, **kwargs).out_info


def _context() -> tuple:
    return (config.trace_key(), devices.chosen_default(), config.check_tracer_leaks)


def _run(plan: _Plan, values: tuple) -> Any:
    if plan.device is None:
        outs = plan.program(*values)
    else:
        backend = plan.device.backend
        with backend.on(plan.device):
            outs = plan.program(*[backend.put(v, plan.device) if type(v) is np.ndarray else v
                                  for v in values])  # fmt: skip
    return plan.rebuild(outs)


def _input_aval(x: Any) -> ShapedArray:
    return aval_of(weak_scalar(x))


def _describe(aval: ShapedArray) -> str:
    return f"{aval} (weak)" if aval.weak_type else str(aval)


def _both(
    signature: inspect.Signature | None,
    argnums: int | Sequence[int] | None,
    argnames: str | Sequence[str] | None,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Argument numbers and names; if only one of them is given, the other by the signature.

    Raises:
        ValueError: if the function has no such argument.
    """
    nums, names = _as_numbers(argnums), _as_names(argnames)
    if signature is None:
        return nums, names
    kinds = {p.kind for p in signature.parameters.values()}
    count = sum(p.kind is not p.KEYWORD_ONLY for p in signature.parameters.values())
    wrong: list[Any] = []
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        wrong += [i for i in nums if not -count <= i < count]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        wrong += [name for name in names if name not in signature.parameters]
    nameless = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    parameters = signature.parameters.values()
    wrong += [p.name for p in parameters if p.kind in nameless and p.name in names]
    if wrong:
        raise ValueError(
            f"jit: static and donated arguments must be arguments of the function; got "
            f"{', '.join(map(repr, wrong))} for {signature}."
        )
    if argnums is not None and argnames is not None:
        return nums, names
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    n = len(positional)
    all_names = list(names) + [positional[i] for i in nums if -n <= i < n]
    all_nums = [i % n if -n <= i < 0 else i for i in nums]
    all_nums += [positional.index(name) for name in names if name in positional]
    return tuple(sorted(set(all_nums))), tuple(sorted(set(all_names)))


def _make_flatten(
    function: JitFunction,
    args: tuple,
    kwargs: dict,
    leaves: list[Any],
    device: devices.Device | None,
    donated: tuple[int, ...],
) -> Callable | None:
    """Generated: checks containers, static values and avals by identity; gives raw arrays."""
    dynamic, named, statics = function._split(args, kwargs)
    in_tree = tree_flatten((dynamic, named))[1]
    ns: dict[str, Any] = {"ArrayImpl": ArrayImpl, "ndarray": np.ndarray, "device": device}
    lines = []
    positions = [p for p, _, _ in statics if isinstance(p, int)]
    names = [p for p, _, _ in statics if isinstance(p, str)]
    if statics:
        lines.append(f"if len(args) != {len(args)} or len(kwargs) != {len(kwargs)}: return None")
        for j, (place, kind, value) in enumerate(statics):
            ns[f"S{j}"], ns[f"T{j}"] = value, kind
            source = f"args[{place}]" if isinstance(place, int) else f"kwargs[{place!r}]"
            lines.append(f"s = {source}")
            lines.append(f"if type(s) is not T{j} or (s is not S{j} and s != S{j}): return None")
        kept = "".join([f"args[{i}], " for i in range(len(args)) if i not in positions])
        pairs = ", ".join([f"{k!r}: kwargs[{k!r}]" for k in kwargs if k not in names])
        lines.append(f"tree = (({kept}), {{{pairs}}})")
    else:
        lines.append("tree = (args, kwargs)")
    tree_lines, leaf_exprs = emit_flatten(in_tree, "tree", ns)
    lines += tree_lines
    values = []
    for i, (name, x) in enumerate(zip(leaf_exprs, leaves, strict=True)):
        kind = type(x)
        if kind is ArrayImpl:
            ns[f"A{i}"] = x.aval
            where = "device" if x.committed is not None else "None"
            lines.append(
                f"if type({name}) is not ArrayImpl or ({name}._aval or {name}.aval) is not A{i} "
                f"or {name}.committed is not {where}: return None"
            )
            lines.append(f"d{i} = {name}.data")
            lines.append(f"if d{i} is None: return None")
            values.append(f"d{i}")
        elif kind is np.ndarray:
            ns[f"D{i}"] = x.dtype
            lines.append(
                f"if type({name}) is not ndarray or {name}.shape != {x.shape!r} "
                f"or {name}.dtype != D{i}: return None"
            )
            values.append(name)
        elif kind in PYTHON_SCALARS or isinstance(x, np.generic):
            aval = _input_aval(x)
            ns[f"K{i}"] = kind
            ns[f"C{i}"] = functools.partial(np.asarray, dtype=aval.dtype)
            lines.append(f"if type({name}) is not K{i}: return None")
            values.append(f"C{i}({name})")
        else:
            return None
    lines += [f"{leaf_exprs[i]}.data = None" for i in donated if type(leaves[i]) is ArrayImpl]
    lines.append(f"return ({''.join([v + ', ' for v in values])})")
    body = "".join([f"        {line}\n" for line in lines])
    source = (
        f"def flatten(args, kwargs):\n    try:\n{body}"
        f"    except (KeyError, IndexError):\n        return None\n"
    )
    exec(compile(source, "<nr>", "exec"), ns)
    return ns["flatten"]


def _make_rebuild(traced: _Traced, device: devices.Device | None) -> Callable:
    """Generated: wraps raw outputs, whose avals are known, and rebuilds the output tree."""
    ns: dict[str, Any] = {"ArrayImpl": ArrayImpl, "device": device}
    lines, names = [], []
    for i, aval in enumerate(traced.jaxpr.out_avals):
        ns[f"A{i}"] = aval
        if aval.dtype == dtypes.float0:
            ns[f"Z{i}"] = float0_array(aval)
            names.append(f"Z{i}")
            continue
        lines.append(f"r{i} = ArrayImpl(o{i}, device, {aval.weak_type})")
        lines.append(f"r{i}._aval = A{i}")
        names.append(f"r{i}")
    if names:
        lines.insert(0, f"{', '.join([f'o{i}' for i in range(len(names))])}, = outs")
    lines.append(f"return {emit_unflatten(traced.out_tree, names, ns)}")
    body = "".join([f"    {line}\n" for line in lines])
    exec(compile(f"def rebuild(outs):\n{body}", "<nr>", "exec"), ns)
    return ns["rebuild"]


def jit(
    fun: Callable | None = None,
    *,
    in_shardings: Any = None,
    out_shardings: Any = None,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    device: devices.Device | None = None,
    backend: str | None = None,
    inline: bool = False,
    compiler_options: dict[str, Any] | None = None,
    check: str | None = None,
) -> Any:
    """A function that is traced once for each signature and then runs as a compiled program.

    A signature is the structure of the arguments, their shapes and dtypes, and the values of the
    static ones. Arrays that the function closes over are passed to the program, not baked into it.

    Args:
        fun: a pure function of arrays, numbers and pytrees of them.
        static_argnums, static_argnames: arguments that are Python values, part of the signature;
            they must be hashable. Of numbers and names one is enough (where both are given, they
            are taken as they are).
        donate_argnums, donate_argnames: arguments whose memory is given away, for results that
            can take their place; using them afterwards, also after an error or an interrupt of
            the call, raises RuntimeError. What NumPy arrays share is copied, not written over.
        in_shardings, out_shardings, keep_unused, compiler_options: accepted for compatibility;
            there is one device, unused arguments never cost anything here, and options of XLA
            have no meaning.
        device, backend: where the program runs: nothing but the default device, or its platform.
            Programs run where their arguments are; `nr.device_put` places these.
        inline: put the program's eqns into an outer program in place of a call.
        check: "nan" makes a call raise FloatingPointError for the first NaN that it makes, with the
            operation, the line, the element, forward or backward pass, the step of a loop and the
            lane of vmap. `nr.debug_nans` asks for it for all functions. It holds for calls from
            outside of other transformations, on the CPU.

    Raises:
        ValueError: if `check` is neither None nor "nan", or for another device.

    Returns:
        The jitted function; it has ``traces()``, ``lower(...)``, ``eval_shape(...)`` and
        ``clear_cache()``.

    Example:
        >>> import nr
        >>> @nr.jit
        ... def f(x):
        ...     return x * 2
        >>> f(nr.numpy.arange(3))
        Array([0, 2, 4], dtype=int32)
    """
    options: dict[str, Any] = {
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
        "donate_argnums": donate_argnums,
        "donate_argnames": donate_argnames,
        "inline": inline,
        "check": check,
    }
    here = devices.current_default()
    if device not in (None, here) or backend not in (None, here.platform):
        raise ValueError(
            f"jit: the default device, {here}, was expected; got "
            f"{backend if device is None else device}. Use nr.device_put on the arguments."
        )
    if check not in (None, "nan"):
        raise ValueError(f'jit: check must be "nan" or None; got {check!r}.')
    if fun is None:
        return lambda f: JitFunction(f, **options)
    if not callable(fun):
        raise TypeError(f"jit: a function was expected; got {fun!r}.")
    if inspect.isgeneratorfunction(fun):
        raise TypeError(
            f"jit: a function was expected; got the generator function {function_name(fun)}. "
            f"Return a list of results."
        )
    return JitFunction(fun, **options)


def _as_numbers(x: Any) -> tuple[int, ...]:
    if x is None:
        return ()
    return (x.__index__(),) if hasattr(x, "__index__") else tuple([index(i) for i in x])


def _as_names(x: Any) -> tuple[str, ...]:
    if x is None:
        return ()
    names = (x,) if isinstance(x, str) else tuple(x)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"jit: names of arguments must be strings; got {name!r}.")
    return names


def _overlap(xs: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
    return [x for x in xs if x in ys]
