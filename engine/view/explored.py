"""A run as its pages share it: networks, ages of regions, tables and image; each window of it as a packet."""

from pathlib import Path

from draw_poly.engine.config import ConfigError
from draw_poly.engine.data import image_file
from draw_poly.engine.view.ages import Ages
from draw_poly.engine.view.catalogue import RunFiles
from draw_poly.engine.view.history import History, Unreadable
from draw_poly.engine.view.packet import MOST_CELLS, Target, of_window, packed
from draw_poly.engine.view.tables import Tail
from draw_poly.kernels.cpu.regions import Regions
from draw_poly.kernels.spec import Network
from draw_poly.kernels.spec.subdivision import TooManyRegions
from draw_poly.kernels.spec.window import Window


class Explored:
    """A run's files, looked at again and again; `notes` are sentences on what is not there."""

    def __init__(self, files: RunFiles, most: int = MOST_CELLS) -> None:
        self.files = files
        self.history, self.ages = History(files), Ages(most)
        folder = files.folder
        self.metrics = Tail(folder / "metrics.csv" if folder else None)
        self.regions = Tail(folder / "regions.csv" if folder else None)
        self._most = most
        self._builders: dict[Network, Regions] = {}
        self.notes: list[str] = []
        self.target: Target | None = None
        self._asked: object = None
        self.refresh()

    def refresh(self) -> None:
        """Looks again which networks there are, and for the image, if the settings tell another one."""
        self.history.refresh()
        settings = self.files.settings
        asked = (settings.get("settings") or {}).get("input"), (settings.get("resolved") or {}).get("image")
        if asked != self._asked:
            self._asked, self.notes = asked, []
            self.target = self._target()

    def has_begun(self) -> bool:
        """Whether there is a network by now that can be shown."""
        self.refresh()
        try:
            return self.network is not None
        except Unreadable:
            return False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image; a square where they are not known."""
        stored = (self.files.settings.get("resolved") or {}).get("image") or {}
        width, height = stored.get("width"), stored.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return width, height
        return (1, 1) if self.target is None else (self.target.pixels.shape[1], self.target.pixels.shape[0])

    def packet(self, epoch: int, window: Window) -> bytes:
        """A window of the network after an epoch. Raises Unreadable."""
        state = self.history.state(epoch)
        if state.network not in self._builders:
            self._builders[state.network] = Regions(state.network, self._most)
        try:
            return packed(of_window(self._builders[state.network], state, window, self.ages, self.target))
        except TooManyRegions as error:
            raise Unreadable(f"{str(error).capitalize()}, more than can be drawn: zoom in.") from error
        except ValueError as error:
            raise Unreadable(f"Of epoch {epoch} there is nothing to see: {error}.") from error

    @property
    def network(self) -> Network:
        """That of its newest epoch. Raises Unreadable where there is none yet."""
        for epoch in reversed(self.history.epochs):
            return self.history.state(epoch).network
        raise Unreadable(
            "There is no network of this run yet: it leaves one with each frame, unless --regions is off, and with "
            "each checkpoint."
        )

    def _target(self) -> Target | None:
        """The image, as long as it is where the run has found it, and the same."""
        settings = self.files.settings
        name = (settings.get("settings") or {}).get("input")
        if not isinstance(name, str) or "\0" in name:
            self.notes.append("Which image was learned is not known.")
            return None
        try:
            picture = image_file.load_again(name, settings["settings"])
        except ConfigError:
            self.notes.append(f"The image {Path(name).name} is not where it was: it is not shown, nor is the error.")
            return None
        digest = ((settings.get("resolved") or {}).get("image") or {}).get("sha256")
        if digest not in (None, picture.digest):
            self.notes.append(f"The image {Path(name).name} is another by now: it is not shown.")
            return None
        return Target(picture.pixels)
