"""Our C++ headers: each compiles without another, and has a unit test in C++ that passes and that can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hwq.files import data_dir
from tests.emit.clang_tree import WARNINGS, ap_types
from tests.emit.header_mutants import MUTANTS

FOLDER = Path(__file__).parent / "cpp"
TEMPLATES = data_dir("hls_templates")
HEADERS = sorted(h.stem for h in TEMPLATES.glob("hwq_*.h"))
# Shifts apart, which ap_types makes of negative numbers; no optimiser, which warns of ap_types.
SANITISED = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize=shift", "-fno-sanitize-recover=all")

assert HEADERS
for unknown in {t.stem.removeprefix("test_") for t in FOLDER.glob("test_*.cpp")} ^ set(HEADERS):
    raise AssertionError(f"{unknown}.h has no tests/emit/cpp/test_{unknown}.cpp, or that has no header")
for unknown in MUTANTS.keys() ^ set(HEADERS):
    raise AssertionError(
        f"{unknown}.h has no mutants in tests/emit/header_mutants.py, or those have no header"
    )


def compiled(header: str, folder: Path, flags: tuple[str, ...], headers: Path = TEMPLATES) -> Path:
    """The unit test of a header."""
    program = folder / header
    paths = ("-isystem", str(ap_types()), "-I", str(headers), "-I", str(FOLDER))
    source = str(FOLDER / f"test_{header}.cpp")
    subprocess.run(["g++", "-std=c++14", *flags, *paths, source, "-o", str(program)], check=True)
    return program


def fault(program: Path) -> str:
    """What a run says, unless all was equal and no stream was read while it was empty."""
    done = subprocess.run(
        [program], cwd=program.parent, capture_output=True, text=True, timeout=120, check=False
    )
    failed = done.returncode != 0 or "WARNING" in done.stdout
    return (done.stdout + done.stderr or f"ended with status {done.returncode}") if failed else ""


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_does_what_it_says(header: str, tmp_path: Path) -> None:
    """Compiled as the first of the files, without a warning; run with every access and signed sum watched."""
    assert (FOLDER / f"test_{header}.cpp").read_text().startswith(f'#include "{header}.h"\n')
    assert not fault(compiled(header, tmp_path, (*WARNINGS, *SANITISED)))


@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_does_so_when_optimised(header: str, tmp_path: Path) -> None:
    assert not fault(compiled(header, tmp_path, ("-O2", "-w")))


@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS)
def test_its_test_sees_a_change(header: str, tmp_path: Path) -> None:
    """Every mutant compiles, and its test says where it differs (or a watched access is wrong)."""
    mutated = Path(shutil.copytree(TEMPLATES, tmp_path / "headers")) / f"{header}.h"
    original = mutated.read_text()
    for old, new in MUTANTS[header]:
        assert original.count(old) == 1, f"{old!r} is not once in {header}.h"
        mutated.write_text(original.replace(old, new))
        said = fault(compiled(header, tmp_path, ("-w", *SANITISED), mutated.parent))
        assert re.search(r"[1-9]\d* differ|WARNING|AddressSanitizer|runtime error", said), (old, new)
