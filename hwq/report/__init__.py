"""One self-contained page about a run, with the same facts as Markdown and JSON."""

from __future__ import annotations

from hwq.report.page import Report, build

__all__ = ["Report", "build"]
