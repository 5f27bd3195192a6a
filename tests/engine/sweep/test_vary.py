"""Words to members: what is read, what is refused, and that a sentence says why."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.sweep.values import VARIABLE, values_of
from draw_poly.engine.sweep.vary import LONGEST_NAME, identity, members

BASE: dict[str, Any] = {"input": "x.png", "shape": "[10]*8", "epochs": 5}


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("seed=3", [3]),
        ("seed=1..4", [1, 2, 3, 4]),
        ("seed=1..10..4", [1, 5, 9]),
        ("seed=9..1..4", [9, 5, 1]),
        ("seed= 7, 1..3 ,none", [7, 1, 2, 3, None]),
        ("points=10..1000 log 3", [10, 100, 1000]),
        ("batch-size=1..6 lin 3", [1, 4, 6]),  # half goes to the even one
        ("learning-rate=3e-4,.001,1", [3e-4, 1e-3, 1.0]),
        ("learning-rate=1e-4..1e-2 log 5", [1e-4, 3.16227766e-4, 1e-3, 3.16227766e-3, 1e-2]),
        ("momentum=0..0.5 lin 6,0.9", [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9]),
        ("kolmogorov-weight-min=-3..-1", [-3.0, -2.0, -1.0]),
        ("optimizer=sgd,adam", ["sgd", "adam"]),
        ("shape=[10]*8,[20]*4, ([3,4]+[5])*2 ,[7,8]", ["[10]*8", "[20]*4", "([3,4]+[5])*2", "[7,8]"]),
        ("kolmogorov-shape=none", [None]),
        ("input=../a..b/c.png,d=e.png", ["../a..b/c.png", "d=e.png"]),
        ("kolmogorov-lr=none,1e-3", [None, 1e-3]),
        ("epochs=1..3", [1, 2, 3]),
    ],
)
def test_values_are_those_that_are_written(word: str, values: list[Any]) -> None:
    name, _, text = word.partition("=")
    made = members(BASE, [word])
    field = name.replace("-", "_")
    assert [one.varied for one in made] == [{field: value} for value in values]
    assert [getattr(one.config, field) for one in made] == values == values_of(field, text)
    assert all(type(one.varied[field]) is type(getattr(one.config, field)) for one in made)


@pytest.mark.parametrize("flag", ["learning-rate", "--learning-rate", "learning_rate", "l", "-l", " --learning-rate "])
def test_a_flag_may_be_written_as_on_the_command_line(flag: str) -> None:
    assert [one.config.learning_rate for one in members(BASE, [f"{flag}=0.5"])] == [0.5]


def test_the_product_is_that_of_loops_and_the_last_flag_is_the_inner_one() -> None:
    made = members({**BASE, "momentum": 0.5}, ["optimizer=sgd,adam", "seed=2..3", "l=0.1,0.2"])
    wanted = [(kind, seed, rate) for kind in ("sgd", "adam") for seed in (2, 3) for rate in (0.1, 0.2)]
    assert [tuple(one.varied.values()) for one in made] == wanted
    assert [one.number for one in made] == list(range(1, 9))
    for one, (kind, seed, rate) in zip(made, wanted, strict=True):
        assert one.config == Config(**BASE, momentum=0.5, optimizer=kind, seed=seed, learning_rate=rate)
    assert made[3].name == "0004_optimizer=sgd_seed=3_learning-rate=0.2"
    assert made[3].label == "optimizer sgd, seed 3, learning-rate 0.2"


def test_any_flag_of_training_varies_and_no_other() -> None:
    assert set(VARIABLE) >= {"input", "shape", "epochs", "seed", "points", "momentum", "kolmogorov_bins"}
    for name in ("output_dir", "o", "resume", "threads", "save-interval", "quiet", "backend"):
        with pytest.raises(
            ConfigError, match=r"is the same for all members of a sweep: what may vary is what --help has under "
        ):
            members(BASE, [f"{name}=1,2"])


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ([], "a sweep needs --vary"),
        (["seed"], "--vary was 'seed': give a flag and its values"),
        (["=3"], "'' is no flag"),
        (["lerning-rate=1"], "'lerning-rate' is no flag: did you mean learning-rate"),
        (["see=1"], "did you mean seed?"),
        (["zzz=1"], "'zzz' is no flag: give what --help has under"),
        (["seed="], "--vary seed= has an empty value"),
        (["seed=1,,2"], "has an empty value"),
        (["seed=1,"], "has an empty value"),
        (["seed=a"], "--seed was 'a': give a whole number, or none"),
        (["seed=1.5"], "give a whole number"),
        (["points=none"], "--points was 'none': give a whole number"),
        (["seed=-1"], "--seed was -1: give a whole number from 0 to 4294967295"),
        (["seed=1..2..0"], "has the step 0"),
        (["seed=1..2..-1"], "has the step -1"),
        (["seed=1.."], "is no range"),
        (["learning-rate=0.1..1"], "is no range: give whole numbers, such as 1..64"),
        (["learning-rate=0.1..1 log"], "is no range"),
        (["learning-rate=0.1..1 log 1"], "a range has at least its two ends"),
        (["learning-rate=0..1 log 5"], "is not above 0"),
        (["learning-rate=1..1e999 log 5"], "is not finite"),
        (["learning-rate=-1..1 lin 3"], "--learning-rate was -1.0: give a number from"),
        (["optimizer=adam,adom"], "--optimizer was 'adom': give one of"),
        (["shape=[10]*8,[20"], "--shape was '[20': give a list"),
        (["kolmogorov-shape=8"], "--kolmogorov-shape was '8': give a list"),
        (["seed=1,2,1"], "--vary seed has 1 twice"),
        (["learning-rate=1e-3,0.001"], "--vary learning-rate has 0.001 twice"),
        (["shape=[10]*2,[10, 10]"], "--vary shape has [10, 10] twice"),
        (["seed=1..3 lin 4"], "--vary seed has 2 twice"),
        (["seed=1,2", "-l=1", "--seed=3"], "--seed varies twice"),
        (["seed=0..1000000"], "has 1000001 values, and a sweep has at most 1000000 members"),
        (["seed=0..999999,1000000..1000001"], "has 1000002 values, and a sweep has at most 1000000 members"),
        (["seed=0..1 lin 999999999999"], "has 999999999999 values, and a sweep has at most"),
        ([f"seed=0..{'9' * 5000}"], "is past what any flag allows"),
        (["seed=1..2000", "points=1..2000"], "2000 x 2000 = 4000000 members were asked for, and a sweep has at most"),
        (["kolmogorov-weight=0,0.5"], "member 2 (kolmogorov-weight 0.5) cannot be: --kolmogorov-weight 0.5 needs"),
        (["seed=1..2", "kolmogorov-shape=none,[8]"], "member 2 (seed 1, kolmogorov-shape [8]) cannot be: "),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(vary: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        members(BASE, vary)
    message = str(refusal.value)
    assert said in message
    assert len(message) < 500
    assert "\n" not in message


def test_too_many_are_refused_before_any_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draw_poly.engine.sweep.vary.Config", None)
    with pytest.raises(ConfigError, match="at most 1000000"):
        members(BASE, [f"{name}=1..1000" for name in ("seed", "points", "batch-size")])


def test_what_all_members_need_may_vary_or_be_given_and_not_be_missing() -> None:
    assert [one.config.shape for one in members({**BASE, "shape": None}, ["shape=[3],[4]"])] == ["[3]", "[4]"]
    with pytest.raises(ConfigError, match="--shape is missing"):
        members({"input": "x.png", "epochs": 3}, ["seed=1,2"])


def table(folder: Path, content: str | bytes) -> str:
    path = folder / "members.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    "content",
    [
        'seed,learning-rate,shape\n1,0.1,"[3,4]"\n2,,[5]\n,0.3,\n',
        '\ufeffseed,--learning_rate, -s\r\n1,0.1,"[3,4]"\r\n\r\n2,,[5]\r\n,0.3,\r\n',
        "seed;learning-rate;shape\n1; 0.1;[3,4]\n2;;[5]\n;0.3;",
    ],
)
def test_a_row_of_a_table_is_a_member_and_an_empty_cell_as_without_it(tmp_path: Path, content: str) -> None:
    made = members({**BASE, "learning_rate": 0.7}, ["points=8,9"], table(tmp_path, content))
    rows = [(1, 0.1, "[3,4]"), (2, 0.7, "[5]"), (None, 0.3, "[10]*8")]
    assert [tuple(one.varied.values()) for one in made] == [(*row, points) for row in rows for points in (8, 9)]
    assert list(made[0].varied) == ["seed", "learning_rate", "shape", "points"]
    assert made[2].config == Config(**BASE | {"shape": "[5]"}, seed=2, learning_rate=0.7, points=8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no members"),
        ("seed,points\n", "has no members"),
        ("seed,sed\n1,2\n", "'sed' is no flag: did you mean seed"),
        ("seed,output-dir\n1,2\n", "--output-dir is the same for all members"),
        ("seed,--seed\n1,2\n", "--seed has two columns"),
        ("seed,points\n1,2\n1\n", "line 3 has 1 cells for 2 flags"),
        ("seed,points\n1,2,3\n", "line 2 has 3 cells for 2 flags"),
        ("seed,points\n1,2\n3,4\n1,2\n", "lines 2 and 4 are the same member"),
        ("seed,points\n1,\n1,5000\n", "lines 2 and 3 are the same member"),
        ("seed\n1..3\n", "--seed was '1..3': give a whole number"),
        ("learning-rate\n-1\n", "--learning-rate was -1.0: give a number from"),
        (b"seed\n\xff\xfe\n", "is no text in UTF-8"),
        ('seed\n"1\n', "is no table, in line 2: "),
        (b"seed\n1\r2\r1", "lines 2 and 4 are the same member"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_with_its_name(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refusal:
        members(BASE, [], table(tmp_path, content))
    assert str(refusal.value).startswith("--vary-from ")


def test_a_table_that_is_not_there_and_a_flag_in_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--vary-from .*none.csv cannot be read \(No such file"):
        members(BASE, [], str(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory"):
        members(BASE, [], str(tmp_path))
    with pytest.raises(ConfigError, match="--seed varies twice"):
        members(BASE, ["seed=1,2"], table(tmp_path, "seed\n3\n"))


def test_names_are_files_names_and_each_its_own() -> None:
    shapes = ",".join(["[10]*8", "[20,3]*4+[5]*2", "+".join(["[100,50]"] * 40), "([3] + [4])*2"])
    made = members(BASE, [f"shape={shapes}", "input=/a/ü b.png,c/../ü b.png,CON", "l=1e-5..1 log 7"])
    names = [one.name for one in made]
    assert len(set(names)) == len(made) == 84
    assert all(re.fullmatch(r"[A-Za-z0-9_.=+,-]+", name) and len(name) <= LONGEST_NAME for name in names)
    assert names[1].startswith("0002_shape=10x8_input=-b.png_learning-rate=6.81292e-05")


def test_an_identity_is_of_what_is_trained_and_not_of_how() -> None:
    made = members(BASE, ["seed=1..3", "l=1,2"])
    name = identity(made)
    assert re.fullmatch("[0-9a-f]{8}", name)
    assert name == identity(members(BASE, ["seed=1..3", "l=1.0,2"]))
    for change in ({"threads": 2}, {"output_dir": "there"}, {"epochs": 50}, {"overwrite": True}, {"resume": ["x"]}):
        assert identity([replace(one, config=replace(one.config, **change)) for one in made]) == name, change
    others = [
        made[:-1],
        members(BASE, ["seed=1..3", "l=1,3"]),
        members({**BASE, "points": 9}, ["seed=1..3", "l=1,2"]),
        members(BASE, ["epochs=1,2"]),
        members(BASE, ["epochs=1,3"]),
    ]
    assert len({name, *map(identity, others)}) == 6


def test_words_are_refused_before_torch_is_loaded() -> None:
    code = "import sys, draw_poly.engine.sweep.vary; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
