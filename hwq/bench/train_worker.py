"""A process that trains what it is told: ``python -m hwq.bench.train_worker``, a JSON request a line of its input.

It answers with the number of each finished epoch, then {"failed": null} or what is wrong, each on a line.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hwq import runs, sim
from hwq.errors import HwqError
from hwq.files import write_atomic
from hwq.ir import Graph

ROWS = 128
"""Test rows on which stages are held against each other, beside ties and extremes."""


def train(request: dict[str, Any]) -> None:
    """Train, or go on; hold the file against the integers; write ``result.json``.

    Raises:
        CheckFailed: A stage differs.
    """
    from hwq.train.job import run_job

    folder = Path(request["folder"])
    begun = (folder / "checkpoints" / "last.pt").is_file()
    if not (folder / "metrics.json").is_file():
        run_job(
            request["recipe"], folder, overrides=request["settings"], resume=begun, force=not begun, quiet=True,
            on_epoch=lambda epoch: say(epoch.epoch),
        )  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["epochs"]
    result = {**metrics, "key": request["key"], "integers": None}
    if (folder / "model.onnx").is_file():
        result["integers"] = _integers(folder)
    write_atomic(folder / "result.json", json.dumps(result, indent=1))
    for bulky in ("test_inputs.npy", "checkpoints/last.pt"):
        (folder / bulky).unlink(missing_ok=True)


def _integers(folder: Path) -> dict[str, Any]:
    """The integer network on all test rows, and torch and the engine against it on some."""
    from hwq.frontends import load

    graph = load(folder / "model.onnx").graph
    x, labels = np.load(folder / "test_inputs.npy"), np.load(folder / "test_labels.npy")
    np.save(folder / "checked.npy", x[:ROWS])
    logits = np.asarray(sim.simulate(graph, x)).reshape(len(x), -1)
    return {
        "correct": int((logits.argmax(axis=1) == labels).sum()),
        "verified": _verify(graph, x[:ROWS], ["torch", "numpy"], folder),
        **_size(graph),
    }


def _size(graph: Graph) -> dict[str, Any]:
    from hwq.ops import macs
    from hwq.ops.conv import Conv
    from hwq.ops.dense import Dense

    weights = [n.params.weight for n in graph.nodes if isinstance(n.params, Conv | Dense)]
    return {
        "macs": sum(macs(graph, node) for node in graph.nodes),
        "weights": sum(w.size for w in weights),
        "zeros": sum(int((w == 0).sum()) for w in weights),
    }


def _verify(graph: Graph, x: np.ndarray[Any, Any], stages: list[str], folder: Path) -> dict[str, Any]:
    """Rows and certified differences of each stage."""
    from hwq.verification import verify_graph

    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        found = verify_graph(
            graph, {graph.inputs[0].name: x}, stages, checkpoint=runs.checkpoint_of(folder / "model.onnx"),
            scratch=Path(scratch),
        )  # fmt: skip
    found.raise_if_failed()
    return {s.name: {"rows": s.rows, "values": s.values, "certified": s.certified} for s in found.stages}


def csim(request: dict[str, Any]) -> None:
    """Compile the generated C++ of a finished run and hold it against the integers; write ``csim.json``.

    Raises:
        CheckFailed: It differs.
    """
    from hwq.frontends import load

    folder = Path(request["folder"])
    graph = load(folder / "model.onnx").graph
    found = _verify(graph, np.load(folder / "checked.npy"), ["csim"], folder)
    write_atomic(folder / "csim.json", json.dumps(found, indent=1))


def say(what: Any) -> None:
    """To the process that asked."""
    print(json.dumps(what), flush=True)  # noqa: T201


def serve() -> None:
    """Until there are no more requests; an interrupt ends it, and what is on the disk is whole."""
    for line in sys.stdin:
        request = json.loads(line)
        failed = None
        try:
            {"train": train, "csim": csim}[request["what"]](request)
        except HwqError as error:
            failed = str(error)
        say({"failed": failed})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with contextlib.suppress(KeyboardInterrupt):
        serve()
