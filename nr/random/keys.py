"""Keys: the explicit state of random numbers. Made from seeds, split, folded, and taken apart.

A key is 64 bits in two uint32 halves. A raw key is a uint32[2] array; a typed key wraps one (or a
whole array of them) in a class of its own, so that it can't be mistaken for numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.config import config
from nr.core.tracing import EVAL, current_trace
from nr.core.tree_nodes import GetAttrKey, register_pytree_with_keys
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import eq, shift_right_logical
from nr.lax.reduce import reduce_and
from nr.lax.rules import operand
from nr.lax.shape import canonical_shape, concatenate, expand_dims, iota, reshape, slice_in_dim
from nr.lax.threefry import threefry2x32_p
from nr.numpy.indexing import getitem

UINT32 = np.dtype(np.uint32)
_MASK = 0xFFFFFFFF
IMPL = "threefry2x32"


class KeyDtype:
    """The dtype of typed keys, which shows as ``key<fry>``. All are equal."""

    name = "key<fry>"
    itemsize = 8
    type = dtypes.prng_key

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyDtype)

    def __hash__(self) -> int:
        return hash(KeyDtype)


KEY_DTYPE = KeyDtype()


class PRNGKeyArray(Array):
    """An array of typed keys; make them with `key` and `split`.

    It is a pytree node around its uint32[..., 2] array, and so passes through every transformation.
    It is an Array as in JAX, but operations on numbers refuse it.
    """

    __slots__ = ("_data",)
    __hash__ = None  # type: ignore[assignment]
    dtype = KEY_DTYPE  # type: ignore[assignment]
    weak_type = False  # type: ignore[assignment]

    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def aval(self) -> Any:  # type: ignore[override]
        raise TypeError(dtypes.NO_NUMBERS.format(f"{KEY_DTYPE}{list(self.shape)}"))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape[:-1]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def T(self) -> PRNGKeyArray:  # type: ignore[override]  # noqa: N802 - NumPy's name
        """The keys with their dimensions reversed."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: an array of rank 1 or more was expected; got one key (rank 0).")
        return self.shape[0]

    def __iter__(self) -> Iterator[PRNGKeyArray]:
        if not self.shape:
            raise TypeError(
                "iteration: an array of keys was expected; got one key. Use nr.random.split(key)."
            )
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> PRNGKeyArray:
        return PRNGKeyArray(getitem(self._data, _of_words(index)))

    @property
    def at(self) -> _KeyUpdateHelper:
        """The keys with some exchanged: ``keys.at[index].set(others)``, or ``.get()`` of those."""
        return _KeyUpdateHelper(self._data)

    @property
    def device(self) -> Any:
        return self._data.device

    @property
    def sharding(self) -> Any:
        return self._data.sharding

    def devices(self) -> set:
        """The set that holds the keys' device."""
        return self._data.devices()

    def reshape(self, *shape: Any) -> PRNGKeyArray:
        """The same keys in another shape; one extent may be -1."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        known = math.prod(n for n in wanted if n != -1)
        sizes = [self.size // max(known, 1) if n == -1 else n for n in wanted]
        return PRNGKeyArray(reshape(self._data, (*sizes, 2)))

    def ravel(self) -> PRNGKeyArray:
        """The keys in one dimension."""
        return self.reshape(-1)

    flatten = ravel

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> PRNGKeyArray:
        """The keys without dimensions of extent 1 (all of them, or the named)."""
        axes = (axis,) if isinstance(axis, int) else axis
        drop = None if axes is None else {a % max(self.ndim, 1) for a in axes}
        if drop is not None and any(self.shape[a] != 1 for a in drop):
            raise ValueError(f"squeeze: extents must be 1; got keys {self.shape}, axis {axis}.")
        return self.reshape(
            [n for i, n in enumerate(self.shape) if n != 1 or (drop is not None and i not in drop)]
        )

    def transpose(self, *axes: int) -> PRNGKeyArray:
        """The keys with their dimensions in another order (reversed if none is given)."""
        from nr.lax.shape import transpose

        order = axes or tuple(reversed(range(self.ndim)))
        return PRNGKeyArray(transpose(self._data, (*order, self.ndim)))

    def block_until_ready(self) -> PRNGKeyArray:
        self._data.block_until_ready()
        return self

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, PRNGKeyArray):
            return NotImplemented
        if not all(isinstance(x._data, (Array, np.ndarray)) for x in (self, other)):
            return self._data == other._data  # what a tree.map has made of them, such as dtypes
        same = eq(*_broadcast_keys(self._data, other._data))
        return reduce_and(same, (same.ndim - 1,))

    def __ne__(self, other: object) -> Any:
        if not isinstance(other, PRNGKeyArray):
            return NotImplemented
        from nr.lax.elementwise import bitwise_not

        return bitwise_not(self == other)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.aval

    def __repr__(self) -> str:
        return f"Array({self.shape}, dtype={self.dtype}) overlaying:\n{self._data}"


def _of_words(index: Any) -> tuple:
    """The index that takes all words of the keys at an index."""
    entries = index if isinstance(index, tuple) else (index,)
    if not any(entry is Ellipsis for entry in entries):
        entries = (*entries, Ellipsis)
    return (*entries, slice(None))


class _KeyUpdateHelper:
    """The property ``at`` of arrays of keys."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, index: Any) -> _KeyUpdateRef:
        return _KeyUpdateRef(self.data.at[_of_words(index)])


class _KeyUpdateRef:
    """A part of an array of keys; the options are those of arrays of numbers."""

    __slots__ = ("words",)

    def __init__(self, words: Any) -> None:
        self.words = words

    def get(self, **options: Any) -> PRNGKeyArray:
        """The keys of this part."""
        return PRNGKeyArray(self.words.get(**options))

    def set(self, values: PRNGKeyArray, **options: Any) -> PRNGKeyArray:
        """The array with other keys in this part."""
        if not isinstance(values, PRNGKeyArray):
            raise TypeError(
                f"set: typed keys were expected for those of an array of keys; got {values!r}. "
                f"Make them with nr.random.key(seed) or wrap_key_data."
            )
        return PRNGKeyArray(self.words.set(values._data, **options))


def _broadcast_keys(x: Any, y: Any) -> tuple[Any, Any]:
    from nr.lax.shape import broadcast_shapes
    from nr.random.arguments import broadcast_to

    shape = broadcast_shapes(x.shape, y.shape)
    return broadcast_to(x, shape), broadcast_to(y, shape)


register_pytree_with_keys(
    PRNGKeyArray,
    lambda keys: (((GetAttrKey("key_data"), keys._data),), None),
    lambda _, children: PRNGKeyArray(children[0]),
    lambda keys: ((keys._data,), None),
)


# ---------------------------------------------------------------- arguments
def raw_keys(op: str, key: Any) -> Any:
    """The uint32[..., 2] array of a typed or raw key or array of keys.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(key, PRNGKeyArray):
        return key._data
    if not isinstance(key, (Array, np.ndarray)):
        raise TypeError(
            f"{op}: a key was expected; got {key!r} of type {type(key).__name__}. "
            f"Make one with nr.random.key(seed)."
        )
    key = operand(op, key)
    if key.dtype != UINT32 or key.shape[-1:] != (2,):
        raise TypeError(
            f'{op}: a key of dtype u32 and shape (2,) was expected; got {key.aval} for "key". '
            f"Make one with nr.random.key(seed)."
        )
    return key


def raw_key(op: str, key: Any) -> Any:
    """The uint32[2] array of one key.

    Raises:
        ValueError: if it is an array of keys.
    """
    key = raw_keys(op, key)
    if len(key.shape) != 1:
        raise ValueError(
            f"{op}: a single key was expected; got an array of keys of shape {key.shape[:-1]}. "
            f"Use nr.vmap for batches."
        )
    return key


Halves = tuple[Any, Any]


def halves(key: Any) -> Halves:
    """The two uint32 halves of a raw key (which may be taken apart already)."""
    return key if type(key) is tuple else tuple(_elements(key, 2))  # type: ignore[return-value]


def _elements(x: Any, count: int) -> list[Any]:
    """The elements of a vector; eagerly NumPy's scalars, which cost little."""
    if type(x) is ArrayImpl and x.committed is None and current_trace() is EVAL:
        return list(x.host())
    return [reshape(slice_in_dim(x, i, i + 1), ()) for i in range(count)]


def encrypt_counters(k1: Any, k2: Any, size: int) -> list[Any]:
    """Threefry of the counters 0, 1, ..., size - 1 under one key: two uint32 arrays."""
    return threefry2x32_p.bind(k1, k2, *counters(size))


def counters(size: int) -> tuple[Any, Any]:
    """The halves of 0, 1, ..., size - 1: uint32 arrays, or 0."""
    if size <= _MASK + 1:
        return np.uint32(0), iota(UINT32, size)
    count = iota(np.uint64, size)
    high = convert_element_type(shift_right_logical(count, np.uint64(32)), UINT32)
    return high, convert_element_type(count, UINT32)


def _join(first: Any, second: Any) -> Any:
    rank = len(first.shape)
    return concatenate([expand_dims(first, rank), expand_dims(second, rank)], rank)


def split_raw(key: Any, shape: tuple[int, ...]) -> Any:
    """Independent keys from a raw key, as uint32[*shape, 2]."""
    return reshape(_join(*encrypt_counters(*halves(key), math.prod(shape))), (*shape, 2))


def split_pair(key: Any) -> tuple[Any, Any]:
    """Two raw keys from one."""
    keys = split_raw(key, (2,))
    return tuple(reshape(slice_in_dim(keys, i, i + 1), (2,)) for i in (0, 1))  # type: ignore


def subkeys(key: Any, count: int) -> list[Halves]:
    """What `split_raw` gives, as halves: cheaper for keys that are used at once."""
    first, second = encrypt_counters(*halves(key), count)
    return list(zip(_elements(first, count), _elements(second, count), strict=True))


# ---------------------------------------------------------------- making keys
def _check_impl(op: str, impl: Any) -> None:
    if impl not in (None, IMPL) and not isinstance(impl, KeyDtype):
        raise ValueError(
            f'{op}: "impl" must be {IMPL!r}; got {impl!r}. nr has the Threefry generator only.'
        )


def _seed_data(op: str, seed: Any) -> Any:
    if isinstance(seed, PRNGKeyArray):
        raise TypeError(f"{op}: an integer seed was expected; got a key. Use it as it is.")
    if isinstance(seed, int):
        if not -(2**63) <= seed < 2**63:
            raise OverflowError(f"{op}: a seed must fit 64 bits; got {seed}. Use fold_in.")
        # A Python integer becomes an array of the default integer dtype first, as in JAX.
        high = seed >> 32 & _MASK if config.default_int.itemsize == 8 else 0
        return ArrayImpl(np.array([high, seed & _MASK], UINT32))
    seed = operand(op, seed)
    if seed.dtype not in dtypes.INTEGER or seed.shape:
        raise TypeError(
            f'{op}: a rank-0 integer was expected; got {seed.aval} for "seed". '
            f"Use nr.vmap(nr.random.{op}) for a batch of seeds."
        )
    low = convert_element_type(seed, UINT32)
    if seed.dtype.itemsize == 8:
        shifted = shift_right_logical(seed, seed.dtype.type(32))
        return _join(convert_element_type(shifted, UINT32), low)
    return _join(convert_element_type(np.uint32(0), UINT32), low)


def key(seed: Any, *, impl: Any = None) -> PRNGKeyArray:
    """A typed key made from a seed.

    Args:
        seed: integer. A Python integer counts modulo 2**32, or 2**64 where the default integer
            dtype is int64.
        impl: None or "threefry2x32".

    Returns:
        One key (shape ``()``).

    Raises:
        TypeError: if the seed is no rank-0 integer.

    Example:
        >>> import nr
        >>> nr.random.key(0)
        Array((), dtype=key<fry>) overlaying:
        [0 0]
    """
    _check_impl("key", impl)
    return PRNGKeyArray(_seed_data("key", seed))


def PRNGKey(seed: Any, *, impl: Any = None) -> Array:  # noqa: N802 - JAX's name
    """A raw key, uint32[2], made from a seed as `key` makes a typed one."""
    _check_impl("PRNGKey", impl)
    return _seed_data("PRNGKey", seed)


def key_data(keys: Any) -> Array:
    """The bits of keys: uint32[..., 2]."""
    return raw_keys("key_data", keys)


def wrap_key_data(key_bits_array: Any, *, impl: Any = None) -> PRNGKeyArray:
    """Typed keys from their bits, uint32[..., 2]."""
    _check_impl("wrap_key_data", impl)
    return PRNGKeyArray(raw_keys("wrap_key_data", key_bits_array))


def key_impl(keys: Any) -> str:
    """The name of the generator that keys are for."""
    raw_keys("key_impl", keys)
    return IMPL


def key_dtype(impl: Any = None) -> KeyDtype:
    """The dtype of typed keys.

    Example:
        >>> import nr
        >>> nr.random.key_dtype() == nr.random.key(0).dtype
        True
    """
    _check_impl("key_dtype", impl)
    return KEY_DTYPE


def clone(key: Any) -> Any:
    """A copy of a key that gives the same numbers: says that the reuse is meant."""
    raw_keys("clone", key)
    return key


# ---------------------------------------------------------------- keys from keys
def split(key: Any, num: int | tuple[int, ...] = 2) -> Any:
    """Independent keys from one, which must not be used again.

    Args:
        key: a key, typed or raw.
        num: how many, or the shape of the result.

    Returns:
        Keys of shape (num,) or num, typed or raw as the argument.

    Example:
        >>> import nr
        >>> init_key, data_key = nr.random.split(nr.random.key(0))
        >>> nr.random.key_data(data_key)
        Array([ 928981903, 3453687069], dtype=uint32)
    """
    shape = canonical_shape("split", num)
    keys = split_raw(raw_key("split", key), shape)
    return PRNGKeyArray(keys) if isinstance(key, PRNGKeyArray) else keys


def fold_in(key: Any, data: Any) -> Any:
    """A key from a key and an integer, such as a step number.

    Args:
        key: a key, typed or raw.
        data: rank-0 integer, taken modulo 2**32 if it is an array.

    Raises:
        TypeError: if data is no rank-0 integer.
        OverflowError: if data is a Python integer that does not fit uint32.
    """
    raw = raw_key("fold_in", key)
    if isinstance(data, int):
        if not 0 <= data <= _MASK:
            raise OverflowError(
                f'fold_in: an integer in [0, 2**32) was expected; got {data} for "data". '
                f"Take it modulo 2**32."
            )
        data = np.uint32(data)
    else:
        data = operand("fold_in", data)
        if data.dtype not in dtypes.INTEGER or data.shape:
            raise TypeError(
                f'fold_in: a rank-0 integer was expected; got {data.aval} for "data". '
                f"Use nr.vmap for batches."
            )
        data = convert_element_type(data, UINT32)
    folded = _join(*threefry2x32_p.bind(*halves(raw), np.uint32(0), data))
    return PRNGKeyArray(folded) if isinstance(key, PRNGKeyArray) else folded
