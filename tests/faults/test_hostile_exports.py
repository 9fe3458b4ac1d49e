"""Rows 22 and 29 of faults.md, export side: names that want out of the output, things planted in it, endless answers.

| fault | test |
|---|---|
| each name of row 22, as file name and as folder; the one rule | `test_every_hostile_name_…` |
| two equal ignoring case, the agent's own names | `test_names_that_meet_…` |
| link, folder, pipe planted in the output | `test_what_is_planted_…` |
| others unaffected; nothing outside, ever | all of them, by what lies in the whole world before and after |
| 2 MiB headers, names, specifications | `test_headers_…`, `test_a_specification_…` |

Other origins (row 23) are tests/system `test_a_hostile_specification_…` and the canaries of the network tests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from system.sites import Site, sha256, tree, wait_until

from agent.sandbox.faults import Fault
from faults.checker import judge
from faults.watched_process import peak_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.sandbox.server import SandboxServer

pytestmark = pytest.mark.timeout(300)

REFUSED = ""
LONG = "l" * 300
MIB = 2**20

# (folder, file name) → where it must be below the output; "": the task must fail and nothing be anywhere.
NAMES: dict[tuple[str, str], str] = {
    ("", "../../x"): ".._.._x",
    ("", "/etc/x"): "_etc_x",
    ("", "C:\\x"): "C__x",
    ("", "\\\\h\\s\\x"): "__h_s_x",
    ("", "a:b"): "a_b",
    ("", "a:b:$DATA"): "a_b_$DATA",
    ("", "CON.pdf"): "_CON.pdf",
    ("", "con.tar.gz"): "_con.tar.gz",
    ("", "CONIN$"): "_CONIN$",
    ("", "x."): "x_",
    ("", "y "): "y_",
    ("", "z. . ."): "z_",
    ("", "COM\u00b9"): "_COM\u00b9",
    ("", "lpt0.txt"): "_lpt0.txt",
    ("", "nul\0.csv"): "nul_.csv",
    ("", "es\x1b[2Jc\n.csv"): "es_[2Jc_.csv",
    ("", "\u202efdp.exe"): "_fdp.exe",
    ("", "half \ud83d.csv"): "half _.csv",
    ("", "~/.ssh"): "~_.ssh",
    ("", "-rf"): "-rf",
    ("", "$(id)`id`.csv"): "$(id)`id`.csv",
    ("", "..."): "_",
    ("", ""): REFUSED,
    ("", "."): REFUSED,
    ("", ".."): REFUSED,
    ("..", "x"): REFUSED,
    ("../..", "x"): REFUSED,
    ("a/../..", "x"): REFUSED,
    ("a\\..\\..", "x"): REFUSED,
    ("/etc", "x"): REFUSED,
    ("\\etc", "x"): REFUSED,
    ("//h/s", "x"): REFUSED,
    ("\\\\h\\s", "x"): REFUSED,
    ("\\\\?\\C:\\", "x"): REFUSED,
    ("C:", "x"): REFUSED,
    ("C:\\Windows", "x"): REFUSED,
    ("c:relative", "x"): REFUSED,
    ("/".join([LONG] * 6), "x"): REFUSED,
    ("... .", "x"): "_/x",
    ("..\0", "x"): ".._/x",
    ("a:b", "x"): REFUSED,  # of drive a:
    ("ab:c", "x"): "ab_c/x",
    ("CON", "x"): "_CON/x",
    ("w. ", "x"): "w_/x",
    ("./a//b/./c\\d", "x"): "a/b/c/d/x",
    ("COM\u00b9.d", "x"): "_COM\u00b9.d/x",
    (".fsagent", "x"): "_.fsagent/x",
    (".fsagent-0123456789abcdef.part", "x"): "_.fsagent-0123456789abcdef.part/x",
    ("\uff0e\uff0e", "x"): "\uff0e\uff0e/x",
    ("a\u2215b", "x"): "a\u2215b/x",
    ("%2e%2e/%2e%2e", "x"): "%2e%2e/%2e%2e/x",
}


def content(folder: str, filename: str, text: str = "a;b\n") -> dict[str, Any]:
    return {"folder": folder, "filename": filename, "source": "content", "content": text, "url": None}


def specification(*files: dict[str, Any]) -> dict[str, Any]:
    return {"documents": [{"files": list(files)}]}


def world(site: Site) -> dict[str, str]:
    """Return everything around a site, and what a name of row 22 could have made on this machine."""
    base = site.root.parent
    own = {site.inbox, site.output, site.state_dir}
    found = {}
    for folder, folders, names in os.walk(base):
        folders[:] = [name for name in folders if Path(folder, name) not in own]
        for name in [*folders, *names]:
            path = Path(folder, name)
            if not path.name.startswith("run-"):
                found[str(path)] = sha256(path.read_bytes()) if path.is_file() else "there"
    for path in (Path("/etc/x"), Path("/x"), base.parent / "x", Path.home() / ".ssh" / "x", Path("x"), Path("C:x")):
        found[str(path)] = "there" if os.path.lexists(path) else "nothing"
    return found


def is_over(site: Site, count: int) -> bool:
    return len(site.task_records()) == count and site.is_done() and not site.inbox_files()


def run_until_over(site: Site, *, count: int) -> int:
    """Run an agent until that many tasks ended; return the most memory it had."""
    with site.run() as running:
        wait_until(lambda: is_over(site, count), seconds=120, what=site.task_records)
        memory = peak_memory(running.pid)
        running.stop()
    return memory


def states(site: Site) -> dict[str, str]:
    return {task["tags"]["file_name"]: task["state"] for task in site.describe()}


def test_every_hostile_name_gets_its_one_safe_place_or_fails_its_task_alone(site: Site, sandbox: SandboxServer) -> None:
    expected: dict[str, str] = {}
    for number, ((folder, filename), place) in enumerate(NAMES.items()):
        victim = f"victim {number:02}.pdf"
        sandbox.sandbox.faults.specify(
            victim, specification(content("", "beside.csv"), content(folder, filename, f"of {number}"))
        )
        # Each below a folder of its own, so that no two of them meet.
        site.drop(f"{number:02}/{victim}")
        expected[victim] = place
    good = [site.drop(f"good {number}.pdf") for number in range(3)]
    before = world(site)
    run_until_over(site, count=len(NAMES) + len(good))

    assert world(site) == before
    assert states(site) == {victim: "completed" if place else "failed" for victim, place in expected.items()} | {
        f"good {number}.pdf": "completed" for number in range(3)
    }
    wanted = {f"good {number}.{kind}" for number in range(3) for kind in ("pdf", "csv", "json")}
    for number, (victim, place) in enumerate(expected.items()):
        wanted |= {f"{number:02}/beside.csv", f"{number:02}/{place}"} if place else {f"error/{victim}.error.txt"}
    assert set(tree(site.output)) == wanted
    for number, place in enumerate(expected.values()):
        if place:
            assert (site.output / f"{number:02}" / place).read_text() == f"of {number}"
            assert (site.archive / f"{number:02}" / f"victim {number:02}.pdf").exists()
        else:
            assert (site.error / f"{number:02}" / f"victim {number:02}.pdf.error.txt").exists()
    assert site.complaints() == []


def test_names_that_meet_and_names_too_long_stay_apart_and_whole(site: Site, sandbox: SandboxServer) -> None:
    files = [
        content("", "Same.csv", "1"),
        content("", "same.CSV", "2"),
        content("", "SAME.csv.", "3"),
        content("", "x.", "4"),
        content("", "x ", "5"),
        content("", "x\0", "6"),
        content("", "stra\u00dfe.csv", "7"),
        content("", "STRASSE.csv", "8"),
        content("", f"{LONG}.csv", "9"),
        content("", f"{LONG}m.csv", "10"),
        content("", "Caf\u00e9.csv", "11"),
        content("", "Cafe\u0301.csv", "12"),
        content("", ".fsagent", "13"),
        content("", ".FSAGENT-0123456789abcdef.part", "14"),
        content("sub", "y", "15"),
        content("SUB", "Y", "16"),
    ]
    sandbox.sandbox.faults.specify("one.pdf", specification(*files))
    site.drop("one.pdf")
    before = world(site)
    run_until_over(site, count=1)

    assert world(site) == before
    found = {name: path.read_text() for name, path in tree(site.output).items()}
    assert sorted(found.values(), key=int) == [str(number) for number in range(1, len(files) + 1)]
    assert len({name.casefold() for name in found}) == len(files)
    assert all(len(part.encode()) <= 200 for name in found for part in name.split("/"))
    assert not any(part.startswith(".") for name in found for part in name.split("/"))
    assert len((site.output / ".fsagent").read_text().splitlines()) == 1  # the marker is still ours


def plant(site: Site, outside: Path) -> None:
    """Lay traps where the exports of `a` to `f` are to be written."""
    for name in "abcdef":
        (site.output / name).mkdir()
    (site.output / "a").rmdir()
    (site.output / "a").symlink_to(outside, target_is_directory=True)
    (site.output / "b" / "victim.csv").symlink_to(outside / "made through a link")
    (site.output / "c" / "victim.csv").symlink_to(outside / "precious")
    (site.output / "d" / "victim.csv").mkdir()
    os.mkfifo(site.output / "e" / "victim.csv")
    (site.output / "f").rmdir()
    os.mkfifo(site.output / "f")


@pytest.mark.parametrize("on_conflict", ["rename", "overwrite", "fail"])
def test_what_is_planted_in_the_output_is_never_followed_waited_for_or_overwritten(
    site: Site, tmp_path: Path, on_conflict: str
) -> None:
    site.configure(export={"on_conflict": on_conflict})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    plant(site, outside)
    planted = {path: os.lstat(path).st_ino for path in site.output.rglob("*")}
    for name in "abcdef":
        site.drop(f"{name}/victim.pdf")
    good = site.drop("good/one.pdf")
    before = world(site)
    run_until_over(site, count=7)

    assert world(site) == before
    assert {path: os.lstat(path).st_ino for path in planted} == planted
    assert states(site)["one.pdf"] == "completed"
    assert sha256((site.output / "good" / "one.pdf").read_bytes()) == sha256(good)
    # Every victim either got names beside the trap, or failed and says so; none half.
    for task in site.task_records():
        if task.name != "one.pdf":
            written = [planned.target for planned in task.plan if (site.output / planned.target).is_file()]
            assert len(written) in ({0} if task.state.value == "failed" else {3}), (task, written)
    notes = [name for name in tree(site.output) if name.startswith("error/")]
    assert len(notes) == sum(task.state.value == "failed" for task in site.task_records())
    assert site.complaints() == []


ANSWERS: dict[str, Mapping[str, str]] = {
    "one of 2 MiB": {"X-Filler": "x" * 2 * MIB},
    "thousands": {f"X-Filler-{number}": "x" for number in range(5_000)},
    "a name of 2 MiB": {"X" * 2 * MIB: "x"},
}


@pytest.mark.parametrize("headers", ANSWERS.values(), ids=ANSWERS)
def test_headers_without_end_cost_a_repetition_and_no_memory(
    site: Site, sandbox: SandboxServer, headers: Mapping[str, str]
) -> None:
    calls = [
        ("POST", "/oauth/token"),
        ("POST", "/tasks"),
        ("GET", "/tasks"),
        ("PUT", "/tasks/*/start_client_action"),
        ("GET", "/file_collections/*"),
        ("PUT", "/tasks/*/complete_client_action"),
    ]
    for method, path in calls:
        sandbox.sandbox.faults.add(Fault(200, method=method, path=path, headers=headers, body={}, applied=True))
    dropped = [site.drop("one.pdf"), site.drop("two.tif")]
    memory = run_until_over(site, count=2)

    assert not sandbox.sandbox.faults.waiting()
    assert [each for each in judge(site, sent=dropped) if "calls" not in each] == []
    assert memory < 160 * MIB


def test_a_specification_made_to_exhaust_fails_its_task_or_is_written_and_nobody_waits(
    site: Site, sandbox: SandboxServer
) -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    hostile = {
        "name.pdf": specification(content("", "n" * 2 * MIB)),
        "folder.pdf": specification(content("f/" * MIB, "x")),
        "many.pdf": specification(*(content("", f"{number % 7}.csv") for number in range(500))),
        "deep.pdf": {"documents": [{"files": [{**content("", "x.csv"), "more": deep}]}]},
        "no list.pdf": {"documents": {"files": "x"}},
        "no text.pdf": specification({**content("", "x"), "filename": {"a": 1}}),
        "nothing.pdf": json.loads("null"),
        "big.pdf": specification(content("", "big.csv", "y" * 20 * MIB)),
        "many urls.pdf": specification({**content("", "u"), "source": "url", "content": None, "url": "/" + "u" * MIB}),
    }
    for name, asked in hostile.items():
        sandbox.sandbox.faults.specify(name, asked)
        site.drop(f"{name.removesuffix('.pdf')}/{name}")
    good = site.drop("good.pdf")
    before = world(site)
    with site.run() as running:
        wait_until(lambda: states(site).get("good.pdf") == "completed", seconds=60)
        wait_until(
            lambda: all(task.ended_at or task.held or task.attempts for task in site.task_records()),
            seconds=120,
            what=site.task_records,
        )
        running.stop()

    assert world(site) == before
    assert sha256((site.output / "good.pdf").read_bytes()) == sha256(good)
    assert all(len(name.encode()) <= 1024 for name in tree(site.output))
    assert not any(name.rpartition("/")[2].startswith(".") for name in tree(site.output))
    assert site.complaints() == []
