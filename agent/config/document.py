"""YAML text to a tree that knows its lines and columns; bounded in size, depth and aliases, and blind to meaning.

Every scalar stays the text that was written: what `no`, `022` or `1:30` mean is decided by the key they belong to, not
by YAML 1.1. Only a plain null is told apart. No message ever repeats text of the file but the names of keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.reader import Reader

from agent.errors import ConfigurationProblem

LARGEST_FILE = 1024 * 1024
DEEPEST = 32
MOST_NODES = 50_000
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANY_TAG = frozenset({None, "!"})


@dataclass(slots=True)
class Scalar:
    """One value as written; `text` None is a plain null."""

    line: int
    column: int
    text: str | None


@dataclass(slots=True)
class Sequence:
    """A list."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys and values in their order; no key twice."""

    line: int
    column: int
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)


Node: TypeAlias = Scalar | Sequence | Mapping
Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


class DocumentError(Exception):
    """The text is no YAML document that could be a configuration."""

    def __init__(self, message: str, *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.problem = ConfigurationProblem(line, column, "", message)


@dataclass(frozen=True, slots=True)
class Document:
    """A tree and problems one can go on after; at the paths `lost` stands nothing instead of what was meant."""

    root: Node
    problems: list[ConfigurationProblem]
    lost: list[Path]


def compose(text: str) -> Document:
    """Return the tree of the one document in a text. Raises DocumentError."""
    if unprintable := Reader.NON_PRINTABLE.search(text):
        before = text[: unprintable.start()]
        code = f"U+{ord(unprintable.group()):04X}"
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        raise DocumentError(f"the character {code} may not stand in YAML", line=line, column=column)
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # ValueError: an escape such as "\UFFFFFFFF" that names no character.
        raise DocumentError("not valid YAML") from None
    if composer.root is None:
        raise DocumentError("the file is empty; `fsagent init` writes a commented configuration")
    return Document(composer.root, composer.problems, composer.lost)


class _Composer:
    """Builds the tree from parser events without recursion, so that no depth of nesting can exhaust a stack."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[ConfigurationProblem] = []
        self.lost: list[Path] = []
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []  # for each open node: the key that waits for its value
        self._merges: list[list[tuple[Scalar, Node]]] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._nodes = 0

    def take(self, event: Any) -> None:
        """Take one event of the parser."""
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise DocumentError("a second document begins here (---); one is allowed", line=line, column=column)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve(event.anchor, line, column))
        elif isinstance(event, yaml.ScalarEvent):
            plain = not event.style and event.implicit[0]  # libyaml says "", the Python parser None
            self._remember(
                event, node := Scalar(line, column, None if plain and event.value in _NULLS else event.value)
            )
            self._add(node)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _begin(self, event: Any, line: int, column: int) -> None:
        if len(self._open) >= DEEPEST:
            raise DocumentError(f"nested more than {DEEPEST} deep", line=line, column=column)
        node = Sequence(line, column) if isinstance(event, yaml.SequenceStartEvent) else Mapping(line, column)
        self._remember(event, node)
        self._open.append(node)
        self._keys.append(None)
        self._merges.append([])

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        merges = self._merges.pop()
        if isinstance(node, Mapping):
            for key, source in merges:
                self._merge(node, key, source)
        self._add(node)

    def _remember(self, event: Any, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise DocumentError(f"more than {MOST_NODES} values", line=node.line, column=node.column)
        if event.tag not in _ANY_TAG and not str(event.tag).startswith("tag:yaml.org,2002:"):
            self._problem(node, "tags (!name) are not allowed; text that begins with ! needs quotes")
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _resolve(self, anchor: str | None, line: int, column: int) -> Node:
        node = self._anchors.get(anchor or "")
        place = Scalar(line, column, None)
        if node is None:
            self._problem(place, "an alias that no anchor defines; text that begins with * needs quotes")
            self.lost.append(self._path())
            return place
        if any(node is parent for parent in self._open):
            self._problem(place, "an alias of something it is part of")
            self.lost.append(self._path())
            return place
        return node

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = node if isinstance(node, Scalar) else Scalar(node.line, node.column, None)
            return
        self._keys[-1] = None
        if key.text is None:
            self._problem(key, "a key must be text")
        elif key.text == "<<":
            self._merges[-1].append((key, node))
        elif key.text in parent.entries:
            first = parent.entries[key.text][0].line
            self._problem(key, f"this key stands here twice, first on line {first}", key.text)
        else:
            parent.entries[key.text] = (key, node)

    def _merge(self, target: Mapping, key: Scalar, source: Node) -> None:
        for mapping in source.items if isinstance(source, Sequence) else [source]:
            if isinstance(mapping, Scalar) and mapping.text is None:
                continue
            if not isinstance(mapping, Mapping):
                self._problem(key, "<< takes an alias of keys and values, or a list of them")
                return
            for name, entry in mapping.entries.items():
                target.entries.setdefault(name, entry)

    def _problem(self, node: Node, message: str, *last: str) -> None:
        self.problems.append(ConfigurationProblem(node.line, node.column, dotted((*self._path(), *last)), message))

    def _path(self) -> Path:
        path: list[str | int] = []
        for parent, key in zip(self._open, self._keys, strict=True):
            if isinstance(parent, Sequence):
                path.append(len(parent.items))
            elif key is not None and key.text is not None:
                path.append(key.text)
        return tuple(path)


def dotted(path: Path) -> str:
    """Return a path as people write it: `watch_folders[0].export.newline`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_HINTS: tuple[tuple[str, str], ...] = (
    (r"character '\\t'|tab character", "a tab where only spaces may indent"),
    (r"unknown escape|hexadecimal", "in double quotes \\ begins an escape; write paths in single quotes or without"),
    (r"mapping values are not allowed", "a `:` that does not belong here: check the indentation, or quote the text"),
    (r"could not find expected ':'", "a key without `:` and a space after it"),
    (r"expected <block end>|did not find expected key", "the indentation differs from the lines above"),
    (r"end of stream|unexpected document", "quotes, a bracket or a brace are never closed"),
    (r"expected (the )?node content", "a value is missing, or brackets and braces do not pair"),
    (r"expected ',' or|did not find expected ',' or", "a `,` or the closing bracket is missing"),
    (r"cannot start any token", "text that begins with one of @ ` % needs quotes"),
    (r"alphabetic or numeric", "text that begins with * or & needs quotes"),
    (r"tag|%", "tags (!name) and directives (%NAME) are not allowed; text that begins with them needs quotes"),
)


def _explained(error: yaml.MarkedYAMLError, text: str) -> DocumentError:
    """Return the library's error in words for people; its own words may repeat text of the file."""
    said = f"{error.problem or ''} {error.context or ''}"
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.splitlines()
    # libyaml names a tab only sometimes; the line itself shows it.
    if 0 < line <= len(lines) and re.match(r" *\t", lines[line - 1]):
        return DocumentError(f"not valid YAML: {_HINTS[0][1]}", line=line, column=lines[line - 1].index("\t") + 1)
    if 0 < line <= len(lines) and lines[line - 1][column - 2 : column - 1] == "\\":
        column -= 1  # libyaml points at the backslash, the Python parser behind it
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said)), "")
    return DocumentError(f"not valid YAML: {hint}" if hint else "not valid YAML here", line=line, column=column)
