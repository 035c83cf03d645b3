"""Where programs run: one protocol, a CPU and a CUDA backend."""

from nr.core.devices import register_backend


def _cpu():  # type: ignore[no-untyped-def]
    from nr.backends.cpu import CpuBackend

    return CpuBackend()


def _cuda():  # type: ignore[no-untyped-def]
    from nr.backends.cuda import CudaBackend

    return CudaBackend()


register_backend("cpu", _cpu)
register_backend("cuda", _cuda)
