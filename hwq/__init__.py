"""hwq: extremely low-bit neural networks on FPGAs and ASICs, exact from training to C++.

>>> import hwq
>>> graph = hwq.load("model.onnx")                            # doctest: +SKIP
>>> y = hwq.simulate(graph, x)                                # doctest: +SKIP
>>> hwq.verify(graph, x, stages=["qonnx"]).raise_if_failed()  # doctest: +SKIP
>>> hwq.generate(graph, board="pynq-z2").write("out")         # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from hwq.errors import CheckFailed, HwqError, InputError, ToolMissing, UnsupportedModel

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hwq.api import estimate, generate, load, simulate, verify
    from hwq.ir import Graph, IntType

__all__ = [
    "CheckFailed",
    "Graph",
    "HwqError",
    "InputError",
    "IntType",
    "ToolMissing",
    "UnsupportedModel",
    "estimate",
    "generate",
    "load",
    "simulate",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import hwq` stays light."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'hwq' has no attribute '{name}'")
    return getattr(import_module("hwq.ir" if name in ("Graph", "IntType") else "hwq.api"), name)
