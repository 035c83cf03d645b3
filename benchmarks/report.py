"""The page of results: tables by group, means, and every target that is missed."""

from __future__ import annotations

import datetime
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from calibrate import Calibration
from row import GROUPS, Row

COLUMNS = ("nr", "jax", "torch")
# Below the table:
NOTED = {"by hand": "nr by hand", "onnxruntime": "ONNX Runtime", "numpy": "NumPy"}
NAMES = {"nr": "nr", "jax": "JAX", "torch": "PyTorch", **NOTED}
MEAN_TARGET, ROW_TARGET = 1.7, 0.9
LAYERS_TARGET = 1.05  # layers over the same by hand: the same but for the measurement's error


@dataclass
class Result:
    """What one library made of one row.

    Attributes:
        library, variant: which program; variants are PyTorch's, and libraries' above JAX.
        first: seconds of the first call.
        steady: seconds of a call in the best round; None where only the first counts.
        memory: bytes that steady calls need at most beyond the inputs.
        error: why it failed.
    """

    library: str
    variant: str = ""
    first: float | None = None
    steady: float | None = None
    memory: int | None = None
    error: str | None = None


@dataclass
class Line:
    """A row with the results that count.

    Attributes:
        results: of all libraries and variants.
        best: by library, the fastest result, or a failed one where all failed.
        floor: seconds and their kind; None where the row has no floor.
    """

    row: Row
    results: list[Result]
    best: dict[str, Result]
    unlike: list[str]
    floor: tuple[float, str] | None

    def seconds(self, library: str) -> float | None:
        """A library's time; None if it failed, or if the results differ."""
        result = self.best.get(library)
        if result is None or result.error or self.unlike:
            return None
        return result.first if self.row.metric == "first" else result.steady

    def ratio(self) -> float | None:
        """The best peer's time over nr's."""
        ours = self.seconds("nr")
        peers = [s for s in map(self.seconds, self.row.peers) if s]
        return min(peers) / ours if ours and peers else None

    def over_floor(self) -> float | None:
        """nr's time over the least that the machine's rates allow."""
        ours = self.seconds("nr")
        return ours / self.floor[0] if ours and self.floor else None

    def over_by_hand(self) -> float | None:
        """nr's time over that of the same program by hand."""
        ours, theirs = self.seconds("nr"), self.seconds("by hand")
        return ours / theirs if ours and theirs else None

    def first_ratio(self) -> float | None:
        """nr's first call over JAX's."""
        ours, theirs = self.best.get("nr"), self.best.get("jax")
        if self.unlike or not (ours and theirs and ours.first and theirs.first):
            return None
        return ours.first / theirs.first


def _line(row: Row, results: list[Result], unlike: list[str], rates: Calibration) -> Line:
    def rank(result: Result) -> tuple:
        seconds = result.first if row.metric == "first" else result.steady
        return result.error is not None, seconds or math.inf

    ranked = sorted(results, key=rank, reverse=True)  # so that the best one stays in the dict
    best = {result.library: result for result in ranked}
    return Line(row, results, best, unlike, rates.seconds(row.flops, row.read, row.written))


# ---------------------------------------------------------------- text
def duration(seconds: float | None) -> str:
    """Three significant digits with a unit."""
    if seconds is None:
        return "-"
    unit, scale = next(
        (u, s) for u, s in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if seconds * s >= 1 or u == "µs"
    )
    value = seconds * scale
    return f"{value:.{max(0, 2 - max(0, math.floor(math.log10(value))))}f} {unit}"


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.1f}"


def _factor(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _each(line: Line, value: Callable[[Result], str]) -> str:
    """nr's, JAX's and PyTorch's value, in one cell."""
    cells = [value(line.best[n]) if n in line.best else "-" for n in COLUMNS]
    return " / ".join(cells)


def _time(line: Line, library: str) -> str:
    result = line.best.get(library)
    if result is None:
        return "-"
    if result.error:
        return "failed"
    if line.unlike:
        return "differs"
    text = duration(line.seconds(library))
    return f"{text} ({result.variant})" if result.variant else text


def mean(ratios: Iterable[float]) -> float | None:
    """The geometric mean."""
    logs = [math.log(r) for r in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _table(lines: list[Line]) -> list[str]:
    text = [
        "| row | nr | JAX | PyTorch | better peer / nr | floor | nr / floor "
        "| first call: nr / JAX / PyTorch | MB: nr / JAX / PyTorch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        floor = f"{duration(line.floor[0])} ({line.floor[1]})" if line.floor else "-"
        cells = [
            line.row.name,
            *(_time(line, library) for library in COLUMNS),
            _factor(line.ratio()),
            floor,
            _factor(line.over_floor()),
            _each(line, lambda r: duration(r.first)),
            _each(line, lambda r: _bytes(r.memory)),
        ]
        text.append(f"| {' | '.join(cells)} |")
    return [*text, "", *_notes(lines)]


def _notes(lines: list[Line]) -> list[str]:
    """The times of the libraries that run few of the rows, and of all libraries above JAX."""
    text = []
    for library, name in NOTED.items():
        times = []
        for line in lines:
            if library in line.best:
                over = line.over_by_hand() if library == "by hand" else None
                ratio = f" (layers: {_factor(over)} times)" if over else ""
                times.append(f"{line.row.name}: {_time(line, library)}{ratio}")
        text += [f"{name}: {'; '.join(times)}.", ""] if times else []
    above = []
    for line in lines:
        results = [r for r in line.results if r.library == "jax" and r.variant and not r.error]
        if len(results) > 1:
            times = [f"{r.variant} {duration(r.steady or r.first)}" for r in results]
            above.append(f"{line.row.name}: {', '.join(times)}")
    return [*text, *([f"Above JAX: {'; '.join(above)}.", ""] if above else [])]


def _first_table(lines: list[Line]) -> list[str]:
    """Of rows where the first call is all that counts."""
    text = ["| row | nr | JAX | PyTorch | better peer / nr |", "|---|---|---|---|---|"]
    for line in lines:
        times = (_time(line, library) for library in COLUMNS)
        text.append(f"| {line.row.name} | {' | '.join(times)} | {_factor(line.ratio())} |")
    return [*text, "", *_notes(lines)]


def _listed(title: str, items: list[str]) -> list[str]:
    text = [f"**{title}:** {len(items) or 'none'}.", ""]
    return text + ([*(f"- {item}" for item in items), ""] if items else [])


def _summary(lines: list[Line]) -> list[str]:
    rated = [(line, line.ratio()) for line in lines if line.ratio()]
    overall = mean(r for _, r in rated)
    groups = [
        f"{group} {_factor(mean(r for line, r in rated if line.row.group == group))}"
        for group in GROUPS
        if any(line.row.group == group for line, _ in rated)
    ]

    def reason(line: Line) -> str:
        return f" {line.row.why}" if line.row.why else ""

    behind = sorted((p for p in rated if p[1] < ROW_TARGET), key=lambda p: p[1])
    missed = [(line, r) for line, r in rated if line.row.target and r < line.row.target]
    slow = [(line, line.first_ratio()) for line in lines if (line.first_ratio() or 0) > 1]
    slow.sort(key=lambda p: -p[1])
    costly = [(line, line.over_by_hand()) for line in lines if line.row.group == "layers"]
    costly = [(line, r) for line, r in costly if r and r > LAYERS_TARGET]
    high = [
        (line, line.over_floor())
        for line in lines
        if line.row.floor_factor and (line.over_floor() or 0) > line.row.floor_factor
    ]
    failures = [
        f"{line.row.name}: {NAMES[r.library]}{f' ({r.variant})' if r.variant else ''}: {r.error}"
        for line in lines
        for r in line.results
        if r.error
    ] + [f"{line.row.name}: {text}" for line in lines for text in line.unlike]
    return [
        "## Summary",
        "",
        f"**Geometric mean of better peer / nr over {len(rated)} rows: {_factor(overall)}** "
        f"(target: {MEAN_TARGET}). By group: {', '.join(groups) or 'none'}.",
        "",
        *_listed(
            f"Rows below {ROW_TARGET} of the better peer",
            [f"{line.row.name}: {_factor(r)}.{reason(line)}" for line, r in behind],
        ),
        *_listed(
            "Rows below a target of their own",
            [
                f"{line.row.name}: {_factor(r)} (target {line.row.target}).{reason(line)}"
                for line, r in missed
            ],
        ),
        *_listed(
            "First calls slower than JAX's, both with cold caches (nr compiles what JAX has in its "
            "library: products, FFT, top-k, convolutions; and of causal attention many loops)",
            [f"{line.row.name}: {_factor(r)} times." for line, r in slow],
        ),
        *_listed(
            f"Layers that cost more than {LAYERS_TARGET} times the same by hand",
            [f"{line.row.name}: {_factor(r)} times.{reason(line)}" for line, r in costly],
        ),
        *_listed(
            "Rows over their target above the floor",
            [
                f"{line.row.name}: {_factor(f)} times the floor (target {line.row.floor_factor})."
                f"{reason(line)}"
                for line, f in high
            ],
        ),
        *_listed("Failed", failures),
    ]


def page(
    outcomes: list[tuple[Row, list[Result], list[str]]],
    rates: Calibration,
    about: list[str],
    rounds: int,
) -> str:
    """The whole page in Markdown."""
    lines = [_line(row, results, unlike, rates) for row, results, unlike in outcomes]
    text = [
        "# Benchmark results",
        "",
        "Written by `python benchmarks/run.py`; don't edit.",
        "",
        *about,
        "",
        f"Arithmetic: {rates.flops / 1e9:.0f} Gflop/s, the best 2048-cubed float32 product of "
        "NumPy's and PyTorch's BLAS. Memory, by bytes touched: "
        + ", ".join(
            f"{size >> 20} MB: read {rates.read[size] / 1e9:.0f}, copy "
            f"{rates.copy[size] / 1e9:.0f} GB/s"
            for size in list(rates.read)[::3]
        )
        + ".",
        "",
        f"Each library runs each row in its own process, in {rounds} alternating rounds "
        "(processes that wait are stopped). A time is "
        "the best round's; a round's is the median over batches of calls. nr and JAX run the same "
        "source, jitted; of PyTorch's variants, named in parentheses, the fastest counts. Where "
        "ONNX Runtime, or NumPy for sorts, is a further peer, its times stand below the table. "
        "Where nr's program is built of layers, in JAX's column is the faster of Flax and Equinox "
        "(or Optax), jitted; all have the same weights, and the losses of the first steps are "
        "compared; the time of the same program written by hand with nr stands below the table. "
        "Programs of inference hold their weights: functions of nr and JAX close over them. "
        "The "
        "first call is that of a process that has imported the library and run one tiny program; "
        "no cache of programs holds anything. MB is the peak of resident memory in steady calls "
        "above that before the first one, inputs not counted, what compilation leaves behind "
        "counted. The floor is the time of the row's matrix products (and of convolutions by their "
        "definition: nr does those of 3x3 with fewer multiplications) at the arithmetic rate, or "
        "of its arguments and results at the memory rate for arrays of that size. All outputs "
        "were compared with nr's before: a row that differs by more than its tolerance has "
        "no times.",
        "",
        *_summary(lines),
    ]
    for group, title in GROUPS.items():
        members = [line for line in lines if line.row.group == group]
        for metric, table in (("steady", _table), ("first", _first_table)):
            rows = [line for line in members if line.row.metric == metric]
            if rows:
                text += [f"## {title}", "", *table(rows)]
    return "\n".join(text).rstrip() + "\n"


# ---------------------------------------------------------------- the machine
def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} not installed"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    named = {k.strip(): v.strip() for k, v in fields.items()}
    flags = [f for f in ("avx2", "avx512f", "amx_tile") if f in named.get("flags", "").split()]
    return f"{named.get('model name', platform.machine())} ({', '.join(flags)})"


def _commit() -> str:
    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "..")
    return f"{git('rev-parse', '--short', 'HEAD') or 'unknown'}{' with changes' if changed else ''}"


def machine(threads: int) -> list[str]:
    """Lines about the machine, the versions and the time."""
    packages = (
        "numpy",
        "llvmlite",
        "scipy-openblas32",
        "jax",
        "jaxlib",
        "flax",
        "equinox",
        "optax",
    )
    packages += ("torch", "onnxruntime")
    now = datetime.datetime.now(datetime.UTC)
    return [
        f"{_processor()}, {os.cpu_count()} processors, {threads} threads for every library; "
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}; "
        f"{', '.join(map(_version, packages))}. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset. "
        f"{now:%Y-%m-%d %H:%M} UTC, commit {_commit()}."
    ]
