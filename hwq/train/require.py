"""What must be settled before torch and Brevitas are imported: are they there, and how shall they run."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from hwq.errors import InputError, ToolMissing

_PACKAGES = {
    "torch": "torch",
    "brevitas": "brevitas",
    "onnxoptimizer": "onnxoptimizer",
    "sklearn": "scikit-learn",
}


def require_training() -> None:
    """Check, without importing anything, that the packages of `hwq[train]` are installed.

    Raises:
        ToolMissing: Some are not; the message names them and says how to get them.
    """
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ToolMissing(
            f"training needs {', '.join(missing)}, not installed here: pip install 'hwq[train]'"
        )


def replica_rank() -> tuple[int, int]:
    """Number of this process among those that torchrun started, and how many they are: (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def prepare_jit(*, wanted: bool) -> None:
    """Switch on Brevitas's own compiler, which it looks for when it is imported and never again.

    Raises:
        InputError: Brevitas is there already, without it.
    """
    if not wanted:
        return
    if "brevitas" not in sys.modules:
        os.environ["BREVITAS_JIT"] = "1"
        return
    from brevitas import config

    if not config.JIT_ENABLED:
        raise InputError(
            "key 'train.jit': Brevitas was imported without its JIT, and cannot change that\n"
            "  cure: set BREVITAS_JIT=1 in the environment, or train in a process of its own"
        )
