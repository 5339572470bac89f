"""The real-valued network as an importer hands it over: plain data, no ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RealNode:
    """One operator of the file; an absent optional input is the empty string.

    `channels_last` says that its images are (N, H, W, C) and its weights (O, H, W, I).
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    channels_last: bool = False


@dataclass(frozen=True)
class RealPort:
    """An input or output; the shape is that of one sample (empty if the file does not say), 0 an open batch."""

    name: str
    shape: tuple[int, ...]
    batch: int = 0


@dataclass(frozen=True)
class RealGraph:
    """A network in real arithmetic, nodes in topological order; `opset` is that of the standard operators."""

    name: str
    inputs: tuple[RealPort, ...]
    outputs: tuple[RealPort, ...]
    nodes: tuple[RealNode, ...]
    constants: Mapping[str, np.ndarray[Any, Any]]
    sha256: str
    opset: int = 13
