"""The README's tables of operators, from the tables of the code: ``python -m hwq.lowering.coverage`` prints them."""

from __future__ import annotations

import sys

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
    rows += ["", "| integer operation | simulated, verified | generated | estimated |", "|---|---|---|---|"]
    for name, spec in OPS.items():
        built, priced = ("yes" if hook else "not yet" for hook in (spec.emit, spec.cost))
        rows.append(f"| `{name}` | yes | {built} | {priced} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
