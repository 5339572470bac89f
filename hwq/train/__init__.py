"""Quantisation-aware training: a recipe in, a checked QONNX file and its measured accuracy out.

Or in your own loop::

    spec = QuantizeSpec(weights=2, activations=2, layers={"classifier": LayerQuant(weights=4)})
    model = quantize(net, spec, calibration=x, input_spec=InputSpec(bits=8, fraction_bits=8))
    schedule = QuantiserSchedule(model, spec)  # a Technique; for some estimators and penalties only
    ...  # train the model
    graph = convert(model, x[:1])  # an integer graph, exact

What is pruned, distilled or quantised after training: `hwq.train.prune`, `hwq.train.distill`, `hwq.train.ptq`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwq.train.conversion import convert
    from hwq.train.ptq.quantize import post_train_quantize
    from hwq.train.ptq.spec import PtqSpec
    from hwq.train.quantiser_schedule import QuantiserSchedule
    from hwq.train.quantization import quantize
    from hwq.train.quantize_spec import InputSpec, LayerQuant, QuantizeSpec

__all__ = [
    "InputSpec",
    "LayerQuant",
    "PtqSpec",
    "QuantiserSchedule",
    "QuantizeSpec",
    "TrainResult",
    "convert",
    "post_train_quantize",
    "quantize",
    "run",
]

_MODULES = {
    "InputSpec": "quantize_spec",
    "LayerQuant": "quantize_spec",
    "QuantizeSpec": "quantize_spec",
    "QuantiserSchedule": "quantiser_schedule",
    "PtqSpec": "ptq.spec",
    "convert": "conversion",
    "post_train_quantize": "ptq.quantize",
    "quantize": "quantization",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'hwq.train' has no attribute '{name}'")
    if _MODULES[name] != "quantize_spec":
        from hwq.train.require import require_training

        require_training()
    return getattr(import_module(f"hwq.train.{_MODULES[name]}"), name)


@dataclass(frozen=True)
class TrainResult:
    """A finished run's files and quality; accuracies are fractions 0..1, time is in seconds.

    `model` is None where the recipe has no [quantize]: a float network has no integers to write.
    """

    folder: Path
    model: Path | None
    checkpoint: Path
    metrics: Path
    test_inputs: Path
    test_labels: Path
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float
    seconds: float


def run(
    recipe: str,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> TrainResult:
    """Train a recipe into the folder `out`.

    Args:
        recipe: Name of a shipped recipe, or path of a TOML file.
        out: Gets recipe.json, checkpoints/{last,best}.pt, model.onnx, metrics.json, test_{inputs,labels}.npy.
        overrides: `section.key=value`, e.g. `train.epochs=10`.
        resume: Continue an interrupted run of the same recipe; the result is the uninterrupted one's.
        force: Replace the contents of a folder that hwq made.
        quiet: No progress bar.

    Raises:
        InputError: A recipe, folder or network that cannot be used.
        ToolMissing: The packages of `hwq[train]` are not installed.
        KeyboardInterrupt: After Ctrl-C; the command that resumes has been printed.
    """
    from hwq.train.recipe import load_recipe
    from hwq.train.require import prepare_jit, require_training

    require_training()
    prepare_jit(wanted=load_recipe(recipe, overrides).train.jit)
    from hwq.train.job import run_job  # torch takes seconds to import

    return run_job(recipe, out, overrides=overrides, resume=resume, force=force, quiet=quiet)
