"""The training stack is an optional extra; here its absence becomes one clear message."""

from __future__ import annotations

from importlib.util import find_spec

from hwq.errors import ToolMissing

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
