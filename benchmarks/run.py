"""All benchmarks in one command: ``python benchmarks/run.py`` writes benchmarks/RESULTS.md.

Every library runs each row in a process of its own, in alternating rounds, with the same threads on
the same processors; the best round counts. Outputs are compared first. With --only or --quick the
page is printed and not written. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from calibrate import Calibration
from programs import ROWS
from report import Result, machine, page
from row import LIBRARIES, Row
from worker import MARK

HERE = Path(__file__).parent
PATIENCE = 300.0  # seconds until a worker that says nothing has failed
SLOW = 2.0  # seconds of a call of which one round is enough


class Failed(Exception):
    """What a worker could not do, in one line."""


def environment(threads: int, scratch: str) -> dict[str, str]:
    """The variables of every process: as many threads for all, empty caches of programs."""
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("OPENBLAS_", "JAX_", "XLA_", "NR_"))
    }
    # pip compiled the peers to bytecode when it installed them; let Python do so for nr.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), env.get("PYTHONPATH")]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    env["JAX_PLATFORMS"] = "cpu"
    env["NR_CACHE_DIR"] = os.path.join(scratch, "nr")
    env["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(scratch, "torch")
    return env


def _last_line(text: str, otherwise: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else otherwise


class Worker:
    """A process that runs one row in one library, and is stopped while it waits for others.

    Attributes:
        outputs: where it saves the results of its first call.
    """

    def __init__(self, row: Row, library: str, variant: str, threads: int, scratch: str) -> None:
        self.outputs = Path(scratch) / "outputs.npz"
        self._errors = open(Path(scratch) / "stderr", "w+")  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(HERE / "worker.py"),
                *(row.name, library, variant, str(threads), str(self.outputs)),
            ],
            env=environment(threads, scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._lines.put(line[len(MARK) :])
        self._lines.put(None)

    def answer(self) -> dict[str, Any]:
        """The next line that the process prints."""
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            self.stop()
            raise Failed(f"no answer within {PATIENCE:.0f} s") from None
        if line is None:
            code = self._process.wait()
            self._errors.seek(0)
            named = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            raise Failed(_last_line(self._errors.read(), named) if code > 0 else named)
        self._process.send_signal(signal.SIGSTOP)  # else threads that spin slow the others down
        return json.loads(line)

    def measure(self, budget: float) -> dict[str, Any]:
        """One round."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(f"{budget}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self.answer()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()


# ---------------------------------------------------------------- rows
def _moments(x: np.ndarray) -> np.ndarray:
    return np.array([x.mean(dtype=np.float64), x.std(dtype=np.float64)])


def differences(row: Row, ours: Path, theirs: Path, draws: bool = False) -> str | None:
    """How the results of two first calls differ by more than the tolerance; None if not.

    With draws they are random numbers, whose moments may differ by 1 %.
    """
    tolerance = 0.01 if draws else row.tolerance
    with np.load(ours) as a, np.load(theirs) as b:
        if len(a.files) != len(b.files):
            return f"{len(a.files)} results and {len(b.files)}"
        worst = 0.0
        for x, y in zip((a[k] for k in a.files), (b[k] for k in b.files)):
            if x.shape != y.shape:
                return f"shapes {x.shape} and {y.shape}"
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                return "results that are not finite"
            if draws:
                x, y = _moments(x), _moments(y)
            wide = np.complex128 if np.iscomplexobj(x) else np.float64
            apart = np.abs(x.astype(wide) - y.astype(wide))
            size = max(float(np.abs(y).max(initial=0)), 1e-30)
            worst = max(worst, float(apart.max(initial=0)) / size)
    return None if worst <= tolerance else f"{worst:.1e} (tolerance {tolerance:g})"


def run_script(row: Row, library: str, threads: int) -> Result:
    """The seconds of a script in a new process."""
    code = f"import time; start = time.perf_counter(); {row.scripts[library]}"
    code += "; print(time.perf_counter() - start)"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=environment(threads, scratch),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return Result(library, error=f"not done within {PATIENCE:.0f} s")
    if done.returncode:
        return Result(library, error=_last_line(done.stderr, f"exit status {done.returncode}"))
    return Result(library, first=float(done.stdout.split()[-1]))


def _first_call(row: Row, library: str, variant: str, threads: int, scratch: str) -> tuple:
    """A result with the time of the first call, and the worker unless it failed."""
    worker = Worker(row, library, variant, threads, scratch)
    try:
        return Result(library, variant, first=worker.answer()["first"]), worker
    except Failed as error:
        worker.stop()
        return Result(library, variant, error=str(error)), None


def run_row(
    row: Row, variants: list[tuple[str, str]], threads: int, rounds: int, budget: float
) -> tuple[list[Result], list[str]]:
    """The results of all variants, and how they differ."""
    if row.scripts:
        return _best(
            [run_script(row, library, threads) for library, _ in variants] for _ in range(rounds)
        ), []
    workers: dict[tuple[str, str], Worker] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            results = []
            for i, (library, variant) in enumerate(variants):
                own = os.path.join(scratch, str(i))
                os.mkdir(own)
                result, worker = _first_call(row, library, variant, threads, own)
                results.append(result)
                if worker:
                    workers[library, variant] = worker
            unlike = _compare(row, workers)
            if row.metric == "first":
                repeats = rounds // 2 - 1  # a new process each: they take longer than a round
                again = [_first_calls(row, [*workers], threads) for _ in range(repeats)]
                return _best([results, *again]), unlike
            for _ in range(rounds):
                for result in results:
                    worker = workers.get((result.library, result.variant))
                    if worker and not result.error and (result.steady or 0) <= SLOW:
                        _measure(result, worker, budget)
            return results, unlike
        finally:
            for worker in workers.values():
                worker.stop()


def _first_calls(row: Row, variants: list[tuple[str, str]], threads: int) -> list[Result]:
    """The first calls in new processes."""
    results = []
    for library, variant in variants:
        with tempfile.TemporaryDirectory() as scratch:
            result, worker = _first_call(row, library, variant, threads, scratch)
            results.append(result)
            if worker:
                worker.stop()
    return results


def _measure(result: Result, worker: Worker, budget: float) -> None:
    try:
        answer = worker.measure(budget)
    except Failed as error:
        result.error = str(error)
        return
    result.steady = min(answer["seconds"], result.steady or answer["seconds"])
    result.memory = answer["memory"]


def _compare(row: Row, workers: dict[tuple[str, str], Worker]) -> list[str]:
    """nr with every other library; without nr, the first one with the others."""
    found = []
    (ours, reference), *others = workers.items() or [(None, None)]
    for theirs, worker in others:
        draws = row.own_draws and theirs[0] not in ("nr", "jax")
        how = differences(row, reference.outputs, worker.outputs, draws)
        if how:
            names = [" ".join(filter(None, pair)) for pair in (ours, theirs)]
            found.append(f"{names[0]} and {names[1]} differ: {how}")
    return found


def _best(rounds: Any) -> list[Result]:
    """By library and variant, the round with the fastest first call, or one that failed."""
    best: dict[tuple[str, str], Result] = {}
    for results in rounds:
        for result in results:
            key = result.library, result.variant
            known = best.setdefault(key, result)
            if not known.error and (result.error or result.first < known.first):
                best[key] = result
    return [*best.values()]


# ---------------------------------------------------------------- the command
def calibrate(threads: int) -> Calibration:
    """The machine's rates, measured in a process of their own."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, str(HERE / "calibrate.py"), str(threads)],
            env=environment(threads, scratch),
            capture_output=True,
            text=True,
            check=True,
        )
    return Calibration.from_json(done.stdout)


def _installed(library: str, variant: str) -> bool:
    if library in ("nr", "by hand"):
        return True
    named = [library, variant] if library == "jax" and variant else [library]
    return all(find_spec(name) for name in named)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="rows or groups: a part, or a glob")
    parser.add_argument("--quick", action="store_true", help="one short round: does it all run?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--libraries", nargs="*", choices=LIBRARIES, default=LIBRARIES)
    options = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):  # JAX has as many threads as there are processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    rounds, budget = (1, 0.03) if options.quick else (4, 0.25)
    pattern = f"*{options.only or ''}*".lower()
    rows = [
        row
        for row in ROWS.values()
        if fnmatch.fnmatch(row.name.lower(), pattern) or fnmatch.fnmatch(row.group, pattern)
    ]
    if not rows:
        parser.error(f"no row is like {options.only!r}")
    rates = calibrate(options.threads)
    outcomes = []
    for row in rows:
        start = time.perf_counter()
        variants = [
            pair for pair in row.variants() if pair[0] in options.libraries and _installed(*pair)
        ]
        results, unlike = run_row(row, variants, options.threads, rounds, budget)
        outcomes.append((row, results, unlike))
        problems = [f"{r.library} {r.variant}: {r.error}" for r in results if r.error] + unlike
        print(
            f"{row.name}: {time.perf_counter() - start:.1f} s",
            *problems,
            sep="\n  ! ",
            file=sys.stderr,
            flush=True,
        )
    text = page(outcomes, rates, machine(options.threads), rounds)
    if options.quick or options.only or set(options.libraries) != set(LIBRARIES):
        print(text)
    else:
        (HERE / "RESULTS.md").write_text(text)
    return int(any(unlike or any(r.error for r in results) for _, results, unlike in outcomes))


if __name__ == "__main__":
    sys.exit(main())
