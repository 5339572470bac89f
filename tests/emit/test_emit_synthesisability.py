"""Our C++ and whole projects pass the synthesisability lint; every rule catches its fault and nothing else."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from hwq.emit import generate
from hwq.files import data_dir
from hwq.hardware import Io, Strategy
from tests.emit.emit_graphs import all_ops, config, dense_net, more_ops
from tests.emit.hls4ml_findings import ACCEPTED, unaccepted
from tests.emit.lint_cases import FAULTS, INNOCENT, INSTANCES
from tests.emit.synthesisability import RULES, Finding, lint

NOT_SYNTHESISED = {"hwq_testbench.h"}
HEADERS = [h for h in sorted(data_dir("hls_templates").glob("hwq_*.h")) if h.name not in NOT_SYNTHESISED]

_INCLUDES = "".join(
    f"#include <{name}>\n"
    for name in ("cmath", "cstdio", "cstdlib", "iostream", "string", "typeinfo", "vector")
)


def write(folder: Path, cases: dict[str, str]) -> dict[str, Path]:
    """One header a case, each in a namespace of its own."""
    files = {}
    for i, (name, code) in enumerate(cases.items()):
        files[name] = folder / f"case_{i}.h"
        files[name].write_text(f"{_INCLUDES}namespace case_{i} {{\n{code}\n}}\n")
    return files


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """Findings of every case, all read in one go."""
    cases = {f"fault {k}": v[1] for k, v in FAULTS.items()} | {
        f"innocent {k}": v for k, v in INNOCENT.items()
    }
    cases |= {f"template {k}": v[1] for k, v in INSTANCES.items()}
    cases |= {f"instance {k}": v[1] + v[2] for k, v in INSTANCES.items()}
    files = write(tmp_path_factory.mktemp("cases"), cases)
    findings = lint(list(files.values()))
    return {name: [f for f in findings if f.file == str(file)] for name, file in files.items()}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, found: dict[str, list[Finding]]) -> None:
    rule, _, said = FAULTS[name]
    assert {f.rule for f in found[f"fault {name}"]} == {rule}
    assert any(re.search(said, f.message) for f in found[f"fault {name}"])


@pytest.mark.parametrize("name", INNOCENT)
def test_its_innocent_relative_is_not(name: str, found: dict[str, list[Finding]]) -> None:
    assert found[f"innocent {name}"] == []


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_shows_what_its_template_hides(name: str, found: dict[str, list[Finding]]) -> None:
    rule, _, _, said = INSTANCES[name]
    hidden = {f.rule for f in found[f"template {name}"]}
    shown = [f for f in found[f"instance {name}"] if f.rule not in hidden]
    assert {f.rule for f in shown} == ({rule} if rule else set())
    assert any(re.search(said, f.message) for f in shown) == bool(said)


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _, _ in FAULTS.values()} | {"compile"} == set(RULES)


def test_two_equal_labels_do_not_compile(tmp_path: Path) -> None:
    code = "inline void f(int *x) { A: for (int i = 0; i < 4; i++) { x[i] = 1; } A: x[0] = 2; }"
    findings = lint(list(write(tmp_path, {"labels": code}).values()))
    assert [(f.rule, f.message) for f in findings] == [("compile", "redefinition of label 'A'")]


def test_listed_state_may_stand(tmp_path: Path) -> None:
    files = list(write(tmp_path, {"state": FAULTS["state"][1]}).values())
    assert lint(files, allowed_state=frozenset({"calls"})) == []
    assert len(lint(files, allowed_state=frozenset({"other"}))) == 1


def test_our_headers_can_be_synthesised() -> None:
    assert [str(f) for f in lint(HEADERS)] == []


def lint_project(folder: Path) -> list[Finding]:
    """Our files from end to end, and all that the top reaches."""
    firmware = folder / "firmware"
    (top,) = firmware.glob("*.cpp")
    ours = [top, top.with_suffix(".h"), firmware / "parameters.h", firmware / "defines.h"]
    return lint([top], [*ours, *(firmware / "nnet_utils").glob("hwq_*.h")])


@pytest.mark.parametrize("io", Io)
def test_a_small_project_can_be_synthesised(io: Io, tmp_path: Path) -> None:
    generate(dense_net(), config(dense_net(), io)).write(tmp_path / "p")
    assert [str(f) for f in unaccepted(lint_project(tmp_path / "p"))] == []


def test_a_fault_in_a_project_is_found(tmp_path: Path) -> None:
    generate(dense_net(), config(dense_net(), Io.STREAM)).write(tmp_path / "p")
    header = tmp_path / "p" / "firmware" / "nnet_utils" / "nnet_dense_stream.h"
    header.write_text(header.read_text().replace("#pragma HLS UNROLL", "#pragma HLS UNROL", 1))
    assert [f.message for f in unaccepted(lint_project(tmp_path / "p"))] == [
        "'#pragma HLS UNROL': the tool knows no directive UNROL"
    ]


@pytest.mark.slow
def test_whole_projects_can_be_synthesised(tmp_path: Path) -> None:
    """In every interface and strategy; and what we accept of hls4ml is there to be accepted."""
    met = set()
    for graph, io, strategy in itertools.product(
        (all_ops(), more_ops()), Io, (Strategy.LATENCY, Strategy.RESOURCE)
    ):
        folder = tmp_path / f"{graph.name} {io.value} {strategy.value}"
        generate(graph, config(graph, io, strategy)).write(folder)
        findings = lint_project(folder)
        assert [str(f) for f in unaccepted(findings)] == [], (graph.name, io, strategy)
        met |= {a for a in ACCEPTED for f in findings if a.covers(f)}
    assert met == set(ACCEPTED)
