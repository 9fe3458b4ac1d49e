"""The tree of a document to plain data: variables filled in, the place of every value kept, aliases bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.config.document import DEEPEST, MOST_NODES, DocumentError, Mapping, Scalar, Sequence
from agent.config.variables import VariableError, expand, has_reference

if TYPE_CHECKING:
    from collections.abc import Mapping as Environment

    from agent.config.document import Node, Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and its text as written (a variable not filled in; None: no text)."""

    line: int
    column: int
    key_line: int
    key_column: int
    written: str | None


@dataclass(slots=True)
class Reading:
    """What a file says, still unchecked: texts, None, lists and dictionaries."""

    data: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    troubles: dict[Path, str] = field(default_factory=dict)
    """Values whose variables could not be filled in, and why."""
    unset: set[Path] = field(default_factory=set)
    """Those of `troubles` where only the environment lacks the variable."""
    referring: set[Path] = field(default_factory=set)
    """Values that name variables."""

    def place(self, path: Path) -> Place:
        """Return the place of a value or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1, 1, 1, None))


def read(root: Node, environment: Environment[str, str]) -> Reading:
    """Return the data of a document. Raises DocumentError where aliases make it too large or too deep."""
    reading = Reading()
    reader = _Reader(reading, environment)
    reading.data = reader.value(root, (), Scalar(root.line, root.column, None))
    return reading


class _Reader:
    def __init__(self, reading: Reading, environment: Environment[str, str]) -> None:
        self._reading = reading
        self._environment = environment
        self._nodes = 0

    def value(self, node: Node, path: Path, key: Scalar) -> Any:
        """Return the data of one node and note its place."""
        self._nodes += 1
        # Depth counts along aliases too, so this recursion is bounded by DEEPEST.
        if self._nodes > MOST_NODES or len(path) > DEEPEST:
            raise DocumentError("aliases make this too large", line=key.line, column=key.column)
        written = node.text if isinstance(node, Scalar) else None
        self._reading.places[path] = Place(node.line, node.column, key.line, key.column, written)
        match node:
            case Scalar():
                return self._text(node, path)
            case Sequence():
                return [
                    self.value(item, (*path, index), Scalar(item.line, item.column, None))
                    for index, item in enumerate(node.items)
                ]
            case Mapping():
                return {name: self.value(item, (*path, name), at) for name, (at, item) in node.entries.items()}

    def _text(self, node: Scalar, path: Path) -> str | None:
        if node.text is None or "${" not in node.text:
            return node.text
        if has_reference(node.text):
            self._reading.referring.add(path)
        try:
            return expand(node.text, self._environment)
        except VariableError as error:
            self._reading.troubles[path] = str(error)
            if error.missing:
                self._reading.unset.add(path)
            return None
