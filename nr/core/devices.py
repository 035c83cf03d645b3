"""Devices, the backends behind them, and the default device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nr.backends.base import Backend


class Device:
    """A place where arrays live: ``Device("cpu", 0)``, ``Device("cuda", 1)``; one object each."""

    __slots__ = ("platform", "id")

    def __init__(self, platform: str, id: int) -> None:  # noqa: A002 - JAX's attribute name
        self.platform = platform
        self.id = id

    @property
    def device_kind(self) -> str:
        return self.platform

    @property
    def backend(self) -> Backend:
        return backend(self.platform)

    def __repr__(self) -> str:
        return f"Device('{self.platform}:{self.id}')"

    def __str__(self) -> str:
        return f"{self.platform}:{self.id}"

    def __reduce__(self) -> tuple:
        return device, (str(self),)


# A backend registers a function that makes it, so that nothing heavy is imported before it is used.
_factories: dict[str, Callable[[], Backend]] = {}
_backends: dict[str, Backend] = {}
_devices: dict[str, Device] = {}


def register_backend(platform: str, factory: Callable[[], Backend]) -> None:
    _factories[platform] = factory


def backend(platform: str) -> Backend:
    """The backend of a platform ("cpu", "cuda")."""
    found = _backends.get(platform)
    if found is None:
        if platform not in _factories:
            raise ValueError(
                f"device: the platform must be one of {', '.join(sorted(_factories))}; "
                f"got {platform!r}."
            )
        found = _backends[platform] = _factories[platform]()
    return found


def device(name: str | Device) -> Device:
    """The device named like ``"cpu"``, ``"cuda:0"``.

    Raises:
        ValueError: if there is no such device here.

    Example:
        >>> import nr
        >>> nr.device("cpu")
        Device('cpu:0')
    """
    if isinstance(name, Device):
        return name
    platform, _, index = name.partition(":")
    platform = {"gpu": "cuda"}.get(platform, platform)
    if index and not index.isdigit():
        raise ValueError(f"device: a name like 'cpu' or 'cuda:0' was expected; got {name!r}.")
    key = f"{platform}:{int(index or 0)}"
    found = _devices.get(key)
    if found is None:
        count = backend(platform).device_count()
        if int(index or 0) >= count:
            raise ValueError(
                f"device: {key} was asked for; this machine has {count} {platform} device(s). "
                f"nr.devices() lists what there is."
            )
        found = _devices.setdefault(key, Device(platform, int(index or 0)))
    return found


_backend = backend  # where `backend` is the name of an argument, as in JAX


def devices(backend: str | None = None) -> list[Device]:
    """The devices of a platform; without one, the GPUs where there are any, else the CPU.

    Raises:
        RuntimeError: if the platform is none of nr's, or this machine has no such device.
    """
    if backend is None:
        return _devices_of("cuda") or _devices_of("cpu")
    platform = {"gpu": "cuda"}.get(backend, backend)
    found = _devices_of(platform) if platform in _factories else []
    if not found:
        raise RuntimeError(
            f"devices: Unknown backend {backend!r}: this machine has no such device."
        )
    return found


def _devices_of(platform: str) -> list[Device]:
    return [device(f"{platform}:{i}") for i in range(_backend(platform).device_count())]


def device_count(backend: str | None = None) -> int:
    """How many devices `devices` gives."""
    return len(devices(backend))


def default_backend() -> str:
    """The platform of the default device: "cpu" or "cuda"."""
    return current_default().platform


def local_devices(process_index: int | None = None, backend: str | None = None) -> list[Device]:
    """The devices of a process: of the only one there is, `devices`."""
    if process_index not in (None, 0):
        raise ValueError(f"local_devices: process_index must be 0 or None; got {process_index}.")
    return devices(backend)


local_device_count = device_count

_default: ContextVar[Device | None] = ContextVar("default_device", default=None)


@contextmanager
def default_device(where: Device | str | None) -> Any:
    """Create new arrays on a device for the duration of a ``with`` block.

    Example:
        >>> import nr
        >>> with nr.default_device("cpu"):
        ...     x = nr.numpy.zeros(3)
        >>> x.device
        Device('cpu:0')
    """
    token = _default.set(None if where is None else device(where))
    try:
        yield
    finally:
        _default.reset(token)


def choose_default(where: Device | str | None) -> None:
    """Create new arrays on a device from now on."""
    _default.set(None if where is None else device(where))


def current_default() -> Device:
    """The device on which creation functions place their results."""
    return _default.get() or cpu()


def chosen_default() -> Device | None:
    """The default device if one was chosen with `default_device`, else None."""
    return _default.get()


def cpu() -> Device:
    return _devices.get("cpu:0") or device("cpu:0")


def process_count(backend: str | None = None) -> int:
    """How many processes run the program together: always 1."""
    return 1


def process_indices(backend: str | None = None) -> list[int]:
    """The numbers of all processes: always ``[0]``."""
    return [0]


def process_index(backend: str | None = None) -> int:
    """Which of the processes this is: always 0."""
    return 0
