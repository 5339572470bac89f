"""`hwq bench hls`: what it takes to write, compile and run the C++ of whole networks, and what its FIFOs hold."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from hwq import __version__, runs
from hwq.bench.models import SUBJECTS, make
from hwq.bench.sim import machine
from hwq.errors import CheckFailed
from hwq.files import write_atomic

_LIMIT_S = 1800
_MOST_REUSE = 64
_BOARD = "zcu104"


def bench(
    out: Path, model: Path | None = None, *, only: Sequence[str] = (), quiet: bool = False
) -> dict[str, Any]:
    """Measure each network in a process of its own, and write ``bench-hls.json`` and ``.md``.

    Args:
        out: Folder of the results.
        model: A QONNX file to measure instead of the networks made here.
        only: Names of the networks to make; all by default.
        quiet: No progress bar.

    Raises:
        CheckFailed: The C++ differs from the integer graph, or does not compile; nothing is written.
    """
    names = [str(model)] if model else list(only or SUBJECTS)
    jobs = [(name, io) for name in names for io in ("parallel", "stream")]
    shown = track(jobs, "measure", console=Console(stderr=True), transient=True, disable=quiet)
    result = {"hwq": __version__, **machine(), "board": _BOARD, "projects": [_measure(*job) for job in shown]}
    runs.write_record(out / "bench-hls.json", result)
    write_atomic(out / "bench-hls.md", markdown(result))
    return result


def _measure(name: str, io: str) -> dict[str, Any]:
    """Each part in a process of its own, so that its memory is its own."""
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        folder = Path(scratch)
        path = folder / "model.onnx"
        if name in SUBJECTS:
            _call("make", name, scratch)
        else:
            path = Path(name)
        measured: dict[str, Any] = {"model": name if name in SUBJECTS else path.stem, "io": io}
        measured |= _call("generate", str(path), io, str(folder / "project"))
        return measured | _call("csim", str(folder / "project"))


def _call(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "hwq.bench.hls", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise CheckFailed(f"measuring {' '.join(arguments[:2])} failed:\n{done.stderr.strip()[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def _make(name: str, folder: str) -> dict[str, Any]:
    """The QONNX file of a network, ``model.onnx``."""
    make(SUBJECTS[name], Path(folder))
    return {}


def _generate(path: str, io: str, folder: str) -> dict[str, Any]:
    """Write a project; its seconds and MiB include reading the model, not Python's start."""
    start = time.perf_counter()
    from hwq import boards, emit
    from hwq.frontends import load
    from hwq.hardware import Io, configure, legal_reuse, matrix_shape

    graph = load(Path(path)).graph
    loaded = time.perf_counter()
    shapes = {n.name: s for n in graph.nodes if (s := matrix_shape(n))}
    reuse = {n: max(r for r in legal_reuse(*s) if r <= min(s[0], _MOST_REUSE)) for n, s in shapes.items()}
    project = emit.generate(graph, configure(graph, boards.load(_BOARD), io=Io(io), reuse=reuse))
    seconds = time.perf_counter() - loaded
    project.write(folder)
    return {
        "nodes": len(graph.nodes),
        "seconds_load": loaded - start,
        "seconds_generate": seconds,
        "mib_generate": _peak_mib(resource.RUSAGE_SELF),
        "files": len(project.files),
        "mib_project": sum(map(len, project.files.values())) / 2**20,
        "dataflow": _dataflow(json.loads(project.files["manifest.json"])),
    }


def _csim(folder: str) -> dict[str, Any]:
    """Compile and run it; the peak is that of the largest of g++ and the program."""
    from hwq.emit import csim

    ran = csim.run(folder).raise_if_failed()
    return {
        "seconds_compile": ran.seconds_compile,
        "mib_compile": _peak_mib(resource.RUSAGE_CHILDREN),
        "rows": ran.rows,
        "ms_per_row": 1000 * ran.seconds_run / ran.rows,
    }


def _dataflow(manifest: Mapping[str, Any]) -> dict[str, int] | None:
    flow = manifest.get("dataflow")
    if flow is None:
        return None
    return {
        "latency_cycles": flow["latency_cycles"],
        "ii_cycles": flow["ii_cycles"],
        "fifo_kbit": sum(f["depth"] * f["bits"] for f in flow["fifos"]) // 1000,
        "fifo_kbit_tensor": sum(f["tensor"] * f["bits"] for f in flow["fifos"]) // 1000,
    }


def _peak_mib(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def markdown(result: Mapping[str, Any]) -> str:
    """The projects as a table."""
    lines = [
        "# HLS projects",
        "",
        (
            f"`hwq bench hls`, hwq {result['hwq']}, {result['machine']}, {result['cores']} cores, board "
            f"{result['board']}, reuse factors of at most {_MOST_REUSE}. Every word of every golden row, and every "
            "layer's output, equalled the integer graph in this run. Cycles and FIFOs are those of the simulated "
            "dataflow; hls4ml makes every FIFO as deep as its tensor."
        ),
        "",
        "| network | io | generate | memory | g++ | memory | C simulation | latency, interval | FIFOs, hls4ml's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for p in result["projects"]:
        flow = p["dataflow"]
        cycles = f"{flow['latency_cycles']:,}, {flow['ii_cycles']:,} cycles" if flow else ""
        fifos = f"{flow['fifo_kbit']:,}, {flow['fifo_kbit_tensor']:,} kbit" if flow else ""
        lines.append(
            f"| {p['model']} | {p['io']} | {p['seconds_generate']:.1f} s | {p['mib_generate']:.0f} MiB "
            f"| {p['seconds_compile']:.0f} s | {p['mib_compile']:.0f} MiB "
            f"| {p['ms_per_row']:.3g} ms a row, {p['rows']} rows "
            f"| {cycles} | {fifos} |"
        )
    return "\n".join(lines) + "\n"


def main(part: str, *arguments: str) -> None:
    """Print what a part measured, as JSON."""
    parts: dict[str, Callable[..., dict[str, Any]]] = {"make": _make, "generate": _generate, "csim": _csim}
    sys.stdout.write(json.dumps(parts[part](*arguments)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
