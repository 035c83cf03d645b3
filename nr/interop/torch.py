"""PyTorch's state dicts in and out of models made of `nr.nn` layers.

Layers have PyTorch's names for their arrays, in other layouts: `_LAYOUTS` has a function for each
class of layers that differs, which yields `Group`s. Containers and users' modules are walked field
by field; their fields are taken to have the names that the torch model's attributes have, unless
`names` says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from nr import nn
from nr.core.trees import flatten_one_level_with_keys, is_tree_node, tree_leaves, tree_map
from nr.nn.paths import listed, name_of
from nr.nn.paths import load_state_dict as load_by_name
from nr.nn.paths import state_dict as by_name
from nr.transforms.make_jaxpr import ShapeDtypeStruct

__all__ = ["load_state_dict", "state_dict"]

Arrays = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Group:
    """Leaves of a model that torch's entries of these names make up.

    Attributes:
        leaves: names in the model.
        entries: names in the state dict.
        read: from the entries' arrays to the leaves'.
        write: from the leaves' arrays to the entries'.
    """

    leaves: tuple[str, ...]
    entries: tuple[str, ...]
    read: Callable[[Arrays], Arrays]
    write: Callable[[Arrays], Arrays]


def load_state_dict(
    model: Any,
    state: Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Any:
    """A model like this one with the weights of a PyTorch model.

    Args:
        model: a pytree of `nr.nn` layers; its leaves may be shapes (`nr.eval_shape` of ``init``).
        state: ``torch_model.state_dict()``, or the same with NumPy arrays.
        names: where names differ: from a path in the model, as ``"blocks.0.norm"``, to the
            prefix in the state dict, as ``"layer1.0.bn"``. It holds for all below that path. By
            default fields have their own names, items of lists and tuples their number, and
            layers of a `Sequential` or a `Stack` theirs, as torch's have.
        strict: whether every leaf must be found and every entry used (``num_batches_tracked`` of
            batch norms apart).

    Raises:
        ValueError: entries are missing or unknown (strict), or shapes differ; all are told.

    Example:
        >>> import numpy as np, nr
        >>> layer = nr.nn.Linear.init(4, 2, key=nr.random.key(0))
        >>> state = {"weight": np.ones((2, 4)), "bias": np.zeros(2)}
        >>> nr.interop.torch.load_state_dict(layer, state)(nr.numpy.ones(4))
        Array([4., 4.], dtype=float32)
    """
    arrays = {name: _to_numpy(value) for name, value in state.items()}
    loaded: dict[str, np.ndarray] = {}
    missing: list[str] = []
    used: set[str] = set()
    for group in _groups(model, "", "", dict(names or {})):
        absent = [entry for entry in group.entries if entry not in arrays]
        used.update(group.entries)
        if absent:
            missing += absent
            continue
        try:
            values = group.read([arrays[entry] for entry in group.entries])
        except (ValueError, IndexError):
            # Of another rank than the layer's weights: what was given is told below.
            values = [arrays[entry] for entry in group.entries][: len(group.leaves)]
        loaded.update(zip(group.leaves, values))
    unknown = [n for n in arrays if n not in used and not n.endswith("num_batches_tracked")]
    if strict and (missing or unknown):
        problems = [f'"{n}" is missing' for n in missing] + [f'"{n}" is unknown' for n in unknown]
        raise ValueError(
            "load_state_dict: an entry for each parameter of the model was required; got a state "
            f"dict of {len(arrays)} in which {listed(problems)}. Give "
            'names={"path in the model": "prefix in the state dict"} where names differ, or '
            "strict=False to pass over them."
        )
    return load_by_name(model, loaded, strict=False)


def state_dict(model: Any, *, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The weights of a model as PyTorch has them: ``torch_model.load_state_dict`` takes the result.

    Args:
        model: a pytree of `nr.nn` layers.
        names: as in `load_state_dict`.

    Returns:
        Tensors by name, on the CPU, that share no memory with the model.

    Raises:
        ModuleNotFoundError: PyTorch is not installed.
    """
    import torch

    leaves = by_name(model)
    tensors = {}
    for group in _groups(model, "", "", dict(names or {})):
        arrays = group.write([np.asarray(leaves[leaf]) for leaf in group.leaves])
        for entry, array in zip(group.entries, arrays):
            tensors[entry] = _to_tensor(torch, array)
            if entry.endswith("running_var"):
                batches = entry.removesuffix("running_var") + "num_batches_tracked"
                tensors[batches] = torch.tensor(0)
    return tensors


def _to_numpy(value: Any) -> np.ndarray:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    if str(value.dtype) == "torch.bfloat16":  # NumPy has none of its own
        import torch

        return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


def _to_tensor(torch: Any, array: np.ndarray) -> Any:
    array = np.array(array, order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


# ---------------------------------------------------------------- walking
def _groups(tree: Any, path: str, prefix: str, names: dict[str, str]) -> Iterator[Group]:
    """The groups of all leaves of a part of a model, at a path, with a prefix of torch's names."""
    prefix = names.get(path, prefix)
    if tree is None or isinstance(tree, nn.Function):
        return
    if not is_tree_node(type(tree)):
        yield _same(path, prefix)
        return
    layout = _LAYOUTS.get(type(tree))
    if layout is not None:
        for group in layout(tree):
            yield dataclasses.replace(
                group,
                leaves=tuple([_join(path, leaf) for leaf in group.leaves]),
                entries=tuple([_join(prefix, entry) for entry in group.entries]),
            )
    elif isinstance(tree, nn.Sequential):
        for i, layer in enumerate(tree.layers):
            yield from _groups(layer, _join(path, f"layers.{i}"), _join(prefix, str(i)), names)
    elif isinstance(tree, nn.Stack):
        yield from _stacked(tree.layers, _join(path, "layers"), prefix, names)
    elif isinstance(tree, (nn.TransformerEncoder, nn.TransformerDecoder)):
        yield from _stacked(tree.layers, _join(path, "layers"), _join(prefix, "layers"), names)
        yield from _groups(tree.norm, _join(path, "norm"), _join(prefix, "norm"), names)
    else:
        for key, child in flatten_one_level_with_keys(tree)[0]:
            part = name_of((key,))
            yield from _groups(child, _join(path, part), _join(prefix, part), names)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _stacked(layers: Any, path: str, prefix: str, names: dict[str, str]) -> Iterator[Group]:
    """Each leaf of stacked layers is made of the entries of torch's layers 0, 1, ..."""
    depth = tree_leaves(layers)[0].shape[0]
    layer = tree_map(lambda x: ShapeDtypeStruct(x.shape[1:], x.dtype), layers)
    # The layers' own names begin anew in each of torch's layers.
    mark = "\0"
    for group in _groups(layer, path, mark, names):
        one = [entry.removeprefix(mark).removeprefix(".") for entry in group.entries]
        entries = [_join(_join(prefix, str(i)), e) for i in range(depth) for e in one]

        def read(arrays: Arrays, group: Group = group, n: int = len(one)) -> Arrays:
            layers = [group.read(arrays[i * n : (i + 1) * n]) for i in range(depth)]
            return [np.stack(column) for column in zip(*layers)]

        def write(arrays: Arrays, group: Group = group) -> Arrays:
            return [x for i in range(depth) for x in group.write([a[i] for a in arrays])]

        yield Group(group.leaves, tuple(entries), read, write)


# ---------------------------------------------------------------- layouts
def _same(leaf: str, entry: str) -> Group:
    return Group((leaf,), (entry,), lambda arrays: arrays, lambda arrays: arrays)


def _moved(leaf: str, entry: str, to_nr: Sequence[int]) -> Group:
    """A leaf whose axes are torch's in this order."""
    back = tuple(np.argsort(to_nr))
    return Group(
        (leaf,),
        (entry,),
        lambda arrays: [arrays[0].transpose(to_nr)],
        lambda arrays: [arrays[0].transpose(back)],
    )


def _present(layer: Any, *fields: str) -> Iterator[Group]:
    for field in fields:
        if getattr(layer, field) is not None:
            yield _same(field, field)


def _weight_group(layer: Any, entry: str = "weight", ndim: int | None = None) -> Group:
    """The weight of a layer under another name; `ndim` where the layer does not hold it itself."""
    n = layer.weight.ndim if ndim is None else ndim
    if isinstance(layer, nn.ConvTranspose):
        return _transposed_convolution(entry, n - 2, layer.groups)
    if isinstance(layer, nn.Bilinear):  # torch: [out, in1, in2]
        return _moved("weight", entry, (1, 2, 0))
    # torch: [out, in, *window], and for Linear no window
    return _moved("weight", entry, (*range(2, n), 1, 0))


def _transposed_convolution(entry: str, rank: int, groups: int) -> Group:
    """torch: [in, out // groups, *window], unflipped."""
    window = tuple(range(rank))

    def read(arrays: Arrays) -> Arrays:
        w = arrays[0]
        w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        w = w.transpose(*[3 + i for i in window], 1, 0, 2)
        return [np.flip(w.reshape(*w.shape[:-2], -1), window)]

    def write(arrays: Arrays) -> Arrays:
        w = np.flip(arrays[0], window)
        w = w.reshape(*w.shape[:-1], groups, -1).transpose(rank + 1, rank, rank + 2, *window)
        return [w.reshape(-1, *w.shape[2:])]

    return Group(("weight",), (entry,), read, write)


def _affine(layer: Any) -> Iterator[Group]:
    yield _weight_group(layer)
    yield from _present(layer, "bias")


def _cell(cell: Any, suffix: str = "", path: str = "") -> Iterator[Group]:
    """A recurrent cell: one bias where torch has two, which are only ever added."""

    def at(name: str) -> str:
        return _join(path, name)

    for name in ("weight_ih", "weight_hh", "weight_hr"):
        if getattr(cell, name, None) is not None:
            yield _moved(at(name), name + suffix, (1, 0))
    if cell.bias is None:
        return
    entries = ("bias_ih" + suffix, "bias_hh" + suffix)
    if getattr(cell, "bias_hn", None) is None:
        yield Group(
            (at("bias"),),
            entries,
            lambda arrays: [arrays[0] + arrays[1]],
            lambda arrays: [arrays[0], np.zeros_like(arrays[0])],
        )
        return

    def read(arrays: Arrays) -> Arrays:  # GRU: the last third of bias_hh is within the reset
        ih, hh = arrays
        n = len(hh) // 3
        return [np.concatenate([ih[: 2 * n] + hh[: 2 * n], ih[2 * n :]]), hh[2 * n :]]

    def write(arrays: Arrays) -> Arrays:
        bias, bias_hn = arrays
        return [bias, np.concatenate([np.zeros(2 * len(bias_hn), bias.dtype), bias_hn])]

    yield Group((at("bias"), at("bias_hn")), entries, read, write)


def _recurrent(network: Any) -> Iterator[Group]:
    directions = 2 if network.bidirectional else 1
    for i, cell in enumerate(network.cells):
        suffix = f"_l{i // directions}" + ("_reverse" if i % directions else "")
        yield from _cell(cell, suffix, f"cells.{i}")


def _attention(layer: Any) -> Iterator[Group]:
    """torch joins the three projections, unless keys or values have sizes of their own."""
    parts = ("q_proj", "k_proj", "v_proj")
    projections = [getattr(layer, part) for part in parts]
    ends = np.cumsum([p.weight.shape[-1] for p in projections])[:-1]

    def joined(kind: str) -> Group:
        def read(arrays: Arrays) -> Arrays:
            return [part.T for part in np.split(arrays[0], ends)]

        def write(arrays: Arrays) -> Arrays:
            return [np.concatenate([a.T for a in arrays])]

        return Group(tuple([f"{p}.{kind}" for p in parts]), (f"in_proj_{kind}",), read, write)

    if len({p.weight.shape[-2] for p in projections}) == 1:
        yield joined("weight")
    else:
        for part in parts:
            yield _moved(f"{part}.weight", f"{part}_weight", (1, 0))
    if projections[0].bias is not None:
        yield joined("bias")
    for group in _affine(layer.out_proj):
        name = f"out_proj.{group.leaves[0]}"
        yield dataclasses.replace(group, leaves=(name,), entries=(name,))


def _weight_norm(wrapper: Any) -> Iterator[Group]:
    """torch: the norms [out, 1, ...] as original0, the direction as original1."""
    ndim = wrapper.v.ndim

    def read(arrays: Arrays) -> Arrays:
        return [arrays[0].reshape(-1)]

    def write(arrays: Arrays) -> Arrays:
        return [arrays[0].reshape(-1, *[1] * (ndim - 1))]

    yield Group(("g",), ("parametrizations.weight.original0",), read, write)
    direction = _weight_group(wrapper.layer, "parametrizations.weight.original1", ndim)
    yield dataclasses.replace(direction, leaves=("v",))
    if getattr(wrapper.layer, "bias", None) is not None:
        yield _same("layer.bias", "bias")


def _spectral_norm(wrapper: Any) -> Iterator[Group]:
    """torch: v's elements are in the order of its weight's axes, [in, *window]."""
    shape = wrapper.layer.weight.shape[:-1]  # [*window, in]
    last = len(shape) - 1

    def read(arrays: Arrays) -> Arrays:
        return [np.moveaxis(arrays[0].reshape(shape[-1], *shape[:-1]), 0, last).reshape(-1)]

    def write(arrays: Arrays) -> Arrays:
        return [np.moveaxis(arrays[0].reshape(shape), last, 0).reshape(-1)]

    weight = _weight_group(wrapper.layer, "parametrizations.weight.original")
    yield dataclasses.replace(weight, leaves=("layer.weight",))
    yield _same("u", "parametrizations.weight.0._u")
    yield Group(("v",), ("parametrizations.weight.0._v",), read, write)
    if getattr(wrapper.layer, "bias", None) is not None:
        yield _same("layer.bias", "bias")


# Layers that are not here have torch's names and shapes.
_LAYOUTS: dict[type, Callable[[Any], Iterator[Group]]] = {
    nn.Bilinear: _affine,
    nn.Conv: _affine,
    nn.ConvTranspose: _affine,
    nn.GRU: _recurrent,
    nn.GRUCell: _cell,
    nn.LSTM: _recurrent,
    nn.LSTMCell: _cell,
    nn.Linear: _affine,
    nn.MultiHeadAttention: _attention,
    nn.RNN: _recurrent,
    nn.RNNCell: _cell,
    nn.SpectralNorm: _spectral_norm,
    nn.WeightNorm: _weight_norm,
}
