"""Lints C++ for what high-level synthesis cannot build: a list of rules over libclang's syntax tree.

Headers are read as they stand, templates included. Of a whole project, every function that the top reaches
is read too, in the very instances that it calls: there loop bounds, types and callees are the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clang.cindex import Cursor, CursorKind, TypeKind

from tests.emit import clang_tree as tree
from tests.emit.hls_pragmas import check_pragma
from tests.emit.loop_bounds import check_for, check_range

K = CursorKind
RULES = (
    "compile",
    "dynamic-memory",
    "exception",
    "float",
    "function-pointer",
    "goto",
    "pragma",
    "recursion",
    "static-state",
    "system-call",
    "unbounded-loop",
    "virtual",
    "vla",
)
_CONTAINER = re.compile(
    r"\bstd::(?:__\w+::)?(?:vector|deque|list|forward_list|(?:unordered_)?(?:multi)?(?:map|set)|stack|queue"
    r"|priority_queue|basic_string|function|any|unique_ptr|shared_ptr|weak_ptr|allocator)\b"
)
_ALLOCATION = re.compile(
    r"(?:__builtin_)?(?:malloc|calloc|realloc|free|alloca|aligned_alloc|posix_memalign)$"
)
_LIBM_FILES = {"math.h", "mathcalls.h", "cmath", "std_abs.h", "complex", "hls_math.h", "specfun.h"}
_BUILDABLE = {
    "__assert_fail": "the tool takes assert() as a statement about ranges",
    "basic_string": "of a literal, for hls::stream, whose own constructor in the tool takes the literal; "
    "variables of this type are findings",
    "abs": "integers only: of floats, the types of its arguments are findings",
}
_FLOATS = {TypeKind.FLOAT, TypeKind.DOUBLE, TypeKind.LONGDOUBLE, TypeKind.HALF, TypeKind.FLOAT128}
_FUNCTION_TYPES = {TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO}
_Found = Iterator[tuple[str, str]]


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong where."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


def lint(
    sources: Sequence[Path], ours: Sequence[Path] = (), allowed_state: frozenset[str] = frozenset()
) -> list[Finding]:
    """What is wrong in one translation unit.

    Args:
        sources: Files that it includes.
        ours: Files to read from end to end; `sources` by default. What their functions reach elsewhere is read
            too, but for the vendor's types and the system's headers.
        allowed_state: Names of variables that may outlive a call.
    """
    unit = tree.parse(sources)
    files = set(ours or sources)
    defined = list(tree.functions(unit.root, files))
    found = {
        Finding(d.location.file.name if d.location.file else "", d.location.line, "compile", d.spelling)
        for d in unit.errors
    }
    found |= set(_lexical(unit.root, files))
    found |= set(_stray_pragmas(unit, files, defined))
    graph = _call_graph(defined)
    found |= set(_recursion(graph))
    for function, _ in graph.values():
        found |= set(_read(function))
        found |= {Finding(*f) for f in _pragmas_of(function, unit.pragmas)}
    return sorted(
        f for f in found if not (f.rule == "static-state" and f.message.split("'")[1] in allowed_state)
    )


def _lexical(cursor: Cursor, files: set[Path]) -> Iterator[Finding]:
    """Declarations outside of functions."""
    for child in cursor.get_children():
        if child.location.file is None or Path(child.location.file.name) not in files:
            continue
        yield from _findings(child)
        if child.kind not in tree.FUNCTIONS:
            yield from _lexical(child, files)


def _read(function: Cursor) -> Iterator[Finding]:
    for cursor in function.walk_preorder():
        yield from _findings(cursor)


def _findings(cursor: Cursor) -> Iterator[Finding]:
    for check in (*_CHECKS.get(cursor.kind, ()), *((_check_float,) if cursor.kind.is_expression() else ())):
        for rule, message in check(cursor):
            at = cursor.referenced if rule == "static-state" and cursor.kind == K.DECL_REF_EXPR else cursor
            yield Finding(str(tree.file_of(at) or ""), at.location.line, rule, message)


# Calls ----------------------------------------------------------------------------------------------------

_Graph = dict[str, tuple[Cursor, set[str]]]


def _call_graph(roots: Sequence[Cursor]) -> _Graph:
    """Functions by name in the compiler's sense, each with the names of those that it calls."""
    graph: _Graph = {}
    pending = list(roots)
    while pending:
        function = pending.pop()
        name = function.get_usr()
        if name in graph:
            continue
        called = [c for call in function.walk_preorder() if call.kind == K.CALL_EXPR for c in _followed(call)]
        graph[name] = function, {c.get_usr() for c in called}
        pending += called
    return graph


def _followed(call: Cursor) -> list[Cursor]:
    if _is_other_instance(call):
        return []
    found = [(c, tree.file_of(c)) for c in tree.callees(call)]
    return [c for c, file in found if file and not tree.is_vendor(file) and not tree.is_system(file)]


def _is_other_instance(call: Cursor) -> bool:
    """Whether a template calls a template with computed arguments: f<N - 1>() inside f<N> is no recursion."""
    if call.referenced is not None and call.referenced.kind in tree.FUNCTIONS:
        return False
    named = list(call.get_children())[:1]
    return any(c.kind.is_expression() and c.kind != K.DECL_REF_EXPR for n in named for c in n.get_children())


def _recursion(graph: _Graph) -> Iterator[Finding]:
    for name, (function, _) in graph.items():
        pending, seen = list(graph[name][1]), set[str]()
        while pending:
            other = pending.pop()
            if other not in seen and other in graph:
                seen.add(other)
                pending += graph[other][1]
        if name in seen:
            file = str(tree.file_of(function))
            yield Finding(
                file, function.location.line, "recursion", f"{function.spelling}() comes to call itself"
            )


def _check_call(call: Cursor) -> _Found:
    for function in tree.callees(call):
        name, file = function.spelling, tree.file_of(function)
        if _ALLOCATION.match(name):
            yield "dynamic-memory", f"{name}()"
        elif file is not None and file.name in _LIBM_FILES and name not in _BUILDABLE:
            yield "float", f"{name}() of the mathematical library"
        elif tree.is_system(file) and name not in _BUILDABLE:
            yield (
                "system-call",
                f"{name}() of {file.name if file else ''} is not inside #ifndef __SYNTHESIS__",
            )
        if function.kind == K.CXX_METHOD and function.is_virtual_method():
            yield "virtual", f"call of the virtual function {name}()"


def _check_reference(reference: Cursor) -> _Found:
    variable = reference.referenced
    if variable is None or variable.kind != K.VAR_DECL or not tree.is_state(variable):
        return
    if tree.is_system(tree.file_of(variable)) and not tree.is_const(variable):
        yield "system-call", f"{variable.spelling} is not inside #ifndef __SYNTHESIS__"
    elif not tree.is_const(variable):
        yield "static-state", _state(variable)


# Declarations ---------------------------------------------------------------------------------------------


def _check_variable(variable: Cursor) -> _Found:
    type_ = tree.element_type(variable.type)
    pointee = type_.get_pointee()
    name = f"'{variable.spelling}'"
    if any(_CONTAINER.search(t.spelling) for t in (variable.type, type_, pointee.get_canonical())):
        yield "dynamic-memory", f"{name} is a {type_.spelling}"
    if pointee.get_canonical().kind in _FUNCTION_TYPES or type_.kind == TypeKind.MEMBERPOINTER:
        yield "function-pointer", f"{name} is a {type_.spelling}"
    if _is_vla(variable.type.get_canonical()):
        yield "vla", f"{name} has a length that only a run knows"
    if type_.kind in _FLOATS or pointee.get_canonical().kind in _FLOATS:
        yield "float", f"{name} is a {type_.spelling}"
    if tree.is_state(variable) and not tree.is_const(variable):
        yield "static-state", _state(variable)


def _state(variable: Cursor) -> str:
    return f"'{variable.spelling}' keeps its value from call to call"


def _is_vla(type_: object) -> bool:
    kind = getattr(type_, "kind", None)
    if kind == TypeKind.VARIABLEARRAY:
        return True
    nested = {TypeKind.CONSTANTARRAY, TypeKind.DEPENDENTSIZEDARRAY, TypeKind.INCOMPLETEARRAY}
    return kind in nested and _is_vla(type_.element_type)  # type: ignore[attr-defined]


def _check_function(function: Cursor) -> _Found:
    if function.kind in {K.CXX_METHOD, K.DESTRUCTOR} and function.is_virtual_method():
        yield "virtual", f"{function.spelling}() is virtual"
    if function.result_type.get_canonical().kind in _FLOATS:
        yield "float", f"{function.spelling}() returns a {function.result_type.spelling}"


def _check_base(base: Cursor) -> _Found:
    if "virtual" in (token.spelling for token in base.get_tokens()):
        yield "virtual", f"{base.spelling} is a virtual base"


def _check_float(expression: Cursor) -> _Found:
    if expression.type.get_canonical().kind in _FLOATS:
        yield "float", f"an expression is a {expression.type.get_canonical().spelling}"


# Pragmas --------------------------------------------------------------------------------------------------


def _covers(function: Cursor, pragma: tree.Pragma) -> bool:
    extent = function.extent
    return tree.file_of(function) == pragma.file and extent.start.line <= pragma.line <= extent.end.line


def _stray_pragmas(unit: tree.Unit, files: set[Path], defined: Sequence[Cursor]) -> Iterator[Finding]:
    for pragma in unit.pragmas:
        if pragma.file not in files or pragma.text == "#pragma once":
            continue
        if not re.match(r"#pragma HLS\b", pragma.text):
            yield Finding(str(pragma.file), pragma.line, "pragma", f"'{pragma.text}' is not one of HLS")
        elif not any(_covers(f, pragma) for f in defined):
            yield Finding(
                str(pragma.file), pragma.line, "pragma", f"'{pragma.text}' is not inside of a function"
            )


def _pragmas_of(function: Cursor, pragmas: Sequence[tree.Pragma]) -> Iterator[tuple[str, int, str, str]]:
    for pragma in pragmas:
        if pragma.text.startswith("#pragma HLS") and _covers(function, pragma):
            for message in check_pragma(pragma, function):
                yield str(pragma.file), pragma.line, "pragma", f"'{pragma.text}': {message}"


def _says(rule: str, message: str) -> tuple[Callable[[Cursor], _Found]]:
    return (lambda _: iter([(rule, message)]),)


_CHECKS: dict[CursorKind, tuple[Callable[[Cursor], _Found], ...]] = {
    K.CXX_NEW_EXPR: _says("dynamic-memory", "new"),
    K.CXX_DELETE_EXPR: _says("dynamic-memory", "delete"),
    K.CXX_TRY_STMT: _says("exception", "try"),
    K.CXX_THROW_EXPR: _says("exception", "throw"),
    K.CXX_DYNAMIC_CAST_EXPR: _says("exception", "dynamic_cast needs run-time types"),
    K.CXX_TYPEID_EXPR: _says("exception", "typeid needs run-time types"),
    K.GOTO_STMT: _says("goto", "goto"),
    K.INDIRECT_GOTO_STMT: _says("goto", "goto of an address"),
    K.WHILE_STMT: _says("unbounded-loop", "while"),
    K.DO_STMT: _says("unbounded-loop", "do"),
    K.FOR_STMT: (check_for,),
    K.CXX_FOR_RANGE_STMT: (check_range,),
    K.CALL_EXPR: (_check_call,),
    K.DECL_REF_EXPR: (_check_reference,),
    K.CXX_BASE_SPECIFIER: (_check_base,),
    **dict.fromkeys(tree.VARIABLES, (_check_variable,)),
    **dict.fromkeys(tree.FUNCTIONS, (_check_function,)),
}
