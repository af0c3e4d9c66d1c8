"""Tells tests that reach for the network by mistake: clearly, and before anything is sent."""

import socket
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from functools import wraps
from ipaddress import IPv6Address, ip_address
from typing import Any
from unittest import mock

__all__ = ["NetworkRefused", "NetworkWatch", "watched"]


class NetworkRefused(AssertionError):
    """Something in a test reached for the network. No OSError, which much code would take for an outage."""


class NetworkWatch:
    """What one world lets out.

    Attributes:
        allowed: hosts that may be reached; `*` stands for anything.
        refused: those that were asked for and refused, in that order, each once.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        if isinstance(allowed, str):
            raise TypeError(f"network={allowed!r}: give a list of hosts, e.g. network=[{allowed!r}]")
        self.allowed = tuple(host.lower() for host in allowed)
        self.refused: list[str] = []

    def allows(self, host: str) -> bool:
        """Whether a host may be reached."""
        return any(fnmatchcase(host.lower(), pattern) for pattern in self.allowed)

    def refusal(self) -> NetworkRefused:
        """What tells of all that was refused."""
        return NetworkRefused(_told(", ".join(self.refused)))


@contextmanager
def watched(watch: NetworkWatch) -> Generator[None]:
    """Let nothing out of this process while the block runs, but to what is near or allowed.

    Near are this machine, private addresses, and names without a dot, such as a container's. What does not
    use Python's sockets, such as uvloop or a driver in C, is not seen. With several watches at once, what one
    of them allows is let out.
    """
    with _lock:
        if not _watches:
            _watching()
        _watches.append(watch)
    try:
        yield
    finally:
        with _lock:
            _watches.remove(watch)
            if not _watches:
                _patches.close()
                _resolved.clear()


# -- inside ------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_watches: list[NetworkWatch] = []
_patches = ExitStack()
_resolved: set[str] = set()
"""Addresses of hosts that were allowed by name."""


def _watching() -> None:
    for name in ("connect", "connect_ex", "sendto"):
        real = getattr(socket.socket, name)
        _patches.enter_context(mock.patch.object(socket.socket, name, _guarded(real)))
    _patches.enter_context(mock.patch.object(socket, "getaddrinfo", _resolving(socket.getaddrinfo)))


def _guarded(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if arguments and self.family in (socket.AF_INET, socket.AF_INET6):
            _check(_host_of(arguments[-1]))  # the address is the last, in each of the three
        return real(self, *arguments)

    return guarded


def _host_of(address: Any) -> object:
    match address:
        case (str() | bytes() as host, *_):
            return host
        case _:
            return None  # the real one refuses it


def _resolving(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def resolving(host: Any, *arguments: Any, **options: Any) -> Any:
        _check(host)
        found = real(host, *arguments, **options)
        _resolved.update(str(entry[4][0]) for entry in found)
        return found

    return resolving


def _check(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str) or name in _resolved or _is_near(name):
        return
    watches = list(_watches)
    if any(watch.allows(name) for watch in watches):
        return
    for watch in watches:
        if name not in watch.refused:
            watch.refused.append(name)
    raise NetworkRefused(_told(name))


def _is_near(host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not address.is_global


def _told(hosts: str) -> str:
    first = hosts.partition(",")[0]
    return (
        f"this test reached for the network: {hosts}. Put a fake in its place; or, if it is meant, say "
        f"world(skene, network=[{first!r}]), with the fixture `world` by skene_network = {first} in pytest's "
        "configuration."
    )
