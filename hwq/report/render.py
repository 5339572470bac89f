"""The template engine, set up so that text from a stranger's model can never become markup."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hwq.report import numbers

_FILTERS = {
    "count": numbers.count,
    "plain": numbers.plain,
    "percent": numbers.percent,
    "share": numbers.share,
    "band": numbers.band,
    "shape": numbers.shape,
    "interval": numbers.interval,
    "duration": numbers.duration,
    "latency": numbers.latency,
    "plural": numbers.plural,
}
_MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def html(name: str, context: dict[str, Any]) -> str:
    """Render an HTML template with autoescape."""
    return _environment("html").get_template(name).render(context)


def markdown(name: str, context: dict[str, Any]) -> str:
    """Render a Markdown template; every expression in it is escaped for Markdown."""
    return _environment("markdown").get_template(name).render(context)


def escape_markdown(value: Any) -> str:
    r"""Text that reads as itself inside a paragraph or a table cell; `Markup` passes as it is.

    >>> print(escape_markdown("a|b <script> project_parallel _x_"))
    a\|b &lt;script&gt; project_parallel \_x\_
    """
    if isinstance(value, Markup):
        return str(value)
    line = _visible(" ".join(str(value).split("\n")))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(lambda match: "\\" + match.group(), line)


def _visible(value: Any) -> Any:
    """Control characters and direction overrides, which could make a page show another text, as �."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _INVISIBLE.sub("\ufffd", value.replace("\r", " "))


def _code_line(value: str) -> Markup:
    """Text for an indented code block, kept on one line."""
    return Markup(_visible(" ".join(value.split("\n"))))  # noqa: S704  (nothing is markup in a code block)


@cache
def _environment(kind: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("hwq.report"),
        autoescape=kind == "html",  # noqa: S701  (Markdown: `finalize` escapes every expression)
        finalize=escape_markdown if kind == "markdown" else _visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(_FILTERS, code_line=_code_line)
    return environment
