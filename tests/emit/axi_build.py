"""Compiles the AXI4-Stream wrapper of a project, with a main that moves words between files and its ports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from hwq.emit.scripts import CXX_FLAGS

STRICT = [
    "-std=c++14",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-unused-label",
    "-Wno-uninitialized",
]
"""The uninitialised values are in the vendor's types: their constructors read what they are about to set."""
SYSTEM = ("-isystem", "axis_stand_in", "-isystem", "firmware/ap_types", "-isystem", "firmware")
MAIN = """#include "firmware/{top}.h"
#include "hwq_axis.h"
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

namespace nnet {{
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = nullptr;
size_t trace_type_size = sizeof(double);
}} // namespace nnet

void {top}_axi({parameters}, int images);

static void fill(hwq::AxisStream &port, const std::string &path) {{
    std::ifstream file(path, std::ios::binary);
    uint64_t value = 0;
    while (file.read(reinterpret_cast<char *>(&value), sizeof value)) {{
        hwq::AxisWord word;
        word.data = value;
        word.keep = -1;
        word.strb = -1;
        word.last = file.peek() == EOF;
        port.write(word);
    }}
}}

static void empty(hwq::AxisStream &port, const std::string &path) {{
    std::ofstream file(path, std::ios::binary);
    while (!port.empty()) {{
        const hwq::AxisWord word = port.read();
        const uint64_t pair[2] = {{word.data.to_uint64(), word.last.to_uint64()}};
        file.write(reinterpret_cast<const char *>(pair), sizeof pair);
    }}
}}

int main(int, char **argv) {{
    const std::string folder = argv[2];
    hwq::AxisStream in[{inputs}], out[{outputs}];
    for (unsigned i = 0; i < {inputs}; i++) {{
        fill(in[i], folder + "/in_" + std::to_string(i) + ".bin");
    }}
    {top}_axi({arguments}, std::atoi(argv[1]));
    for (unsigned i = 0; i < {outputs}; i++) {{
        empty(out[i], folder + "/out_" + std::to_string(i) + ".bin");
    }}
    for (unsigned i = 0; i < {inputs}; i++) {{
        if (!in[i].empty()) {{
            return 3;
        }}
    }}
    return 0;
}}
"""


def build_network(project: Path) -> None:
    """``build/top.o``: the network alone."""
    top = _description(project)["top"]
    (project / "build").mkdir()
    _gpp(
        project, *CXX_FLAGS, "-isystem", "firmware/ap_types", "-c", f"firmware/{top}.cpp", "-o", "build/top.o"
    )


def build_wrapper(project: Path) -> Path:
    """A fake bitstream ``overlay/TOP.bit`` of the wrapper; `build_network` comes first."""
    about = _description(project)
    top, inputs, outputs = about["top"], len(about["inputs"]), len(about["outputs"])
    text = MAIN.format(
        top=top,
        inputs=inputs,
        outputs=outputs,
        parameters=", ".join(["hwq::AxisStream &"] * (inputs + outputs)),
        arguments=", ".join([f"in[{i}]" for i in range(inputs)] + [f"out[{i}]" for i in range(outputs)]),
    )
    (project / "build" / "main.cpp").write_text(text)
    _gpp(
        project, *STRICT, "-I.", *SYSTEM, f"{top}_axi.cpp", "build/main.cpp", "build/top.o", "-o", "build/axi"
    )
    fake = {
        "executable": str(project / "build" / "axi"),
        "folder": str(project),
        "inputs": inputs,
        "outputs": outputs,
    }
    (project / "overlay").mkdir(exist_ok=True)
    bitstream = project / "overlay" / f"{top}.bit"
    bitstream.write_text(json.dumps(fake))
    return bitstream


def _description(project: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "driver" / "overlay.json").read_text())
    return content


def _gpp(project: Path, *arguments: str) -> None:
    command = ["g++", '-DWEIGHTS_DIR="firmware/weights"', *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
