"""Everything hwq raises on purpose.

::

    HwqError                 exit code 2
     ├── InputError          a file, an array, an option or a name that cannot be used
     │    └── UnsupportedModel   a construct without an exact integer form
     ├── CheckFailed         exit code 1: what was checked is not so
     └── ToolMissing         exit code 3: a program or an optional package is not installed

A message says what was found, where (the name in the user's model or file), and what to do next.
"""

from __future__ import annotations


class HwqError(Exception):
    """Base of every error that hwq raises on purpose."""

    exit_code = 2


class InputError(HwqError):
    """Something the user gave cannot be used: a file, an array, an option, a name."""


class UnsupportedModel(InputError):
    """The model holds a construct that has no exact integer form here.

    Args:
        node: Name of the node in the user's file.
        op: Its operator type.
        reason: What about it is not supported.
        cure: What to change in the model or the training code.
    """

    def __init__(self, node: str, op: str, reason: str, cure: str) -> None:
        super().__init__(f"node '{node}' ({op}): {reason}\n  cure: {cure}")
        self.node, self.op, self.reason, self.cure = node, op, reason, cure


class CheckFailed(HwqError):
    """What was checked is not so: two stages differ, or a design does not fit its board."""

    exit_code = 1


class ToolMissing(HwqError):
    """A program or an optional package that this command needs is not installed."""

    exit_code = 3


MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)
"""What reading a damaged file can raise below; importers turn these into `InputError`."""
