"""Resuming, through the program: what goes on is bit for bit what would have been."""

import csv
import os
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from draw_poly.engine.record.film import count_frames
from draw_poly.kernels.cpu.runtime.registers import VARIANT
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, OPTIMIZERS
from tests.conftest import GOLDEN, Program, rows

TERM = ("--kolmogorov-shape", "[4]", "--kolmogorov-weight", 0.1, "--kolmogorov-bins", 20)


def same(first: Any, second: Any) -> bool:
    """Equality to the bit, through dicts, lists and tensors."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)


def newest(folder: Path) -> Path:
    return max((folder / "results").glob("checkpoint_*.pt"))


def content(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=False)  # type: ignore[no-any-return]


def metrics(folder: Path) -> list[dict[str, str]]:
    (path,) = (folder / "results").glob("*/metrics.csv")
    with path.open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(first: Path, second: Path) -> None:
    one, two = content(newest(first)), content(newest(second))
    for key in one.keys() - {"run", "settings"}:
        assert same(one[key], two[key]), key
    assert metrics(first) == metrics(second)
    films = [next((folder / "results").glob("*.mp4")) for folder in (first, second)]
    assert count_frames(films[0]) == count_frames(films[1])


@pytest.mark.parametrize(
    ("there", "backend", "told"),
    [("AVX-1024", "cpu", True), (None, "cpu", False), ("as it is", "cpu", False), ("AVX-1024", "eager", False)],
)
def test_a_run_that_moves_to_other_registers_says_so(
    program: Program, tmp_path: Path, there: str | None, backend: str, told: bool
) -> None:
    begun = ("--seed", 1, "-e", 2, "--backend", "cpu")
    assert program(*begun).status == 0
    path = newest(tmp_path / "out")
    stored = content(path)
    assert stored["kernel_variant"] == VARIANT
    if there != "as it is":
        torch.save({**stored, "kernel_variant": there}, path)
    resumed = program("--seed", 1, "-e", 3, "--backend", backend, "--resume", path)
    assert resumed.status == 0
    sentence = f"The checkpoint was trained by kernels for {there}, and goes on with those for {VARIANT}"
    assert (sentence in resumed.log) == told
    assert ("to rounding, not to the bit" in resumed.log) == told
    assert content(newest(tmp_path / "out"))["kernel_variant"] == (VARIANT if backend == "cpu" else None)


# In the default run each optimiser and each loss of the term, by one backend or the other.
PLAIN, WITH_TERM = product(OPTIMIZERS, [None]), [*product(["adam"], KOLMOGOROV_LOSSES), ("sgd_momentum", "mse")]
KINDS = [(*kind, backend) for kind in (*PLAIN, *WITH_TERM) for backend in ("cpu", "eager")]


@pytest.mark.parametrize(("optimizer", "loss", "backend"), rows(KINDS, quick=[*KINDS[::4], *KINDS[3::4]]))
def test_twice_n_epochs_are_n_and_n_more(
    program: Program, tmp_path: Path, optimizer: str, loss: str | None, backend: str
) -> None:
    words = ["--backend", backend, "--optimizer", optimizer, "-l", 0.01, "--seed", 5, "--save-interval", 3]
    words += [*TERM, "--kolmogorov-loss-type", loss, "--kolmogorov-lr", 0.002] if loss else []
    assert program(*words, "-e", 8, folder="whole").status == 0
    assert program(*words, "-e", 4, folder="half").status == 0
    resumed = program(*words, "-e", 8, "--resume", tmp_path / "half" / "results", folder="half")
    assert resumed.status == 0, resumed.log
    assert "Resuming training from epoch 4" in resumed.log
    assert_same_run(tmp_path / "whole", tmp_path / "half")


def test_without_a_seed_the_split_and_the_draws_go_on(program: Program, tmp_path: Path) -> None:
    # The unseeded run of 8 epochs cannot be run twice: its own checkpoint of epoch 4 is where the second way begins.
    assert program("-e", 8, "--checkpoint-interval", 4, *TERM, folder="whole").status == 0
    four = min((tmp_path / "whole" / "results").glob("checkpoint_*.pt"))
    assert content(four)["epoch"] == 3
    assert program("-e", 8, *TERM, "--resume", four, folder="other").status == 0
    one, two = content(newest(tmp_path / "whole")), content(newest(tmp_path / "other"))
    for key in ("model_state_dict", "optimizer_state_dict", "weight_predictor_state_dict", "training_points", "watch"):
        assert same(one[key], two[key]), key
    assert one["random_seed"] is None
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "other")


def test_resuming_a_middle_checkpoint_retraces_the_rest(program: Program, tmp_path: Path) -> None:
    assert program("-e", 9, "--seed", 1, "--checkpoint-interval", 4, folder="run").status == 0
    before = content(newest(tmp_path / "run")), metrics(tmp_path / "run")
    middle = sorted((tmp_path / "run" / "results").glob("checkpoint_*.pt"))[0]
    assert program("-e", 9, "--seed", 1, "--resume", middle, folder="run").status == 0
    after = content(newest(tmp_path / "run")), metrics(tmp_path / "run")
    assert same(before[0]["model_state_dict"], after[0]["model_state_dict"])
    assert before[1] == after[1]
    assert count_frames(next((tmp_path / "run" / "results").glob("*.mp4"))) == 10


def test_a_switch_reaches_both_networks_and_is_remembered(program: Program, tmp_path: Path) -> None:
    words = ["--seed", 1, *TERM]
    place = tmp_path / "run" / "results"
    assert program(*words, "-e", 2, folder="run").status == 0
    switched = program(
        *words, "-e", 4, "--resume", place, "--resume-optimizer", "sgd_momentum", "--resume-lr", 0.02, folder="run"
    )
    assert "Switching optimizer from adam to sgd_momentum" in switched.log
    assert "Changing learning rate from 0.001 to 0.02" in switched.log
    stored = content(newest(tmp_path / "run"))
    assert (stored["optimizer_type"], stored["learning_rate"]) == ("sgd_momentum", 0.02)
    for key in ("optimizer_state_dict", "weight_predictor_optimizer_state_dict"):
        assert stored[key]["param_groups"][0]["lr"] == 0.02
        assert set(stored[key]["state"][0]) == {"momentum_buffer"}
    again = program(*words, "-e", 6, "--resume", place, folder="run")
    assert again.status == 0
    assert "Switching" not in again.log
    assert content(newest(tmp_path / "run"))["optimizer_type"] == "sgd_momentum"


def test_another_rate_starts_the_predictors_moments_afresh_and_keeps_the_networks(
    program: Program, tmp_path: Path
) -> None:
    words = ["--seed", 1, *TERM]
    assert program(*words, "-e", 2, folder="run").status == 0
    assert program(*words, "-e", 3, "--resume", tmp_path / "run/results", "--resume-lr", 0.02, folder="run").status == 0
    stored = content(newest(tmp_path / "run"))
    assert stored["optimizer_state_dict"]["state"][0]["step"] == 12
    assert stored["weight_predictor_optimizer_state_dict"]["state"][0]["step"] == 4


def test_what_a_resume_may_not_change_is_refused_by_name(program: Program, tmp_path: Path, small_image: Path) -> None:
    assert program("--seed", 1, *TERM, folder="run").status == 0
    back = ["--seed", 1, "-e", 8, "--resume", tmp_path / "run" / "results", *TERM]
    other = tmp_path / "other.png"
    Image.fromarray(255 - np.asarray(Image.open(small_image))).save(other)
    cases: list[tuple[list[object], str]] = [
        (["-s", "[5]*4"], "--shape [5]*4 (there [5, 5, 5])"),
        (["-p", 90], "--points 90 (there 100)"),
        (["-b", 31], "--batch-size 31 (there 32)"),
        (["--seed", 2], "--seed 2 (there 1)"),
        (["-i", other], "may not change the image"),
        (["--kolmogorov-bins", 21], "--kolmogorov-bins 21 (there 20)"),
        (["--kolmogorov-shape", "[5]"], "--kolmogorov-shape [5] (there [4])"),
        (["--kolmogorov-loss-type", "mse"], "--kolmogorov-loss-type mse (there cross_entropy)"),
        (["-e", 3], "--epochs was 3"),
    ]
    for words, said in cases:
        refused = program(*back, *words, folder="run")
        assert refused.status == 2
        assert said in refused.log
    done = program(*back, "-e", 4, folder="run")
    assert done.status == 0
    assert "Nothing to do" in done.log


def test_what_a_resume_may_change_is_logged(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, *TERM, folder="run").status == 0
    words = ["--seed", 1, *TERM, "-e", 6, "--resume", tmp_path / "run/results", "--kolmogorov-weight", 0.2]
    assert "Changing --kolmogorov-weight from 0.1 to 0.2" in program(*words, folder="run").log


def test_file_folder_and_pattern_all_mean_the_newest(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 6, "--checkpoint-interval", 2, folder="run").status == 0
    place = tmp_path / "run" / "results"
    for text, epoch in ((place, 6), (f"{place}/checkpoint_*.pt", 6), (f"{place}/*_000001.pt", 2)):
        log = program("--seed", 1, "-e", 7, "--resume", text, folder=f"to{epoch}").log
        assert f"Resuming training from epoch {epoch}" in log
    assert "no checkpoint" in program("-e", 7, "--resume", tmp_path / "nothing*").log


def test_a_checkpoint_cannot_lead_out_of_the_folders(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, folder="run").status == 0
    stored = content(newest(tmp_path / "run"))
    for identity in ("z/../../../elsewhere", "a\0b", ""):
        torch.save({**stored, "network_shape_b64": identity}, tmp_path / "led_epoch_1.pt")
        refused = program("--seed", 1, "-e", 8, "--resume", tmp_path / "led_epoch_1.pt", folder="other")
        assert refused.status == 2
        assert "its run is called" in refused.log
    for key, value in (("film_frames", -3), ("epoch", -7)):
        torch.save({**stored, key: value}, tmp_path / "led_epoch_1.pt")
        assert f"{key} is {value}" in program("--seed", 1, "-e", 8, "--resume", tmp_path / "led_epoch_1.pt").log


def test_a_plain_resume_does_not_write_over_another_way_on(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 3, "--checkpoint-interval", 1).status == 0
    place = tmp_path / "out" / "results"
    assert program("--seed", 1, "-e", 6, "--resume", place, "--resume-optimizer", "sgd").status == 0
    last = newest(tmp_path / "out")
    before = last.read_bytes()
    two = next(place.glob("*_000001.pt"))
    refused = program("--seed", 1, "-e", 6, "--resume", two)
    assert refused.status == 2
    assert "--optimizer sgd there, adam here" in refused.log
    assert last.read_bytes() == before
    assert program("--seed", 1, "-e", 6, "--resume", two, "--overwrite").status == 0


def test_nothing_to_do_deletes_nothing(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 2, folder="one").status == 0
    assert program("--seed", 1, "-e", 4, folder="two").status == 0
    before = sorted((tmp_path / "two").rglob("*"))
    words = ["--seed", 1, "-e", 2, "--resume", newest(tmp_path / "one"), "--overwrite"]
    assert program(*words, folder="two").status == 0
    assert sorted((tmp_path / "two").rglob("*")) == before


def test_the_term_can_be_switched_on_with_a_rate_of_its_own(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 1, "-e", 2).status == 0
    on = ["--seed", 1, "-e", 4, "--resume", tmp_path / "out" / "results", *TERM, "--kolmogorov-lr", 0.33]
    outcome = program(*on)
    assert "on from here with a fresh predictor" in outcome.log
    stored = content(newest(tmp_path / "out"))
    assert stored["weight_predictor_optimizer_state_dict"]["param_groups"][0]["lr"] == 0.33
    again = program(*on[:2], "-e", 6, *on[4:])
    assert again.status == 0, again.log


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/draw-poly-was-here",)


def test_files_that_are_no_checkpoint_get_a_sentence_and_run_nothing(program: Program, tmp_path: Path) -> None:
    original = GOLDEN / "original_adam_epoch_000009.pt"
    (tmp_path / "empty_epoch_1.pt").touch()
    (tmp_path / "noise_epoch_1.pt").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "cut_epoch_1.pt").write_bytes(original.read_bytes()[:30_000])
    (tmp_path / "pickle_epoch_1.pt").write_bytes(pickle.dumps(Hostile()))
    torch.save({"epoch": 1, "args": Hostile()}, tmp_path / "hostile_epoch_1.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor_epoch_1.pt")
    torch.save({"epoch": 1}, tmp_path / "foreign_epoch_1.pt")
    stored = content(original)
    torch.save({**stored, "format_version": 99}, tmp_path / "newer_epoch_1.pt")
    torch.save({**stored, "optimizer_type": "lioness"}, tmp_path / "lion_epoch_1.pt")
    torch.save({**stored, "model_state_dict": {}}, tmp_path / "hollow_epoch_1.pt")
    saying = {
        "empty": "no checkpoint",
        "noise": "is no checkpoint",
        "cut": "cut off or damaged",
        "pickle": "not allowed",
        "hostile": "not allowed",
        "tensor": "holds a Tensor",
        "foreign": "lacks 'args'",
        "newer": "format version 99",
        "lion": "its optimiser is 'lioness'",
        "hollow": "lacks",
    }
    image = GOLDEN / "images" / "ring256.png"
    for name, said in saying.items():
        words = [
            "-i",
            image,
            "-s",
            "[10]*8",
            "-p",
            5000,
            "-b",
            1024,
            "-e",
            20,
            "--resume",
            tmp_path / f"{name}_epoch_1.pt",
        ]
        refused = program(*words)
        assert refused.status == 2, name
        assert said in refused.log, (name, refused.log)
        assert "Traceback" not in refused.log
    assert not Path("/tmp/draw-poly-was-here").exists()
    assert not (tmp_path / "out").exists()
