"""Row 17 of faults.md: names made to confuse a service, a shell, a terminal or a reader of logs.

Not UTF-8, newline, tab, ESC, right-to-left, `-rf.pdf`, NFC/NFD twins, `x.PDF`, `a&b=c%.pdf`, emoji, and more.

| expected | test |
|---|---|
| sent right, twins apart, filed under the very name | `test_every_name_is_sent_and_filed_…` |
| error notes | `test_the_note_beside_a_refused_file_…` |
| logs escaped | `test_no_name_breaks_a_line_of_the_log_…` |
| status, why, history, retry, run escaped | `test_no_command_writes_…`, `test_the_live_display_…` |
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from system.sites import PATIENCE, REPOSITORY, Site, pdf, sha256, tree, twins, wait_until

from faults.checker import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are a matter of Linux"),
]

NAMES = (
    os.fsdecode(b"not \xff\xfe utf-8.pdf"),
    os.fsdecode(b"half a pair \xed\xa0\x80.pdf"),
    "new\nline.pdf",
    "crlf\r\nX-Injected: yes\r\n\r\n.pdf",
    "tab\there.pdf",
    "esc \x1b[31mred\x1b]0;title\x07.pdf",
    "c1 \x9b2J\x85.pdf",
    "rtl \u202egpj.pdf",
    "separators \u2028\u2029.pdf",
    "-rf.pdf",
    "--config=x.pdf",
    "x.PDF",
    "a&b=c%.pdf",
    "a&task_name=PAID&fsagent_key=1.pdf",
    "percent %0d%0a %s %n {0} {file_name} ${HOME}.pdf",
    "emoji \U0001f4c4\U0001f469\u200d\U0001f4bb.pdf",
    "quotes ' \" ` $(id) ; |.pdf",
    "<img src=x onerror=alert(1)>.pdf",
    "back\\slash\\..\\..\\x.pdf",
    "CON.pdf",
    " spaces .pdf",
    "dots....pdf",
    *twins("Caf\u00e9.pdf"),
    "n" * 251 + ".pdf",
    "\u00fc" * 125 + ".pdf",
)
FOLDER = "folder \x1b[2J\u202e\n" + os.fsdecode(b"\xff")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
UNFIT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a cursor, ends a line somewhere, turns the direction, or is no text."""
ATTACKS = (b"\x1b[31mred", b"\x1b]0;", b"\x07", "\u202e".encode(), "\x9b".encode(), b"\x1b[2J\xe2\x80\xae", b"\xff")
"""Bytes of these names that no terminal may ever get."""


def drop(site: Site, names: Iterable[str]) -> dict[str, bytes]:
    """Drop a document of its own content under each name."""
    contents = {}
    for number, name in enumerate(names):
        contents[name] = pdf(f"number {number} of them")
        path = site.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[name])
    return contents


def told(name: str) -> str:
    """Return a name as the service must be told it."""
    return re.sub("[\ud800-\udfff]", "\ufffd", name)


def unfit(text: str) -> list[str]:
    return [line for line in STYLE.sub("", text).split("\n") if UNFIT.search(line)]


def test_every_name_is_sent_and_filed_as_it_is_and_twins_stay_apart(site: Site) -> None:
    contents = drop(site, [*NAMES, *(f"{FOLDER}/{name}" for name in NAMES)])
    with site.run() as running:
        site.wait_done(tasks=len(contents), seconds=120)
        running.stop()

    tags = {task["sha256"]: task["tags"]["file_name"] for task in site.describe()}
    assert tags == {sha256(content): told(name.rpartition("/")[2]) for name, content in contents.items()}
    assert all(len(task["tags"]["fsagent_key"]) == 32 for task in site.describe())
    assert {name: path.read_bytes() for name, path in tree(site.archive).items()} == contents
    # Each document itself, and two files of data: under names of the one rule, so only their number is looked at here.
    exported = [sha256(path.read_bytes()) for path in tree(site.output).values() if path.suffix.lower() == ".pdf"]
    assert sorted(exported) == sorted(map(sha256, contents.values()))
    assert len(tree(site.output)) == 3 * len(contents)
    complaints = judge(site, sent=contents.values())
    assert [complaint for complaint in complaints if "output" not in complaint] == []


def refuse_all(site: Site) -> str:
    """Let every name be refused; return what `run --once` wrote."""
    for name in [*NAMES, *(f"{FOLDER}/{name}" for name in NAMES)]:
        path = site.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    done = site.run_once()
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_the_note_beside_a_refused_file_names_it_on_one_line(site: Site) -> None:
    refuse_all(site)

    lying = {name for name in tree(site.error) if not name.endswith(".error.txt")}
    assert lying == {*NAMES, *(f"{FOLDER}/{name}" for name in NAMES)}
    notes = [path for name, path in tree(site.error).items() if name.endswith(".error.txt")]
    assert len(notes) == len(lying)
    for path in notes:
        text = path.read_bytes().decode("utf-8")
        assert unfit(text) == []
        lines = text.splitlines()
        assert lines[0].startswith("reason: empty: ")
        assert len([line for line in lines if line.startswith("reason:")]) == 1
        assert all(": " in line for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_name_breaks_a_line_of_the_log_or_says_anything_to_a_terminal(site: Site, form: str) -> None:
    site.settings["logging"] = {"level": "debug", "format": form, "file": "logs/fsagent.log"}
    site.configure()
    contents = drop(site, NAMES)
    for name in NAMES:
        (site.inbox / "bad").mkdir(exist_ok=True)
        (site.inbox / "bad" / name).write_bytes(b"")
    with site.run() as running:
        site.wait_done(tasks=len(contents), seconds=120)
        wait_until(lambda: not site.inbox_files(), seconds=60, what=site.inbox_files)
        running.stop()

    text = (site.root / "logs" / "fsagent.log").read_bytes().decode("utf-8")
    assert unfit(text) == []
    assert text.count("submitted as task") == len(contents)
    lines = text.splitlines()
    if form == "json":
        assert all(json.loads(line)["message"] for line in lines)
    else:
        # Every record begins with its time; nothing else does, least of all a part of a name.
        assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warning) ", line)] == []


def test_no_command_writes_what_a_name_would_say_to_a_terminal(site: Site) -> None:
    drop(site, NAMES)
    written = {"run --once": refuse_all(site)}
    sample = (NAMES[0], NAMES[2], NAMES[5], NAMES[7], f"{FOLDER}/{NAMES[5]}")
    commands = [
        ("status",),
        ("history", "--limit", "1000"),
        ("check",),
        *(("why", str(site.error / name)) for name in sample),
        ("why", str(site.inbox / FOLDER / "never\x1b]0;t\x07 seen\n.pdf")),
        ("retry", str(site.error / FOLDER / "never\x1b]0;t\x07 seen\n.pdf"), str(site.error / NAMES[5])),
        ("resolve", NAMES[5], "--reject"),
        ("retry", "--all"),
        ("submit", str(site.archive / NAMES[5]), str(site.archive / ("not\x1b]0;t\x07there.pdf")), "--wait", "10s"),
        ("submit", str(site.archive / NAMES[0]), "--wait", "10s"),
        ("adopt", "none\x1b]0;t\x07"),
        ("pause", "none\x1b]0;t\x07"),
        ("\x1b]0;t\x07no command",),
        ("status", "--\x1b]0;t\x07no option"),
        ("history", "--limit", "\x1b]0;t\x07no number"),
        ("-c", "no\x1b]0;t\x07file.yaml", "status"),
    ]
    for command in commands:
        done = site.command(*command)
        assert "Traceback" not in done.stderr, done.stderr
        written[" ".join(command[:2])] = done.stdout + done.stderr

    assert {command: lines for command, text in written.items() if (lines := unfit(text))} == {}
    for command in (("history", "--limit", "1000"), ("status",), ("why", str(site.error / NAMES[0]))):
        done = site.command(*command, "--json")
        assert done.stdout.isascii()
        assert json.loads(done.stdout)


def test_the_live_display_of_a_terminal_gets_nothing_a_name_says(site: Site) -> None:
    import pty  # noqa: PLC0415 -- there is none on other platforms

    drop(site, NAMES)
    for name in NAMES:
        (site.inbox / "bad").mkdir(exist_ok=True)
        (site.inbox / "bad" / name).write_bytes(b"")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "agent", "-c", str(site.config), "run"]
    environment = {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm-256color", "COLUMNS": "200"}
    agent = subprocess.Popen(command, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = bytearray()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    shown.extend(os.read(ours, 65536))
                except OSError:  # the other end was closed
                    return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        site.wait_done(tasks=len(NAMES), seconds=120)
        wait_until(lambda: not site.inbox_files(), seconds=60, what=site.inbox_files)
        agent.terminate()
        assert agent.wait(PATIENCE) == 0
    finally:
        agent.kill()
        agent.wait()
        ended.set()
        reader.join()
        os.close(ours)
    assert b"scans" in shown
    assert [attack for attack in ATTACKS if attack in shown] == []
