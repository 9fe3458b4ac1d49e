"""Every name the agent makes: export targets, clash names, staged files, notes, filled templates; text fit to show.

Names of an export come from extracted data and are hostile until proven; one rule holds on every platform (design.md
§4). Relative paths are `str` with `/` between parts. Nothing here looks at a file system: the clock and randomness
are passed in, and a symlink planted below the output is the business of who writes there.
"""

from __future__ import annotations

import re
import string
import unicodedata
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from agent.errors import TaskFatal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.model import ExportFile

LONGEST_PART = 200
"""UTF-8 bytes of one part of a target: leaves room below 255 for every suffix the agent may add."""
LONGEST_TARGET = 1024
"""UTF-8 bytes of a target below the output."""
LONGEST_NAME = 255
"""Bytes of one name: what ext4, xfs, NTFS and SMB agree on."""
NOTE_SUFFIX = ".error.txt"
TEMPLATE_PLACEHOLDERS = ("file_name", "stem", "relative_path", "watch_folder")

_LONGEST_EXTENSION = 20  # what is longer is part of the name, not a type anybody opens files by
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL = "\x00-\x1f\x7f-\x9f"
_SURROGATE = "\ud800-\udfff"
_UNSAFE = re.compile(rf'[<>:"|?*\\/{_CONTROL}{_SURROGATE}{_BIDI}]')
_UNFIT_FOR_DISPLAY = re.compile(f"[{_CONTROL}{_SURROGATE}{_BIDI}\u2028\u2029]")
# Default_Ignorable_Code_Point of Unicode: ext4 (casefold) and HFS+ find ".fsagent" under a name spiced with them.
_SHOWS_NOTHING = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_DRIVE = re.compile(r"[A-Za-z]:")
_STAGED = re.compile(r"\.fsagent-[0-9a-f]{16}\.part")
_OWN_PREFIX = ".fsagent"
_RESERVED_STEMS = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {device + digit for device in ("com", "lpt") for digit in "0123456789¹²³"}
)


# --- paths -----------------------------------------------------------------------------------------------------------


def relative_parent(relative_path: str) -> str:
    """Return the folder of a relative path, "" at the root."""
    return relative_path.rpartition("/")[0]


def base_name(relative_path: str) -> str:
    """Return the last part of a relative path."""
    return relative_path.rpartition("/")[2]


def join(*parts: str) -> str:
    """Join relative paths, leaving out empty ones."""
    return "/".join(part for part in parts if part)


def split_extension(name: str) -> tuple[str, str]:
    """Split a name into stem and extension with its dot; a leading dot begins a stem, not an extension."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem.strip(".") else (name, "")


def byte_length(text: str) -> int:
    """Return the bytes a name takes in UTF-8; a surrogate that stands for one undecodable byte counts as that byte."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # half of a UTF-16 pair, which only Windows allows in names
        return len(text.encode("utf-8", "surrogatepass"))


def _cut(text: str, limit: int) -> str:
    """Return the longest beginning of a text that takes at most `limit` bytes; no character is split."""
    text = text[:limit]
    while byte_length(text) > limit:
        text = text[:-1]
    return text


def _short_extension(name: str) -> tuple[str, str]:
    """Split like `split_extension`, but take only an extension that leaves room for a name before it."""
    stem, extension = split_extension(name)
    return (stem, extension) if byte_length(extension) <= _LONGEST_EXTENSION else (name, "")


def _fingerprint(text: str) -> str:
    """Return the 8 hexadecimal digits that keep apart two names cut to the same beginning."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


# --- hostile names ---------------------------------------------------------------------------------------------------


def safe_part(part: str) -> str:
    """Return one part of a path such that it is a plain, visible-as-written name on Linux and Windows; idempotent."""
    clean = _UNSAFE.sub("_", part)
    kept = clean.rstrip(". ")
    if kept != clean or not clean:
        # Windows drops trailing dots and spaces silently: two names would be one file, and ".." would climb.
        clean = kept + "_"
    if _is_reserved(clean):
        clean = "_" + clean
    if byte_length(clean) <= LONGEST_PART:
        return clean
    stem, extension = _short_extension(clean)
    tail = f"~{_fingerprint(part)}{extension}"
    return _cut(stem, LONGEST_PART - byte_length(tail)) + tail


def _is_reserved(name: str) -> bool:
    """Tell whether Windows takes the name for a device, or the agent for one of its own files."""
    # "CON.tar.gz" and "CON .txt" are the console too: the name ends at its first dot, spaces before it do not count.
    stem = name.partition(".")[0].rstrip(" ").casefold()
    return stem in _RESERVED_STEMS or collision_key(name).startswith(_OWN_PREFIX)


def safe_folder(folder: str) -> tuple[str, ...]:
    r"""Return the safe parts of an export's `folder`; `/` and `\` both separate.

    Raises TaskFatal for `..`, a leading separator and a drive: such a folder means another place, and another one
    than meant would be wrong too.
    """
    if folder[:1] in {"/", "\\"}:
        raise TaskFatal(f"The export's folder {_quoted(folder)} begins with a separator.")
    parts = [part for part in re.split(r"[/\\]", folder) if part not in {"", "."}]
    if ".." in parts:
        raise TaskFatal(f"The export's folder {_quoted(folder)} leads out of the output folder.")
    if parts and _DRIVE.match(parts[0]):
        raise TaskFatal(f"The export's folder {_quoted(folder)} names a drive.")
    return tuple(safe_part(part) for part in parts)


def safe_filename(name: str) -> str:
    """Return the safe form of an export's `filename`. Raises TaskFatal where it is empty, `.` or `..`."""
    if name in {"", ".", ".."}:
        raise TaskFatal(f"The export's file name {_quoted(name)} is no name.")
    return safe_part(name)


def _quoted(text: str) -> str:
    """Return hostile text short and fit for a message."""
    shown = for_display(text)
    return f'"{shown[:80]}…"' if len(shown) > 80 else f'"{shown}"'  # noqa: PLR2004 -- a line's worth


# --- targets of one task ---------------------------------------------------------------------------------------------


def collision_key(path: str) -> str:
    """Return what two paths have in common where some file system takes them for one.

    NTFS compares upper-cased, ext4 (casefold) and APFS case-folded and normalised, without characters that show
    nothing. The widest of all is taken: a match too many costs a "-2" in a name, one too few costs a file.
    """
    if path.isascii():
        return path.casefold()
    return "/".join(_part_key(part) for part in path.split("/"))


def _part_key(part: str) -> str:
    """Return the key of one part; a character that only resembles a separator stays within its part."""
    folded = unicodedata.normalize("NFKC", _SHOWS_NOTHING.sub("", part)).upper().casefold()
    return unicodedata.normalize("NFKC", folded).replace("/", "\0")


def export_targets(files: Sequence[ExportFile], source_folder: str) -> tuple[str, ...]:
    """Return the targets of one task's files in their order, relative to the output.

    `source_folder` (the source's own folder, "" where the task is not ours) is kept as it is. The same target twice
    becomes `stem-2.ext`, never the name of another file of the task. Raises TaskFatal for a hostile name, a target
    over 1,024 bytes (`path_too_long`), and a target that is another one's folder.
    """
    wanted = [join(source_folder, *safe_folder(file.folder), safe_filename(file.filename)) for file in files]
    targets = _numbered(wanted)
    for target in targets:
        if byte_length(target) > LONGEST_TARGET:
            raise TaskFatal(f"path_too_long: {_quoted(target)} is longer than {LONGEST_TARGET} bytes.")
    folders = {collision_key(folder) for target in targets for folder in _folders_above(target)}
    for target in targets:
        if collision_key(target) in folders:
            raise TaskFatal(f"The export uses {_quoted(target)} both as a file and as a folder.")
    return tuple(targets)


def _numbered(wanted: Sequence[str]) -> list[str]:
    """Return the paths with every later one of equal key numbered from 2 on."""
    taken = {collision_key(path) for path in wanted}
    last_number: dict[str, int] = {}
    numbered = []
    for path in wanted:
        key = collision_key(path)
        if key not in last_number:
            last_number[key] = 1
            numbered.append(path)
            continue
        candidate = path
        while collision_key(candidate) in taken:
            last_number[key] += 1
            candidate = with_suffix_in_stem(path, f"-{last_number[key]}")
        taken.add(collision_key(candidate))
        numbered.append(candidate)
    return numbered


def _folders_above(path: str) -> set[str]:
    """Return every folder a relative path lies in."""
    folders = set()
    while path := relative_parent(path):
        folders.add(path)
    return folders


# --- names the agent gives -------------------------------------------------------------------------------------------


def clash_suffix(*, now: float, entropy: int) -> str:
    """Return `-<yyyymmddThhmmssZ>-<4 hex>`; `now` in UTC unix seconds, of `entropy` the lowest 16 bits."""
    return f"-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{entropy & 0xFFFF:04x}"


def with_suffix_in_stem(relative_path: str, suffix: str) -> str:
    """Return the path with a suffix before its extension; the stem gives way so that the name stays in 255 bytes."""
    stem, extension = _short_extension(base_name(relative_path))
    room = LONGEST_NAME - byte_length(suffix) - byte_length(extension)
    return join(relative_parent(relative_path), _cut(stem, room) + suffix + extension)


def clash_name(relative_path: str, *, now: float, entropy: int) -> str:
    """Return the path to use where this one is taken: `stem-<yyyymmddThhmmssZ>-<4 hex>.ext`, in one step."""
    return with_suffix_in_stem(relative_path, clash_suffix(now=now, entropy=entropy))


def staged_name(entropy: str) -> str:
    """Return the hidden name of a file being written beside its target; `entropy` is 16 hexadecimal digits."""
    name = f"{_OWN_PREFIX}-{entropy}.part"
    if not is_staged_name(name):
        raise ValueError(f"16 lower-case hexadecimal digits expected, not {entropy!r}")
    return name


def is_staged_name(name: str) -> bool:
    """Tell whether a base name is that of a staged file of some fsagent."""
    return _STAGED.fullmatch(name) is not None


def error_note_name(file_name: str) -> str:
    """Return the name of the note beside a file in an error folder; at most 255 bytes, one name for one file."""
    name = file_name + NOTE_SUFFIX
    if byte_length(name) <= LONGEST_NAME:
        return name
    tail = f"~{_fingerprint(file_name)}{NOTE_SUFFIX}"
    return _cut(file_name, LONGEST_NAME - byte_length(tail)) + tail


# --- text ------------------------------------------------------------------------------------------------------------


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its `{placeholders}` replaced; `{{` and `}}` are braces.

    Raises ValueError for a placeholder that is not in `values` (naming those that are) and for a single brace.
    """
    text = []
    for literal, placeholder, form, conversion in string.Formatter().parse(template):
        text.append(literal)
        if placeholder is None:
            continue
        if placeholder not in values or form or conversion:
            allowed = " ".join(f"{{{name}}}" for name in values)
            raise ValueError(f"unknown placeholder {{{placeholder}}}; allowed: {allowed}")
        text.append(values[placeholder])
    return "".join(text)


def fill_placeholders(template: str, relative_path: str, watch_folder: str) -> str:
    """Return `task_name` or a tag filled for one file. Raises ValueError as `fill` does, whatever the file."""
    name = base_name(relative_path)
    values = (name, split_extension(name)[0], relative_path, watch_folder)
    return fill(template, dict(zip(TEMPLATE_PLACEHOLDERS, values, strict=True)))


def for_display(text: str) -> str:
    r"""Return text that moves no cursor, breaks no line, turns no direction: what would becomes `\xNN` or `\uNNNN`."""
    return _UNFIT_FOR_DISPLAY.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    """Return the visible form of one character; an undecodable byte is shown as that byte."""
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 -- PEP 383: U+DC80 … U+DCFF stand for the bytes 0x80 … 0xFF
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 -- two digits' worth
