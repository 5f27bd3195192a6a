"""The workers of a sweep over machines, reached through Dask's `distributed`: who they are, what each one trains."""

import json
import logging
import re
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from draw_poly.engine import allowance
from draw_poly.engine.config import ConfigError
from draw_poly.engine.failure import explain
from draw_poly.engine.flags import shortened
from draw_poly.engine.record.journal import log
from draw_poly.engine.sweep.piece import Piece, Trained, trained, versions

# Seconds to reach a scheduler, to be brought what came of a piece, and to leave it.
REACHED, BROUGHT, LEFT = 10.0, 300.0, 5.0
# What a worker is started with that has a GPU: `--resources GPU=1`.
GPU = "GPU"
# Workers of this machine: a few to a core at most, each of which loads torch.
MOST_PER_CORE = 4
PROTOCOLS = ("tcp://", "tls://")
LOCAL = re.compile(r"local:(\d{1,9})")
TLS = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
# Whose own messages are about themselves.
LIBRARIES = ("distributed", "tornado", "bokeh", "asyncio")
Future = Any  # distributed's, which has no types


class Gone(Exception):
    """The scheduler is gone or does not answer; the text is a sentence for the user."""


@dataclass(frozen=True)
class Worker:
    """A process that trains a piece at a time."""

    address: str
    has_gpu: bool


class Cluster:
    """Workers by their addresses, and pieces that are given to them. Its methods raise Gone."""

    def __init__(self, client: Any, where: str) -> None:
        self._client, self._where = client, where
        self._fit: dict[str, bool] = {}

    def workers(self) -> dict[str, Worker]:
        """Those there are now who can train; where some have a GPU, these alone."""
        with self._there():
            known = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
            if new := [address for address in known if address not in self._fit]:
                for address, refusal in self.unfit(new).items():
                    log.warning("%s; it is left aside", refusal)
                    self._fit[address] = False
        found = [
            Worker(address, about.get("resources", {}).get(GPU, 0) >= 1)
            for address, about in known.items()
            if self._fit.get(address)
        ]
        some = any(one.has_gpu for one in found)
        return {one.address: one for one in found if one.has_gpu or not some}

    def unfit(self, addresses: Sequence[str] | None = None) -> dict[str, str]:
        """Asks workers, or all, whether they have this program as it is here; a sentence on each who has not."""
        refused = {}
        for address, there in self._client.run(versions, workers=addresses, on_error="return").items():
            if isinstance(there, OSError):
                continue  # it has just gone
            if isinstance(there, Exception):
                refused[address] = f"the worker {address} cannot run draw-poly ({_told(there)}): install it there"
            elif other := [f"{name} {there.get(name)} there, {own} here" for name, own in versions().items()
                           if there.get(name) != own]:  # fmt: skip
                refused[address] = f"the worker {address} has other versions: {', '.join(other)}"
            else:
                self._fit[address] = True
        return refused

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            if self._client.status != "running":
                raise ConnectionError("the connection is lost")
            yield
        except (OSError, TimeoutError, RuntimeError) as error:
            raise Gone(f"the scheduler of --cluster {self._where} is gone ({_told(error)})") from error

    def give(self, piece: Piece, worker: Worker) -> Future:
        """Has a worker train a piece."""
        resources = {GPU: 1} if worker.has_gpu else None
        # Loosely: what a worker takes along that dies just now may come from another one.
        with self._there():
            return self._client.submit(
                _trained_by_worker, piece, pure=False, workers=[worker.address], allow_other_workers=True,
                resources=resources,
            )  # fmt: skip

    def over(self, futures: Sequence[Future], seconds: float) -> list[Future]:
        """Those that have ended; waits so long for one."""
        import distributed

        with suppress(TimeoutError, distributed.CancelledError), self._client.as_current():
            distributed.wait(list(futures), seconds, return_when="FIRST_COMPLETED")
        with self._there():
            return [one for one in futures if one.done()]

    @staticmethod
    def result(future: Future) -> Trained:
        """What came of a piece. Raises whatever went wrong with it."""
        result: Trained = future.result(BROUGHT)
        return result

    @staticmethod
    def cancel(futures: Sequence[Future]) -> None:
        """Has nobody work on these any more."""
        for future in futures:
            with suppress(Exception):  # the scheduler may be gone
                future.cancel()


def _trained_by_worker(piece: Piece) -> Trained:
    """`trained` by as many threads as this worker has, until it is cancelled."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return trained(piece, worker.state.nthreads, cancelled)


@contextmanager
def reached(where: str | None) -> Iterator[Cluster | None]:
    """The workers of `--cluster`, None without one: `local:N`, an address, or a scheduler's file.

    Raises ConfigError where there is no way to them, or they have other versions.
    """
    if where is None:
        yield None
        return
    address, count = _meant(where)
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"--cluster needs Dask's distributed, which cannot be loaded ({error}; python -m pip install distributed)"
        ) from error
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            if count:
                log.info("Starting %d workers on this machine", count)
                address = stack.enter_context(_local(distributed, count))
            if address.startswith("tls://") and not distributed.Security().get_connection_args("client")["ssl_context"]:
                raise ConfigError(f"--cluster {where} needs certificates: give them by Dask's settings, {TLS}")
            client = distributed.Client(address, timeout=REACHED, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ConfigError(f"--cluster {where} cannot be reached ({_told(error)}): is a scheduler there?") from error
        stack.callback(_left, client)
        cluster = Cluster(client, where)
        if refused := cluster.unfit():
            raise ConfigError(f"--cluster {where}: {min(refused.values())}")
        there = cluster.workers()
        gpus = sum(one.has_gpu for one in there.values())
        log.info("Workers: %d%s; more may come", len(there), f", {gpus} of them with a GPU" if gpus else "")
        yield cluster


def _meant(where: str) -> tuple[str, int]:
    """A scheduler's address and 0, or how many workers of this machine. Raises ConfigError."""
    said = f"--cluster was {shortened(where)!r}"
    if match := LOCAL.fullmatch(where):
        most = MOST_PER_CORE * allowance.cores()
        if not 1 <= (count := int(match[1])) <= most:
            raise ConfigError(f"{said}: give local:1 to local:{most}")
        return "", count
    if where.startswith(PROTOCOLS):
        return where, 0
    try:
        address = str(json.loads(Path(where).expanduser().read_text(encoding="utf-8"))["address"])
        if not address.startswith(PROTOCOLS):
            raise ValueError(f"its address is {address!r}")
    except FileNotFoundError:
        raise ConfigError(
            f"{said}, and there is no such file: give a scheduler's address, such as tcp://host:8786, its file, or "
            "local:N"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{said}, which is not a scheduler's file that can be read ({_told(error)})") from None
    return address, 0


@contextmanager
def _local(distributed: Any, count: int) -> Iterator[str]:
    """The address of a scheduler in this process with workers beside it, which nobody sees from another machine."""
    threads = max(1, allowance.cores() // count)
    # A Ctrl-C is this process's to hear: the thread that starts workers, now and later, and they inherit that it is not
    # theirs. Python's own helper is started first, since whoever starts that hears Ctrl-C again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        cluster = distributed.LocalCluster(
            n_workers=count, threads_per_worker=threads, processes=True, host="127.0.0.1", protocol="tcp://",
            dashboard_address=None, silence_logs=logging.CRITICAL,
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster:
        yield cluster.scheduler_address


@contextmanager
def _quiet() -> Iterator[None]:
    """Has the libraries say nothing of what is said here in a sentence."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in LIBRARIES]
    before = {name: logging.getLogger(name).level for name in {*names, *LIBRARIES}}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed\b")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _left(client: Any) -> None:
    with suppress(Exception):  # whoever is gone is left as well
        client.close(timeout=LEFT)


def _told(error: Exception) -> str:
    """What a library says, on one line."""
    text = str(error) if isinstance(error, OSError) and not error.strerror else explain(error)
    return " ".join(text.split())[:200] or type(error).__name__
