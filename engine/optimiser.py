"""The settings of the optimiser, a part of `Config`: its kind, its options, and how the learning rate goes."""

from dataclasses import dataclass

from draw_poly.engine.flags import COUNT, LARGEST_MOMENTUM, LARGEST_VALUE, RATE, flag
from draw_poly.kernels.spec import EPSILON, OPTIMIZERS, SCHEDULES
from draw_poly.kernels.spec.optimizer import MUON_RATES

OPTIMISER = "optimiser"


def _who_reads(name: str) -> str:
    """The kinds that read an option."""
    return ", ".join(kind.name for kind in OPTIMIZERS.values() if name in kind.reads)


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """Those that both networks' optimisers have in common; an option that a kind does not read is told in the log."""

    optimizer: str = flag("adam", OPTIMISER, "optimiser of both networks", "--optimizer sgd", choices=tuple(OPTIMIZERS))
    learning_rate: float = flag(0.001, OPTIMISER, "learning rate", "-l 0.001", short="l", kind=float, limits=RATE)
    momentum: float = flag(
        0.9, OPTIMISER, f"momentum of {_who_reads('momentum')}", "--momentum 0.9", kind=float,
        limits=(0, LARGEST_MOMENTUM),
    )  # fmt: skip
    weight_decay: float = flag(
        0.0, OPTIMISER, "how strongly parameters are drawn to zero: as their own gradient's part, or decoupled from it "
        f"by {', '.join(kind.name for kind in OPTIMIZERS.values() if kind.decoupled)}", "--weight-decay 0.01",
        kind=float, metavar="FACTOR", limits=(0, LARGEST_VALUE),
    )  # fmt: skip
    adam_eps: float = flag(
        EPSILON, OPTIMISER, f"added to the root second moment by {_who_reads('adam_eps')}", "--adam-eps 1e-7",
        kind=float, metavar="NUMBER", limits=RATE,
    )  # fmt: skip
    amsgrad: bool = flag(
        False, OPTIMISER, f"divide by the greatest second moment so far: {_who_reads('amsgrad')}", "--amsgrad",
        kind=bool,
    )  # fmt: skip
    grad_clip_norm: float | None = flag(
        None, OPTIMISER, "scale each network's gradient down to this norm before its step, where it is longer",
        "--grad-clip-norm 1", kind=float, metavar="NORM", limits=RATE,
    )  # fmt: skip
    muon_momentum: float = flag(
        0.95, OPTIMISER, "momentum of muon, which takes matrices, and has adamw take the rest at the same rate",
        "--muon-momentum 0.95", kind=float, metavar="MOMENTUM", limits=(0, LARGEST_MOMENTUM),
    )  # fmt: skip
    muon_nesterov: bool = flag(True, OPTIMISER, "Nesterov's momentum for muon", "--no-muon-nesterov", kind=bool)
    muon_ns_steps: int = flag(
        5, OPTIMISER, "Newton-Schulz iterations of muon", "--muon-ns-steps 5", kind=int, metavar="COUNT", limits=(1, 99)
    )
    muon_eps: float = flag(
        1e-7, OPTIMISER, "least norm that muon divides a matrix by", "--muon-eps 1e-7", kind=float, metavar="NORM",
        limits=RATE,
    )  # fmt: skip
    muon_adjust_lr_fn: str = flag(
        "original", OPTIMISER, "how muon makes its rate of the learning rate, by a matrix's shape",
        "--muon-adjust-lr-fn match_rms_adamw", choices=tuple(MUON_RATES),
    )  # fmt: skip
    schedule: str = flag(
        "constant", OPTIMISER, "how the learning rate goes over the epochs; step: to a tenth after half of them, and "
        "after three quarters; plateau: to a tenth after 11 epochs without a lower validation loss, each of which is "
        "looked at before the next begins", "--schedule cosine", choices=tuple(SCHEDULES),
    )  # fmt: skip
    warmup: int = flag(
        0, OPTIMISER, "epochs in which the learning rate grows to its own", "--warmup 10", kind=int, metavar="EPOCHS",
        limits=(0, COUNT[1]),
    )  # fmt: skip
    final_lr: float = flag(
        0.0, OPTIMISER, "learning rate that the schedule ends with", "--final-lr 1e-5", kind=float, metavar="RATE",
        limits=(0, RATE[1]),
    )  # fmt: skip
