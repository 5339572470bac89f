"""libclang's syntax tree of C++ that is headed for synthesis, and the questions that the lint asks of it."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clang.cindex import Cursor, CursorKind, Diagnostic, Index, StorageClass, TypeKind, conf

K = CursorKind
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-label")
"""For g++: all, but for what every C++ for synthesis has, pragmas of its own and labels of loops."""
FUNCTIONS = {
    K.FUNCTION_DECL,
    K.FUNCTION_TEMPLATE,
    K.CXX_METHOD,
    K.CONSTRUCTOR,
    K.DESTRUCTOR,
    K.CONVERSION_FUNCTION,
}
RECORDS = {K.STRUCT_DECL, K.CLASS_DECL, K.CLASS_TEMPLATE, K.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION}
LOOPS = {K.FOR_STMT, K.WHILE_STMT, K.DO_STMT, K.CXX_FOR_RANGE_STMT}
VARIABLES = {K.VAR_DECL, K.PARM_DECL, K.FIELD_DECL}
TEMPLATE_PARAMETERS = {
    K.TEMPLATE_TYPE_PARAMETER,
    K.TEMPLATE_NON_TYPE_PARAMETER,
    K.TEMPLATE_TEMPLATE_PARAMETER,
}
_LITERALS = {K.INTEGER_LITERAL, K.CHARACTER_LITERAL, K.CXX_BOOL_LITERAL_EXPR, K.CXX_UNARY_EXPR}
_MADE_OF_PARTS = {
    K.UNEXPOSED_EXPR,
    K.PAREN_EXPR,
    K.BINARY_OPERATOR,
    K.UNARY_OPERATOR,
    K.CONDITIONAL_OPERATOR,
    K.CSTYLE_CAST_EXPR,
    K.CXX_STATIC_CAST_EXPR,
    K.CXX_FUNCTIONAL_CAST_EXPR,
}
_ARRAYS = {
    TypeKind.CONSTANTARRAY,
    TypeKind.INCOMPLETEARRAY,
    TypeKind.VARIABLEARRAY,
    TypeKind.DEPENDENTSIZEDARRAY,
}

_INTEGERS = {
    TypeKind.INT,
    TypeKind.UINT,
    TypeKind.LONG,
    TypeKind.ULONG,
    TypeKind.LONGLONG,
    TypeKind.ULONGLONG,
}

# The open ap_types refuse to be compiled for synthesis, so they come before the macro that the tool defines.
_AS_IN_SYNTHESIS = """#include "ap_fixed.h"
#include "ap_int.h"
#include "ap_shift_reg.h"
#include "hls_math.h"
#include "hls_stream.h"
#define __SYNTHESIS__
"""


@dataclass(frozen=True)
class Pragma:
    """A pragma that the preprocessor left, its continued lines joined."""

    file: Path
    line: int
    text: str


@dataclass(frozen=True)
class Unit:
    """A translation unit as the synthesis tool would see it."""

    root: Cursor
    pragmas: tuple[Pragma, ...]
    errors: tuple[Diagnostic, ...]


@functools.cache
def ap_types() -> Path:
    """hls4ml's copy of the vendor's arbitrary precision types."""
    found = importlib.util.find_spec("hls4ml")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "templates" / "vivado" / "ap_types"


@functools.cache
def _system_folders() -> tuple[str, ...]:
    """g++'s own include folders: the libclang wheel has no builtin headers."""
    said = subprocess.run(
        ["g++", "-E", "-x", "c++", "-v", "-"], input="", capture_output=True, text=True, check=True
    ).stderr
    listed = said.split("search starts here:\n")[-1].split("End of search list")[0]
    return tuple(flag for folder in listed.split() for flag in ("-isystem", folder))


def is_vendor(file: Path) -> bool:
    """Whether it is of the vendor's types, hls4ml's copy or a project's."""
    return "ap_types" in file.parts


def is_system(file: Path | None) -> bool:
    """Whether it came with the compiler."""
    return file is not None and any(Path(folder) in file.parents for folder in _system_folders()[1::2])


def parse(sources: Sequence[Path]) -> Unit:
    """One translation unit that includes all of `sources`, with ``__SYNTHESIS__`` defined."""
    text = _AS_IN_SYNTHESIS + "".join(f'#include "{source}"\n' for source in sources)
    flags = ["-x", "c++", "-std=c++14", "-isystem", str(ap_types())]
    unit = Index.create().parse("unit.cpp", [*flags, *_system_folders()], unsaved_files=[("unit.cpp", text)])
    errors = tuple(d for d in unit.diagnostics if d.severity >= Diagnostic.Error)
    done = subprocess.run(["g++", "-E", *flags, "-"], input=text, capture_output=True, text=True, check=True)
    return Unit(unit.cursor, tuple(_pragmas(done.stdout)), errors)


def _pragmas(preprocessed: str) -> Iterator[Pragma]:
    file, line = "", 0
    for text in preprocessed.splitlines():
        marker = re.match(r'# (\d+) "(.*?)"', text)
        if marker:
            file, line = marker[2], int(marker[1])
            continue
        if text.startswith("#pragma"):
            yield Pragma(Path(file), line, " ".join(text.split()))
        line += 1


def file_of(cursor: Cursor) -> Path | None:
    """The file of a declaration; None for what the compiler made up."""
    return Path(cursor.location.file.name) if cursor.location.file else None


@functools.cache
def _text(file: Path) -> bytes:
    return file.read_bytes()


def between(file: Path | None, start: int, end: int) -> str:
    """Source text without comments, by byte offsets."""
    text = _text(file)[start:end].decode() if file else ""
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


def functions(cursor: Cursor, files: set[Path]) -> Iterator[Cursor]:
    """Definitions of functions and templates that stand in `files`, members included."""
    for child in cursor.get_children():
        if child.location.file is None or Path(child.location.file.name) not in files:
            continue
        if child.kind in FUNCTIONS and child.is_definition():
            yield child
        elif child.kind in RECORDS or child.kind in {K.NAMESPACE, K.LINKAGE_SPEC, K.UNEXPOSED_DECL}:
            yield from functions(child, files)


def without_casts(cursor: Cursor) -> Cursor:
    """The expression inside parentheses and implicit conversions."""
    while cursor.kind in {K.UNEXPOSED_EXPR, K.PAREN_EXPR}:
        inner = [c for c in cursor.get_children() if c.kind.is_expression()]
        if len(inner) != 1:
            break
        cursor = inner[0]
    return cursor


def refers_to(cursor: Cursor, name: str) -> bool:
    """Whether it is the variable `name` and nothing more."""
    inner = without_casts(cursor)
    return bool(inner.kind == K.DECL_REF_EXPR and inner.spelling == name)


def operands(cursor: Cursor) -> list[Cursor]:
    """Operands of an operator; in templates, it may be a call of an operator not yet chosen."""
    return [c for c in cursor.get_children() if c.kind.is_expression() and not _overload_set(c)]


def operator_of(cursor: Cursor) -> str:
    """The operator of an expression of two operands; empty for any other."""
    unchosen = cursor.kind == K.CALL_EXPR and cursor.referenced is None
    if cursor.kind not in {K.BINARY_OPERATOR, K.COMPOUND_ASSIGNMENT_OPERATOR} and not unchosen:
        return ""
    if len(operands(cursor)) != 2:
        return ""
    left, right = operands(cursor)
    return between(file_of(cursor), left.extent.end.offset, right.extent.start.offset).strip(" \t\r\n()")


def element_type(type_: Any) -> Any:
    """The canonical type without its array dimensions."""
    type_ = type_.get_canonical()
    while type_.kind in _ARRAYS:
        type_ = type_.element_type.get_canonical()
    return type_


def rank(type_: Any) -> int | None:
    """Dimensions of an array or of an array parameter; None for other types."""
    type_ = type_.get_canonical()
    dims = 0
    if type_.kind == TypeKind.POINTER:
        dims, type_ = 1, type_.get_pointee().get_canonical()
    while type_.kind in _ARRAYS:
        dims, type_ = dims + 1, type_.element_type.get_canonical()
    return dims or None


def is_const(variable: Cursor) -> bool:
    """Whether no element of it can be assigned."""
    type_ = variable.type.get_canonical()
    while type_.kind in _ARRAYS and not type_.is_const_qualified():
        type_ = type_.element_type
    return bool(type_.is_const_qualified())


def is_state(variable: Cursor) -> bool:
    """Whether a variable outlives the call."""
    place = variable.semantic_parent
    outside = place is not None and place.kind in {K.NAMESPACE, K.TRANSLATION_UNIT}
    return bool(variable.kind == K.VAR_DECL and (outside or variable.storage_class == StorageClass.STATIC))


def is_constant(cursor: Cursor, free: str = "") -> bool:
    """Whether an expression is a constant of the compiler, `free` being the name of a variable let pass."""
    parts = operands(cursor)
    if cursor.kind in _LITERALS:
        return True
    if cursor.kind in _MADE_OF_PARTS or operator_of(cursor) or _is_conversion(cursor):
        return bool(parts) and all(is_constant(part, free) for part in parts)
    if cursor.kind == K.CALL_EXPR:
        return _is_constexpr(cursor.referenced) and all(is_constant(a, free) for a in cursor.get_arguments())
    if cursor.kind == K.DECL_REF_EXPR:
        if parts:  # a template parameter, and what an instance has for it
            return all(is_constant(part, free) for part in parts)
        return bool(cursor.spelling == free and free) or _names_constant(cursor)
    return False


def _is_conversion(cursor: Cursor) -> bool:
    """int(x), where x depends on a template parameter."""
    return bool(cursor.kind == K.CALL_EXPR and cursor.referenced is None and cursor.type.kind in _INTEGERS)


def _names_constant(name: Cursor) -> bool:
    declared = name.referenced
    if declared is None:  # a member of a template parameter: its instance is looked at in whole projects
        return any(c.kind in {K.TYPE_REF, K.TEMPLATE_REF} for c in name.get_children())
    if declared.kind in {K.TEMPLATE_NON_TYPE_PARAMETER, K.ENUM_CONSTANT_DECL}:
        return True
    return bool(declared.kind == K.VAR_DECL and is_constant_variable(declared))


def is_constant_variable(variable: Cursor) -> bool:
    """Whether it is const, and begins with a constant."""
    variable = variable.get_definition() or variable
    values = [c for c in variable.get_children() if c.kind.is_expression()]
    return is_const(variable) and bool(values) and is_constant(values[-1])


def _is_constexpr(function: Cursor | None) -> bool:
    if function is None:
        return False
    start, end = function.extent.start.offset, function.location.offset
    return "constexpr" in between(file_of(function), start, end).split()


def callees(call: Cursor) -> list[Cursor]:
    """The definitions that a call may mean; more than one only in a template."""
    if call.referenced is not None and call.referenced.kind in FUNCTIONS:
        return [call.referenced.get_definition() or call.referenced]
    n_arguments = sum(1 for _ in call.get_arguments())
    return [c.get_definition() or c for c in _overloads(call) if _takes(c, n_arguments)]


def _overloads(call: Cursor) -> Iterator[Cursor]:
    """What a name in a template may mean; operators have their meaning in instances only."""
    for child in call.get_children():
        names = _overload_set(child)
        if names is not None and not names.spelling.startswith("operator"):
            n = conf.lib.clang_getNumOverloadedDecls(names)
            yield from (conf.lib.clang_getOverloadedDecl(names, i) for i in range(n))
            return


def _overload_set(name: Cursor) -> Cursor | None:
    found = name.referenced if name.kind in {K.DECL_REF_EXPR, K.MEMBER_REF_EXPR} else None
    return found if found is not None and found.kind == K.OVERLOADED_DECL_REF else None


def _takes(function: Cursor, n_arguments: int) -> bool:
    parameters = [c for c in function.get_children() if c.kind == K.PARM_DECL]
    needed = [p for p in parameters if not any(c.kind.is_expression() for c in p.get_children())]
    return len(needed) <= n_arguments <= len(parameters)


def template_of(function: Cursor) -> Cursor:
    """The template that a function is an instance of, or the function."""
    found = conf.lib.clang_getSpecializedCursorTemplate(function)
    return found if found is not None and found.kind in FUNCTIONS else function
