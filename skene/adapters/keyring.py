"""Secrets in the system's keyring, in place of a file. Needs the extra `keyring`."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from skene.definitions.faults import Fault
from skene.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["read_secrets", "write_secrets"]

_VARIABLE = "SKENE_KEYRING"


def read_secrets(service: str, names: Iterable[str]) -> dict[str, str]:
    """Those secrets that are kept.

    Args:
        service: the name that they are kept under.
        names: of the variables.

    Raises:
        ConfigurationError: there is no keyring, or it is locked.
    """
    keyring = _keyring()
    try:
        found = {name: keyring.get_password(service, name) for name in names}
    except keyring.errors.KeyringError as error:
        raise _refused(error) from error
    return {name: value for name, value in found.items() if value}


def write_secrets(service: str, secrets: Mapping[str, str]) -> None:
    """Keep secrets, in place of those of the same names.

    Raises:
        ConfigurationError: there is no keyring, or it is locked.
    """
    keyring = _keyring()
    try:
        for name, value in secrets.items():
            keyring.set_password(service, name, value)
    except keyring.errors.KeyringError as error:
        raise _refused(error) from error


def _keyring() -> "ModuleType":
    try:
        keyring = import_module("keyring")
        import_module("keyring.errors")
    except ModuleNotFoundError as error:
        told = Fault(_VARIABLE, "a name", 'the extra: pip install "skene-sdk[keyring]"', None)
        raise ConfigurationError([told]) from error
    return keyring


def _refused(error: Exception) -> ConfigurationError:
    # Without the message: what a back-end quotes is not ours to know.
    given = f"a keyring that does not answer ({type(error).__name__})"
    return ConfigurationError(
        [Fault(_VARIABLE, given, "an unlocked keyring of your system, or no such variable")]
    )
