"""What runs programs, by platform: JAX's clients, as far as users ask them about devices."""

from __future__ import annotations

from dataclasses import dataclass

from nr.core import devices as known
from nr.core.devices import Device

__all__ = ["Client", "backends", "get_backend", "get_default_device"]


@dataclass(frozen=True)
class Client:
    """The devices of one platform ("cpu" or "cuda").

    Example:
        >>> from nr.extend.backend import get_backend
        >>> client = get_backend("cpu")
        >>> client.platform, client.device_count()
        ('cpu', 1)
    """

    platform: str

    def devices(self) -> list[Device]:
        """All its devices."""
        return known.devices(self.platform)

    local_devices = devices

    def device_count(self) -> int:
        """How many devices it has."""
        return len(self.devices())

    local_device_count = device_count

    def process_index(self) -> int:
        """The number of this process among those that share the devices: there is one."""
        return known.process_index()


def get_backend(platform: str | Client | None = None) -> Client:
    """The client of a platform, by default of the one that is used when none is named.

    Raises:
        RuntimeError: if this machine has no such devices.
    """
    if isinstance(platform, Client):
        return platform
    if platform is None:
        return Client(known.default_backend())
    return Client(known.devices(platform)[0].platform)


def backends() -> dict[str, Client]:
    """The clients of this machine by platform."""
    names = dict.fromkeys([*(device.platform for device in known.devices()), "cpu"])
    return {name: Client(name) for name in names}


def get_default_device() -> Device:
    """The device on which new arrays lie."""
    return known.current_default()
