"""What we write ourselves compiles without a warning; hls4ml's library is kept apart as a system's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hwq.emit import generate
from hwq.hardware import Io
from tests.emit.clang_tree import WARNINGS
from tests.emit.emit_graphs import all_ops, config, dense_net, more_ops


def warnings_of(project: Path) -> str:
    """What g++ says of the top, its parameters, our layers and the testbench."""
    firmware, library = project / "firmware", project / "library" / "nnet_utils"
    library.mkdir(parents=True)
    for header in (firmware / "nnet_utils").glob("nnet_*.h"):
        header.rename(library / header.name)
    paths = [f for p in (firmware / "ap_types", library, library.parent) for f in ("-isystem", str(p))]
    sources = [*map(str, firmware.glob("*.cpp")), *map(str, project.glob("*_test.cpp"))]
    assert len(sources) == 2
    command = [
        "g++",
        "-std=c++14",
        "-fsyntax-only",
        *WARNINGS,
        *paths,
        "-I",
        str(project),
        "-I",
        str(firmware / "nnet_utils"),
    ]
    return subprocess.run([*command, *sources], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("io", Io)
def test_a_project_compiles_without_a_warning(io: Io, tmp_path: Path) -> None:
    generate(dense_net(), config(dense_net(), io)).write(tmp_path / "p")
    assert warnings_of(tmp_path / "p") == ""


@pytest.mark.slow
@pytest.mark.parametrize("io", Io)
def test_every_op_compiles_without_a_warning(io: Io, tmp_path: Path) -> None:
    for i, graph in enumerate((all_ops(), more_ops())):
        generate(graph, config(graph, io)).write(tmp_path / str(i))
        assert warnings_of(tmp_path / str(i)) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("firmware/hwq_dense_net.cpp", "NETWORK INSTANTIATION\n", "\n    int unused;\n", "unused"),
        (
            "firmware/parameters.h",
            "struct config2 ",
            "static int unused(int x) { return 1; }\nstruct config2 ",
            "x",
        ),
        ("firmware/nnet_utils/hwq_threshold.h", "unsigned k = 0;", "int k = 0;", "signedness"),
        ("hwq_dense_net_test.cpp", "hwq::Options options;", "hwq::Options options; int unused;", "unused"),
    ],
)
def test_a_warning_in_what_we_write_is_seen(file: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    generate(dense_net(), config(dense_net())).write(tmp_path / "p")
    path = tmp_path / "p" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert said in warnings_of(tmp_path / "p")
