"""Build a report from a run's folder and write it: `report.json`, `report.html`, `report.md`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwq import __version__
from hwq.files import write_atomic
from hwq.report import curves, matrix, network, render, requant, resources
from hwq.report.inputs import Run, read_run
from hwq.report.steps import next_steps
from hwq.report.summary import failing_stages, integer_accuracy, verdicts

FORMAT = 1
"""Version of `report.json`'s own keys."""


@dataclass(frozen=True)
class Report:
    """What is known about one run."""

    run: Run

    def html(self) -> str:
        """One page that loads nothing else."""
        return render.html("report.html", self._context())

    def markdown(self) -> str:
        """The same facts as GitHub-flavoured Markdown."""
        return render.markdown("report.md", self._context())

    def json(self) -> str:
        """The files of the run merged, with the verdicts and the next steps before them."""
        summary = {v.question.lower(): asdict(v) for v in verdicts(self.run)}
        steps = [asdict(step) for step in next_steps(self.run)]
        head = {
            "hwq": __version__,
            "format": FORMAT,
            "model": self.run.model,
            "summary": summary,
            "next": steps,
        }
        return json.dumps(head | self.run.raw, indent=2, ensure_ascii=False) + "\n"

    def write(self, run_dir: Path) -> list[Path]:
        """Write the three files, each whole or not at all, and return their paths."""
        contents = {"report.json": self.json(), "report.html": self.html(), "report.md": self.markdown()}
        for name, content in contents.items():
            write_atomic(run_dir / name, content)
        return [run_dir / name for name in contents]

    def _context(self) -> dict[str, Any]:
        """Everything that the templates may name."""
        run = self.run
        return {
            "version": __version__,
            "run": run,
            "verdicts": verdicts(run),
            "drawing": network.draw(run.lower) if run.lower is not None else None,
            "requant": requant.summarise(run.lower) if run.lower is not None else None,
            "charts": curves.charts(run.metrics) if run.metrics is not None else [],
            "canvas": {
                "width": curves.WIDTH,
                "height": curves.HEIGHT,
                "left": curves.LEFT,
                "right": curves.RIGHT,
            },
            "recipe": _flat(run.metrics.recipe) if run.metrics is not None else {},
            "integer_accuracy": integer_accuracy(run),
            "matrix": matrix.matrix(run.verify) if run.verify is not None else None,
            "failing": failing_stages(run.verify) if run.verify is not None else [],
            "designs": resources.designs(run.estimates),
            "steps": next_steps(run),
        }


def build(run_dir: Path) -> Report:
    """Read whichever JSON files a run left in its folder.

    Raises:
        InputError: There is none of them, or one is not what its command writes.
    """
    return Report(read_run(run_dir))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys.

    >>> _flat({"model": {"weight_bits": 2}, "seed": 1})
    {'model.weight_bits': 2, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
