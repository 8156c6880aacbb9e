"""The nodes that are examined: processes of the real binary, each in a directory of its own, gone when the examination is over."""

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

# Client ports; the cluster view and the bus lie at fixed distances above, all below the ports of outgoing connections.
FIRST_PORT, PORTS, VIEW_ABOVE, BUS_ABOVE = 14_000, 900, 1_000, 2_000
READY_SECONDS = 60

next_port = itertools.count(os.getpid() % PORTS)
choosing = threading.Lock()


class Cluster:
    """So many nodes, formed and ready; a context manager."""

    def __init__(self, binary: Path, nodes: int, settings: dict[str, str]):
        self.binary, self.settings = binary, settings
        self.home = Path(tempfile.mkdtemp(prefix="dynamis-suite-"))
        self.ports = [free_port() for _ in range(nodes)]
        self.processes: list[subprocess.Popen] = []

    def __enter__(self):
        seeds = ",".join(f"127.0.0.1:{port + BUS_ABOVE}" for port in self.ports) if len(self.ports) > 1 else ""
        for port in self.ports:
            own = {"port": port, "cluster-port": port + BUS_ABOVE, "dir": self.home / str(port), "seeds": seeds, **self.settings}
            flags = [word for name, value in own.items() for word in (f"--{name}", str(value))]
            with open(self.home / f"{port}.log", "wb") as log:
                command = ["setpriv", "--pdeathsig", "KILL", "--", str(self.binary), *flags]
                self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        try:
            for port in self.ports:
                self.wait_until_ready(port)
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def ended(self) -> str:
        """The log of a node that ended by itself, or nothing."""
        for port, process in zip(self.ports, self.processes):
            if process.poll() is not None:
                return f"the node on port {port} ended by itself ({process.returncode}):\n{self.log(port)}"
        return ""

    def log(self, port: int) -> str:
        """The end of a node's log."""
        return (self.home / f"{port}.log").read_text(errors="replace")[-4000:]

    def wait_until_ready(self, port: int) -> None:
        """Until the node reaches all members and takes writes."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.ended():
                raise RuntimeError(self.ended())
            try:
                members = ask(port, "DYN.MEMBERS")
                reachable = members.count(b"reachable\r\n$3\r\nyes\r\n") == len(self.ports)
                if reachable and ask(port, "SET", "ready", "1") == b"+OK\r\n" and ask(port, "DEL", "ready") == b":1\r\n":
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the node on port {port} is not ready after {READY_SECONDS} s:\n{self.log(port)}")


def ask(port: int, *words: str) -> bytes:
    """One request on a connection of its own; the reply as it came, all of it, as QUIT's own reply ends the stream."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request + b"*1\r\n$4\r\nQUIT\r\n")
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
    return reply.removesuffix(b"+OK\r\n")


def free_port() -> int:
    """A port that nobody listens on, neither there nor where the cluster view and the bus will be."""
    with choosing:
        for _ in range(PORTS):
            port = FIRST_PORT + next(next_port) % PORTS
            if all(is_free(port + above) for above in (0, VIEW_ABOVE, BUS_ABOVE)):
                return port
    raise RuntimeError(f"no free port from {FIRST_PORT} on")


def is_free(port: int) -> bool:
    """Whether one could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
