"""What the lint finds in hls4ml's own library and may stand, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.emit.synthesisability import Finding


@dataclass(frozen=True)
class Accepted:
    """Findings of one rule in one file, and why they do no harm."""

    file: str
    rule: str
    message: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        same_file = finding.file.endswith(f"/firmware/{self.file}")
        return same_file and finding.rule == self.rule and bool(re.search(self.message, finding.message))


_DATA_PACK = "HLS DATA_PACK variable = \\w+': the tool knows no directive"
_STATE = (
    "a stream layer's position, back at its start when an image is through, and pixels, written before read"
)

ACCEPTED = (
    Accepted(
        "nnet_utils/nnet_common.h", "recursion", r"^reduce\(\)", "behind `if (N == 1) return`, N a constant"
    ),
    Accepted(
        "nnet_utils/nnet_helpers.h", "recursion", r"^(floorlog2|pow2)\(\)", "constexpr, for constants only"
    ),
    Accepted("nnet_utils/nnet_conv2d_stream.h", "static-state", "'line_buffer'", _STATE),
    Accepted("nnet_utils/nnet_conv_stream.h", "static-state", "'([ps][XY]|kernel_data)'", _STATE),
    Accepted(
        "nnet_utils/nnet_pooling_stream.h", "static-state", "'([ps][XY]|kernel_data|line_buffer)'", _STATE
    ),
    *(
        Accepted(
            f"nnet_utils/nnet_{name}.h",
            "pragma",
            _DATA_PACK,
            "of Vivado HLS; Vitis HLS warns (207-5514) and ignores it",
        )
        for name in (
            "conv_stream",
            "dense_stream",
            "pooling_stream",
            "sepconv_stream",
            "stream",
        )
    ),
    Accepted(
        "nnet_utils/nnet_dense_resource.h",
        "pragma",
        "HLS RESOURCE variable=weights core=ROM_nP_BRAM': the tool knows no directive",
        "of Vivado HLS; Vitis HLS chooses the memory itself",
    ),
)


def is_weights(finding: Finding) -> bool:
    """hls4ml declares weights without const; its layers only read them."""
    found = re.search(r"/firmware/weights/(\w+)\.h$", finding.file)
    return bool(
        found and finding.rule == "static-state" and finding.message.startswith(f"'{found[1]}' keeps")
    )


def unaccepted(findings: Iterable[Finding]) -> list[Finding]:
    """Without the weights and what is listed above."""
    return [f for f in findings if not is_weights(f) and not any(a.covers(f) for a in ACCEPTED)]
