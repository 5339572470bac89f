"""The README's tables of operators, from the tables of the code: ``python -m hwq.lowering.coverage`` prints them."""

from __future__ import annotations

import sys

from hwq.hardware import NOT_BUILT, Backend, Io
from hwq.lowering import constants, elementwise, pools, products, shapes
from hwq.lowering.lower import EPILOGUES, QUANTIZERS
from hwq.ops import OPS


def markdown() -> str:
    """Two tables: what is lowered, and what becomes of each integer operation."""
    lowered = {
        "quantisers": [*QUANTIZERS, "Trunc"],
        "products": products.HANDLERS,
        "elementwise, activations": elementwise.HANDLERS,
        "pools, reductions": pools.HANDLERS,
        "shapes": shapes.HANDLERS,
        "at the very end (cut)": EPILOGUES,
        "folded, of constants only": {*constants.FOLDS, "Shape"}
        - set(elementwise.HANDLERS)
        - set(shapes.HANDLERS),
    }
    rows = ["| lowered from a QONNX file | operators |", "|---|---|"]
    rows += [f"| {kind} | {', '.join(sorted(names))} |" for kind, names in lowered.items()]
    cells = [f"{backend.value.title()} {io.value}" for backend in Backend for io in Io]
    rows += ["", f"| integer operation | {' | '.join(cells)} |", f"|---|{'---|' * len(cells)}"]
    rows += [f"| `{name}` | {' | '.join(['exact'] * len(cells))} |" for name in OPS]
    rows += ["", "hls4ml's other backends are refused:", ""]
    rows += [f"- {name}: {reason}." for name, reason in NOT_BUILT.items()]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
