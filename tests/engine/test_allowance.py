"""What a container or a shell leaves of a machine, read from trees such as Linux shows them."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from draw_poly.engine import allowance
from draw_poly.engine.backends.select import most_threads
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.prepare import memory
from draw_poly.engine.processes import Group
from tests.conftest import Program

Tree = Callable[[dict[str, str]], Path]
# As `/proc/self/mountinfo` has them: the third last field is the type.
SECOND = "30 23 0:28 {top} {place} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
FIRST = "35 31 0:32 {top} {place} rw - cgroup cgroup rw,{controllers}"
MIB = 2**20


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def made(content: dict[str, str]) -> Path:
        for name, text in content.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return made


def second_version(own: str, files: dict[str, str], top: str = "/") -> dict[str, str]:
    mounts = "22 28 0:21 / /proc rw - proc proc rw\n" + SECOND.format(top=top, place="/sys/fs/cgroup")
    process = {"proc/self/cgroup": f"0::{own}", "proc/self/mountinfo": mounts}
    return process | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}


def first_version(own: str, files: dict[str, str], top: str = "/") -> dict[str, str]:
    pairs = {"memory": "memory", "cpu": "cpu,cpuacct"}
    mounts = [FIRST.format(top=top, place=f"/cg/{name}", controllers=names) for name, names in pairs.items()]
    groups = [f"{index}:{names}:{own}" for index, names in enumerate(pairs.values(), 2)] + ["1:name=systemd:/x", "0::/"]
    process = {"proc/self/cgroup": "\n".join(groups), "proc/self/mountinfo": "\n".join(mounts)}
    return process | {f"cg/{name}": text for name, text in files.items()}


UNLIMITED = str(2**63 - 4096)  # what version 1 says where nothing is asked for


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (second_version("/", {"memory.max": "max"}), None),
        (second_version("/", {"memory.max": str(700 * MIB)}), 700 * MIB),
        (second_version("/a/b", {"a/b/memory.max": "max", "a/memory.max": "9000", "memory.max": "max"}), 9000),
        (second_version("/a/b", {"a/b/memory.max": "7000", "a/memory.max": "9000"}), 7000),
        (second_version("/a/b", {"a/b/memory.max": "9000", "a/memory.max": "7000"}), 7000),
        # A container sees its own group as the top, its process by the host's path, or by none.
        (second_version("/docker/1/x", {"x/memory.max": "7000"}, top="/docker/1"), 7000),
        (second_version("/../../elsewhere", {"memory.max": "7000"}), 7000),
        (second_version("/gone", {}), None),
        (first_version("/", {"memory/memory.limit_in_bytes": UNLIMITED}), int(UNLIMITED)),
        (first_version("/a", {"memory/a/memory.limit_in_bytes": "7000"}), 7000),
        (first_version("/docker/1", {"memory/memory.limit_in_bytes": "7000"}, top="/docker/1"), 7000),
        (first_version("/docker/1", {"memory/memory.limit_in_bytes": "7000"}), 7000),
        ({}, None),
    ],
)
def test_memory_is_the_smallest_limit_of_a_group_and_those_above(
    tree: Tree, content: dict[str, str], limit: int | None
) -> None:
    assert allowance.memory(tree(content)) == limit


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        (second_version("/", {"cpu.max": "max 100000"}), 64),
        (second_version("/", {"cpu.max": "200000 100000"}), 2),
        (second_version("/", {"cpu.max": "250000 100000"}), 3),
        (second_version("/", {"cpu.max": "10000 100000"}), 1),
        (second_version("/a", {"a/cpu.max": "max 100000", "cpu.max": "400000 100000"}), 4),
        (first_version("/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}), 64),
        (first_version("/a", {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "50000"}), 3),
        ({}, 64),
    ],
)
def test_cores_are_those_of_the_quota(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, content: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert allowance.cores(tree(content)) == cores


def test_an_address_space_is_a_limit_of_memory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: 5 * MIB, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert allowance.memory(tree({})) == 5 * MIB


def test_what_a_container_does_not_hold_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "memory", lambda: 7 * MIB)
    assert memory.total_memory() == 7 * MIB
    outcome = program("-s", "[1000]*4")
    assert outcome.status == 2
    assert "GiB, and this process may have 0.0 GiB" in outcome.log


def test_threads_are_never_more_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "cores", lambda: 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 20_000)
    asked = {None: 3, 2: 2, 3: 3, 4096: 3}
    for threads, taken in asked.items():
        config = Config("x.png", "[10]*8", 3, threads=threads)
        assert most_threads(config, Group()) == taken
        assert most_threads(config, Group(size=2)) == (taken if threads else 1)


def test_too_few_open_files_are_said_before_any_work(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8, 8))
    outcome = program()
    assert outcome.status == 2
    assert "this process may have 8 files open at once (ulimit -n), and a run needs 32: allow it more" in outcome.log


@pytest.mark.parametrize("hard", [128, resource.RLIM_INFINITY])
def test_more_open_files_are_taken_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    taken = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: taken.append(limits))
    allowance.require_open_files()
    assert taken == [(32, hard)]


def test_enough_open_files_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: pytest.fail("nothing was to be changed"))
    allowance.require_open_files()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8, 8))
    with pytest.raises(ConfigError, match="may have 8 files"):
        allowance.require_open_files()
