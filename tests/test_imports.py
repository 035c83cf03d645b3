"""Without this, layers could come to depend on what stands above them, and importing could cost."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "nr").rglob("*.py"))
LINES = 800

# What each part of nr may import: itself, and these. (`backends` registers the platforms.)
CORE = {"core"}
LAX = CORE | {"lax"}
TRANSFORMS = LAX | {"backends", "transforms"}
NUMPY = TRANSFORMS | {"numpy"}
RANDOM = NUMPY | {"random"}
LIBRARY = RANDOM | {
    "scipy",
    "image",
    "flatten_util",
    "dtypes",
    "errors",
    "tree",
    "tree_util",
    "typing",
}
MAY_IMPORT = {
    "core": set(),
    "backends": CORE,
    "lax": CORE,
    "transforms": TRANSFORMS,
    "numpy": NUMPY,
    "random": RANDOM,
    "ops": NUMPY,
    "scipy": RANDOM,
    "nn": LIBRARY,
    "optim": LIBRARY,
    "data": LIBRARY,
    "interop": LIBRARY | {"nn"},
    "extend": TRANSFORMS,
    "interpreters": TRANSFORMS | {"extend"},
    "tools": LIBRARY | {"nn", "optim", "data"},
    # single modules that gather names
    "dtypes": NUMPY,
    "sharding": CORE,
    "errors": CORE,
    "tree": CORE,
    "tree_util": CORE,
    "typing": CORE,
    "ad_checkpoint": TRANSFORMS | {"checkpoint_policies"},
    "api_util": CORE | {"extend"},
    "cache": {"backends"},
    "checkpoint_policies": TRANSFORMS,
    "custom_batching": TRANSFORMS,
    "custom_derivatives": TRANSFORMS,
    "debug": TRANSFORMS,
    "dlpack": NUMPY,
    "stages": TRANSFORMS,
    "example_libraries": LIBRARY | {"nn"},
    "experimental": NUMPY | TRANSFORMS | {"flatten_util"},
    "flatten_util": NUMPY,
    "image": NUMPY,
    "test_util": TRANSFORMS,
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def _type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(tree, top_only):
    """The nodes that run on import, or all; what only type checkers read is left out."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if not _type_checking(child) and not (top_only and function):
                stack.append(child)


def imports(name, top_only=False):
    """The modules of nr that a module imports, at its top or anywhere."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in _nodes(ast.parse(path.read_text()), top_only):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return {module for module in found if module in MODULES}


def part(module):
    """The layer: nr.lax.shape is of lax; nr itself of none."""
    return (module.split(".") + [""])[1]


@pytest.mark.parametrize("name", sorted(set(map(part, MODULES)) - {""}))
def test_direction(name):
    assert name in MAY_IMPORT, f"a new part of nr: say in MAY_IMPORT what nr.{name} may import"
    wrong = [
        f"{module} imports {target}"
        for module in MODULES
        if part(module) == name
        for target in sorted(imports(module))
        if part(target) not in MAY_IMPORT[name] | {name}
        # `import nr`, the public names, is for what stands above all layers
        and not (part(target) == "" and name in ("tools", "data", "nn", "optim"))
    ]
    assert wrong == []


def test_no_cycles():
    """Module-level imports are acyclic, so that any module can be the first to be imported."""
    graph = {
        name: imports(name, top_only=True) - {name}
        for name in MODULES
        if name != "nr"  # imports its names when they are used
    }
    done = defaultdict(int)
    cycles = []

    def visit(name, path):
        done[name] = 1
        for target in sorted(graph.get(name, ())):
            if done[target] == 1:
                cycles.append(" -> ".join([*path[path.index(target) :], target]))
            elif not done[target]:
                visit(target, [*path, target])
        done[name] = 2

    for name in sorted(graph):
        if not done[name]:
            visit(name, [name])
    assert cycles == []


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("name", ["lax", "numpy", "random", "core.trees", "transforms.vmap"])
def test_any_module_can_come_first(name):
    run(f"import nr.{name}")


HEAVY = (
    "numba", "llvmlite", "cupy", "jax", "scipy", "torch", "matplotlib", "opt_einsum", "tqdm",
    "onnx", "hypothesis", "pytest", "scipy_openblas32",
)  # fmt: skip
# Everything public, and eager use of it: nothing is compiled.
USE = """
import sys, threading
import nr, nr.lax, nr.numpy, nr.random, nr.nn, nr.optim, nr.scipy, nr.tree
x = nr.numpy.arange(4.0)
nr.grad(lambda x: (nr.numpy.sin(x) @ x).sum())(x)
nr.vmap(nr.numpy.exp)(x)
nr.random.normal(nr.random.key(0), (3,))
"""


def test_importing_loads_nothing_heavy():
    loaded = run(f"{USE}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))")
    assert sorted(set(loaded) & set(HEAVY)) == []


def test_einsum_alone_loads_opt_einsum():
    code = "nr.numpy.einsum('ij,jk,kl->il', *[nr.numpy.ones((2, 2))] * 3)"
    assert run(f"{USE}\n{code}\nprint('opt_einsum' in sys.modules)") == ["True"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="threads are counted on Linux")
def test_importing_starts_no_thread():
    count = (
        "print(threading.active_count(), next(line.split()[1] for line in open('/proc/self/status')"
        " if line.startswith('Threads')))"
    )
    imports_only = "\n".join(USE.splitlines()[:3])
    python, native = run(f"{imports_only}\n{count}")
    alone = run(f"import sys, threading, numpy, ml_dtypes\n{count}")
    assert [python, native] == alone


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted((ROOT / "tests").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_length(path):
    assert len(path.read_text().splitlines()) <= LINES
