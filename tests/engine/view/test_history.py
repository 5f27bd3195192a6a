"""A run's networks as they are found: checkpoints and `networks.bin`, while it grows and where it is damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from draw_poly.engine.record import checkpoint
from draw_poly.engine.record.networks import Networks, row_type, whole_rows
from draw_poly.engine.schedule import Schedule
from draw_poly.engine.view.catalogue import Catalogue, SweepFiles
from draw_poly.engine.view.history import History, Unreadable
from draw_poly.engine.view.tables import MOST, Tail
from draw_poly.kernels.spec import Network
from tests.conftest import Program
from tests.engine.view.conftest import EPOCHS, run_in

SIZE = Network((2, 6, 6, 6, 1)).size


def test_networks_are_those_of_checkpoints_and_frames(trained: Path) -> None:
    history = History(run_in(trained))
    assert history.refresh()
    assert history.epochs == EPOCHS
    assert not history.refresh()  # nothing is new
    for path in trained.glob("*.pt"):
        stored = checkpoint.load(path).state
        state = history.state(stored.epoch)
        assert state.network == stored.main.network
        assert np.array_equal(state.parameters, stored.main.parameters[0].double().numpy())
    assert history.split is not None
    assert len(history.split.training) == 100


def test_epochs_come_while_a_run_writes_them(copied: Path) -> None:
    run = run_in(copied)
    assert run.folder
    file = run.folder / "networks.bin"
    whole = file.read_bytes()
    size = row_type(SIZE).itemsize
    assert len(whole) == 4 * size  # epochs 0, 2, 4, 6
    for path in copied.glob("*.pt"):
        path.unlink()
    history = History(run)
    file.write_bytes(whole[: 2 * size - 1])  # a row that is being written
    history.refresh()
    assert history.epochs == [0]
    with file.open("ab") as growing:
        growing.write(whole[2 * size - 1 :])
    assert history.refresh()
    assert history.epochs == [0, 2, 4, 6]
    file.write_bytes(whole[:size])  # begun anew
    assert history.refresh()
    assert history.epochs == [0]
    with pytest.raises(Unreadable, match="epoch 6 is not there any more"):
        history.state(6)
    file.unlink()
    assert history.refresh()
    assert history.epochs == []


def test_a_damaged_checkpoint_is_a_sentence(copied: Path) -> None:
    (path,) = copied.glob("*_epoch_000002.pt")
    path.write_bytes(path.read_bytes()[:2000])
    history = History(run_in(copied))
    history.refresh()
    with pytest.raises(Unreadable, match=r"no checkpoint that can be read: it is cut off or damaged\.$"):
        history.state(3)


def test_a_page_may_look_again_while_another_thread_reads(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(run_in(trained))
    history.refresh()
    whole = History.__setattr__

    def forgets(self: History, name: str, value: object) -> None:
        whole(self, name, value)
        if name == "_latest" and value is not None:  # the other thread's turn
            whole(self, name, None)

    monkeypatch.setattr(History, "__setattr__", forgets)
    assert history.state(4).epoch == 4


def test_rows_end_where_they_are_none() -> None:
    rows = np.zeros(4, row_type(3))
    rows["epoch"] = 0, 5, 5, 6
    assert whole_rows(rows.tobytes() + b"x", 3)["epoch"].tolist() == [0, 5]


def test_a_resume_goes_on_with_the_networks_of_its_schedule(tmp_path: Path) -> None:
    path = tmp_path / "networks.bin"
    networks = Networks(path, 3)
    networks.open(0, Schedule(2))
    for epoch in (0, 2, 4, 5):  # the last one alone is not the schedule's
        networks.add(epoch, np.full(3, epoch))
    networks.add(5, np.ones(3))  # is there
    networks.settle()
    networks = Networks(path, 3)
    networks.open(5, Schedule(2))
    networks.add(6, np.full(3, 6))
    networks.settle()
    rows = whole_rows(path.read_bytes(), 3)
    assert rows["epoch"].tolist() == [0, 2, 4, 6]
    assert np.array_equal(rows["parameters"][:, 0], [0, 2, 4, 6])
    networks.open(3, Schedule(2))
    assert whole_rows(path.read_bytes(), 3)["epoch"].tolist() == [0, 2]


def test_a_run_that_went_on_has_the_networks_of_one_that_did_not_stop(program: Program, tmp_path: Path) -> None:
    words = ("--seed", 3, "--save-interval", 2, "--no-film", "--snapshot-format", "jpg")
    assert program(*words, "-e", 6, folder="whole").status == 0
    assert program(*words, "-e", 3, folder="parts").status == 0
    assert program(*words, "-e", 6, "--resume", tmp_path / "parts" / "results", folder="parts").status == 0
    (whole,), (parts,) = (tmp_path.glob(f"{name}/results/*/networks.bin") for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_what_is_made_after_the_last_epoch_leaves_the_last_network(program: Program, tmp_path: Path) -> None:
    words = ("--seed", 3, "--save-interval", 2, "--no-film", "--snapshot-format", "jpg", "-e", 3)
    assert program(*words).status == 0
    (path,) = tmp_path.glob("out/results/*/networks.bin")
    before = path.read_bytes()
    next(tmp_path.glob("out/results/weights*.txt")).unlink()
    assert program(*words, "--resume", tmp_path / "out" / "results").status == 0
    assert path.read_bytes() == before


def test_a_run_without_regions_keeps_no_networks(program: Program, tmp_path: Path) -> None:
    assert program("--seed", 3, "--regions", "off", "--no-film").status == 0
    assert not list(tmp_path.glob("out/results/*/networks.bin"))


def test_a_folder_holds_runs_and_sweeps(trained: Path, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "both")
    shutil.copytree(swept, tmp_path / "both" / swept.name)
    catalogue = Catalogue.of(tmp_path / "both")
    assert len(catalogue.names) == 2
    assert list(catalogue.sweeps) == [swept.name]
    sweep = catalogue.find(swept.name)
    assert isinstance(sweep, SweepFiles)
    folders = [row["folder"] for row in sweep.rows()]
    assert len(folders) == 4
    member = catalogue.find(f"{swept.name}/{folders[1]}")
    assert member
    assert member.name == f"{swept.name}/{folders[1]}"
    (own,) = (path for path in trained.iterdir() if path.is_dir())
    assert list(Catalogue.of(own).runs) == [own.name]
    assert Catalogue.of(swept).find("") == SweepFiles(swept.name, swept)


@pytest.mark.parametrize("name", ["../copied", "..", "/etc", "nothing", "{sweep}/..", "{sweep}/../x", "\0"])
def test_a_name_leads_nowhere_but_to_what_the_folder_holds(swept: Path, name: str) -> None:
    assert Catalogue.of(swept).find(name.format(sweep=swept.name)) is None


def test_checkpoints_alone_are_a_run(copied: Path) -> None:
    for path in copied.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    history = History(run_in(copied))
    history.refresh()
    assert history.epochs == [3, 6]
    assert history.state(6).network.dims == (2, 6, 6, 6, 1)


def test_a_table_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tail = Tail(path)
    assert not tail.refresh()
    path.write_text("epoch,born,age\n1,,0.5\n2,3")
    assert tail.refresh()
    assert tail.columns("epoch", "born", "nothing")["epoch"].tolist() == [1]
    assert np.isnan(tail.columns("born")["born"]).all()
    with path.open("a") as file:
        file.write(",\n3,4,0.75\n")
    assert tail.refresh()
    assert not tail.refresh()
    columns = tail.columns("epoch", "born", "age")
    assert columns["epoch"].tolist() == [1, 2, 3]
    assert columns["born"].tolist()[1:] == [3, 4]
    assert np.isnan(columns["age"][1])
    path.write_text("epoch,born,age\n7,1,1\n")  # begun anew
    assert tail.refresh()
    assert tail.columns("epoch")["epoch"].tolist() == [7]
    path.unlink()
    assert tail.refresh()
    assert tail.columns("epoch")["epoch"].tolist() == []


def test_of_a_long_table_some_points_are_shown_and_the_last(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("epoch,task\n" + "".join(f"{epoch},0.5\n" for epoch in range(1, 3 * MOST)))
    tail = Tail(path)
    tail.refresh()
    epochs = tail.columns("epoch")["epoch"]
    assert len(epochs) <= MOST
    assert epochs[-1] == 3 * MOST - 1


def test_a_damaged_table_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("epoch,task\n1,0.5\n<script>,1\n")
    with pytest.raises(Unreadable, match=r"table\.csv is damaged: some of its rows are not 2 numbers"):
        Tail(path).refresh()
