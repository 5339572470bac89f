"""What `hwq bench train` compares: data sets, methods as settings over a recipe, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.bench.train_plan import Experiment, Task

TASKS = {
    task.name: task
    for task in (
        Task("digits-w1a1", "digits-w1a1"),
        Task("letter", "letter-w2a2", "letter-recognition.data"),
        Task("magic", "magic-w2a2", "magic04.data"),
        Task("spoken-digits", "spoken-digits-w2a2", "fsdd.tar.xz"),
        Task("mnist-tfc", "mnist-tfc-w2a2", "mnist.npz"),
        Task("mnist-sfc", "mnist-sfc-w2a2", "mnist.npz"),
    )
}

FLOAT = "float"
_FLOAT = ("quantize=none",)


@dataclass(frozen=True)
class Comparison:
    """Methods of a task against the first of them."""

    title: str
    task: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Goal:
    """What the best of some methods, chosen on validation rows, is to reach on the test rows.

    Attributes:
        what: For people.
        task: Name of the task.
        methods: Patterns of the methods.
        at_least: Accuracy.
        within: Or, at most so many points below `reference`.
        reference: A method of the same task.
    """

    what: str
    task: str
    methods: tuple[str, ...]
    at_least: float | None = None
    within: float | None = None
    reference: str = FLOAT


def _bits(weights: int, activations: int) -> tuple[str, str]:
    return f"quantize.weights={weights}", f"quantize.activations={activations}"


def _post_trained(weights: int, activations: int, method: str, *settings: str) -> Experiment:
    """The float network quantised after training; the same float network for the same seed."""
    chosen = (
        *_bits(weights, activations),
        "quantize.weight_scale=channel",
        f"ptq.method={method}",
        *settings,
    )
    return Experiment("letter", f"ptq w{weights}a{activations} {method}", chosen)


_PTQ_METHODS = ("gptq", "gpfq", "adaround", "qdrop", "adaquant")
_KD = "distill.teacher=<teacher>"

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("digits-w1a1", "w1a1"),
    Experiment("letter", FLOAT, _FLOAT),
    Experiment("letter", "teacher", (*_FLOAT, "model.widths=[256, 256, 256]")),
    Experiment("letter", "w4a4", _bits(4, 4)),
    Experiment("letter", "w2a2"),
    Experiment("letter", "w2a2 label smoothing", ("train.label_smoothing=0.1",)),
    Experiment("letter", "w2a2 distilled", (_KD,)),
    Experiment("letter", "w2a2 hints", (_KD, 'distill.layers={"layers.7" = {teacher = "layers.8"}}')),
    *[_post_trained(bits, 8, method) for bits in (4, 3) for method in _PTQ_METHODS],
    *[_post_trained(bits, bits, method) for bits in (4, 3, 2) for method in _PTQ_METHODS[1:]],
    Experiment("magic", FLOAT, _FLOAT),
    Experiment("magic", "w2a2"),
    Experiment("spoken-digits", "w2a2"),
    Experiment("mnist-tfc", "w1a1", recipe="mnist-tfc-w1a1"),
    Experiment("mnist-tfc", "w2a2"),
    Experiment("mnist-sfc", "w1a1", recipe="mnist-sfc-w1a1"),
    Experiment("mnist-sfc", "w2a2"),
)

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "Distillation at 2 bits",
        "letter",
        ("w2a2", "w2a2 label smoothing", "w2a2 distilled", "w2a2 hints"),
    ),
    *[
        Comparison(
            f"After training at {bits}/{bits} bits",
            "letter",
            tuple(f"ptq w{bits}a{bits} {method}" for method in _PTQ_METHODS[1:]),
        )
        for bits in (4, 3, 2)
    ],
)

GOALS: tuple[Goal, ...] = (
    Goal("digits w1a1", "digits-w1a1", ("w1a1",), at_least=0.95),
    Goal("letter w2a2", "letter", ("w2a2*",), within=10),
    Goal("letter w4a4", "letter", ("w4a4",), within=0.5),
    Goal("letter PTQ w4a8", "letter", ("ptq w4a8*",), within=1),
    Goal("letter PTQ w3a8", "letter", ("ptq w3a8*",), within=4),
    Goal("MAGIC w2a2", "magic", ("w2a2",), within=1.5),
    Goal("spoken digits w2a2", "spoken-digits", ("w2a2",), at_least=0.97),
    Goal("MNIST TFC w1a1", "mnist-tfc", ("w1a1*",), at_least=0.945),
    Goal("MNIST TFC w2a2", "mnist-tfc", ("w2a2*",), at_least=0.973),
    Goal("MNIST SFC w1a1", "mnist-sfc", ("w1a1*",), at_least=0.979),
    Goal("MNIST SFC w2a2", "mnist-sfc", ("w2a2*",), at_least=0.987),
)
