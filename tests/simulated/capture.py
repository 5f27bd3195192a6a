"""CUDA graphs: what streams are asked while they are captured is kept, with its addresses, and done at each replay."""

import threading

from tests.simulated.machine import CAPTURING, Machine, accelerator_error
from tests.simulated.streams import Queue, Work

BROKEN = "operation failed due to a previous error during capture"
UNJOINED = "capturing stream has unjoined work"


class Capture:
    """A capture under way on a stream, and on those that wait for it."""

    def __init__(self, queue: Queue, mode: str) -> None:
        self.queue, self.mode = queue, mode
        self.machine = queue.device.machine
        self.thread = threading.get_ident()
        self.works: list[Work] = []
        self.queues = {queue}
        self.unjoined: set[Queue] = set()
        self.open, self.broken = True, False
        self._recorded: set[Queue] = set()  # streams whose last work an event was recorded after

    def add(self, work: Work) -> None:
        """Keeps work. Raises AcceleratorError once the capture is broken."""
        if self.broken:
            raise accelerator_error(BROKEN)
        self.works.append(work)
        self._recorded.discard(work.queue)
        if work.queue is not self.queue:
            self.unjoined.add(work.queue)
        for block in work.blocks:
            block.captured = True

    def recorded(self, queue: Queue) -> None:
        """An event was recorded on one of its streams."""
        self._recorded.add(queue)

    def joined(self, waiting: Queue, waited_for: Queue) -> None:
        """A stream waits for one of its own, and is captured too from now on."""
        if waiting.capture is None:
            waiting.capture = self
            self.queues.add(waiting)
            self.unjoined.add(waiting)
        if waited_for in self._recorded:
            self.unjoined.discard(waited_for)

    def forbids_here(self) -> bool:
        """Whether it forbids calls of this thread that might wait or allocate."""
        return self.mode == "global" or (self.mode == "thread_local" and self.thread == threading.get_ident())

    def breaks(self, what: str) -> None:
        """Something that a capture cannot have was asked: it is lost, and whoever asked hears of it."""
        self.broken = True
        self.machine.refuse(f"{what} while a stream is captured", accelerator_error(CAPTURING))

    def end(self) -> None:
        """The streams are as before. Raises AcceleratorError where there is no graph of it."""
        self.open = False
        self.machine.captures.remove(self)
        for queue in self.queues:
            queue.capture = None
        if self.broken:
            raise accelerator_error(BROKEN)
        if self.unjoined:
            self.machine.refuse("a captured stream is left that nothing waits for", accelerator_error(UNJOINED))


class GraphBase:
    """What `torch.cuda.CUDAGraph` stands on: in torch, a class in C."""

    machine: Machine  # of the class that `edges` makes
    _capture: Capture | None
    _done: Capture | None

    def __new__(cls, keep_graph: bool = False) -> "GraphBase":
        self = super().__new__(cls)
        self._capture = self._done = None
        return self

    def capture_begin(self, pool: object = None, capture_error_mode: str = "global") -> None:
        machine = self.machine
        with machine.lock:
            queue = machine.current_queue()
            queue.device.call()
            if capture_error_mode not in ("global", "thread_local", "relaxed"):
                raise RuntimeError(f"Unknown capture error mode {capture_error_mode}")
            if queue.number == 0:
                machine.refuse(
                    "the default stream is captured",
                    RuntimeError(
                        "CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok to "
                        "replay them on the default stream.)"
                    ),
                )
            if self._done or queue.capture:
                machine.refuse(
                    "a graph or a stream is captured twice",
                    RuntimeError("This CUDAGraph instance already owns a captured graph."),
                )
            self._capture = queue.capture = Capture(queue, capture_error_mode)
            machine.captures.append(self._capture)
        if machine.meanwhile:
            other = threading.Thread(target=machine.meanwhile)
            other.start()
            other.join()

    def capture_end(self) -> None:
        machine = self.machine
        with machine.lock:
            capture, self._capture = self._capture, None
            queue = machine.current_queue()
            if capture is None or queue is not capture.queue:
                machine.refuse(
                    "a capture ends on another stream", RuntimeError("Capture must end on the same stream it began on.")
                )
            capture.end()
            queue.device.call()
            self._done = capture
            machine.graphs += 1

    def capture_end_pre(self) -> None:
        GraphBase.capture_end(self)  # from PyTorch 2.14 on in two parts, around what its own class does

    def capture_end_post(self) -> None:
        """Done when the capture ended."""

    @property
    def _has_graph_exec(self) -> bool:
        return self._done is not None

    def replay(self) -> None:
        machine = self.machine
        with machine.lock:
            capture = self._done
            if capture is None:
                raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
            blocks = tuple({id(block): block for work in capture.works for block in work.blocks}.values())
            machine.give_back()
            if any(block.freed and block.pool is not capture for block in blocks):
                machine.note("a graph is replayed whose memory was given back")
            queue = machine.current_queue()
            if queue.device is not capture.queue.device:
                machine.refuse("a graph of another device is replayed", accelerator_error("invalid resource handle"))
            machine.replays += 1

            def again() -> None:
                for work in capture.works:
                    if work.run:
                        work.run()

            queue.add(again, blocks)

    def instantiate(self) -> None:
        """Done when the capture ended."""

    def reset(self) -> None:
        self._done = None

    def pool(self) -> tuple[int, int]:
        return (0, id(self))
