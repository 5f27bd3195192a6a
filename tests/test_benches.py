"""What the benchmarks compare is the same work, and what they say of it is so; times are never asserted."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benches import method, suite, verify_backends, verify_kernels
from benches.alone import Alone
from benches.baseline import Baseline
from benches.contenders import ENTRIES, ORIGINAL, Entry, Ours, WrongAnswer, check
from benches.job import Job
from benches.plain import TensorFloat
from benches.verify_kernels import Row
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels import oracle, reference
from draw_poly.kernels.spec import KolmogorovTerm, Network
from tests.conftest import slow

ROOT = Path(__file__).parents[1]


def test_the_baseline_computes_our_losses_and_gradients() -> None:
    job = Job(bins=32)
    state, baseline, term = job.state(), job.baseline(), job.config.kolmogorov_term
    assert state.predictor
    assert term
    assert baseline.predictor
    inputs, targets = (tensor[:, :333] for tensor in job.training)
    made = Ours(job, 1, "eager").backend
    assert made.positions is not None
    theta, phi = (one.parameters[0] for one in state.learners)
    gradient, to_predictor = torch.empty_like(theta), torch.empty_like(phi)
    stacks = [reference.layers(theta, state.main.network), reference.layers(phi, term.predictor)]
    out = [reference.layers(gradient, state.main.network), reference.layers(to_predictor, term.predictor)]
    task_loss = reference.task_gradient(stacks[0], inputs, targets, state.main.network, out[0])
    total, addition = reference.kolmogorov_gradient(theta, stacks[1], made.positions, term, out[1])
    losses = [task_loss, total / 811]
    gradient += addition * term.weight / 811
    to_predictor *= term.weight / 811
    outputs, signatures = baseline.module(inputs.t())
    task = torch.nn.functional.mse_loss(outputs, targets.t())
    flat = torch.cat([parameter.reshape(-1) for parameter in baseline.module.parameters()])
    term_loss = baseline.predictor.loss(flat)
    (task + term.weight * term_loss).backward()
    torch.testing.assert_close(torch.stack(losses), torch.stack((task, term_loss)).detach())
    for module, ours in ((baseline.module, gradient), (baseline.predictor, to_predictor)):
        theirs = torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None])
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert torch.equal(signatures, made.evaluate(inputs[None])[1][0])


def test_the_baseline_works_where_its_module_is(monkeypatch: pytest.MonkeyPatch) -> None:
    job, there = Job("[7, 5]", points=500, batch=128, bins=20), torch.device("meta")
    made = job.baseline()
    assert made.predictor
    made.module.coefficients = [one.to(there) for one in made.module.coefficients]
    made.predictor.positions = made.predictor.positions.to(there)
    moved = Baseline(made.module.to(there), made.predictor.to(there), 0.1, job.training, job.validation, job.batch)
    monkeypatch.setattr(torch.Tensor, "item", lambda self: 0.5)  # there are no numbers there
    assert moved.module(torch.empty((3, 2), device=there))[1].device == there
    assert moved.epoch() == (0.5, 0.5)


def test_a_contender_is_built_on_the_suites_device_and_checked_as_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(job: Job, available: int) -> Ours:
        built.append(job.device)
        return Ours(replace(job, device="cpu"), available, "eager")

    monkeypatch.setattr("benches.suite.Limit.__init__", lambda self, device: None)
    monkeypatch.setitem(ENTRIES, "eager", Entry(build, lambda job: None))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    made = suite.Suite(torch.device("cuda", 0), quick=False)
    made.contender(JOB, "eager")
    assert built == ["cuda:0"]
    assert made._checked[JOB, "eager"]["peak_device_bytes"] == 7


def test_points_are_drawn_away_from_every_boundary() -> None:
    generator = torch.Generator().manual_seed(1)
    for margin in (1e-5, 1e-2):
        term = KolmogorovTerm(Network((3, 8, 11)), "cross_entropy", 0.5, 11, -0.8, 1.1)
        found = oracle.drawn(Network((2, *[10] * 8, 1)), term, 300, generator, margin)
        flat, predictor = found.parameters
        assert found.positions is not None
        assert float(oracle.nearest(flat.double(), Network((2, *[10] * 8, 1)), found.inputs.double()).min()) > margin
        assert float(oracle.nearest(predictor.double(), term.predictor, found.positions.double()).min()) > margin
        bins = (flat.double() + 0.8) / 1.9 * 10
        assert float((bins - bins.round()).abs().min()) > 0.9 * oracle.BIN_MARGIN
    flat = torch.zeros(Network((2, 3, 1)).size)  # every neuron is zero everywhere
    with pytest.raises(oracle.TooNear, match="of 10 points, 10 could not be drawn"):
        oracle.points_away(flat, Network((2, 3, 1)), 10, generator, 1e-5)


def test_a_laplacians_predictions_are_no_weights() -> None:
    term = KolmogorovTerm(Network((3, 4, 2)), "laplacian_nll", 0.5)
    predictor, positions = torch.zeros(term.predictor.size), torch.rand((3, 6))
    flat = torch.tensor([0.0, 5e-6, -5e-6, 0.1, -0.1, 2e-5])
    moved = oracle.weights_away(flat, predictor, positions, term, 1e-5)
    assert float(moved.abs().min()) > 1e-5
    assert torch.equal(moved[3:], flat[3:])


def test_a_tf32_product_reads_ten_bits_of_its_operands() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn((5, 7), generator=generator).requires_grad_() for _ in range(2))
    kept = [(one.detach().double().numpy().astype("f4").view("u4") & 0xFFFFE000).view("f4") for one in (left, right)]
    product = TensorFloat.apply(left, right)
    torch.testing.assert_close(product.detach(), torch.from_numpy(kept[0] @ kept[1].T))
    product.sum().backward()
    torch.testing.assert_close(left.grad, torch.from_numpy(kept[1]).sum(0).expand(5, 7))
    torch.testing.assert_close(right.grad, torch.from_numpy(kept[0]).sum(0).expand(5, 7))


@pytest.mark.slow
def test_no_draw_of_the_cpu_kernels_is_wrong_for_roundings_sake() -> None:
    from draw_poly.kernels import cpu

    found = [row for seed in range(1, 21) for row in verify_kernels.rows(Alone(cpu), torch.device("cpu"), seed=seed)]
    assert len(found) > 20 * 80
    assert [row for row in found if not row.passed] == []


def test_a_wrong_or_unwritten_output_is_found_wrong() -> None:
    assert Row("kernel", "case", "output", 2e-6, 1e-7, 1e-6).passed is False
    assert Row("kernel", "case", "output", float("nan"), 1e-7, 1e-6).passed is False
    assert Row("kernel", "case", "output", 9e-7, 1e-7, 1e-6).passed is True


def test_the_plain_backends_agree_with_float64() -> None:
    found = list(verify_backends.rows("eager", torch.device("cpu")))
    assert len(found) > 30
    assert [row for row in found if not row.passed] == []


def test_variants_take_turns_and_each_turn_begins_with_another() -> None:
    calls: list[str] = []
    variants = {name: method.Variant(lambda name=name: calls.append(name), calls=1) for name in "abc"}  # type: ignore[misc]
    timings = method.measure(variants, 4)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab" + "abc"  # once to warm up, then the turns
    assert {name: len(one.rounds) for name, one in timings.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_turn_is_as_long_as_it_was_asked_to_be_and_told_by_the_unit() -> None:
    timing = method.measure({"sleep": method.Variant(lambda: time.sleep(0.002), share=2)}, 3, shortest=0.02)["sleep"]
    assert 1 <= timing.calls <= 10
    assert timing.median >= 0.001


def test_threads_are_a_variants_own_and_put_back() -> None:
    seen: list[int] = []
    method.measure({"two": method.Variant(lambda: seen.append(torch.get_num_threads()), threads=2, calls=1)}, 2)
    assert seen == [2, 2, 2]
    assert torch.get_num_threads() == 1


def test_a_replay_has_no_rest_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(method, "by_graph", lambda work, calls: lambda: 0.5)
    variants = {"graph": method.Variant(list, calls=5, graph=True), "host": method.Variant(list, calls=1)}
    timings = method.measure(variants, 3)
    assert rests == [method.REST] * 3
    assert timings["graph"].rounds == [0.1] * 3


def test_a_variant_that_cannot_be_made_ready_is_named_and_the_others_are_timed() -> None:
    def fails() -> None:
        raise ValueError("no such thing")

    failed: dict[str, str] = {}
    variants = {"bad": method.Variant(fails, calls=1), "good": method.Variant(list, calls=1)}
    assert set(method.measure(variants, 2, failed=failed)) == {"good"}
    assert failed == {"bad": "ValueError: no such thing"}
    with pytest.raises(ValueError, match="no such thing"):
        method.measure(variants, 2)


def test_growth_is_the_exponent() -> None:
    assert method.growth([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


JOB = Job("[7, 5]", points=500, batch=128, bins=20)
LATE, LATE_WITH_TERM = replace(JOB, bins=None, late=True), replace(JOB, bins=256, late=True)
TRAINED = replace(JOB, trained=3)
SMALLEST = 2.0**-126  # of the normal numbers of float32


@pytest.mark.parametrize(
    ("name", "job"),
    [
        *((name, job) for name in (ORIGINAL, "eager", "cpu") for job in (JOB, LATE, LATE_WITH_TERM, TRAINED)),
        slow("JAX", TRAINED),
        slow("torch.compile", TRAINED),
    ],
)
def test_contenders_agree_with_float64(name: str, job: Job) -> None:
    if ENTRIES[name].absent(job):
        pytest.skip("not installed here")
    assert check(ENTRIES[name].build(job, 1)) < 1e-4


@pytest.mark.parametrize("name", ENTRIES)
def test_contenders_go_on_from_what_was_trained(name: str) -> None:
    if ENTRIES[name].absent(TRAINED):
        pytest.skip("not installed here")
    made = ENTRIES[name].build(TRAINED, 1)
    assert torch.equal(made.parameters(), TRAINED.state().main.parameters[0])


def subnormal(numbers: torch.Tensor) -> torch.Tensor:
    return (numbers != 0) & (numbers.abs() < SMALLEST)


def test_a_late_state_is_subnormal_in_weights_moments_and_probabilities() -> None:
    state = LATE.state()
    assert subnormal(state.main.parameters).any()
    assert all(subnormal(moment).any() for moment in state.main.moments[0])
    state = LATE_WITH_TERM.state()
    assert state.predictor
    assert all(subnormal(moment).any() for moment in state.predictor.moments[0])
    positions = kolmogorov.positions(state.main.network)
    predictor = state.predictor.network
    stack = reference.layers(state.predictor.parameters[0], predictor)
    logits = reference.forward(stack, positions, predictor.activation)[1]
    assert subnormal(torch.softmax(logits, 0)).any(1).sum() > 10


def test_a_late_state_stays_late() -> None:
    before, made = LATE.state().main.parameters[0], Ours(LATE, 1, "cpu")
    with_term, made_with_term = LATE_WITH_TERM.state().predictor, Ours(LATE_WITH_TERM, 1, "cpu")
    assert with_term
    for _ in range(20):
        made.epoch()
        made_with_term.epoch()
    gone = before.abs() < SMALLEST
    assert gone.sum() > 20
    assert (made.parameters()[gone].abs() < SMALLEST).all()
    predictor = made_with_term.backend.state.predictor
    assert predictor
    empty = with_term.parameters < -70
    torch.testing.assert_close(predictor.parameters[empty], with_term.parameters[empty])


def test_a_job_goes_on_from_all_that_was_trained() -> None:
    state, again = TRAINED.state(), TRAINED.state()
    assert [one.steps for one in state.learners] == [12, 12]
    assert all(one.moments.abs().sum() > 0 for one in state.learners)
    assert state.main.parameters.data_ptr() != again.main.parameters.data_ptr()


class Forgetful(Ours):
    """Validates before it has trained."""

    def epoch(self) -> tuple[float, float]:
        before = self._error
        loss, self._error = super().epoch()
        return loss, before

    _error = 0.1


class Shifted(Ours):
    """Takes a pixel's neighbour for the pixel."""

    def evaluate(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().evaluate(inputs + 1 / 1024)


@pytest.mark.parametrize(("kind", "said"), [(Forgetful, "validation error"), (Shifted, "outputs")])
def test_there_is_no_figure_for_a_wrong_answer(kind: type[Ours], said: str) -> None:
    with pytest.raises(WrongAnswer, match=said):
        check(kind(JOB, 1, "eager"))


def test_a_code_is_timed_beside_compressors(capsys: pytest.CaptureFixture[str]) -> None:
    from benches import code

    assert code.main(["--turns", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "811 parameters"
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "by counts", "by the predictor", "by counts, decoded", "by the predictor, decoded", "zlib of the bins",
        "lzma of the bins",
    ]  # fmt: skip
    assert all(line.endswith(" bits") for line in lines[1:])
