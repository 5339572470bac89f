"""Whether a loop ends after a number of turns that the compiler knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind, TypeKind

from tests.emit import clang_tree as tree

K = CursorKind


def check_range(loop: Cursor) -> Iterator[tuple[str, str]]:
    ranged = [c for c in loop.get_children() if c.kind.is_expression()]
    if not ranged or ranged[0].type.get_canonical().kind not in {
        TypeKind.CONSTANTARRAY,
        TypeKind.DEPENDENTSIZEDARRAY,
    }:
        yield "unbounded-loop", "a range that is not an array"


def check_for(loop: Cursor) -> Iterator[tuple[str, str]]:
    begin, condition, step, body = _parts(loop)
    variable = _counter(begin)
    if begin is None or condition is None or step is None or not variable:
        yield "unbounded-loop", "a for without a counter that starts at a constant, a bound and a step"
    elif not _is_bound(condition, variable):
        yield "unbounded-loop", f"the bound of '{variable}' is not a constant of the compiler"
    elif not _is_step(step, variable):
        yield "unbounded-loop", f"the step of '{variable}' is not constant"
    elif any(_changes(c, variable) for c in body.walk_preorder()):
        yield "unbounded-loop", f"the body changes '{variable}'"


def _parts(loop: Cursor) -> tuple[Cursor | None, Cursor | None, Cursor | None, Cursor]:
    """Initialisation, condition, step and body; libclang leaves out what is not there."""
    *head, body = loop.get_children()
    start = loop.extent.start.offset
    text = tree.between(tree.file_of(loop), start, body.extent.start.offset)
    if text.count(";") == 2 and len(head) == 3:
        return head[0], head[1], head[2], body
    return None, None, None, body


def _counter(begin: Cursor | None) -> str:
    """The variable that a for counts with, if it starts at a constant."""
    if begin is None:
        return ""
    if begin.kind == K.DECL_STMT:
        declared = list(begin.get_children())
        values = [c for c in declared[0].get_children() if c.kind.is_expression()]
        return str(declared[0].spelling) if values and tree.is_constant(values[-1]) else ""
    if tree.operator_of(begin) == "=":
        left, right = tree.operands(begin)
        return str(left.spelling) if tree.is_constant(right) else ""
    return ""


def _is_bound(condition: Cursor, variable: str) -> bool:
    condition = tree.without_casts(condition)
    operator = tree.operator_of(condition)
    if not operator:
        return False
    left, right = tree.operands(condition)
    if operator == "&&":
        return _is_bound(left, variable) or _is_bound(right, variable)
    counted = any(tree.refers_to(c, variable) for c in condition.walk_preorder())
    return (
        operator in {"<", "<=", ">", ">=", "!="}
        and counted
        and all(tree.is_constant(e, variable) for e in (left, right))
    )


def _is_step(step: Cursor, variable: str) -> bool:
    operands = tree.operands(step)
    if step.kind == K.UNARY_OPERATOR:
        return tree.refers_to(operands[0], variable)
    operator = tree.operator_of(step)
    if operator in {"+=", "-="}:
        return tree.refers_to(operands[0], variable) and tree.is_constant(operands[1])
    return operator == "," and any(_is_step(o, variable) for o in operands)


def _changes(cursor: Cursor, variable: str) -> bool:
    operands = tree.operands(cursor)
    if not operands or not tree.refers_to(operands[0], variable):
        return False
    if cursor.kind == K.UNARY_OPERATOR:
        text = tree.between(tree.file_of(cursor), cursor.extent.start.offset, cursor.extent.end.offset)
        return any(mark in text for mark in ("++", "--", "&"))
    return bool(re.fullmatch(r"(?:[-+*/%&|^]|<<|>>)?=", tree.operator_of(cursor)))
