from pathlib import Path

import pytest

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.files import Files, clash, differences, settings_of


def config(**words: object) -> Config:
    return Config(**{"input": "a/pic.png", "shape": "[10]*8", "epochs": 3, "seed": 1, **words})  # type: ignore[arg-type]


def test_names_are_the_originals() -> None:
    files = Files.of(config())
    assert files.frame(20) == Path("snapshots/pic.png_WzEwXSo4XzUwMDBfMTAyNF8wLjAwMV9hZGFt_1_epoch_000020.png")
    assert files.checkpoint(10) == Path("results/checkpoint_WzEwXSo4XzUwMDBfMTAyNF8wLjAwMV9hZGFt_1_epoch_000009.pt")
    assert files.film == Path("results/pic.png_WzEwXSo4XzUwMDBfMTAyNF8wLjAwMV9hZGFt_1.mp4")
    assert files.weights == Path("results/weights_WzEwXSo4XzUwMDBfMTAyNF8wLjAwMV9hZGFt_1.txt")
    assert files.smoothed.name == "pic.png_WzEwXSo4XzUwMDBfMTAyNF8wLjAwMV9hZGFt_1-kernel-smoothed.png"


def test_momentum_and_seed_enter_the_names() -> None:
    import base64

    files = Files.of(config(optimizer="sgd_momentum", momentum=0.85, seed=None))
    assert base64.b64decode(files.identity) == b"[10]*8_5000_1024_0.001_sgd_momentum_mom0.85"
    assert files.weights.name.endswith("_none.txt")


def test_names_fit_into_a_file_system_and_stay_apart(tmp_path: Path) -> None:
    long = "+".join(["[10]"] * 500)
    image = "ü" * 120 + ".png"
    made = [Files.of(config(shape=shape, input=image, output_dir=str(tmp_path))) for shape in (long, long + "+[3]")]
    names = [path.name for one in made for path in (one.smoothed, one.frame(999_999), one.checkpoint(10**6), one.film)]
    assert all(len(name.encode()) + len(".tmp.") <= 255 for name in names)
    assert len(set(names)) == len(names)
    made[0].make_folders()


def test_existing_files_are_found_whatever_is_in_their_names(tmp_path: Path) -> None:
    files = Files.of(config(input="we[i]rd *.png", output_dir=str(tmp_path), snapshot_dir=str(tmp_path)))
    files.make_folders()
    others = Files.of(config(input="we[i]rd *.png", seed=11, output_dir=str(tmp_path), snapshot_dir=str(tmp_path)))
    written = [files.frame(3), files.checkpoint(4), files.film]
    for path in (*written, others.frame(3), others.checkpoint(4)):
        path.touch()
    assert sorted(files.existing()) == sorted(written)
    assert files.frames() == {3: files.frame(3)}
    assert files.checkpoints() == {4: files.checkpoint(4)}


def test_a_clash_names_the_settings_that_differ() -> None:
    stored = settings_of(config(kolmogorov_shape="[8]", kolmogorov_weight=0.5))
    assert differences(stored, config()) == (
        "--kolmogorov-shape [8] there, None here; --kolmogorov-weight 0.5 there, 0.0 here"
    )
    message = str(clash([Path("r/b"), Path("r/a")], stored, config()))
    assert "--kolmogorov-weight 0.5 there" in message
    assert "r/a" in message
    assert "--overwrite" in message
    assert "same settings already" in str(clash([Path("a")], settings_of(config()), config()))
    assert "--resume r/x_epoch_000003.pt," in str(clash([Path("a"), Path("r/x_epoch_000003.pt")], stored, config()))
    assert "not known" in str(clash([Path("a")], None, config()))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/below cannot be written"):
        Files.of(config(output_dir=str(tmp_path / "file" / "below"))).make_folders()
