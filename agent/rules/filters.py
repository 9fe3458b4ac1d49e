r"""Which entries of an inbox are documents: include, exclude, junk names, ready files.

Patterns are globs, case-insensitive: `*` and `?` stay within one part, `[abc]` `[!abc]` as usual, `**` as a whole part
stands for any number of folders, a trailing `/` for all below. A pattern with `/` (or `\`) matches the whole relative
path, else the base name. Decides by names alone: content, links and hidden attributes are looked at elsewhere.
"""

from __future__ import annotations

import re
import string
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.rules.naming import base_name, fill, join, relative_parent, split_extension

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

READY_PLACEHOLDERS = ("file_name", "stem")
WAITS_FOR = "waits for "
"""How what is said of a file begins whose ready file is not there."""

_MEMBER = re.compile("(?P<first>.)(?:-(?P<last>.))?", re.DOTALL)

JUNK_FILES = (
    ".*",  # dot files, the agent's own .fsagent* among them
    "~$*",
    "*.tmp",
    "*.part",
    "*.partial",
    "*.crdownload",
    "*.download",
    "*.filepart",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
)
JUNK_FOLDERS = (
    ".*",  # .stfolder .stversions .snapshot .zfs .Trash-1000 .git .fsagent* and whatever else hides
    "@eaDir",
    "@tmp",
    "@Recycle",
    "@Recently-Snapshot",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "RECYCLER",
    "~snapshot",
    "DfsrPrivate",
    "lost+found",
    "System Volume Information",
)


class FilterVerdict(StrEnum):
    """What a name says about a file."""

    TAKE = "take"
    UNMATCHED = "unmatched"  # no include matches: `unmatched` of the watch folder decides
    JUNK = "junk"  # excluded, junk or a ready file: as if it were not there


class Filter:
    """The names of one watch folder; immutable, for any thread."""

    __slots__ = ("_excluded", "_included", "_ready_file", "_skipped")

    def __init__(self, include: Sequence[str], exclude: Sequence[str] = (), *, ready_file: str | None = None) -> None:
        """Compile the patterns once. Raises ValueError for a pattern or template that cannot be used."""
        self._included = _Patterns(include)
        self._excluded = _Patterns(exclude)
        self._skipped = _Patterns(_folder_patterns(exclude), whole_path=True)
        self._ready_file = _compile([_ready_expression(ready_file)]) if ready_file is not None else None

    def judge(self, relative_path: str) -> FilterVerdict:
        """Return what the name says about one file; undecodable bytes (surrogates) are characters like any other."""
        path = _normalised(relative_path)
        name = base_name(path)
        if _is_junk_file(name) or self.is_ready_file(path) or self._excluded.match(path, name):
            return FilterVerdict.JUNK
        folder = relative_parent(path)
        if folder and any(_is_junk_folder(part) for part in folder.split("/")):
            return FilterVerdict.JUNK
        return FilterVerdict.TAKE if self._included.match(path, name) else FilterVerdict.UNMATCHED

    def skips_folder(self, relative_path: str) -> bool:
        """Tell whether a folder need not be entered: junk, or excluded with everything below it (`drafts/`)."""
        path = _normalised(relative_path)
        name = base_name(path)
        return _is_junk_folder(name) or self._skipped.match(path, name)

    def is_ready_file(self, relative_path: str) -> bool:
        """Tell whether a file announces another one and is no document itself."""
        return (
            self._ready_file is not None
            and self._ready_file.fullmatch(base_name(_normalised(relative_path))) is not None
        )


def ready_file_for(template: str, relative_path: str) -> str:
    """Return the path of the ready file that announces a document, in the same folder.

    Raises ValueError for an unknown placeholder; `Filter` has refused every other mistake.
    """
    name = base_name(relative_path)
    values = dict(zip(READY_PLACEHOLDERS, (name, split_extension(name)[0]), strict=True))
    return join(relative_parent(relative_path), fill(template, values))


class _Patterns:
    """Some globs as at most two regular expressions: one for base names, one for whole paths."""

    __slots__ = ("_names", "_paths")

    def __init__(self, patterns: Iterable[str], *, whole_path: bool = False) -> None:
        tidy = [_tidy(pattern) for pattern in patterns]
        self._names = _compile([_part_expression(each) for each in tidy if "/" not in each and not whole_path])
        self._paths = _compile([_path_expression(each) for each in tidy if "/" in each or whole_path])

    def match(self, path: str, name: str) -> bool:
        """Tell whether any of the patterns matches."""
        if self._names is not None and self._names.fullmatch(name):
            return True
        return self._paths is not None and self._paths.fullmatch(path) is not None


def _normalised(path: str) -> str:
    """Return a path in the form patterns have: "ä" is one character in a configuration and may be two on a disk."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _tidy(pattern: str) -> str:
    """Return a pattern with `/` between parts and without a leading one, `drafts/` as `drafts/**`."""
    tidy = _normalised(pattern).replace("\\", "/")
    if tidy.endswith("/"):
        tidy += "**"
    # "/x.pdf" keeps its meaning, the root only, in the shape the other path patterns have.
    return "./" + tidy.lstrip("/") if tidy.startswith("/") else tidy


def _folder_patterns(patterns: Iterable[str]) -> list[str]:
    """Return those patterns that exclude everything below some folder, as patterns of that folder."""
    tidy = [_tidy(pattern) for pattern in patterns]
    return [pattern.removesuffix("/**") for pattern in tidy if pattern.endswith("/**")]


def _compile(expressions: Sequence[str]) -> re.Pattern[str] | None:
    """Return one expression for all of them; None for none."""
    if not expressions:
        return None
    try:
        return re.compile("|".join(f"(?:{expression})" for expression in expressions), re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a usable pattern: {error}") from error


def _path_expression(pattern: str) -> str:
    """Return the regular expression of a glob over whole paths."""
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    expression = ""
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            expression += ".+" if last else "(?:[^/]+/)*"
        else:
            expression += _part_expression(part) + ("" if last else "/")
    return expression


def _part_expression(part: str) -> str:
    """Return the regular expression of a glob within one part.

    Between two stars the leftmost match is kept (`(?>…)`): whether the rest matches never depends on it, and going
    back would cost exponential time on a name made for that.
    """
    first, *rest = _pieces(part)
    if not rest:
        return first
    *middle, end = rest
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle if piece) + "[^/]*" + end


def _pieces(part: str) -> list[str]:
    """Return the regular expressions of what stands between the stars of a glob."""
    pieces = [""]
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "[^/]"
        elif character == "[" and (end := part.find("]", position + 1 + part.startswith("!", position))) > 0:
            pieces[-1] += _class_expression(part[position:end])
            position = end + 1
        else:
            pieces[-1] += re.escape(character)
    return pieces


def _class_expression(content: str) -> str:
    """Return the regular expression of a glob's `[content]`; it never matches a separator."""
    negated = content.startswith("!")
    members = content.removeprefix("!")
    return f"(?!/)[{'^' if negated else ''}{_MEMBER.sub(_member_expression, members)}]"


def _member_expression(match: re.Match[str]) -> str:
    """Return one member of a class or one range, with nothing left that a class gives a meaning of its own."""
    first, last = match["first"], match["last"]
    return f"{re.escape(first)}-{re.escape(last)}" if last else re.escape(first)


def _ready_expression(template: str) -> str:
    """Return the regular expression of all ready files' base names. Raises ValueError for a template of no use."""
    fill(template, dict.fromkeys(READY_PLACEHOLDERS, ""))  # raises for unknown placeholders
    pieces = list(string.Formatter().parse(template))
    if all(placeholder is None for _, placeholder, _, _ in pieces):
        raise ValueError("ready_file needs {file_name} or {stem}: one for each document")
    literals = "".join(literal for literal, _, _, _ in pieces)
    if not literals:
        raise ValueError("ready_file needs something that tells it from the document")
    if "/" in literals or "\\" in literals:
        raise ValueError("ready_file is a name in the document's own folder")
    return "".join(
        re.escape(_normalised(literal)) + (".+" if placeholder is not None else "")
        for literal, placeholder, _, _ in pieces
    )


def _is_junk_file(name: str) -> bool:
    """Tell whether a base name is never that of a finished document."""
    return _JUNK_FILE.match(name, name)


def _is_junk_folder(name: str) -> bool:
    """Tell whether a folder holds nothing people put there."""
    return _JUNK_FOLDER.match(name, name)


_JUNK_FILE = _Patterns(JUNK_FILES)
_JUNK_FOLDER = _Patterns(JUNK_FOLDERS)
