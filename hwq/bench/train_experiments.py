"""What `hwq bench train` compares: data sets, methods as settings over a recipe, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.bench.train_plan import Experiment, Task

TASKS = {
    task.name: task
    for task in (
        Task("digits-w1a1", "digits-w1a1"),
        Task("letter", "letter-w2a2", "letter-recognition.data", ("train.jit=true",)),
        Task("magic", "magic-w2a2", "magic04.data", ("train.jit=true",)),
        Task("spoken-digits", "spoken-digits-w2a2", "fsdd.tar.xz", ("train.jit=true",)),
        Task("mnist-tfc", "mnist-tfc-w2a2", "mnist.npz", ("train.jit=true",)),
        Task("mnist-sfc", "mnist-sfc-w2a2", "mnist.npz", ("train.jit=true",)),
    )
}

FLOAT = "float"
_FLOAT = ("quantize=none", "train.jit=false")
_TAUGHT = ("train.init=<float>", "distill.teacher=<teacher>")


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


def _estimators(task: str, bits: int, names: tuple[str, ...]) -> tuple[Experiment, ...]:
    """All else equal: scales learned, one a tensor, no start from a float network, no teacher."""
    return tuple(
        Experiment(
            task,
            f"w{bits}a{bits} {name}",
            (
                *_bits(bits, bits),
                f"quantize.weight_estimator={name}",
                f"quantize.activation_estimator={name}",
            ),
        )
        for name in names
    )


_TWO_BIT = ("ste", "clipped-ste", "ewgs", "ewgs-hessian", "lsq", "dorefa")
_ONE_BIT = ("ste", "clipped-ste", "ewgs", "ewgs-hessian", "reste")
_PTQ_BITS = ((8, 8), (4, 8), (3, 8), (2, 8), (4, 4), (3, 3), (2, 2))
_PTQ = ("nearest", "gptq", "gpfq", "adaround", "qdrop", "adaquant")


def _ptq() -> tuple[Experiment, ...]:
    return tuple(
        Experiment(
            "letter",
            f"ptq w{w}a{a} {method}",
            (*_bits(w, a), "quantize.weight_scale=channel", "train.init=<float>", f"ptq.method={method}"),
        )
        for w, a in _PTQ_BITS
        for method in _PTQ
    )


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("digits-w1a1", "w1a1"),
    Experiment("letter", FLOAT, _FLOAT),
    Experiment("letter", "teacher", (*_FLOAT, "model.widths=[256, 256, 256]")),
    Experiment("letter", "w2a2 absmax", ("quantize.weight_scale_source=statistics",)),
    *_estimators("letter", 2, _TWO_BIT),
    *_estimators("letter", 1, _ONE_BIT),
    *_ptq(),
)

COMPARISONS: tuple[Comparison, ...] = (
    Comparison("Gradient estimators at 2 bits", "letter", tuple(f"w2a2 {name}" for name in _TWO_BIT)),
    Comparison("Gradient estimators at 1 bit", "letter", tuple(f"w1a1 {name}" for name in _ONE_BIT)),
)

GOALS: tuple[Goal, ...] = (
    Goal("digits w1a1", "digits-w1a1", ("w1a1",), at_least=0.95),
    Goal("letter w2a2", "letter", ("w2a2*",), within=10),
)
