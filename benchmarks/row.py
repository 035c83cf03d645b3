"""What one benchmark is: a record of inputs, one program for nr and JAX, PyTorch's programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LIBRARIES = ("nr", "by hand", "jax", "torch", "onnxruntime", "numpy")
GROUPS = {
    "training": "Training and inference of models",
    "layers": "Training steps of models built from layers",
    "optimizers": "Optimizers",
    "convolution": "Convolutional networks",
    "transformer": "Vision transformer and encoder",
    "attention": "Causal attention, float32, heads of 64",
    "recurrent": "Recurrent networks and scans",
    "simulation": "Simulation",
    "transforms": "Composed transforms",
    "elementwise": "Elementwise, float32[1024, 3072]",
    "rows": "Reductions and row kernels, float32[4096, 1024]",
    "ordering": "Sorts, selections and cumulative sums, float32[4096, 1024]",
    "sampling": "Random numbers, dropout, embedding",
    "linalg": "Linear algebra and Fourier transforms",
    "matmul": "Matrix products, float32",
    "bfloat16": "bfloat16",
    "dispatch": "Dispatch: the cost of a call",
    "compile": "Compilation: the first call in a new process",
    "import": "Import, in a new process",
}


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        name: what is measured; unique.
        group: a key of GROUPS.
        inputs: makes the arguments, trees of NumPy arrays, the same in every process.
        program: from the module nr or jax to a function of the arguments.
        setup: from the module and the arguments to the function's, where it needs more of them.
        held: so many leading arguments are closed over, as a model's weights that are not trained.
        carry: so many leading arguments are donated and replaced by the leading results.
        jit: whether the function is jitted; otherwise it runs eagerly.
        seen: the part of the results, a tree, that is compared between libraries.
        torch: PyTorch's programs by the name of the variant: from the arguments, as tensors, to
            a function of none that returns a tree like ``seen``. The fastest one counts.
        nr: nr's program in its own idiom, likewise: of layers, or of an optimizer. Then
            ``program``, if there is one, is nr's by hand.
        jax: such programs by the name of the library above JAX, in place of ``program``.
        calls: so many calls are compared, of programs that train: the later ones tell of gradients.
        onnx: ONNX Runtime's program, likewise.
        numpy: NumPy's program, likewise, of NumPy arrays.
        peers: the libraries that nr is compared with; NumPy mostly runs for orientation.
        scripts: in place of programs: by library a Python script, whose run time is measured
            from its first line to its last in a new process.
        flops: arithmetic floor: multiplications and additions of the matrix products.
        read, written: bandwidth floor: the bytes of arguments and of results.
        grad: PyTorch records gradients.
        block: wait for results in every call.
        metric: the number that counts: seconds of a steady call, or of the first one.
        own_draws: PyTorch and NumPy draw random numbers of their own: of their results only the
            means and deviations are compared.
        tolerance: the largest difference between libraries, relative to the largest magnitude
            of the array; 0 for exact results.
        floor_factor: how often the floor the time may be by the project's targets.
        target: how often the better peer's speed nr should have by the project's targets, where
            that is another than for all rows.
        why: the reason, where nr is known to miss a target.
    """

    name: str
    group: str
    inputs: Callable[[], tuple] = tuple
    program: Callable[[Any], Callable] | None = None
    setup: Callable[..., tuple] | None = None
    held: int = 0
    carry: int = 0
    jit: bool = True
    seen: Callable[[Any], Any] = field(default=lambda out: out)
    torch: Mapping[str, Callable] = field(default_factory=dict)
    nr: Callable | None = None
    jax: Mapping[str, Callable] = field(default_factory=dict)
    calls: int = 1
    onnx: Callable | None = None
    numpy: Callable | None = None
    peers: tuple[str, ...] = ("jax", "torch", "onnxruntime")
    scripts: Mapping[str, str] = field(default_factory=dict)
    flops: float = 0
    read: float = 0
    written: float = 0
    grad: bool = False
    block: bool = True
    own_draws: bool = False
    metric: Literal["steady", "first"] = "steady"
    tolerance: float = 1e-5
    floor_factor: float | None = None
    target: float | None = None
    why: str = ""

    def variants(self) -> list[tuple[str, str]]:
        """Pairs of a library and, for PyTorch and above JAX, the variant: one process each."""
        if self.scripts:
            return [(library, "") for library in self.scripts]
        pairs = [("nr", "")] if self.nr or self.program else []
        if self.program:
            pairs.append(("by hand" if self.nr else "jax", ""))
        pairs += [("jax", variant) for variant in self.jax]
        pairs += [("torch", variant) for variant in self.torch]
        pairs += [("onnxruntime", "")] if self.onnx else []
        return pairs + ([("numpy", "")] if self.numpy else [])


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of dicts (by key), lists and tuples."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key])
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from leaves(item)
    else:
        yield tree


def tree_map(f: Callable, tree: Any) -> Any:
    """The tree of f of every leaf."""
    if isinstance(tree, dict):
        return {key: tree_map(f, item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(tree_map(f, item) for item in tree)
    return f(tree)
