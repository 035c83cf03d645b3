"""All benchmarks in one command: ``python benchmarks/run.py`` writes benchmarks/RESULTS.md.

Every library runs in its own process, in alternating rounds; the best round counts. The variables
OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for all. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from worker import CASES

HERE = Path(__file__).parent
TARGETS = {
    "eager_add_10": "within 4x of NumPy, faster than JAX and PyTorch",
    "jit_call_1_array": "no slower than JAX",
    "jit_call_80_leaves_in": "at most half of JAX",
    "jit_call_80_leaves_in_out": "at most half of JAX",
    "eager_grad_mlp": "at least 3x faster than JAX",
    "gpt_trace_and_lower": "no slower than JAX",
    "gpt_trace_and_lower_first": "no slower than JAX",
    "import": "NumPy + 50 ms",
    "import_and_first_array": "none set; nr's names are imported when first used",
}


def measure(library: str, case: str) -> float | None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    # pip compiled the peers to bytecode when it installed them; let Python do so for nr.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "worker.py"), library, case],
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(f"{library} {case}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    best: dict[tuple[str, str], float] = {}
    for _ in range(options.rounds):
        for case in options.cases:
            for library in CASES[case][1]:
                seconds = measure(library, case)
                if seconds is not None:
                    key = case, library
                    best[key] = min(seconds, best.get(key, float("inf")))
    libraries = ["nr", "numpy", "jax", "torch"]
    lines = [
        "# Benchmark results",
        "",
        "Written by `python benchmarks/run.py`; don't edit. Each library in its own process, in "
        f"{options.rounds} alternating rounds, the best round; OPENBLAS_* and "
        "PYTHONDONTWRITEBYTECODE unset.",
        "",
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}; {', '.join(map(version, ['numpy', 'jax', 'torch']))}.",
        "",
        "| case | nr | NumPy | JAX | PyTorch | JAX / nr | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in options.cases:
        row = [best.get((case, library)) for library in libraries]
        ratio = f"{row[2] / row[0]:.2f}" if row[0] and row[2] else "-"
        lines.append(f"| {case} | {' | '.join(map(text, row))} | {ratio} | {TARGETS[case]} |")
    page = "\n".join(lines) + "\n"
    print(page)
    if options.cases == list(CASES):
        (HERE / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
