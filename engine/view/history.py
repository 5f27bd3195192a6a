"""A run's networks by their epochs, from its checkpoints and its `networks.bin`, also while it trains."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data.image import Split
from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.networks import row_type
from draw_poly.engine.view.catalogue import RunFiles
from draw_poly.kernels.spec import Network

NETWORKS = "networks.bin"


class Unreadable(Exception):
    """What a page cannot show; the text is a sentence for it."""


class State(NamedTuple):
    """The network after an epoch, and its parameters (P,) in float64."""

    epoch: int
    network: Network
    parameters: NDArray[np.float64]


@dataclass
class History:
    """The networks that a run has left by now; `refresh` looks again."""

    files: RunFiles
    epochs: list[int] = field(default_factory=list)  # ascending
    split: Split | None = None
    _checkpoints: dict[int, Path] = field(default_factory=dict)
    _rows: dict[int, int] = field(default_factory=dict)  # where each epoch's begins in the file
    _read: tuple[int, int] = (0, 0)  # the file's number, and how far it was read
    _network: Network | None = None
    _latest: State | None = None  # who zooms asks for one again and again

    def refresh(self) -> bool:
        """Whether there are other epochs than before."""
        self._checkpoints, self._latest = self.files.checkpoints(), None
        self._read_rows()
        epochs = sorted({*self._checkpoints, *self._rows})
        changed, self.epochs = epochs != self.epochs, epochs
        if changed and self.split is None and self._checkpoints:
            try:
                self.split = self._stored(self._checkpoints[max(self._checkpoints)]).split
            except Unreadable:  # who asks for its network is told
                self.split = None
        return changed

    def state(self, epoch: int) -> State:
        """The network after an epoch. Raises Unreadable."""
        latest = self._latest  # of whichever thread
        if latest is None or latest.epoch != epoch:
            latest = self._latest = self._state(epoch)
        return latest

    def _state(self, epoch: int) -> State:
        network = self._network_of_rows()
        if network is not None and (place := self._rows.get(epoch)) is not None:
            kind = row_type(network.size)
            row = np.frombuffer(self._bytes(place, kind.itemsize), kind)
            if len(row) and row["epoch"][0] == epoch:
                return State(epoch, network, row["parameters"][0].astype(np.float64))
        path = self._checkpoints.get(epoch)
        if path is None:
            raise Unreadable(f"The network after epoch {epoch} is not there any more.")
        main = self._stored(path).state.main
        return State(epoch, main.network, main.parameters[0].double().numpy())

    def _stored(self, path: Path) -> checkpoint.Checkpoint:
        try:
            with torch.inference_mode():
                return checkpoint.load(path)
        except ConfigError as error:
            raise Unreadable(f"{error}.") from error

    @property
    def _file(self) -> Path | None:
        return self.files.folder / NETWORKS if self.files.folder else None

    def _network_of_rows(self) -> Network | None:
        """That of the settings, of which the file's rows are; None where they cannot be read."""
        if self._network is None and (stored := self.files.settings.get("settings")):
            try:
                known = {name: value for name, value in stored.items() if name in Config.__dataclass_fields__}
                self._network = Config(**known).network
            except (ConfigError, TypeError, ValueError):
                return None
        return self._network

    def _read_rows(self) -> None:
        """Finds the epochs of rows that came since the last time; all anew where the file is another."""
        if self._file is None or (network := self._network_of_rows()) is None:
            return
        try:
            found = self._file.stat()
        except OSError:
            self._rows, self._read = {}, (0, 0)
            return
        if found.st_ino != self._read[0] or found.st_size < self._read[1]:
            self._rows, self._read = {}, (found.st_ino, 0)
        size, place = row_type(network.size).itemsize, self._read[1]
        last = max(self._rows, default=-1)
        while place + size <= found.st_size:
            epoch = int.from_bytes(self._bytes(place, 8), "little", signed=True)
            if epoch <= last:  # what comes after it is not to be trusted
                break
            self._rows[epoch], last = place, epoch
            place += size
        self._read = (found.st_ino, place)

    def _bytes(self, place: int, count: int) -> bytes:
        assert self._file
        try:
            with self._file.open("rb") as file:
                file.seek(place)
                return file.read(count)
        except OSError as error:
            raise Unreadable(f"{self._file} cannot be read ({error.strerror}).") from error
