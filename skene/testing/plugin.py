"""pytest fixtures of the test kit. Loaded in every pytest run beside skene, so it imports little."""

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from skene.testing.worlds import World
    from skene.wiring import Skene

__all__ = ["skene_under_test", "world"]

OPTION = "skene_config"
NETWORK = "skene_network"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where the app's Skene is, and what its tests may reach."""
    parser.addini(
        OPTION,
        "where the app's Skene is, as module:name (the fixture `world` uses it)",
        default="skene_config:skene",
    )
    parser.addini(NETWORK, "hosts that a test in the fixture `world` may reach", type="args", default=[])


@pytest.fixture(scope="session")
def skene_under_test(request: pytest.FixtureRequest) -> "Skene":
    """The app's Skene: what the ini option `skene_config` names; a conftest.py may define another."""
    from skene.testing.finding import find_skene

    config = request.config
    return find_skene(str(config.getini(OPTION)), config.rootpath)


@pytest.fixture
def world(skene_under_test: "Skene", pytestconfig: pytest.Config) -> "Generator[World]":
    """The app in a fresh world without networks, for sync and async tests; see `skene.testing.world`."""
    from skene.testing.entering import world as enter

    with enter(skene_under_test, network=pytestconfig.getini(NETWORK)) as entered:
        yield entered


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what had happened in the test's world."""
    report = yield
    module = sys.modules.get("skene.testing.worlds")
    if module is None or report.when != "call" or not report.failed:
        return report
    values: dict[str, Any] = getattr(item, "funcargs", {})
    for value in values.values():
        if isinstance(value, module.World):
            report.sections.append(("skene", value.describe()))
    return report
