"""`draw-poly code`: a checkpoint's network as a `.poly` file, with a table of its bits; such a file decoded."""

import logging
from pathlib import Path

import torch

from draw_poly.engine.code.codec import decode
from draw_poly.engine.code.options import CodeOptions
from draw_poly.engine.code.picture import drawn
from draw_poly.engine.code.range_coder import CodeError
from draw_poly.engine.code.report import rows
from draw_poly.engine.code.source import load
from draw_poly.engine.code.weights import Wanted
from draw_poly.engine.model.initialisation import as_text
from draw_poly.engine.record import checkpoint_file
from draw_poly.engine.record.disk import ReadError, read, write_whole
from draw_poly.engine.record.log_file import say_plainly
from draw_poly.engine.record.picture_file import png_of

log = logging.getLogger("polytope_nn.code")
DONE, FAILED = 0, 3
SUFFIX = ".poly"


def run(options: CodeOptions) -> int:
    """Makes what is asked for. Returns the exit status; raises ConfigError for what cannot be done."""
    say_plainly(log)
    path, folder = Path(options.source), Path(options.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (_decode if path.suffix == SUFFIX else _encode)(options, folder)
    except OSError as error:
        log.error("%s: %s", error.filename or folder, error.strerror)  # noqa: TRY400
        return FAILED
    return DONE


def _encode(options: CodeOptions, folder: Path) -> None:
    """A checkpoint to a file, the picture that this draws, and what it takes."""
    source = load(checkpoint_file.newest(options.source), options.input)
    weights, tells_classes = source.weights, source.weights.network.loss.labelled
    picture = None if tells_classes else source.picture
    size = (picture.width, picture.height) if picture else (0, 0)
    code = weights.code(Wanted(options.by, options.bins, options.weight_min, options.weight_max), size)
    _write(folder / f"{source.name}{SUFFIX}", code.content)
    found = decode(code.content, source.name)
    own = drawn(found.network, found.parameters, size) if picture else None
    if own is None:
        log.warning(
            "No picture is drawn, and none compared, without the image: %s (--input)",
            source.unseen or "classes are none",
        )
    else:
        _write(folder / f"{source.name}.png", png_of(own))
    for row in rows(weights, code, found.grid, picture, own):
        log.info("%s", row)


def _decode(options: CodeOptions, folder: Path) -> None:
    """A file to its weights as text and its picture."""
    path = Path(options.source)
    for name in ("input", "by", "bins", "weight_min", "weight_max"):
        if getattr(options, name) is not None:
            raise CodeError(f"--{name.replace('_', '-')} is of coding, but {path} is decoded: leave it out")
    try:
        content = read(path)
    except ReadError as error:
        raise CodeError(f"{path} cannot be read ({error.strerror})") from error
    found = decode(content, str(path))
    _write(folder / f"{path.stem}.txt", as_text(torch.from_numpy(found.parameters), found.network).encode())
    if all(found.size):
        _write(folder / f"{path.stem}.png", png_of(drawn(found.network, found.parameters, found.size)))
    widths = "-".join(map(str, found.network.dims))
    log.info("a network %s, %d parameters in %d bins", widths, found.network.size, found.grid.bins)


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content)
    log.info("%s", path)
