"""Runs what a page shows, from top to bottom, in a folder of its own.

- A `python` fence runs in the page's namespace; `await` is allowed, as in an async REPL.
- A fence that names a file (`# app.py` on its first line, or `title="app.py"`) is written there; with
  `# app.py, continued` it is added to the end.
- In a `console` fence the lines with `$` run, and what they print must be what the page shows. `…` stands for
  anything within a line, and alone on a line for any number of lines. `uvicorn` runs in the background.
"""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from tests.docs.markdown import ROOT, Fence, Page
from tests.support.readers import READERS_PLUGINS

# Not run: what installs from the network, and what tests of their own cover.
NOT_RUN = ("pip install ", "make ", "python -m venv ", "cd ", "export ")
# Only look: repeated for a while, because what they look for happens in the background.
LOOKING = ("ls ", "cat ", "head ", "grep ", "skene funnel", "skene usage")
PATIENCE = 10
ENVIRONMENT = {
    "PADDLE_API_KEY": "pdl_sdbx_apikey_01gtgztp8f4kek3yd4g1wrksa3_q6TGTJyvoIz7LDtXT65bX7_AQO",
    "PADDLE_WEBHOOK_SECRET": "pdl_ntfset_01gkpjp8bkm3tm53kdgkx6sms7_6h3qd3uFSi9YCD3OLYAShQI90XTI5vEI",
    "STRIPE_API_KEY": "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "STRIPE_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "RESEND_API_KEY": "re_c1tpEyD8_NKFusih9vKVQknRAQfmFcWCv",
}
PORT = "8000"


class Run:
    """One page being run in one folder."""

    def __init__(self, page: Page, folder: Path, given: frozenset[str] = frozenset()) -> None:
        """Takes the page, its folder, and the files that are there already and only quoted by it."""
        self.page, self.folder, self.given = page, folder, given
        self.port = _free_port()
        self.servers: list[subprocess.Popen[bytes]] = []
        self.module = types.ModuleType("page")

    def run(self) -> None:
        keys = ENVIRONMENT if "os.environ[" in self.page.text else {}
        with _at_home(self.folder, self.module, keys):
            try:
                anyio.run(self._all)
            finally:
                for server in self.servers:
                    server.terminate()
                    server.wait(20)

    async def _all(self) -> None:
        for fence in self.page.fences():
            where = f"{self.page.name}:{fence.line}"
            if fence.file is not None:
                self._write(fence, where)
            elif fence.language == "python":
                await self._python(fence, where)
            elif fence.language == "console":
                self._console(fence, where)

    def _write(self, fence: Fence, where: str) -> None:
        assert fence.file is not None
        if fence.language == "python":
            compile(fence.body, where, "exec")
        if fence.file in self.given:
            return
        path = self.folder / fence.file
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if "continued" in fence.body.split("\n", 1)[0] else ""
        path.write_text(before + fence.body)

    async def _python(self, fence: Fence, where: str) -> None:
        # Padded, so that a traceback names the line of the page.
        source = "\n" * (fence.line - 1) + fence.body
        code = compile(source, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self.module.__dict__)  # noqa: S307 - our own pages
        if result is not None:
            await result

    def _console(self, fence: Fence, where: str) -> None:
        for command, expected in commands(fence.body):
            if command.startswith(NOT_RUN):
                continue
            real = command.replace(PORT, self.port)
            if command.startswith("uvicorn "):
                self._serve(real)
                continue
            shown = bool(expected.strip())
            deadline = time.monotonic() + (PATIENCE if command.startswith(LOOKING) else 0)
            code, printed = self._shell(real)
            while not matches(expected, printed) and time.monotonic() < deadline:
                code, printed = self._shell(real)
            told = f"{where}: `{command}` was to print:\n{expected}\nbut printed ({code}):\n{printed}"
            assert matches(expected, printed), told
            assert shown or not code, told

    def _shell(self, command: str) -> tuple[int, str]:
        if shutil.which("curl") is None:
            command = re.sub(r"\bcurl ", f"{sys.executable} {Path(__file__).with_name('curl.py')} ", command)
        words = ["sh", "-c", command]
        done = subprocess.run(
            words, check=False, cwd=self.folder, env=environment(), capture_output=True, timeout=120
        )
        return done.returncode, (done.stdout + done.stderr).decode().replace(self.port, PORT)

    def _serve(self, command: str) -> None:
        with open(self.folder / "server.log", "wb") as log:
            words = [*command.split(), *([] if "--port" in command else ["--port", self.port])]
            self.servers.append(
                subprocess.Popen(words, cwd=self.folder, env=environment(), stdout=log, stderr=log)
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/openapi.json", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                assert self.servers[-1].poll() is None, (self.folder / "server.log").read_text()
        raise AssertionError(f"{self.page.name}: `{command}` does not answer")


def commands(body: str) -> Iterator[tuple[str, str]]:
    """The commands of a console fence, each with what it is to print."""
    command, printed = None, list[str]()
    for line in [*body.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command is not None:
                yield command, "\n".join(printed)
            command, printed = line[2:], []
        elif command is not None and command.endswith("\\"):
            command = command.removesuffix("\\") + line.strip()
        else:
            printed.append(line)


def matches(expected: str, printed: str) -> bool:
    """Whether a command printed what the page shows; nothing shown means that anything may be printed."""
    # How wide a table's columns are depends on what else is in them.
    wanted = [" ".join(line.split()) for line in expected.splitlines() if line.strip()]
    if not wanted:
        return True
    got = "\n".join(" ".join(line.split()) for line in printed.splitlines() if line.strip())
    pattern = ""
    for line in wanted:
        if line == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.split("…")) + "\n"
    return re.fullmatch(pattern, got + "\n") is not None


def environment() -> dict[str, str]:
    """For commands: the tests' own tools first, and nothing that configures skene."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("SKENE_", "STRIPE_", "RESEND_"))}
    bare.pop("DATABASE_URL", None)
    bare.pop("VALKEY_URL", None)
    tools = Path(sys.executable).parent
    return {
        **bare,
        "PATH": f"{tools}{os.pathsep}{bare.get('PATH', '')}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        **READERS_PLUGINS,
    }


@contextmanager
def _at_home(folder: Path, module: types.ModuleType, keys: dict[str, str]) -> Iterator[None]:
    """The page's folder is the working directory and importable; nothing of it is left afterwards."""
    before, path, here = set(sys.modules), list(sys.path), Path.cwd()
    variables = {name: os.environ.get(name) for name in keys}
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.modules[module.__name__] = module
    os.environ.update(keys)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:] = path
        for name, value in variables.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if name == module.__name__ or (file and Path(file).is_relative_to(folder)):
                del sys.modules[name]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


__all__ = ["NOT_RUN", "ROOT", "Run", "commands", "matches"]
