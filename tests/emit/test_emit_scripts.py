"""The headers compile alone; the Makefile runs; the Tcl runs under tclsh with stubs for the tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hwq.files import data_dir

HLS = """set_top csim_design csynth_design cosim_design export_design open_project open_solution set_part
create_clock set_clock_uncertainty config_compile config_schedule"""
VIVADO = """create_project read_verilog read_xdc synth_design report_utilization opt_design place_design
phys_opt_design route_design report_timing_summary report_power write_checkpoint"""
STUBS = """
proc say {args} {puts [join $args " "]}
foreach name {%s} {proc $name {args} "say $name {*}\\$args"}
proc add_files {args} {
    foreach a $args {
        set option [expr {[string index $a 0] eq "-"}]
        if {!$option && ![file exists $a]} {error "no file $a"}
    }
    say add_files {*}$args
}
source [lindex $argv 0]
"""


@pytest.mark.parametrize("name", sorted(p.name for p in data_dir("hls_templates").glob("*.h")))
def test_header_compiles_alone_without_a_warning(name: str, dense_project: Path, tmp_path: Path) -> None:
    flags = "-std=c++14 -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-unused-label -fsyntax-only -x c++"
    library = str(dense_project / "firmware" / "ap_types")
    command = ["g++", *flags.split(), "-isystem", library, str(data_dir("hls_templates") / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_csim_needs_only_gpp(dense_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(dense_project, tmp_path / "moved", ignore=shutil.ignore_patterns("build"))
    done = subprocess.run(["make", "-j2", "csim"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PASSED" in done.stdout
    golden = project / "tb_data" / "golden_0.dat"
    golden.write_text(golden.read_text().replace("1", "2", 1))
    assert subprocess.run(["make", "csim"], cwd=project, capture_output=True, check=False).returncode != 0


def run_tcl(project: Path, script: str, commands: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    stubs = tmp_path / "stubs.tcl"
    stubs.write_text(STUBS % " ".join(commands.split()))
    command = ["tclsh", str(stubs), str(project / "scripts" / script)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")


@needs_tclsh
@pytest.mark.parametrize(
    ("step", "last"),
    [
        ("csim", "csim_design"),
        ("csynth", "csynth_design"),
        ("cosim", "cosim_design"),
        ("export", "export_design"),
    ],
)
def test_hls_script_runs(step: str, last: str, dense_project: Path, tmp_path: Path) -> None:
    done = run_tcl(dense_project, f"{step}.tcl", HLS, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith(last)
    assert "set_part xc7z020clg400-1" in lines
    assert "create_clock -period 10 -name default" in lines
    assert "set_clock_uncertainty 27% default" in lines
    assert "set_top hwq_dense_net" in lines


@needs_tclsh
def test_implementation_script_runs(dense_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(dense_project, tmp_path / "p")
    assert "run 'make csynth' first" in run_tcl(project, "impl.tcl", VIVADO, tmp_path).stdout
    verilog = project / "hls_prj/solution1/syn/verilog"
    verilog.mkdir(parents=True)
    (verilog / "top.v").write_text("module top; endmodule")
    (verilog / "rom.dat").write_text("0")
    done = run_tcl(project, "impl.tcl", VIVADO, tmp_path)
    assert done.returncode == 0, done.stderr
    order = [line.split()[0] for line in done.stdout.splitlines()]
    steps = [
        "read_xdc",
        "synth_design",
        "opt_design",
        "place_design",
        "route_design",
        "report_timing_summary",
    ]
    assert [s for s in order if s in steps] == steps
    assert (
        project / "impl/clock.xdc"
    ).read_text() == "create_clock -name ap_clk -period 10 [get_ports ap_clk]\n"


@needs_tclsh
def test_a_misspelt_command_fails(dense_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(dense_project, tmp_path / "p")
    script = project / "scripts" / "csynth.tcl"
    script.write_text(script.read_text().replace("csynth_design", "csynth_desing"))
    assert run_tcl(project, "csynth.tcl", HLS, tmp_path).returncode != 0


@needs_tclsh
def test_a_missing_source_fails(dense_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(dense_project, tmp_path / "p")
    (project / "hwq_testbench.h").unlink()
    assert run_tcl(project, "csynth.tcl", HLS, tmp_path).returncode != 0
