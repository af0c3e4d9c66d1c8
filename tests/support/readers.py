"""What a reader's environment has, in processes that run a reader's tests."""

__all__ = ["READERS_PLUGINS"]

READERS_PLUGINS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "anyio.pytest_plugin,skene.testing.plugin",
}
"""pytest's plugins of an app with skene, and not ours, which take two seconds to load. That both are found by
themselves, and how others get along with them, is what tests/testing/test_plugin.py tries."""
