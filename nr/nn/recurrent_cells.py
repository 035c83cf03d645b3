"""RNNCell, LSTMCell, GRUCell: one step of a recurrent network, in the order that scan wants.

A cell is called as ``carry, y = cell(carry, x)``. It has two halves: `project`, what depends on the
input only and can be done for all steps at once, and `step`, what is left for each step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.lax.elementwise import logistic, tanh
from nr.lax.rules import operand
from nr.nn import initializers
from nr.nn.activations import relu
from nr.nn.module import module, static
from nr.transforms.compiled_function import jit
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

Initializer = initializers.Initializer
LSTMCarry = tuple[Array, Array]


# ---------------------------------------------------------------- gates
# A loop keeps residuals of all its steps. With these rules they are values alone, without slopes.
# (The terms may cancel, to within a rounding of the cotangent; a gate's is not large.)
@custom_jvp
def _sigmoid(x: Any) -> Array:
    return logistic(x)


@_sigmoid.defjvp
def _sigmoid_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    y, t = _sigmoid(*primals), tangents[0]
    return y, (t - t * y) * y


@custom_jvp
def _tanh(x: Any) -> Array:
    return tanh(x)


@_tanh.defjvp
def _tanh_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    y, t = _tanh(*primals), tangents[0]
    return y, t - (t * y) * y


# ---------------------------------------------------------------- what cells share
def check_input(op: str, x: Any, weight: Array) -> Array:
    """x as an array whose last axis is what the weight takes."""
    x = operand(op, x)
    if x.ndim == 0 or x.shape[-1] != weight.shape[-2]:
        raise TypeError(
            f'{op}: [..., {weight.shape[-2]}] was required; got {x.aval} for "x". '
            f"Features are the last axis; the weight of inputs is {weight.aval}."
        )
    return x


def check_state(op: str, name: str, state: Any, batch_shape: tuple[int, ...], size: int) -> Array:
    """A state as an array of the batch's shape and the cell's size."""
    state = operand(op, state)
    if state.shape != (*batch_shape, size):
        required = ",".join(map(str, (*batch_shape, size)))
        raise TypeError(
            f'{op}: a state of [{required}] was required; got {state.aval} for "{name}". '
            f"Its leading axes are the batch's; one state for all is broadcast with "
            f"nr.numpy.broadcast_to."
        )
    return state


def describe(x: Any) -> str:
    """What was got in place of a tuple, for messages."""
    if isinstance(x, (tuple, list)):
        return f"a {type(x).__name__} of {len(x)}"
    if isinstance(x, (Array, np.ndarray)):
        return str(operand("carry", x).aval)
    return f"a {type(x).__name__}"


def _weights(
    key: Any,
    input_size: int,
    state_size: int,
    hidden_size: int,
    gates: int,
    weight_init: Initializer | None,
    recurrent_init: Initializer | None,
    dtype: Any,
) -> tuple[Array, Array]:
    """Weights of the input and of the state, each gate's initialized alone and put side by side."""
    weight_init = initializers.lecun_normal() if weight_init is None else weight_init
    recurrent_init = initializers.orthogonal() if recurrent_init is None else recurrent_init
    keys = random.split(key, 2 * gates)
    weight_ih = [weight_init(keys[i], (input_size, hidden_size), dtype) for i in range(gates)]
    weight_hh = [
        recurrent_init(keys[gates + i], (state_size, hidden_size), dtype) for i in range(gates)
    ]
    return jnp.concatenate(weight_ih, -1), jnp.concatenate(weight_hh, -1)


def _zeros(batch_shape: Sequence[int], size: int, dtype: Any) -> Array:
    return jnp.zeros((*batch_shape, size), dtype)


# Compiled in eager code, too.
@functools.partial(jit, inline=True)
def _call(cell: Any, carry: Any, x: Array) -> Any:
    return cell.step(carry, cell.project(x))


def _project(x: Array, weight: Array, bias: Array | None) -> Array:
    p = x @ weight
    return p if bias is None else p + bias


# ---------------------------------------------------------------- cells
@module
class RNNCell:
    """A step of Elman's network: ``h = tanh(x @ weight_ih + h @ weight_hh + bias)``.

    The carry is h, [..., hidden_size], and so is the output.

    Parameters of ``torch.nn.RNNCell``: the weights are its transposed ones, bias is
    ``bias_ih + bias_hh``.

    Attributes:
        weight_ih: [input_size, hidden_size].
        weight_hh: [hidden_size, hidden_size].
        bias: [hidden_size], or None.
        nonlinearity: ``"tanh"`` or ``"relu"``.

    Source: J. Elman, "Finding Structure in Time", 1990.

    Example:
        >>> import nr
        >>> cell = nr.nn.RNNCell.init(3, 4, key=nr.random.key(0))
        >>> carry, y = cell(cell.initial_carry((2,)), nr.numpy.ones((2, 3)))
        >>> y.shape
        (2, 4)
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    nonlinearity: str = static(default="tanh")

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        bias: bool = True,
        nonlinearity: str = "tanh",
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> RNNCell:
        """Make a cell with random weights and a bias of zeros.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of states and outputs.
            key: for the weights.
            bias: whether there is one.
            nonlinearity: ``"tanh"`` or ``"relu"``.
            weight_init: for weight_ih, by default `initializers.lecun_normal()`.
            recurrent_init: for weight_hh, by default `initializers.orthogonal()`.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: for another nonlinearity.
        """
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f'RNNCell: nonlinearity must be "tanh" or "relu"; got {nonlinearity!r}.'
            )
        weights = _weights(
            key, input_size, hidden_size, hidden_size, 1, weight_init, recurrent_init, dtype
        )
        zeros = jnp.zeros(hidden_size, weights[0].dtype) if bias else None
        return cls(*weights, zeros, nonlinearity)

    def initial_carry(self, batch_shape: Sequence[int] = (), dtype: Any = None) -> Array:
        """A state of zeros, [*batch_shape, hidden_size], by default in the parameters' dtype."""
        weight = self.weight_hh
        return _zeros(batch_shape, weight.shape[-1], weight.dtype if dtype is None else dtype)

    def check_carry(self, op: str, carry: Any, batch_shape: tuple[int, ...]) -> Array:
        """The carry as arrays, if it fits the cell and a batch; for what is built on cells."""
        return check_state(op, "carry", carry, batch_shape, self.weight_hh.shape[-1])

    def project(self, x: Any) -> Array:
        """What a step takes of the input: [..., input_size] -> [..., hidden_size].

        It may be done for all steps at once.
        """
        return _project(x, self.weight_ih, self.bias)

    def step(self, carry: Array, projected: Array) -> tuple[Array, Array]:
        """A step from the carry and the projected input: (carry, output)."""
        a = projected + carry @ self.weight_hh
        h = relu(a) if self.nonlinearity == "relu" else _tanh(a)
        return h, h

    def __call__(self, carry: Any, x: Any) -> tuple[Array, Array]:
        """A step.

        Args:
            carry: [..., hidden_size].
            x: [..., input_size].

        Returns:
            The next carry and the output, both the state [..., hidden_size].

        Raises:
            TypeError: a shape does not fit.
        """
        x = check_input("RNNCell", x, self.weight_ih)
        return _call(self, self.check_carry("RNNCell", carry, x.shape[:-1]), x)


@module
class LSTMCell:
    """A step of long short-term memory.

    With the gates ``i, f, g, o = split(x @ weight_ih + h @ weight_hh + bias, 4)``::

        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)

    With weight_hr the state is projected to a smaller one: ``h = (sigmoid(o) * tanh(c)) @
    weight_hr``. The carry is the pair (h, c); the output is h.

    Parameters of ``torch.nn.LSTMCell`` and, with weight_hr, of a layer of ``torch.nn.LSTM``: the
    weights are its transposed ones, bias is ``bias_ih + bias_hh``.

    Attributes:
        weight_ih: [input_size, 4 * hidden_size]; gates in the order i, f, g, o.
        weight_hh: [state_size, 4 * hidden_size]; state_size is hidden_size, or proj_size.
        bias: [4 * hidden_size], or None.
        weight_hr: [hidden_size, proj_size], or None.

    Sources: S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", 1997; the forget gate:
    F. Gers et al., "Learning to Forget", 2000; the projection: H. Sak et al., "Long Short-Term
    Memory Based Recurrent Neural Network Architectures", 2014.

    Example:
        >>> import nr
        >>> cell = nr.nn.LSTMCell.init(3, 4, key=nr.random.key(0))
        >>> (h, c), y = cell(cell.initial_carry((2,)), nr.numpy.ones((2, 3)))
        >>> h.shape, c.shape, bool((y == h).all())
        ((2, 4), (2, 4), True)
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    weight_hr: Array | None = None

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        bias: bool = True,
        proj_size: int | None = None,
        forget_bias: float = 1.0,
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> LSTMCell:
        """Make a cell with random weights; the bias is zeros but for the forget gate's.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of the memory c, and of the state h if it is not projected.
            key: for the weights.
            bias: whether there is one.
            proj_size: the size of the state, if it is projected.
            forget_bias: the forget gate's bias at first: positive numbers keep the memory, so
                that gradients reach far back (R. Jozefowicz et al., "An Empirical Exploration of
                Recurrent Network Architectures", 2015).
            weight_init: for weight_ih and weight_hr, by default `initializers.lecun_normal()`.
            recurrent_init: for weight_hh, each gate alone, by default
                `initializers.orthogonal()`.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: proj_size is not positive.
        """
        if proj_size is not None and proj_size < 1:
            raise ValueError(
                f"LSTMCell: proj_size must be positive; got {proj_size}. "
                f"Leave it out where states are not projected."
            )
        state_size = hidden_size if proj_size is None else proj_size
        gates_key, projection_key = random.split(key)
        weights = _weights(
            gates_key, input_size, state_size, hidden_size, 4, weight_init, recurrent_init, dtype
        )
        dtype = weights[0].dtype
        made = None
        if bias:
            ones = jnp.ones(hidden_size, dtype) * forget_bias
            made = jnp.pad(ones, (hidden_size, 2 * hidden_size))
        if proj_size is None:
            return cls(*weights, made)
        weight_init = initializers.lecun_normal() if weight_init is None else weight_init
        return cls(*weights, made, weight_init(projection_key, (hidden_size, proj_size), dtype))

    def initial_carry(self, batch_shape: Sequence[int] = (), dtype: Any = None) -> LSTMCarry:
        """A pair (h, c) of zeros, by default in the parameters' dtype."""
        weight = self.weight_hh
        dtype = weight.dtype if dtype is None else dtype
        h = _zeros(batch_shape, weight.shape[-2], dtype)
        return h, _zeros(batch_shape, weight.shape[-1] // 4, dtype)

    def check_carry(self, op: str, carry: Any, batch_shape: tuple[int, ...]) -> LSTMCarry:
        """The carry as arrays, if it fits the cell and a batch; for what is built on cells."""
        if not isinstance(carry, (tuple, list)) or len(carry) != 2:
            raise TypeError(
                f'{op}: a pair (h, c) was required; got {describe(carry)} for "carry". '
                f"initial_carry of a cell makes one of zeros."
            )
        weight = self.weight_hh
        h = check_state(op, "h of carry", carry[0], batch_shape, weight.shape[-2])
        return h, check_state(op, "c of carry", carry[1], batch_shape, weight.shape[-1] // 4)

    def project(self, x: Any) -> Array:
        """What a step takes of the input: [..., input_size] -> [..., 4 * hidden_size].

        It may be done for all steps at once.
        """
        return _project(x, self.weight_ih, self.bias)

    def step(self, carry: LSTMCarry, projected: Array) -> tuple[LSTMCarry, Array]:
        """A step from the carry and the projected input: (carry, output)."""
        h, c = carry
        i, f, g, o = jnp.split(projected + h @ self.weight_hh, 4, -1)
        c = _sigmoid(f) * c + _sigmoid(i) * _tanh(g)
        h = _sigmoid(o) * _tanh(c)
        if self.weight_hr is not None:
            h = h @ self.weight_hr
        return (h, c), h

    def __call__(self, carry: Any, x: Any) -> tuple[LSTMCarry, Array]:
        """A step.

        Args:
            carry: h, [..., state_size], and c, [..., hidden_size].
            x: [..., input_size].

        Returns:
            The next carry (h, c) and the output, which is h.

        Raises:
            TypeError: a shape does not fit.
        """
        x = check_input("LSTMCell", x, self.weight_ih)
        return _call(self, self.check_carry("LSTMCell", carry, x.shape[:-1]), x)


@module
class GRUCell:
    """A step of a network of gated recurrent units, reset after the product as in cuDNN.

    With ``p = x @ weight_ih + bias`` and ``q = h @ weight_hh``, cut into the gates r, z and n::

        r = sigmoid(p_r + q_r)
        z = sigmoid(p_z + q_z)
        n = tanh(p_n + r * (q_n + bias_hn))
        h = (1 - z) * n + z * h

    The carry is h, [..., hidden_size], and so is the output.

    Parameters of ``torch.nn.GRUCell``: the weights are its transposed ones; bias is ``bias_ih +
    bias_hh`` for r and z, and bias_ih alone for n; bias_hn is the last third of bias_hh.

    Attributes:
        weight_ih: [input_size, 3 * hidden_size]; gates in the order r, z, n.
        weight_hh: [hidden_size, 3 * hidden_size].
        bias: [3 * hidden_size], or None.
        bias_hn: [hidden_size], what is added within the reset; None where bias is.

    Source: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation", 2014; there the reset comes before the product with weight_hh.

    Example:
        >>> import nr
        >>> cell = nr.nn.GRUCell.init(3, 4, key=nr.random.key(0))
        >>> carry, y = cell(cell.initial_carry((2,)), nr.numpy.ones((2, 3)))
        >>> y.shape
        (2, 4)
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    bias_hn: Array | None = None

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        key: Any,
        bias: bool = True,
        weight_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        dtype: Any = None,
    ) -> GRUCell:
        """Make a cell with random weights and biases of zeros.

        Args:
            input_size: the size of the last axis of inputs.
            hidden_size: that of states and outputs.
            key: for the weights.
            bias: whether there are biases.
            weight_init: for weight_ih, by default `initializers.lecun_normal()`.
            recurrent_init: for weight_hh, each gate alone, by default
                `initializers.orthogonal()`.
            dtype: of the parameters, by default the default float.
        """
        weights = _weights(
            key, input_size, hidden_size, hidden_size, 3, weight_init, recurrent_init, dtype
        )
        if not bias:
            return cls(*weights)
        dtype = weights[0].dtype
        return cls(*weights, jnp.zeros(3 * hidden_size, dtype), jnp.zeros(hidden_size, dtype))

    def initial_carry(self, batch_shape: Sequence[int] = (), dtype: Any = None) -> Array:
        """A state of zeros, [*batch_shape, hidden_size], by default in the parameters' dtype."""
        weight = self.weight_hh
        return _zeros(batch_shape, weight.shape[-2], weight.dtype if dtype is None else dtype)

    def check_carry(self, op: str, carry: Any, batch_shape: tuple[int, ...]) -> Array:
        """The carry as arrays, if it fits the cell and a batch; for what is built on cells."""
        return check_state(op, "carry", carry, batch_shape, self.weight_hh.shape[-2])

    def project(self, x: Any) -> Array:
        """What a step takes of the input: [..., input_size] -> [..., 3 * hidden_size].

        It may be done for all steps at once.
        """
        return _project(x, self.weight_ih, self.bias)

    def step(self, carry: Array, projected: Array) -> tuple[Array, Array]:
        """A step from the carry and the projected input: (carry, output)."""
        p_r, p_z, p_n = jnp.split(projected, 3, -1)
        q_r, q_z, q_n = jnp.split(carry @ self.weight_hh, 3, -1)
        if self.bias_hn is not None:
            q_n = q_n + self.bias_hn
        z = _sigmoid(p_z + q_z)
        n = _tanh(p_n + _sigmoid(p_r + q_r) * q_n)
        h = n - z * n + z * carry  # so written, steps keep z and n only
        return h, h

    def __call__(self, carry: Any, x: Any) -> tuple[Array, Array]:
        """A step.

        Args:
            carry: [..., hidden_size].
            x: [..., input_size].

        Returns:
            The next carry and the output, both the state [..., hidden_size].

        Raises:
            TypeError: a shape does not fit.
        """
        x = check_input("GRUCell", x, self.weight_ih)
        return _call(self, self.check_carry("GRUCell", carry, x.shape[:-1]), x)
