"""What `hwq bench train` compares: data sets, methods as settings over a recipe, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.bench.train_plan import Experiment, Task


def _estimators(name: str) -> tuple[str, str]:
    return f"quantize.weight_estimator={name}", f"quantize.activation_estimator={name}"


_EWGS = _estimators("ewgs")
"""Of the methods on letter that name no other."""

TASKS = {
    task.name: task
    for task in (
        Task("digits-w1a1", "digits-w1a1"),
        Task("letter", "letter-w2a2", "letter-recognition.data", _EWGS),
        Task("magic", "magic-w2a2", "magic04.data"),
        Task("spoken-digits", "spoken-digits-w2a2", "fsdd.tar.xz"),
        Task("mnist-tfc", "mnist-tfc-w2a2", "mnist.npz"),
        Task("mnist-sfc", "mnist-sfc-w2a2", "mnist.npz"),
    )
}

FLOAT = "float"


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


_FLOAT = ("quantize=none",)
_START = "train.init=<float>"
_TEACHER = "distill.teacher=<teacher>"
_SHORT = "train.epochs=12"
_HALF = ("train.epochs=10", "train.batch_size=256", "train.learning_rate=0.01")
_DENSE = ("train.epochs=20", "train.learning_rate=0.005")
_AS_IT_IS = (_START, "train.epochs=1", "train.learning_rate=1e-6")
"""A run of [ptq] trains its float network; this one is trained already."""

_AT_TWO_BITS = ("ste", "ewgs", "ewgs-hessian", "lsq", "dorefa")  # where ste is clipped-ste
_AT_ONE_BIT = ("ste", "clipped-ste", "ewgs", "ewgs-hessian", "reste")
_TEACHING = {
    "label smoothing": ("train.label_smoothing=0.1",),
    "distilled": (_TEACHER,),
    "distilled with a hint": (_TEACHER, 'distill.layers={"layers.9" = {teacher = "layers.9"}}'),
}
_PTQ_BITS = ((4, 8), (3, 8), (4, 4), (3, 3), (2, 2))
_PTQ = ("nearest", "gptq", "gpfq", "adaround", "qdrop", "adaquant")


def _estimator(bits: int, name: str) -> Experiment:
    """All else as in the recipe, which has learned scales, one a channel; 12 epochs."""
    chosen = (*_estimators(name), _SHORT)
    return Experiment("letter", f"w{bits}a{bits} short {name}", (*_bits(bits, bits), *chosen))


def _taught(bits: int, how: str) -> Experiment:
    """Against the same without; 12 epochs."""
    return Experiment("letter", f"w{bits}a{bits} short {how}", (*_bits(bits, bits), _SHORT, *_TEACHING[how]))


def _post_trained(weights: int, activations: int, method: str) -> Experiment:
    """The same float network for the same seed."""
    chosen = (*_bits(weights, activations), f"ptq.method={method}", *_AS_IT_IS)
    return Experiment("letter", f"ptq w{weights}a{activations} {method}", chosen)


_AFTER = "train.init=<w4a4 dense>"
_SPARSE = {
    "90 % sparse": (_AFTER,),
    "90 % sparse taylor": (_AFTER, "prune.importance=taylor"),
    "90 % sparse movement": (_AFTER, "prune.importance=movement"),
    "90 % sparse hardware": (_AFTER, "prune.importance=hardware"),
    "90 % sparse rigl": ("prune.method=rigl", *_DENSE),
    "90 % sparse lottery": ("prune.method=lottery", *_DENSE),
    "2 of 4": (_AFTER, "prune.sparsity=0", "prune.pattern=[2, 4]"),
}
"""After the dense network, or, of rigl and lottery, in as many epochs as that takes."""


def _sparse(name: str, settings: tuple[str, ...]) -> Experiment:
    return Experiment("mnist-tfc", f"w4a4 {name}", settings, recipe="mnist-tfc-w4a4-sparse90")


_LETTER = (
    Experiment("letter", FLOAT, (*_FLOAT, "train.epochs=40", "train.learning_rate=0.01")),
    Experiment(
        "letter",
        "teacher",
        (*_FLOAT, "train.epochs=40", "train.learning_rate=0.01", "model.widths=[256, 256, 256]"),
    ),
    Experiment(
        "letter", "w4a4 from float", (*_bits(4, 4), _START, "train.epochs=100", "train.learning_rate=0.01")
    ),
    Experiment("letter", "w2a2", _estimators("ewgs-hessian")),
    Experiment("letter", "w2a2 ewgs from float", (_START,)),
    Experiment("letter", "w2a2 ewgs distilled", (_TEACHER,)),
    Experiment(
        "letter",
        "w2a2 short absmax",
        (
            "quantize.weight_scale_source=statistics",
            "quantize.weight_scale=tensor",
            "quantize.last.weight_scale=tensor",
            "quantize.weight_estimator=ste",
            "quantize.activation_estimator=clipped-ste",
            _SHORT,
        ),
    ),
    *(_estimator(2, name) for name in _AT_TWO_BITS),
    *(_estimator(1, name) for name in _AT_ONE_BIT),
    _post_trained(8, 8, "nearest"),
    *(_post_trained(*bits, method) for bits in _PTQ_BITS for method in _PTQ),
    *(_taught(bits, how) for bits in (2, 1) for how in _TEACHING),
)

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("digits-w1a1", "w1a1"),
    Experiment("spoken-digits", FLOAT, _FLOAT),
    Experiment("spoken-digits", "w2a2"),
    Experiment("magic", FLOAT, _FLOAT),
    Experiment("magic", "w2a2"),
    Experiment("mnist-tfc", "w1a1", recipe="mnist-tfc-w1a1"),
    Experiment("mnist-tfc", "w2a2"),
    *_LETTER,
    Experiment("mnist-tfc", FLOAT, (*_FLOAT, *_HALF)),
    Experiment("mnist-tfc", "w4a4 dense", ("prune=none", *_DENSE), recipe="mnist-tfc-w4a4-sparse90"),
    *(_sparse(name, settings) for name, settings in _SPARSE.items()),
    Experiment("mnist-tfc", "w4a4 half the MACs", (_START, *_HALF), recipe="mnist-tfc-w4a4-half"),
    Experiment("mnist-sfc", "w1a1", recipe="mnist-sfc-w1a1"),
    Experiment("mnist-sfc", "w2a2"),
)

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "Gradient estimators at 2 bits", "letter", tuple(f"w2a2 short {name}" for name in _AT_TWO_BITS)
    ),
    Comparison("Gradient estimators at 1 bit", "letter", tuple(f"w1a1 short {name}" for name in _AT_ONE_BIT)),
    *(
        Comparison(
            f"Teachers at {bits} bit{'s' if bits > 1 else ''}",
            "letter",
            (f"w{bits}a{bits} short ewgs", *(f"w{bits}a{bits} short {how}" for how in _TEACHING)),
        )
        for bits in (2, 1)
    ),
    *(
        Comparison(
            f"After training at {w}/{a} bits", "letter", tuple(f"ptq w{w}a{a} {method}" for method in _PTQ)
        )
        for w, a in _PTQ_BITS
    ),
    Comparison(
        "Pruning at 4 bits",
        "mnist-tfc",
        ("w4a4 dense", *(f"w4a4 {name}" for name in _SPARSE), "w4a4 half the MACs"),
    ),
)

GOALS: tuple[Goal, ...] = (
    Goal("MNIST TFC w1a1", "mnist-tfc", ("w1a1*",), at_least=0.945),
    Goal("MNIST TFC w2a2", "mnist-tfc", ("w2a2*",), at_least=0.973),
    Goal("MNIST SFC w1a1", "mnist-sfc", ("w1a1*",), at_least=0.979),
    Goal("MNIST SFC w2a2", "mnist-sfc", ("w2a2*",), at_least=0.987),
    Goal("letter w2a2", "letter", ("w2a2*",), within=10),
    Goal("letter w4a4", "letter", ("w4a4*",), within=0.5),
    Goal("MAGIC w2a2", "magic", ("w2a2",), within=1.5),
    Goal("spoken digits w2a2", "spoken-digits", ("w2a2",), at_least=0.97),
    Goal("digits w1a1", "digits-w1a1", ("w1a1",), at_least=0.95),
    Goal("letter, after training, w4a8", "letter", ("ptq w4a8*",), within=1),
    Goal("letter, after training, w3a8", "letter", ("ptq w3a8*",), within=4),
    Goal("90 % sparse, w4a4", "mnist-tfc", ("w4a4 90 % sparse*",), within=1, reference="w4a4 dense"),
    Goal("half the MACs, w4a4", "mnist-tfc", ("w4a4 half the MACs",), within=1, reference="w4a4 dense"),
)
