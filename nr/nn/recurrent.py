"""RNN, LSTM, GRU: layers of recurrent cells over sequences; padded batches and their lengths.

The product of inputs and weights is done for all steps at once, before the scan.

Sequences of different lengths are a padded array and an array of lengths; `pad_sequences` makes
both. There is no packed form: its shape would depend on the lengths, and a program would be
compiled anew for each batch, where padding costs only the steps after the ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import nr.numpy as jnp
from nr import random, tree
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn.dropout import Dropout
from nr.nn.initializers import Initializer
from nr.nn.module import module, static
from nr.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell, check_input, describe
from nr.transforms.compiled_function import jit
from nr.transforms.control_flow import scan

__all__ = ["GRU", "LSTM", "RNN", "pad_sequences", "sequence_mask"]


# ---------------------------------------------------------------- padded batches
def pad_sequences(sequences: Sequence[Any], *, length: int | None = None) -> tuple[Array, Array]:
    """Sequences of different lengths as one array, zeros after their ends, and their lengths.

    What the recurrent layers take in place of packed sequences.

    Args:
        sequences: arrays [T_i, ...] that differ in their leading axis only.
        length: of the result, by default that of the longest sequence. Programs are compiled for
            each length once: round it up to one of few.

    Returns:
        [len(sequences), length, ...] in the dtype that all promote to, and integers
        [len(sequences)].

    Raises:
        ValueError: there are no sequences, their other axes differ, or one is longer than
            `length`.

    Example:
        >>> import nr
        >>> padded, lengths = nr.nn.pad_sequences([nr.numpy.ones(3), nr.numpy.ones(1)])
        >>> padded
        Array([[1., 1., 1.],
               [1., 0., 0.]], dtype=float32)
        >>> lengths
        Array([3, 1], dtype=int32)
    """
    arrays = [operand("pad_sequences", x) for x in sequences]
    if not arrays:
        raise ValueError("pad_sequences: one sequence or more was required; got none.")
    for i, x in enumerate(arrays):
        if x.ndim == 0 or x.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"pad_sequences: sequences must be arrays [T, ...] that differ in T only; got "
                f"{arrays[0].aval} for sequences[0] and {x.aval} for sequences[{i}]."
            )
    longest = max(x.shape[0] for x in arrays)
    if length is not None and length < longest:
        raise ValueError(
            f"pad_sequences: length must not be less than that of the longest sequence, "
            f"{longest}; got {length}. Cut the sequences first."
        )
    length = longest if length is None else length
    rest = [(0, 0)] * (arrays[0].ndim - 1)
    padded = jnp.stack([jnp.pad(x, [(0, length - x.shape[0]), *rest]) for x in arrays])
    return padded, jnp.array([x.shape[0] for x in arrays])


def sequence_mask(lengths: Any, length: int) -> Array:
    """Which steps of padded sequences are before their ends.

    Args:
        lengths: integers [...].
        length: the number of steps, padding included.

    Returns:
        Bools [..., length], True for steps t < lengths.

    Raises:
        TypeError: lengths are not integers.

    Example:
        >>> import nr
        >>> nr.nn.sequence_mask(nr.numpy.array([2, 0]), 3)
        Array([[ True,  True, False],
               [False, False, False]], dtype=bool)
    """
    lengths = _integers("sequence_mask", lengths)
    return jnp.arange(length) < lengths[..., None]


def _integers(op: str, lengths: Any) -> Array:
    lengths = operand(op, lengths)
    if lengths.dtype not in dtypes.INTEGER:
        raise TypeError(
            f'{op}: integers were required; got {lengths.aval} for "lengths". '
            f"Lengths count steps; those of a mask are its sums along the last axis."
        )
    return lengths


# ---------------------------------------------------------------- layers
@module
class _Recurrent:
    """What RNN, LSTM and GRU share: all but the cells."""

    cells: tuple[Any, ...]
    bidirectional: bool = static(default=False)
    reverse: bool = static(default=False)
    dropout: float = static(default=0.0)

    def initial_carry(self, batch_shape: Sequence[int] = (), dtype: Any = None) -> tuple[Any, ...]:
        """Carries of zeros, one for each of the cells, by default in the parameters' dtype."""
        return tuple(cell.initial_carry(batch_shape, dtype) for cell in self.cells)

    def __call__(
        self,
        x: Any,
        carry: Any = None,
        *,
        lengths: Any = None,
        training: bool | None = None,
        key: Any = None,
    ) -> tuple[Array, tuple[Any, ...]]:
        """The states at all steps.

        Args:
            x: [..., T, input_size].
            carry: one for each of the cells, in their order, each with the batch's axes; by
                default zeros. A carry that a call gave continues its sequences.
            lengths: integers [...], at which step each sequence ends, 0 to T. What is after the
                end has no influence; outputs are 0 there, the final carry is that at the end, and
                the backward direction begins at the end.
            training: whether there is dropout; needed only where the rate is not 0.
            key: for dropout; needed only in training, with a rate that is not 0.

        Returns:
            The last layer's outputs, [..., T, hidden_size], or twice as many, first those of the
            forward direction; and the final carries, one for each of the cells.

        Raises:
            TypeError: a shape or dtype does not fit, or training or the key is missing.
        """
        op = type(self).__name__
        x = check_input(op, x, self.cells[0].weight_ih)
        if x.ndim < 2:
            raise TypeError(
                f'{op}: [..., T, {x.shape[-1]}] was required; got {x.aval} for "x". '
                f"Time is the axis before the last; for one step call one of cells."
            )
        keys = self._dropout_keys(op, training, key)
        carries = self._carries(op, carry, x.shape[:-2])
        lengths = None if lengths is None else _lengths(op, lengths, x)
        return _run(self, x, carries, lengths, keys)

    def _dropout_keys(self, op: str, training: bool | None, key: Any) -> Any:
        """Keys for what is between layers, or None if nothing is dropped."""
        if not self.dropout:
            return None
        if training is None:
            raise TypeError(
                f"{op}: training=True or training=False is required; got none, for a layer with "
                f"dropout={self.dropout}."
            )
        gaps = len(self.cells) // (2 if self.bidirectional else 1) - 1
        if not training or not gaps:
            return None
        if key is None:
            raise TypeError(
                f"{op}: a key is required in training; got key=None, for a layer with "
                f"dropout={self.dropout}. Pass key=nr.random.key(...), another one for each call."
            )
        return random.split(key, gaps)

    def _carries(self, op: str, carry: Any, batch_shape: tuple[int, ...]) -> tuple[Any, ...]:
        if carry is None:
            return self.initial_carry(batch_shape)
        n = len(self.cells)
        if not isinstance(carry, (tuple, list)) or len(carry) != n:
            raise TypeError(
                f"{op}: a tuple of {n}, the carries of the {n} cells, was required; got "
                f'{describe(carry)} for "carry". initial_carry makes one of zeros.'
            )
        return tuple(
            cell.check_carry(op, c, batch_shape) for cell, c in zip(self.cells, carry, strict=True)
        )


def _lengths(op: str, lengths: Any, x: Array) -> Array:
    lengths = _integers(op, lengths)
    if lengths.shape != x.shape[:-2]:
        raise TypeError(
            f"{op}: a length for each sequence, i32[{','.join(map(str, x.shape[:-2]))}], was "
            f'required; got {lengths.aval} for "lengths" and {x.aval} for "x".'
        )
    return lengths


# Compiled in eager code, too: a scan alone would be compiled anew in each call.
@functools.partial(jit, inline=True)
def _run(
    layer: _Recurrent, x: Array, carries: tuple[Any, ...], lengths: Array | None, keys: Any
) -> tuple[Array, tuple[Any, ...]]:
    """All layers over all steps, time first between them."""
    # In one dtype from the start: what is carried keeps its type.
    dtype = jnp.result_type(x, *tree.leaves((layer.cells, carries)))
    x, cells, carries = tree.map(lambda a: a.astype(dtype), (x, layer.cells, carries))
    mask = None
    x = jnp.moveaxis(x, -2, 0)
    if lengths is not None:
        mask = jnp.moveaxis(sequence_mask(lengths, x.shape[0]), -1, 0)[..., None]
        x = jnp.where(mask, x, 0)  # not even a NaN after the end reaches a gradient
    directions = 2 if layer.bidirectional else 1
    finals = []
    for first in range(0, len(cells), directions):
        if first and keys is not None:
            x = Dropout(layer.dropout)(x, training=True, key=keys[first // directions - 1])
        outputs = []
        for i in range(first, first + directions):
            backward = layer.reverse or i > first
            final, y = _scan(cells[i], carries[i], x, mask, backward)
            finals.append(final)
            outputs.append(y)
        x = outputs[0] if directions == 1 else jnp.concatenate(outputs, -1)
    if mask is not None:
        x = jnp.where(mask, x, 0)
    return jnp.moveaxis(x, 0, -2), tuple(finals)


def _scan(cell: Any, carry: Any, x: Array, mask: Array | None, backward: bool) -> tuple[Any, Array]:
    """One cell over all steps, time first. Past the ends, which the backward direction meets
    first, the carry stays as it is."""
    if mask is None:
        return scan(cell.step, carry, cell.project(x), reverse=backward)

    def step(carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
        projected, inside = inputs
        new, y = cell.step(carry, projected)
        # Steps keep the mask for the gradient: once for all states of a shape.
        masks = {a.shape: jnp.broadcast_to(inside, a.shape) for a in tree.leaves(carry)}
        return tree.map(lambda a, b: jnp.where(masks[a.shape], a, b), new, carry), y

    return scan(step, carry, (cell.project(x), mask), reverse=backward)


def _cells(
    op: str,
    make: Callable[[Any, int], Any],
    input_size: int,
    output_size: int,
    num_layers: int,
    bidirectional: bool,
    reverse: bool,
    dropout: float,
    key: Any,
) -> tuple[Any, ...]:
    """Cells of all layers; those after the first take both directions' outputs."""
    if num_layers < 1:
        raise ValueError(f"{op}: num_layers must be positive; got {num_layers}.")
    if bidirectional and reverse:
        raise ValueError(
            f"{op}: a layer goes in both directions or in reverse; got bidirectional=True and "
            f"reverse=True."
        )
    if not 0 <= dropout <= 1:
        raise ValueError(f"{op}: dropout must be a rate between 0 and 1; got {dropout}.")
    directions = 2 if bidirectional else 1
    keys = random.split(key, num_layers * directions)
    sizes = [input_size if i < directions else directions * output_size for i in range(len(keys))]
    return tuple(make(k, size) for k, size in zip(keys, sizes, strict=True))


@module
class RNN(_Recurrent):
    """Layers of `RNNCell` over sequences: ``outputs, carry = rnn(x)``.

    Parameters of ``torch.nn.RNN``, as `RNNCell` has them: those of layer l are of ``cells[l]``, or
    in a bidirectional network of ``cells[2 * l]`` and, names that end in _reverse, of
    ``cells[2 * l + 1]``.

    Attributes:
        cells: those of the first layer first; where it is bidirectional, of each layer the forward
            and the backward one.
        bidirectional: whether each layer goes in both directions; outputs are side by side.
        reverse: whether layers go from the last step to the first.
        dropout: the rate at which outputs of all layers but the last are replaced by 0.

    Example:
        >>> import nr
        >>> rnn = nr.nn.RNN.init(3, 4, key=nr.random.key(0))
        >>> outputs, (h,) = rnn(nr.numpy.ones((2, 7, 3)))
        >>> outputs.shape, h.shape
        ((2, 7, 4), (2, 4))
    """

    cells: tuple[RNNCell, ...]

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        bidirectional: bool = False,
        reverse: bool = False,
        dropout: float = 0.0,
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> RNN:
        """Make the layers, their cells as `RNNCell.init` makes them.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of states and of each direction's outputs.
            key: for the weights.
            num_layers: how many layers; each takes the outputs of the one before.
            nonlinearity: ``"tanh"`` or ``"relu"``.
            bias: whether there are biases.
            bidirectional, reverse, dropout: as the attributes.
            weight_init, recurrent_init, dtype: as in `RNNCell.init`.

        Raises:
            ValueError: an argument is not one of its values.
        """

        def make(key: Any, size: int) -> RNNCell:
            return RNNCell.init(
                size,
                hidden_size,
                key=key,
                bias=bias,
                nonlinearity=nonlinearity,
                weight_init=weight_init,
                recurrent_init=recurrent_init,
                dtype=dtype,
            )

        cells = _cells(
            "RNN", make, input_size, hidden_size, num_layers, bidirectional, reverse, dropout, key
        )
        return cls(cells, bidirectional, reverse, dropout)


@module
class LSTM(_Recurrent):
    """Layers of `LSTMCell` over sequences: ``outputs, carry = lstm(x)``; each carry is (h, c).

    Parameters of ``torch.nn.LSTM``, as `LSTMCell` has them: those of layer l are of ``cells[l]``,
    or in a bidirectional network of ``cells[2 * l]`` and, names that end in _reverse, of
    ``cells[2 * l + 1]``. Its h_n and c_n are the carries' h and c, stacked.

    Attributes:
        cells: those of the first layer first; where it is bidirectional, of each layer the forward
            and the backward one.
        bidirectional: whether each layer goes in both directions; outputs are side by side.
        reverse: whether layers go from the last step to the first.
        dropout: the rate at which outputs of all layers but the last are replaced by 0.

    Example:
        >>> import nr
        >>> lstm = nr.nn.LSTM.init(3, 4, num_layers=2, key=nr.random.key(0))
        >>> outputs, carry = lstm(nr.numpy.ones((2, 7, 3)), lengths=nr.numpy.array([7, 5]))
        >>> outputs.shape
        (2, 7, 4)
        >>> h, c = carry[-1]
        >>> bool((h == outputs[nr.numpy.arange(2), nr.numpy.array([6, 4])]).all())
        True
    """

    cells: tuple[LSTMCell, ...]

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        num_layers: int = 1,
        proj_size: int | None = None,
        bias: bool = True,
        forget_bias: float = 1.0,
        bidirectional: bool = False,
        reverse: bool = False,
        dropout: float = 0.0,
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> LSTM:
        """Make the layers, their cells as `LSTMCell.init` makes them.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of the memory c, and without proj_size of each direction's outputs.
            key: for the weights.
            num_layers: how many layers; each takes the outputs of the one before.
            proj_size: the size of the states h and of each direction's outputs, if they are
                projected.
            bias: whether there are biases.
            forget_bias: the forget gates' bias at first.
            bidirectional, reverse, dropout: as the attributes.
            weight_init, recurrent_init, dtype: as in `LSTMCell.init`.

        Raises:
            ValueError: an argument is not one of its values.
        """

        def make(key: Any, size: int) -> LSTMCell:
            return LSTMCell.init(
                size,
                hidden_size,
                key=key,
                bias=bias,
                proj_size=proj_size,
                forget_bias=forget_bias,
                weight_init=weight_init,
                recurrent_init=recurrent_init,
                dtype=dtype,
            )

        size = hidden_size if proj_size is None else proj_size
        cells = _cells(
            "LSTM", make, input_size, size, num_layers, bidirectional, reverse, dropout, key
        )
        return cls(cells, bidirectional, reverse, dropout)


@module
class GRU(_Recurrent):
    """Layers of `GRUCell` over sequences: ``outputs, carry = gru(x)``.

    Parameters of ``torch.nn.GRU``, as `GRUCell` has them: those of layer l are of ``cells[l]``, or
    in a bidirectional network of ``cells[2 * l]`` and, names that end in _reverse, of
    ``cells[2 * l + 1]``.

    Attributes:
        cells: those of the first layer first; where it is bidirectional, of each layer the forward
            and the backward one.
        bidirectional: whether each layer goes in both directions; outputs are side by side.
        reverse: whether layers go from the last step to the first.
        dropout: the rate at which outputs of all layers but the last are replaced by 0.

    Example:
        >>> import nr
        >>> gru = nr.nn.GRU.init(3, 4, bidirectional=True, key=nr.random.key(0))
        >>> outputs, (forward, backward) = gru(nr.numpy.ones((2, 7, 3)))
        >>> outputs.shape, backward.shape
        ((2, 7, 8), (2, 4))
    """

    cells: tuple[GRUCell, ...]

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        num_layers: int = 1,
        bias: bool = True,
        bidirectional: bool = False,
        reverse: bool = False,
        dropout: float = 0.0,
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> GRU:
        """Make the layers, their cells as `GRUCell.init` makes them.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of states and of each direction's outputs.
            key: for the weights.
            num_layers: how many layers; each takes the outputs of the one before.
            bias: whether there are biases.
            bidirectional, reverse, dropout: as the attributes.
            weight_init, recurrent_init, dtype: as in `GRUCell.init`.

        Raises:
            ValueError: an argument is not one of its values.
        """

        def make(key: Any, size: int) -> GRUCell:
            return GRUCell.init(
                size,
                hidden_size,
                key=key,
                bias=bias,
                weight_init=weight_init,
                recurrent_init=recurrent_init,
                dtype=dtype,
            )

        cells = _cells(
            "GRU", make, input_size, hidden_size, num_layers, bidirectional, reverse, dropout, key
        )
        return cls(cells, bidirectional, reverse, dropout)
