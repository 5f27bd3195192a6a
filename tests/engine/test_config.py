import re

import pytest

from engine.config import MAX_LAYERS, Config, ConfigError, parse_shape


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
POSITIVE = ("learning_rate", "kolmogorov_lr", "smoothing_sigma")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in COUNTS for value in (0, -1, 10**21)]
    + [(name, value) for name in POSITIVE for value in (0.0, -1.0, NAN, INF, 1e300)]
    + [
        ("momentum", 1.0),
        ("momentum", NAN),
        ("seed", -1),
        ("seed", 2**32),
        ("jpeg_quality", 0),
        ("jpeg_quality", 101),
        ("kolmogorov_weight", NAN),
        ("kolmogorov_weight", -1.0),
        ("kolmogorov_weight", 1e300),
        ("optimizer", "lion"),
        ("backend", "tpu"),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match="--" + name.replace("_", "-") + f" was .*{re.escape(str(value))}.*: give "):
        config(**{name: value})


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
    assert made.code_length
    assert made.code_length.predictor.dims == (3, 8, 8, 64)
    assert [one.learning_rate for one in made.optimizers] == [0.001, 0.5]
    assert config().code_length is None
    squared = config(kolmogorov_shape="[8]", kolmogorov_weight=1.0, kolmogorov_loss_type="mse").code_length
    assert squared
    assert squared.predictor.dims[-1] == 1
