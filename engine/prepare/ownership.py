"""Whose files are whose: the names that a fresh run takes, and the run that a resume means."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draw_poly.engine import files
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.data.image import Picture
from draw_poly.engine.files import Files
from draw_poly.engine.prepare.claim import Claim, Owned, holder
from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.checkpoint import Checkpoint
from draw_poly.engine.record.checkpoint_file import CheckpointError
from draw_poly.engine.record.journal import log


@dataclass(frozen=True)
class Record:
    """What is known of a run: its settings, and the hash of its image's pixels where that was kept."""

    settings: Mapping[str, Any]
    digest: str | None

    @staticmethod
    def of(config: Config, picture: Picture) -> "Record":
        """Of a run that is about to begin."""
        return Record(files.settings_of(config), picture.digest)

    @staticmethod
    def found(place: Files) -> "Record | None":
        """Of the run that has these names, from its own file or its newest checkpoint; None where neither tells."""
        for path in place.records():
            if stored := files.read_settings(path):
                return Record(stored["settings"], stored.get("resolved", {}).get("image", {}).get("sha256"))
        checkpoints = place.checkpoints()
        return Record.saved(checkpoints[max(checkpoints)]) if checkpoints else None

    @staticmethod
    def saved(path: Path) -> "Record | None":
        """Of the run that a checkpoint is of; None where it does not tell."""
        try:
            stored = checkpoint.load(path)
        except CheckpointError:
            return None
        return Record(stored.settings, stored.digest)

    def differences(self, config: Config, picture: Picture) -> str:
        """How it differs from the run asked for; empty where they differ in where and how alone, or in the draw."""
        stored = dict(self.settings)
        there, here = stored.get("input", config.input), config.input
        if self.digest not in (None, picture.digest):
            stored["input"] = f"{there} with other pixels" if there == here else there
        elif os.path.basename(there) == os.path.basename(here):
            stored["input"] = here
        return files.differences(stored, config)


def settle(config: Config, picture: Picture, claim: Claim) -> tuple[Files, list[Path]]:
    """The files of a fresh run, claimed, in folders that are there; and those that are to make way for them.

    Where another run has their names that differs only in what names leave out, they get a number. Raises ConfigError
    for files that would be written over, and for those of the same run in another process.
    """
    ours = Record.of(config, picture)
    busy: dict[int, str] = {}
    while True:
        place, why = _chosen(config, picture, busy)
        replaced = place.existing()
        place.make_folders()
        try:
            claim.take(place.claims, dataclasses.asdict(ours))
        except Owned as owned:
            about = owned.owner.about
            difference = Record(about.get("settings", {}), about.get("digest")).differences(config, picture)
            if config.overwrite or (config.seed is not None and not difference):
                raise ConfigError(str(owned)) from owned
            busy[place.number] = difference or str(owned.owner)
            continue
        if set(place.existing()) == set(replaced):
            break
        claim.give_up()  # somebody wrote them meanwhile
    if place.number > 1:
        said = 'The names of this run\'s files have "%s" in them, since another run has them without (%s)'
        log.info(said, place.suffix, why)
    return place, replaced


def take(claim: Claim, place: Files, config: Config, picture: Picture) -> None:
    """Claims the files of a resumed run. Raises ConfigError where they are another process's."""
    try:
        claim.take(place.claims, dataclasses.asdict(Record.of(config, picture)))
    except Owned as owned:
        raise ConfigError(str(owned)) from owned


def _chosen(config: Config, picture: Picture, busy: Mapping[int, str]) -> tuple[Files, str]:
    """The names for a fresh run, and why these where others had been first; leaves those that are `busy` alone."""
    first = Files.of(config)
    taken = first.numbers()
    places = [dataclasses.replace(first, number=number) for number in sorted(taken)]
    why = "; ".join(busy.values())
    # Without a seed two runs are never the same, and of those before the last one alone may have come to nothing.
    for place in places if config.seed is not None or config.overwrite else places[-1:]:
        record = Record.found(place)
        difference = record.differences(config, picture) if record else ""
        why = difference or why or "no --seed was given, so this is another draw"
        if place.number in busy or difference:
            continue
        if record and (config.overwrite or _came_to_nothing(place)):
            return place, why
        if config.seed is not None and not config.overwrite:
            if owner := holder(place.claims):
                raise ConfigError(str(Owned(*owner)))
            raise files.clash(place.existing(), files.settings_of(config) if record else None, config)
    if config.overwrite:
        return first, why
    number = next(number for number in range(1, len(taken) + len(busy) + 2) if number not in taken | busy.keys())
    return dataclasses.replace(first, number=number), why


def _came_to_nothing(place: Files) -> bool:
    """Whether the run that left these files ended before epoch 1, so that nothing is lost with them."""
    if place.checkpoints() or any(place.frames()) or _rows(place.metrics):
        return False
    if not place.film.exists():
        return True
    from draw_poly.engine.record.film import count_frames

    return count_frames(place.film) <= 1


def _rows(metrics: Path) -> int:
    try:
        return len(metrics.read_bytes().splitlines()) - 1
    except FileNotFoundError:
        return 0


def meant(found: Sequence[Path], config: Config, picture: Picture) -> tuple[Path, Checkpoint]:
    """The checkpoint to resume from, and what it holds: of those `found`, which may be of several runs.

    The one most like the run asked for, the first of them. Raises CheckpointError where it cannot be read.
    """
    if len(found) == 1:
        return found[0], checkpoint.load(found[0])
    best: tuple[Path, Checkpoint] | None = None
    least = (True, 0)
    for path in found:
        with suppress(CheckpointError):
            stored = checkpoint.load(path)
            differences = Record(stored.settings, stored.digest).differences(config, picture)
            strangeness = stored.digest != picture.digest, differences.count("; ") + bool(differences)
            if best is None or strangeness < least:
                best, least = (path, stored), strangeness
    return best or (found[0], checkpoint.load(found[0]))
