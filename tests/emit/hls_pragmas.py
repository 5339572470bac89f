"""Grammar and scope of ``#pragma HLS``: what Vitis HLS 2020.1 to 2025 takes (UG1399, "HLS Pragmas").

Compilers ignore pragmas that they do not know, so only the vendor's tool would see a misspelt one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clang.cindex import Cursor, CursorKind

from tests.emit import clang_tree as tree

K = CursorKind


@dataclass(frozen=True)
class Directive:
    """What a directive takes.

    Attributes:
        flags: Words that stand alone.
        names: Options whose values are variables.
        numbers: Options whose values are integer constants, with the least.
        words: Options with a fixed choice; a choice given without its name is taken too where `bare` names it.
        functions: Options whose values are functions or operations.
        needed: Options without which it says nothing.
        place: "loop", "function" or "" for both.
    """

    flags: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    numbers: dict[str, int] = field(default_factory=dict)
    words: dict[str, frozenset[str]] = field(default_factory=dict)
    bare: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    place: str = ""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VARIABLE: dict[str, Any] = {"names": _set("variable"), "needed": _set("variable")}
_TRUE = _set("true false")
_SHAPE: dict[str, Any] = {
    **_VARIABLE,
    "numbers": {"factor": 1, "dim": 0},
    "words": {"type": _set("complete block cyclic"), "off": _TRUE},
    "bare": _set("type"),
}
_PORTS = "ap_none ap_stable ap_vld ap_ack ap_hs ap_ovld ap_memory bram ap_fifo axis s_axilite m_axi"
_CONTROL = "ap_ctrl_none ap_ctrl_hs ap_ctrl_chain"
DIRECTIVES = {
    "aggregate": Directive(**_VARIABLE, words={"compact": _set("auto bit byte none")}),
    "allocation": Directive(
        flags=_set("function operation"),
        functions=_set("instances"),
        numbers={"limit": 1},
        needed=_set("instances limit"),
    ),
    "array_partition": Directive(**_SHAPE),
    "array_reshape": Directive(**_SHAPE, flags=_set("object")),
    "bind_op": Directive(
        **_VARIABLE,
        words={"op": _set("mul add sub"), "impl": _set("dsp fabric auto")},
        numbers={"latency": -1},
    ),
    "bind_storage": Directive(
        **_VARIABLE,
        words={
            "type": _set("fifo ram_1p ram_1wnr ram_2p ram_s2p ram_t2p rom_1p rom_2p rom_np"),
            "impl": _set("auto bram bram_ecc lutram uram uram_ecc srl memory"),
        },
        numbers={"latency": -1},
    ),
    "dataflow": Directive(flags=_set("disable_start_propagation")),
    "dependence": Directive(
        names=_set("variable"),
        words={
            "class": _set("array pointer"),
            "type": _set("inter intra"),
            "direction": _set("raw war waw"),
            "dependent": _TRUE,
        },
        numbers={"distance": 1},
        bare=_set("class type direction dependent"),
    ),
    "disaggregate": Directive(**_VARIABLE),
    "expression_balance": Directive(flags=_set("off")),
    "function_instantiate": Directive(**_VARIABLE, place="function"),
    "inline": Directive(flags=_set("off recursive"), place="function"),
    "interface": Directive(
        words={"mode": _set(f"{_PORTS} {_CONTROL}"), "register_mode": _set("both forward reverse off")},
        bare=_set("mode"),
        names=_set("port"),
        numbers={"depth": 1, "latency": 0},
        flags=_set("register"),
        needed=_set("mode port"),
        place="function",
    ),
    "latency": Directive(numbers={"min": 0, "max": 0}),
    "loop_flatten": Directive(flags=_set("off"), place="loop"),
    "loop_merge": Directive(flags=_set("force")),
    "loop_tripcount": Directive(numbers={"min": 0, "max": 0, "avg": 0}, needed=_set("max"), place="loop"),
    "pipeline": Directive(numbers={"II": 1}, flags=_set("rewind off"), words={"style": _set("stp flp frp")}),
    "reset": Directive(**_VARIABLE, flags=_set("off")),
    "stable": Directive(**_VARIABLE),
    "stream": Directive(
        **_VARIABLE, numbers={"depth": 1}, words={"type": _set("fifo pipo shared unsync"), "off": _TRUE}
    ),
    "unroll": Directive(
        numbers={"factor": 1}, flags=_set("skip_exit_check"), words={"off": _TRUE}, place="loop"
    ),
}


def check_pragma(pragma: tree.Pragma, function: Cursor) -> Iterator[str]:
    """What is wrong with a pragma that stands inside of `function`."""
    name, *rest = _after_hls(pragma.text)
    directive = DIRECTIVES.get(name.lower())
    if directive is None:
        yield f"the tool knows no directive {name}"
        return
    given, unknown = _options(directive, rest)
    yield from (f"no option {word!r} of {name}" for word in unknown)
    yield from (f"it needs {option}=" for option in sorted(directive.needed - given.keys()))
    scope = Scope(function, pragma.line)
    if directive.place and directive.place != scope.place:
        yield f"it belongs directly into the body of a {directive.place}"
    for option, value in given.items():
        yield from _check_value(directive, option, value, scope)
    if name.lower() in {"array_partition", "array_reshape"}:
        yield from _check_shape(given, scope)
    if given.get("dependent", "").lower() == "false":
        yield "a promise that nothing checks, and whose breach is wrong hardware: state the distance"


def _after_hls(text: str) -> list[str]:
    """Words behind ``#pragma HLS``, template arguments kept together."""
    joined = re.sub(r"\s*=\s*", "=", text.split("HLS", 1)[1])
    words, depth = [""], 0
    for letter in joined:
        depth += (letter == "<") - (letter == ">")
        if letter.isspace() and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word for word in words if word]


def _options(directive: Directive, words: list[str]) -> tuple[dict[str, str], list[str]]:
    lower = {
        k.lower(): k for k in {*directive.names, *directive.numbers, *directive.words, *directive.functions}
    }
    given, unknown = {}, []
    for word in words:
        option, equals, value = word.partition("=")
        bare = [o for o in sorted(directive.bare) if word.lower() in directive.words[o]]
        if equals and option.lower() in lower:
            given[lower[option.lower()]] = value
        elif not equals and bare:
            given[bare[0]] = word
        elif equals or word.lower() not in directive.flags:
            unknown.append(word)
    return given, unknown


def _check_value(directive: Directive, option: str, value: str, scope: Scope) -> Iterator[str]:
    if option in directive.numbers:
        yield from _check_number(option, value, directive.numbers[option], scope)
    elif option in directive.words:
        if value.lower() not in directive.words[option]:
            yield f"{option}={value} is none of {', '.join(sorted(directive.words[option]))}"
    elif option in directive.names:
        for name in value.split(","):
            if scope.variable(re.split(r"[.\[-]", name)[0]) is None and name != "return":
                yield f"no variable '{name}' is in scope"


def _check_number(option: str, value: str, least: int, scope: Scope) -> Iterator[str]:
    if re.fullmatch(r"-?\d+", value):
        if int(value) < least:
            yield f"{option}={value} is less than {least}"
    elif not re.fullmatch(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)*", value) or not scope.is_constant(value):
        yield f"{option}={value} is not an integer that the compiler knows"


def _check_shape(given: dict[str, str], scope: Scope) -> Iterator[str]:
    kind = given.get("type", "complete").lower()
    if (kind == "complete") == ("factor" in given):
        yield f"factor= goes with block and cyclic, which need it, not with {kind}"
    variable = scope.variable(given.get("variable", ""))
    dims = tree.rank(variable.type) if variable is not None else None
    if dims is not None and given.get("dim", "0").isdigit() and int(given.get("dim", "0")) > dims:
        yield f"dim={given['dim']} of an array of {dims}"


class Scope:
    """Names that are visible at a line of a function."""

    def __init__(self, function: Cursor, line: int) -> None:
        self.function = function
        self.line = line
        self.place = "function"
        self.variables = {c.spelling: c for c in function.get_children() if c.kind == K.PARM_DECL}
        for child in function.get_children():
            if child.kind == K.COMPOUND_STMT:
                self._enter(child, "function")

    def _enter(self, block: Cursor, place: str) -> None:
        """Go down into the innermost block around the line."""
        self.place = place
        for statement in block.get_children():
            if statement.kind == K.DECL_STMT and statement.extent.start.line <= self.line:
                self.variables |= {v.spelling: v for v in statement.get_children()}
            elif statement.extent.start.line <= self.line <= statement.extent.end.line:
                self._descend(statement)

    def _descend(self, statement: Cursor) -> None:
        while statement.kind == K.LABEL_STMT:
            statement = next(iter(statement.get_children()))
        if statement.kind == K.COMPOUND_STMT:
            self._enter(statement, "block")
            return
        for child in statement.get_children():
            if child.kind == K.DECL_STMT:
                self.variables |= {v.spelling: v for v in child.get_children()}
            inside = child.extent.start.line < self.line < child.extent.end.line
            if child.kind == K.COMPOUND_STMT and inside:
                self._enter(child, "loop" if statement.kind in tree.LOOPS else "block")
            elif inside:
                self._descend(child)

    def variable(self, name: str) -> Cursor | None:
        """The variable or parameter of that name: of the function, its class or a namespace around it."""
        if name in self.variables:
            return self.variables[name]
        place = self.function.semantic_parent
        while place is not None:
            found = [c for c in place.get_children() if c.kind in tree.VARIABLES and c.spelling == name]
            if found:
                return found[0]
            place = place.semantic_parent
        return None

    def is_constant(self, name: str) -> bool:
        """Whether a name, qualified or not, is an integer constant here."""
        first, *members = name.split("::")
        if not members:
            variable = self.variable(name)
            if variable is not None:
                return variable.kind == K.VAR_DECL and tree.is_constant_variable(variable)
            return first in self._template_parameters()
        return self._is_member(first, members)

    def _template_parameters(self) -> dict[str, Cursor]:
        template = tree.template_of(self.function)
        places = [template, template.semantic_parent]
        return {
            c.spelling: c for p in places if p for c in p.get_children() if c.kind in tree.TEMPLATE_PARAMETERS
        }

    def _is_member(self, first: str, members: list[str]) -> bool:
        """Whether a template parameter (or a type) has a constant member; in a template, only the former is known."""
        parameters = list(self._template_parameters())
        if first not in parameters:
            return False
        n_arguments = self.function.get_num_template_arguments()
        if n_arguments <= parameters.index(first):
            return True
        declared = self.function.get_template_argument_type(parameters.index(first)).get_declaration()
        for member in members:
            found = _member(declared, member)
            if found is None:
                return False
            declared = found
            if found.kind in {K.TYPEDEF_DECL, K.TYPE_ALIAS_DECL}:
                declared = found.underlying_typedef_type.get_canonical().get_declaration()
        return declared.kind == K.VAR_DECL and tree.is_constant_variable(declared)


def _member(record: Cursor, name: str) -> Cursor | None:
    record = record.get_definition() or record
    for child in record.get_children():
        if child.spelling == name and child.kind in {
            K.VAR_DECL,
            K.TYPEDEF_DECL,
            K.TYPE_ALIAS_DECL,
            K.STRUCT_DECL,
        }:
            return child
    for child in record.get_children():
        if child.kind == K.CXX_BASE_SPECIFIER:
            found = _member(child.type.get_canonical().get_declaration(), name)
            if found is not None:
                return found
    return None
