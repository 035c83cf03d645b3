"""Without these, docs/compiler.md could show what the compiler no longer prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from nr.backends.cpu.target import target


def test_the_examples_of_the_compilers_page_run():
    if target().vector_bytes != 64:
        pytest.skip("the page shows the widths of AVX-512")
    page = Path(__file__).parent.parent / "docs" / "compiler.md"
    # In a process of its own: the page registers rules of its own for primitives.
    done = subprocess.run(
        [sys.executable, "-m", "doctest", str(page)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert page.read_text().count(">>> ") > 20
