"""Each mistake is named with line, column, key, what was found and what is allowed; no secret is shown."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from agent.config.loading import load
from agent.errors import ConfigurationError, ConfigurationProblem

if TYPE_CHECKING:
    from pathlib import Path

# Lines 1 to 7: what a test adds begins on line 8 and, indented by four, belongs to the watch folder.
BASE = """\
service:
  client_id: me
  client_secret: hush-hush
watch_folders:
  - project_id: P
    inbox: in/a
    output: out/a
"""
ENVIRONMENT = {"FROM_ENVIRONMENT": "hush-from-environment"}


def problems_of(text: str | bytes, folder: Path) -> tuple[ConfigurationProblem, ...]:
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, environment=ENVIRONMENT)
    assert "hush" not in str(caught.value)
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1
    return caught.value.problems


def added(lines: str) -> str:
    return BASE + lines


def replaced(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)


# text, line, column, key, part of the message
ONE_MISTAKE: dict[str, tuple[str, int, int, str, str]] = {
    # single values
    "duration without unit": (added("    settle: 5\n"), 8, 13, "watch_folders[0].settle", "expected a duration such"),
    "duration of nonsense": (added("    settle: abc\n"), 8, 13, "watch_folders[0].settle", "found 'abc'"),
    "sexagesimal": (added("    rescan: 1:30\n"), 8, 13, "watch_folders[0].rescan", "found '1:30'"),
    "never where it makes no sense": (added("    settle: never\n"), 8, 13, "watch_folders[0].settle", "found 'never'"),
    "never is offered": (added("    error_keep: x\n"), 8, 17, "watch_folders[0].error_keep", "or never, found 'x'"),
    "negative duration": (added("retry: {first: -1s}\n"), 8, 16, "retry.first", "found '-1s'"),
    "no value": (added("    settle:\n"), 8, 12, "watch_folders[0].settle", "found nothing"),
    "size": (added("min_free: lots\n"), 8, 11, "min_free", "expected a size such as 500KB, 10MB or 2GiB, found 'lots'"),
    "truth value": (added("    recursive: maybe\n"), 8, 16, "watch_folders[0].recursive", "expected true or false"),
    "whole number": (added("    export: {workers: 1.5}\n"), 8, 23, "watch_folders[0].export.workers", "a whole number"),
    "negative number": (added("    export: {workers: -1}\n"), 8, 23, "watch_folders[0].export.workers", "0 or more"),
    "number": (
        replaced("me\n", "me\n  max_requests_per_second: nan\n"),
        3,
        28,
        "service.max_requests_per_second",
        "number",
    ),
    "enumeration": (
        added("    export: {newline: crfl}\n"),
        8,
        23,
        "watch_folders[0].export.newline",
        "expected native, lf or crlf, found 'crfl'; did you mean `crlf`?",
    ),
    "enumeration of the model": (added("    observer: pol\n"), 8, 15, "watch_folders[0].observer", "polling or auto"),
    "document type": (added("    accept: [pdf, tif]\n"), 8, 19, "watch_folders[0].accept[1]", "did you mean `tiff`?"),
    "file mode": (added("    export: {file_mode: 0980}\n"), 8, 25, "watch_folders[0].export.file_mode", "octal"),
    "encoding": (added("    export: {encoding: utf-88}\n"), 8, 24, "watch_folders[0].export.encoding", "text encoding"),
    "encoding of bytes": (
        added("    export: {encoding: hex}\n"),
        8,
        24,
        "watch_folders[0].export.encoding",
        "encoding",
    ),
    "pattern": (added("    include: ['../*.pdf']\n"), 8, 15, "watch_folders[0].include[0]", "without `..`"),
    "pattern that is none": (
        added("    include: [a, '']\n"),
        8,
        18,
        "watch_folders[0].include[1]",
        "must not be empty",
    ),
    "placeholder": (added("    task_name: '{name}'\n"), 8, 16, "watch_folders[0].task_name", "{file_name} {stem}"),
    "placeholder in a tag": (added("    tags: {a: '{'}\n"), 8, 15, "watch_folders[0].tags.a", "expected no braces but"),
    "tag of the agent": (
        added("    tags: {file_name: x}\n"),
        8,
        12,
        "watch_folders[0].tags.file_name",
        "sets this tag",
    ),
    "ready file": (added("    ready_file: ready\n"), 8, 17, "watch_folders[0].ready_file", "{file_name}"),
    "ready file elsewhere": (added("    ready_file: 'x/{stem}'\n"), 8, 17, "watch_folders[0].ready_file", "folder"),
    "address": (
        replaced("me\n", "me\n  url: api.aluma.io\n"),
        3,
        8,
        "service.url",
        "expected an address such as https",
    ),
    "proxy": (replaced("me\n", "me\n  proxy: 'me:hush@host'\n"), 3, 10, "service.proxy", "found '…@host'"),
    "ledger": (added("ledger: mysql://me:hush@h/d\n"), 8, 9, "ledger", "expected sqlite or postgresql"),
    "listen": (added("web: {listen: 8765}\n"), 8, 15, "web.listen", "expected an address and a port"),
    "home folder": (added("state_dir: ~/x\n"), 8, 12, "state_dir", "~ stands for nothing"),
    "name": (added("    name: ' x'\n"), 8, 11, "watch_folders[0].name", "a name has at most"),
    # shapes
    "text for a section": (added("retry: soon\n"), 8, 8, "retry", "expected keys and values, found 'soon'"),
    "text for a list": (
        added("    include: x.pdf\n"),
        8,
        14,
        "watch_folders[0].include",
        "expected a list such as [a, b]",
    ),
    "list for a text": (added("    name: [a]\n"), 8, 11, "watch_folders[0].name", "expected text, found a list"),
    "text for a watch folder": (added("  - x\n"), 8, 5, "watch_folders[1]", "expected keys and values, found 'x'"),
    "no watch folder": (BASE[: BASE.index("  - ")], 4, 15, "watch_folders", "expected a list"),
    "empty list": (BASE[: BASE.index("\n  - ")] + " []\n", 4, 16, "watch_folders", "at least one watch folder"),
    "missing key": (replaced("- project_id: P\n    inbox", "- inbox"), 5, 5, "watch_folders[0].project_id", "required"),
    "missing section": (BASE[BASE.index("watch") :], 1, 1, "service", "is missing; it is required"),
    "missing secret": (
        replaced("  client_secret: hush-hush\n", ""),
        2,
        3,
        "service.client_secret",
        "client_secret_file",
    ),
    # keys
    "unknown key": (added("    setle: 2s\n"), 8, 5, "watch_folders[0].setle", "unknown key; did you mean `settle`?"),
    "hyphen": (added("    max-size: 2s\n"), 8, 5, "watch_folders[0].max-size", "did you mean `max_size`?"),
    "key of another section": (added("newline: lf\n"), 8, 1, "newline", "it belongs to `watch_folders[].export`"),
    "strange key": (added("zzz: 1\n"), 8, 1, "zzz", "unknown key; allowed here: service, state_dir, "),
    "key twice": (added("    inbox: in/b\n"), 8, 5, "watch_folders[0].inbox", "twice, first on line 6"),
    "secret in a key": (
        replaced(
            "client_id: me\n  client_secret: hush-hush", "{client_id: me, client_secret:hush: x, client_secret: s}"
        ),
        2,
        19,
        "service.client_secret",
        "is a space missing after the `:`?",
    ),
    # variables
    "missing variable": (
        added("    name: a ${NOPE}\n"),
        8,
        11,
        "watch_folders[0].name",
        "the environment has no ${NOPE}",
    ),
    "nested variables": (added("    name: ${A:-${B}}\n"), 8, 11, "watch_folders[0].name", "not nested"),
    "broken variable": (added("    name: ${A\n"), 8, 11, "watch_folders[0].name", "is written ${NAME}"),
    "value of a variable": (
        added("    settle: ${FROM_ENVIRONMENT}\n"),
        8,
        13,
        "watch_folders[0].settle",
        "found '${FROM_ENVIRONMENT}'",
    ),
    # several keys
    "http": (replaced("me\n", "me\n  url: http://h.example\n"), 3, 8, "service.url", "insecure_http: true"),
    "two secrets": (
        replaced("me\n", "me\n  client_secret_file: /x\n"),
        3,
        23,
        "service.client_secret_file",
        "not both",
    ),
    "secret file": (
        replaced("client_secret: hush-hush", "client_secret_file: nope"),
        3,
        23,
        "service.client_secret_file",
        "cannot be read",
    ),
    "certificates": (replaced("me\n", "me\n  ca_file: nope\n"), 3, 12, "service.ca_file", "cannot be read"),
    "neither inbox nor output": (
        BASE[: BASE.index("    inbox")],
        5,
        5,
        "watch_folders[0]",
        "needs an inbox, an output, or both",
    ),
    "name twice": (
        added("  - {project_id: Q, inbox: in/b, name: a}\n"),
        8,
        40,
        "watch_folders[1].name",
        "the name 'a' is taken by watch_folders[0]",
    ),
    "default name twice": (added("  - {project_id: Q, inbox: b/a}\n"), 8, 5, "watch_folders[1]", "'a' is taken"),
    "earlier name of another": (
        added("    formerly: [b]\n  - {project_id: Q, inbox: b}\n"),
        8,
        16,
        "watch_folders[0].formerly[0]",
        "'b' is the name of watch_folders[1]",
    ),
    "project scope twice": (
        added("    export: {scope: project}\n  - {project_id: P, output: out/b}\n"),
        9,
        5,
        "watch_folders[1].export.scope",
        "watch_folders[0] exports every task of this project already",
    ),
    "archive elsewhere": (added("    archive: ../x\n"), 8, 14, "watch_folders[0].archive", "below the inbox"),
    "error elsewhere": (
        added("    export: {error: ../x}\n"),
        8,
        21,
        "watch_folders[0].export.error",
        "below the output",
    ),
    "overlap": (
        added("  - {project_id: Q, inbox: in/a/b}\n"),
        8,
        28,
        "watch_folders[1].inbox",
        "lies in watch_folders[0].inbox",
    ),
    # not yet supported
    "postgresql": (added("ledger: postgresql://u:hush@h/d\n"), 8, 9, "ledger", "not yet supported"),
    "status page": (
        added("web: {listen: '127.0.0.1:8765'}\n"),
        8,
        15,
        "web.listen",
        "a status page is not yet supported",
    ),
    "token of a status page": (
        added("web: {token_file: token}\n"),
        8,
        19,
        "web.token_file",
        "a status page is not yet supported",
    ),
    # YAML
    "tab": (replaced("  client_id", "\tclient_id"), 2, 1, "", "a tab where only spaces may indent"),
    "indentation": (replaced("  client_secret", " client_secret"), 3, 2, "", "not valid YAML"),
    "open quote": (replaced("hush-hush", '"hush'), 8, 1, "", "never closed"),
    "open bracket": (added("    include: [\n"), 9, 1, "", "do not pair"),
    "colon in text": (replaced("hush-hush", "hush: x"), 3, 22, "", "quote the text"),
    "at sign": (replaced("hush-hush", "@hush"), 3, 18, "", "needs quotes"),
    "exclamation mark": (
        replaced("hush-hush", "!hush x"),
        3,
        18,
        "service.client_secret",
        "begins with ! needs quotes",
    ),
    "asterisk": (replaced("hush-hush", "*hush"), 3, 18, "service.client_secret", "begins with * needs quotes"),
    "pattern without quotes": (added("    include: [*.pdf]\n"), 8, 16, "", "begins with * or & needs quotes"),
    "backslash in double quotes": (replaced("in/a", r'"C:\scans"'), 6, 15, "", "single quotes"),
    "missing space": (replaced("client_secret: hush", "client_secret:hush"), 4, 1, "", "a key without `:` and a space"),
    "second document": (added("---\nx: 1\n"), 8, 1, "", "a second document begins here"),
    "control character": (added("x\x00: 1\n"), 8, 2, "", "U+0000"),
    "no keys": ("- a\n", 1, 1, "", "expected keys and values such as `service:`"),
    "only text": ("client_secret hush\n", 1, 1, "", "expected keys and values such as `service:`"),
    "deep nesting": ("[" * 3000, 1, 33, "", "nested more than 32 deep"),
    "empty": ("", 0, 0, "", "the file is empty"),
    "only comments": ("# service\n", 0, 0, "", "the file is empty"),
}


@pytest.mark.parametrize("mistake", ONE_MISTAKE)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(mistake: str, tmp_path: Path) -> None:
    text, line, column, key, message = ONE_MISTAKE[mistake]
    problems = problems_of(text, tmp_path)
    assert [(problem.line, problem.column, problem.key) for problem in problems] == [(line, column, key)], problems
    assert message in problems[0].message


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        replaced("me\n", "[]\n  type: alumna\n  url: http://h.example\n  timeout: long\n")
        + "    include: [1, null, {}]\n"
        + "    settle: ${NOPE}\n    tags: {fsagent_key: x}\n    settel: 1\n"
        + "  - {project_id: Q, inbox: in/a/x, error_keep: 1, name: ''}\n"
        + "  - 5\n  - {}\nretry: {first: ''}\nweb: {listen: 'a:1'}\n"
    )
    keys = [problem.key for problem in problems_of(text, tmp_path)]
    assert keys == [
        "service.client_id",
        "service.type",
        "service.url",
        "service.timeout",
        "watch_folders[0].include[1]",
        "watch_folders[0].include[2]",
        "watch_folders[0].settle",
        "watch_folders[0].tags.fsagent_key",
        "watch_folders[0].settel",
        "watch_folders[1].inbox",
        "watch_folders[1].error_keep",
        "watch_folders[1].name",
        "watch_folders[2]",
        "watch_folders[3]",
        "retry.first",
        "web.listen",
    ]


def test_the_message_begins_with_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(added("    settel: 2s\n"))
    with pytest.raises(ConfigurationError, match=re.escape(f"{path}:8:5: watch_folders[0].settel: unknown key")):
        load(path, environment={})


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x]"]
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]")
    (problem,) = problems_of("\n".join(lines), tmp_path)
    assert "aliases make this too large" in problem.message


def test_an_alias_of_itself_is_refused(tmp_path: Path) -> None:
    problems = problems_of(added("    formerly: &f [*f]\n"), tmp_path)
    assert [(problem.key, problem.line) for problem in problems] == [("watch_folders[0].formerly[0]", 8)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("service:\n".encode("utf-16"), "not UTF-8 but UTF-16"),
        (b"service:\n  client_id: \xe4\n", "not UTF-8 but another encoding"),
        (b"# x\n" * 300_000, "larger than 1024 KiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (problem,) = problems_of(content, tmp_path)
    assert message in problem.message


def test_a_missing_file_is_a_problem_that_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file; `fsagent init` writes one"):
        load(tmp_path / "nope.yaml", environment={})


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a folder|cannot be read"):
        load(tmp_path, environment={})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs in folders of this platform")
def test_nobody_is_waited_for_to_write_into_a_fifo(tmp_path: Path) -> None:
    getattr(os, "mkfifo")(tmp_path / "fifo")  # noqa: B009 -- Windows has no such name for mypy to find
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        load(tmp_path / "fifo", environment={})


def test_a_secret_in_place_of_its_section_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("service: hush-hush\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path / "config.yaml", environment={})
    assert "service: expected keys and values, found a value that is not shown here" in str(raised.value)
    assert "hush-hush" not in str(raised.value)
