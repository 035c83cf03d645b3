"""Op cases of nr.lax.fft."""

import numpy as np

import nr
from tests.cases.base import OpCase, normal

REFERENCES = {
    "FFT": np.fft.fftn,
    "IFFT": np.fft.ifftn,
    "RFFT": np.fft.rfftn,
    "IRFFT": np.fft.irfftn,
}


def _case(kind, shape, lengths):
    axes = tuple(range(-len(lengths), 0))
    return OpCase(
        f"fft {kind} {shape} lengths={lengths}",
        lambda x: nr.lax.fft(x, kind, lengths),
        lambda rng, dt: (normal(rng, dt, shape),),
        lambda x: REFERENCES[kind](x, lengths, axes),
        ("float32", "float64") if kind == "RFFT" else ("complex64", "complex128"),
        primitive="fft",
    )


CASES = [
    *[_case(kind, (2, 5), (5,)) for kind in ("FFT", "IFFT", "RFFT")],
    *[_case(kind, (2, 3, 4), (3, 4)) for kind in ("FFT", "IFFT", "RFFT")],
    _case("RFFT", (6,), (6,)),
    *[_case("IRFFT", (2, 4), (n,)) for n in (6, 7)],
    *[_case("IRFFT", (3, 4), (3, n)) for n in (6, 7)],
    _case("IRFFT", (1,), (1,)),
]
