import re
from pathlib import Path

import numpy as np
import pytest

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.flags import option
from draw_poly.engine.shape import MAX_LAYERS, parse_shape


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("[10]*8", (10,) * 8),
        ("8*[10]", (10,) * 8),
        ("[7,12,5]", (7, 12, 5)),
        ("[3]*2 + [4, 5]", (3, 3, 4, 5)),
        (" ( 6, 7 ) ", (6, 7)),
        ("[1,2]*3", (1, 2) * 3),
        ("[1]*10000", (1,) * 10000),
    ],
)
def test_shapes_are_read_without_being_evaluated(text: str, widths: tuple[int, ...]) -> None:
    assert parse_shape(text) == widths


@pytest.mark.parametrize(
    "text",
    [
        "[10]*10**9",
        '__import__("os")',
        "[]",
        "[0]",
        "[1.5]",
        "[[3],[4]]",
        "[-3]",
        "[True]",
        "",
        "10",
        "[10]*0",
        "[10",
        "[10]+5",
        "[a]",
        "[10]*[2]",
        "[1e3]",
        "(" * 5000 + "1" + ")" * 5000,
        "[" + "9" * 5000 + "]",
        "[10]*1000000000000",
        "[2000000]",
    ],
)
def test_what_is_no_shape_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_shape(text)
    message = str(refusal.value)
    assert message.startswith("--shape was ")
    assert len(message) < 250
    assert "[10]*8" in message or str(MAX_LAYERS) in message


def config(**words: object) -> Config:
    return Config(**{"input": "x.png", "shape": "[10]*8", "epochs": 3, **words})  # type: ignore[arg-type]


NAN, INF = float("nan"), float("inf")
COUNTS = ("epochs", "points", "batch_size", "save_interval", "chunk_size", "checkpoint_interval", "threads")
POSITIVE = ("learning_rate", "kolmogorov_lr", "resume_lr", "smoothing_sigma")
ENDS = ("kolmogorov_weight_min", "kolmogorov_weight_max")
PATHS = ("input", "output_dir", "snapshot_dir", "checkpoint_dir", "log_file", "resume")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in COUNTS for value in (0, -1, 10**21, 2.5, NAN, "many")]
    + [(name, value) for name in POSITIVE for value in (0.0, -1.0, NAN, INF, 1e300, 1e-31, 10**400, "much")]
    + [(name, value) for name in ENDS for value in (NAN, INF, -INF, -1e19, 1e300)]
    + [
        ("momentum", 1.0),
        ("momentum", 0.99999999),  # float32's 1
        ("momentum", -0.1),
        ("momentum", NAN),
        ("threads", 20_000),
        ("threads", 3_000_000_000),
        ("frame_size", 16_385),
        ("kolmogorov_bins", 1),
        ("kolmogorov_bins", 10**21),
        ("kolmogorov_weight", 1e-300),
        ("seed", -1),
        ("seed", 2**32),
        ("jpeg_quality", 0),
        ("jpeg_quality", 101),
        ("kolmogorov_weight", NAN),
        ("kolmogorov_weight", -1.0),
        ("kolmogorov_weight", 1e300),
        ("optimizer", "lioness"),
        ("backend", "tpu"),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match="--" + name.replace("_", "-") + f" was .*{re.escape(shown(value))}.*: give "):
        config(**{name: value})


def shown(value: object) -> str:
    return str(value)[:60]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, 2**62) for name in COUNTS if name != "threads"]
    + [(name, value) for name in POSITIVE if name != "resume_lr" for value in (1e-30, 1e18)]
    + [("threads", 4096), ("momentum", 0.0), ("momentum", 0.9999999), ("seed", 0), ("seed", 2**32 - 1)]
    + [("jpeg_quality", 1), ("jpeg_quality", 100), ("frame_size", 16_384), ("kolmogorov_bins", 2)],
)
def test_values_at_the_ends_of_their_range_are_taken(name: str, value: float) -> None:
    assert getattr(config(**{name: value}), name) == value


def test_numbers_are_kept_as_pythons_own() -> None:
    made = config(points=np.int64(7), learning_rate=1, seed=np.uint32(3), momentum=np.float32(0.5))
    assert [type(value) for value in (made.points, made.learning_rate, made.seed, made.momentum)] == [
        int, float, int, float,
    ]  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_home_is_expanded_in_every_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/homes/me")
    expected: dict[object, str] = {"~/x": "/homes/me/x", "~": "/homes/me"}
    expected |= {path: path for path in ("x~y", "./~/x", "a/~/b")}
    found = {given: getattr(config(**{name: given}), name) for given in [*expected, Path("~/x")]}
    expected[Path("~/x")] = "/homes/me/x"
    assert found == ({given: (path,) for given, path in expected.items()} if name == "resume" else expected)
    with pytest.raises(ConfigError, match=f"{option(name)} was empty: give a path"):
        config(**{name: ""})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"kolmogorov_shape": "[8]"}, "needs a --kolmogorov-weight above 0"),
        ({"kolmogorov_weight": 0.1}, "needs --kolmogorov-shape"),
        ({"kolmogorov_shape": "[8]", "kolmogorov_weight": 0.1, "kolmogorov_bins": 1}, "--kolmogorov-bins was 1"),
        (
            {"kolmogorov_shape": "[8]", "kolmogorov_weight": 0.1, "kolmogorov_weight_min": 3.0},
            "the first below the second",
        ),
        (
            {
                "kolmogorov_shape": "[8]",
                "kolmogorov_weight": 0.1,
                "kolmogorov_weight_min": 1.0,
                "kolmogorov_weight_max": 1.00000001,
            },
            "--kolmogorov-weight-min 1.0 and --kolmogorov-weight-max 1.00000001 with --kolmogorov-bins 256 .*apart",
        ),
        ({"kolmogorov_shape": "[8", "kolmogorov_weight": 0.1}, "--kolmogorov-shape was '\\[8'"),
        ({"resume_lr": 0.1}, "--resume-lr changes a resumed run"),
        ({"resume_optimizer": "sgd"}, "--resume-optimizer changes a resumed run"),
        ({"resume": "x.pt", "resume_lr": 0.0}, "--resume-lr was 0.0"),
        ({"use_compile": True, "backend": "eager"}, "--use-compile means --backend compile"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**words)


def test_use_compile_is_the_compile_backend() -> None:
    assert config(use_compile=True).backend == "compile"


def test_networks_and_optimisers_follow_from_flags() -> None:
    made = config(
        kolmogorov_shape="[8, 8]",
        kolmogorov_weight=0.1,
        kolmogorov_bins=64,
        kolmogorov_lr=0.5,
        optimizer="sgd_momentum",
    )
    assert made.network.dims == (2, *[10] * 8, 1)
    assert made.network.size == 811
    assert made.kolmogorov_term
    assert made.kolmogorov_term.predictor.dims == (3, 8, 8, 64)
    assert [one.learning_rate for one in made.optimizers] == [0.001, 0.5]
    assert config().kolmogorov_term is None
    squared = config(kolmogorov_shape="[8]", kolmogorov_weight=1.0, kolmogorov_loss_type="mse").kolmogorov_term
    assert squared
    assert squared.predictor.dims[-1] == 1
