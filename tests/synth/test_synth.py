"""`hwq synth` with stand-ins for the vendor's programs: they run the Tcl under tclsh, and drop recorded reports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwq import generation
from hwq.cli import app
from hwq.synth import tools
from tests.emit.emit_graphs import config, dense_net

RECORDED = Path(__file__).parent / "reports"
pytestmark = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")

STAND_IN = """#!/bin/sh
# Stand-in for {name}: not the vendor's program. Runs a Tcl script under tclsh with stubbed commands.
for last; do :; done
echo "$last" >> {calls}
exec {tclsh} {stubs} "$last"
"""
STUBS = """
# Stand-ins for the commands of Vitis HLS and Vivado.
foreach name {{set_top open_project open_solution set_part create_clock set_clock_uncertainty config_compile
    config_schedule add_files create_project read_verilog read_xdc synth_design opt_design place_design phys_opt_design
    route_design write_checkpoint}} {{proc $name {{args}} {{puts "INFO: $args"}}}}
proc drop {{from to}} {{
    file mkdir [file dirname $to]
    file delete -force $to
    file copy $from $to
    file mtime $to [clock seconds]
}}
proc csynth_design {{}} {{
    {csynth}
    global top
    set report hls_prj/solution1/syn/report
    drop {reports}/csynth.xml $report/${{top}}_csynth.xml
    drop {reports}/csynth.xml $report/hwq_threshold_ap_fixed_config3_s_csynth.xml
    file mkdir hls_prj/solution1/syn/verilog
    close [open hls_prj/solution1/syn/verilog/$top.v w]
}}
proc csim_design {{}} {{
    global top
    file mkdir hls_prj/solution1/csim/report
    close [open hls_prj/solution1/csim/report/${{top}}_csim.log w]
}}
proc cosim_design {{args}} {{global top; drop {reports}/cosim.rpt hls_prj/solution1/sim/report/${{top}}_cosim.rpt}}
proc report_utilization {{args}} {{drop {reports}/utilization_synth.rpt [lindex $args end]}}
proc report_timing_summary {{args}} {{drop {reports}/timing.rpt [lindex $args end]}}
proc report_power {{args}} {{drop {reports}/power.rpt [lindex $args end]}}
source [lindex $argv 0]
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "project"
    graph = dense_net()
    generation.write_project(graph, config(graph), folder)
    return folder


class Bench:
    """A project, and stand-ins on PATH."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.calls = folder / "calls"
        self.install()

    def install(self, csynth: str = "", reports: Path = RECORDED) -> None:
        (self.folder / "bin").mkdir(exist_ok=True)
        stubs = self.folder / "stubs.tcl"
        stubs.write_text(STUBS.format(csynth=csynth, reports=reports))
        for name in ("vitis_hls", "vivado"):
            path = self.folder / "bin" / name
            path.write_text(
                STAND_IN.format(name=name, calls=self.calls, tclsh=shutil.which("tclsh"), stubs=stubs)
            )
            path.chmod(0o755)

    def ran(self) -> list[str]:
        names = [Path(line).stem for line in self.calls.read_text().split()] if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return names

    def synth(self, *options: str) -> Any:
        return CliRunner().invoke(app, ["synth", str(self.project), *options])

    def record(self) -> Any:
        return json.loads((self.project / "synth.json").read_text())


@pytest.fixture
def bench(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(Path(shutil.copytree(generated, tmp_path / "p")), tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in tools.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return made


def test_steps_run_once_and_their_reports_are_read(bench: Bench) -> None:
    done = bench.synth("--steps", "csynth,cosim,impl")
    assert done.exit_code == 0, done.output
    assert bench.ran() == ["csynth", "cosim", "impl"]
    record = bench.record()
    assert list(record["steps"]) == ["csynth", "cosim", "impl"]
    reports = record["reports"]
    assert (reports["csynth"]["lut"], reports["post_route"]["lut"], reports["cosim"]["passed"]) == (
        2532,
        1526,
        True,
    )
    assert reports["timing"]["period_ns"] == 10
    assert reports["power"]["total_w"] == 1.636
    assert "INFO: " in (bench.project / "logs" / "csynth.log").read_text()
    assert bench.synth("--steps", "csynth,cosim,impl").exit_code == 0
    assert bench.ran() == []
    assert bench.synth("--steps", "csynth,impl", "--force").exit_code == 0
    assert bench.ran() == ["csynth", "impl"]


def test_estimate_and_tool_stand_side_by_side(bench: Bench) -> None:
    done = bench.synth("--steps", "csynth,impl")
    assert "estimate and tool" in done.output
    rows = bench.record()["comparison"]
    total = {(r["stage"], r["quantity"]): r for r in rows if r["layer"] == "total"}
    assert [total[stage, "lut"]["tool"] for stage in ("csynth", "post_synth", "post_route")] == [
        2532,
        1526,
        1526,
    ]
    assert total["csynth", "lut"]["estimate"] > total["post_synth", "lut"]["estimate"]
    assert (total["csynth", "latency_cycles"]["tool"], total["csynth", "ii_cycles"]["tool"]) == (10, 8)
    assert total["post_synth", "dsp"]["inside"] is False
    threshold = [r for r in rows if r["layer"] == "/net/threshold1"]
    assert {r["quantity"]: r["tool"] for r in threshold} == {"lut": 2532, "ff": 7969, "dsp": 73, "bram18": 0}
    assert all(r["tool"] is None and r["inside"] is None for r in rows if r["layer"] == "/net/dense0")


def test_a_layer_is_held_against_the_estimate_of_c_synthesis(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth").exit_code == 0
    manifest = json.loads((bench.project / "manifest.json").read_text())
    layers = {e["name"]: e for e in manifest["expected"]["csynth"]["layers"]}
    rows = [r for r in bench.record()["comparison"] if r["layer"] != "total"]
    assert {r["layer"] for r in rows} == set(layers)
    assert all(r["estimate"] == layers[r["layer"]][r["quantity"]]["value"] for r in rows)


def test_an_edited_source_runs_again(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth").exit_code == 0
    bench.ran()
    source = bench.project / "firmware" / "defines.h"
    source.write_text(source.read_text() + "// edited\n")
    assert bench.synth("--steps", "csynth").exit_code == 0
    assert bench.ran() == ["csynth"]


def test_what_read_an_older_synthesis_is_no_longer_done(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth,cosim,impl").exit_code == 0
    assert bench.synth("--steps", "csynth", "--force").exit_code == 0
    record = bench.record()
    assert list(record["steps"]) == ["csynth"]
    assert set(record["reports"]) == {"csynth", "modules"}
    assert {r["stage"] for r in record["comparison"]} == {"csynth"}
    bench.ran()
    assert bench.synth("--steps", "csynth,cosim,impl").exit_code == 0
    assert bench.ran() == ["cosim", "impl"]


def test_c_simulation_leaves_c_synthesis_as_it_is(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth").exit_code == 0
    bench.ran()
    assert bench.synth("--steps", "csim,csynth").exit_code == 0
    assert bench.ran() == ["csim"]


def test_a_step_without_what_it_reads_is_refused(bench: Bench) -> None:
    done = bench.synth("--steps", "cosim")
    assert done.exit_code == 2
    assert "give --steps csynth,cosim" in done.output
    assert bench.ran() == []


def test_a_changed_project_runs_again_and_what_follows_too(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth,impl").exit_code == 0
    bench.ran()
    script = bench.project / "scripts" / "settings.tcl"
    script.write_text(script.read_text() + "\n# changed\n")
    assert bench.synth("--steps", "csynth,impl").exit_code == 0
    assert bench.ran() == ["csynth", "impl"]
    shutil.rmtree(bench.project / "hls_prj")
    assert bench.synth("--steps", "csynth").exit_code == 0
    assert bench.ran() == ["csynth"]


def test_a_failing_step_shows_its_first_real_error(bench: Bench) -> None:
    bench.install(
        csynth="puts {ERROR: [HLS 214-135] no such function}; puts {ERROR: [HLS 200-70] aborted}; exit 1"
    )
    done = bench.synth("--steps", "csynth,impl")
    assert done.exit_code == 1
    assert "csynth failed (vitis_hls ): exit status 1\n  ERROR: [HLS 214-135] no such function" in done.output
    assert "logs/csynth.log" in done.output
    assert bench.ran() == ["csynth"]
    bench.install()
    assert bench.synth("--steps", "csynth,impl").exit_code == 0
    assert bench.ran() == ["csynth", "impl"]


def test_status_zero_without_reports_is_a_failure(bench: Bench) -> None:
    bench.install(csynth="return")
    done = bench.synth("--steps", "csynth")
    assert done.exit_code == 1
    assert "it made no hls_prj/solution1/syn/report/*csynth.xml" in done.output


def test_reports_of_an_earlier_run_do_not_count(bench: Bench) -> None:
    assert bench.synth("--steps", "csynth").exit_code == 0
    for path in (bench.project / "hls_prj").rglob("*"):
        os.utime(path, (1, 1))
    bench.install(csynth="return")
    assert bench.synth("--steps", "csynth", "--force").exit_code == 1


def test_timing_that_is_not_met_is_said(bench: Bench, tmp_path: Path) -> None:
    reports = Path(shutil.copytree(RECORDED, tmp_path / "reports"))
    text = (reports / "timing.rpt").read_text()
    (reports / "timing.rpt").write_text(text.replace("      3.489 ", "     -0.511 "))
    bench.install(reports=reports)
    done = bench.synth("--steps", "csynth,impl")
    assert done.exit_code == 1
    assert "timing is not met at 10 ns: 10.511 ns (95 MHz)" in done.output


def test_a_failed_cosimulation_is_said(bench: Bench, tmp_path: Path) -> None:
    reports = Path(shutil.copytree(RECORDED, tmp_path / "reports"))
    (reports / "cosim_failed.rpt").replace(reports / "cosim.rpt")
    bench.install(reports=reports)
    done = bench.synth("--steps", "csynth,cosim")
    assert done.exit_code == 1
    assert "the RTL differs from the golden rows" in done.output


def test_a_step_has_a_time_limit(bench: Bench) -> None:
    bench.install(csynth="after 60000")
    done = bench.synth("--steps", "csynth", "--timeout-s", "1")
    assert done.exit_code == 1
    assert "csynth took more than 1 s and was stopped" in done.output


def test_no_child_outlives_its_step(bench: Bench) -> None:
    """It ignores SIGTERM and holds the standard output open, as a tool's own children may."""
    child = "trap '' TERM; echo $$ > $0; while :; do sleep 1; done"
    bench.install(csynth=f"exec sh -c {{{child}}} {bench.folder}/pid &; after 60000")
    started = time.monotonic()
    done = bench.synth("--steps", "csynth", "--timeout-s", "2")
    assert done.exit_code == 1, done.output
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((bench.folder / "pid").read_text()), 0)


def test_an_interrupted_run_stops_the_tool_and_can_go_on(bench: Bench) -> None:
    bench.install(csynth=f"set f [open {bench.folder}/pid w]; puts $f [pid]; close $f; after 60000")
    arguments = ["hwq", "synth", str(bench.project), "--steps", "csynth"]
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.argv = {arguments!r}; from hwq.cli import main; main()"
    )
    hwq = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    pid = bench.folder / "pid"
    for _ in range(200):
        if pid.exists() and pid.read_text().strip():
            break
        time.sleep(0.05)
    hwq.send_signal(signal.SIGINT)
    _, said = hwq.communicate(timeout=30)
    assert hwq.returncode == 130, said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert bench.record()["steps"] == {}
    bench.install()
    assert bench.synth("--steps", "csynth").exit_code == 0


def test_dry_run_shows_the_commands_and_runs_nothing(bench: Bench) -> None:
    done = bench.synth("--dry-run")
    assert done.exit_code == 0
    assert f"{bench.folder}/bin/vitis_hls -f scripts/csynth.tcl" in " ".join(done.output.split())
    assert "-mode batch" in done.output
    assert bench.ran() == []
    assert not (bench.project / "synth.json").exists()


def test_one_tool_alone(bench: Bench) -> None:
    for tool, steps in (("vitis", ["csynth"]), ("vivado", ["impl"])):
        listed = json.loads(bench.synth("--tool", tool, "--dry-run", "--json").output)
        assert [entry["step"] for entry in listed] == steps


def test_without_tools(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bench.folder))
    monkeypatch.setattr(tools, "ROOTS", ())
    done = bench.synth()
    assert done.exit_code == 3
    assert "source settings64.sh" in done.output
    listed = json.loads(bench.synth("--dry-run", "--json").output)
    assert [entry["command"][0] for entry in listed] == ["vitis-run", "vivado"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "csynth,root"], "no step 'root'"),
        (["--timeout-s", "0"], "timeout"),
        (["--tool", "quartus"], "choose one of vitis, vivado"),
        (["--tool", "vivado", "--steps", "csynth,impl"], "--steps csynth: not run by vivado"),
    ],
)
def test_wrong_options(options: list[str], said: str, bench: Bench) -> None:
    done = bench.synth(*options)
    assert done.exit_code == 2
    assert said in done.output


def test_no_project(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synth", str(tmp_path)])
    assert done.exit_code == 2
    assert "is no project of hwq" in done.output
