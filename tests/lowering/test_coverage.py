"""The README says what the code does."""

from __future__ import annotations

from pathlib import Path

from hwq.lowering.coverage import markdown


def test_the_readme_holds_the_current_tables() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert markdown() in readme, "replace the README's tables: python -m hwq.lowering.coverage"
