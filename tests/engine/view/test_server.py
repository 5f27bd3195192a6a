"""The server as a person starts it: whom it answers, on which port, and how it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from draw_poly.engine.flags import ConfigError
from draw_poly.engine.view import server
from draw_poly.engine.view.beside import beside
from draw_poly.engine.view.options import ViewOptions
from draw_poly.engine.view.server import OwnPages, bound, names_of
from tests.processes import begun

PATIENCE = 120.0


def served(running: "subprocess.Popen[str]") -> int:
    """The port that a server says it listens on; what it says from then on is read, or it would wait for a reader."""
    assert running.stderr
    for line in running.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            threading.Thread(target=running.stderr.read, daemon=True).start()
            return int(found[1])
    raise AssertionError("no address was said")


@pytest.fixture(scope="module")
def port(trained: Path) -> Iterator[int]:
    with begun(["view", str(trained)]) as running:
        yield served(running)
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 0


def answer(port: int, path: str = "/", **headers: str) -> tuple[int, bytes]:
    """Status and body of a request; headers say `Host` as a browser does unless it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    found = connection.getresponse()
    body = found.read() if found.status != 101 else b""
    connection.close()
    return found.status, body


def test_own_pages_are_served_without_a_network(port: int) -> None:
    status, body = answer(port)
    assert status == 200
    assert re.findall(rb'src="(https?:)?//', body) == []
    assert answer(port, Host=f"localhost:{port}")[0] == 200
    assert answer(port, Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert answer(port, "/static/js/bokeh.min.js")[0] == 200


@pytest.mark.parametrize("path", ["/", "/static/js/bokeh.min.js", "/ws", "/autoload.js", "/metadata", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": "127.0.0.1:80"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
        {"Host": "evil@127.0.0.1:x"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "http://evil.example:{port}"},
    ],
)
def test_who_comes_by_another_name_is_refused(port: int, path: str, headers: dict[str, str]) -> None:
    status, body = answer(port, path, **{name: value.format(port=port) for name, value in headers.items()})
    assert status in (400, 403)
    assert b"Bokeh" not in body


def test_it_listens_on_this_machine_alone(port: int) -> None:
    everything = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in everything if line.split()[3] == "0A"]
    assert [one for one in listening if one.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
    assert not any(f":{port:04X} " in line for line in Path("/proc/net/tcp6").read_text().splitlines())


def test_names_are_this_servers_own() -> None:
    class Asked(OwnPages):
        def __init__(self, host: str) -> None:
            self._names, self._port = names_of(host), 5006

    everywhere, one = Asked("0.0.0.0"), Asked("192.168.1.5")
    assert everywhere.is_own("//10.1.2.3:5006")
    assert everywhere.is_own("//[fe80::1]:5006")
    assert everywhere.is_own(f"http://{socket.gethostname()}:5006")
    assert not everywhere.is_own("//evil.example:5006")
    assert not everywhere.is_own("//10.1.2.3:5007")
    assert one.is_own("//192.168.1.5:5006")
    assert one.is_own("//localhost:5006")
    assert not one.is_own("//10.1.2.3:5006")


def test_a_port_in_use_is_said_or_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {number} is in use by another program"):
            bound(ViewOptions(port=number))
        monkeypatch.setattr(server, "FIRST_PORT", number)
        sockets, found = bound(ViewOptions())
        assert found > number
        for one in sockets:
            one.close()
        monkeypatch.setattr(server, "PORTS", 1)
        with pytest.raises(ConfigError, match="all in use"):
            bound(ViewOptions())
    with pytest.raises(ConfigError, match=r"this is no address of this machine's|cannot listen there"):
        bound(ViewOptions(host="203.0.113.7"))


def test_without_bokeh_a_sentence_says_what_brings_it(trained: Path, small_image: Path, tmp_path: Path) -> None:
    base = ["-i", str(small_image), "-s", "[4]", "-p", "50", "-e", "1", "-o", str(tmp_path), "--view"]
    for words in (["view", str(trained)], ["export", str(trained)], base, [*base, "--vary", "seed=1,2"]):
        with begun(words, missing=["bokeh"]) as running:
            said = running.communicate()[1]
        assert running.returncode == 2
        assert said.count("\n") == 1
        assert "pip install 'draw-poly[view]'" in said


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_explorer_beside_a_run_ends_with_it(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    whole = subprocess.Popen

    def popen(*words: object, **named: object) -> "subprocess.Popen[bytes]":
        started.append(whole(*words, **named))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with beside(True, trained, "x"):
        assert started[0].poll() is None
    assert started[0].returncode is not None
    with beside(False, trained, "x"):
        assert len(started) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_with_view_leaves_no_process(tmp_path: Path, small_image: Path, number: signal.Signals) -> None:
    # Of epochs so long that it neither ends nor finds itself where it was before, however late the server is.
    words = ["-i", small_image, "-s", "[20]*20", "-p", 300, "-e", 10**7, "-o", tmp_path / "r", "--view"]
    words += ["--device", "cpu", "--snapshot-dir", tmp_path / "s", "--save-interval", 10**6]
    with begun([str(word) for word in words]) as running:
        port = served(running)
        assert answer(port)[0] == 200
        (child,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()[-1:]
        running.send_signal(number)
        running.wait(PATIENCE)
        ends = time.monotonic() + PATIENCE
        while is_alive(int(child)) and time.monotonic() < ends:
            time.sleep(0.1)
    assert not is_alive(int(child))
    with pytest.raises(ConnectionRefusedError):
        answer(port)
