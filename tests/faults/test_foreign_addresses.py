"""Exported files that are said to lie elsewhere (row 23): refused before a connection is made, the task is failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.sandbox.faults import Fault
from faults.checker import judge
from faults.proxies import Canary

if TYPE_CHECKING:
    from collections.abc import Callable

    from system.sites import Site

    from agent.sandbox.server import SandboxServer
    from faults.points import Sweep

pytestmark = pytest.mark.timeout(300)


def foreign(*, own: int, canary: int) -> dict[str, str]:
    """Return addresses of other parties, by what is foreign about them."""
    return {
        "port": f"http://127.0.0.1:{canary}{{document}}",
        "host": f"http://localhost:{own}{{document}}",
        "host written otherwise": f"http://127.1:{own}{{document}}",
        "scheme": f"https://127.0.0.1:{own}{{document}}",
        "no scheme": f"//127.0.0.1:{canary}{{document}}",
        "file": "file:///etc/passwd",
        "ftp": f"ftp://127.0.0.1:{canary}/file",
        "data": "data:text/plain,hello",
        "user": f"http://127.0.0.1:{own}@127.0.0.1:{canary}{{document}}",
        "own user": f"http://somebody:secret@127.0.0.1:{own}{{document}}",
        "backslashes": f"\\\\127.0.0.1:{canary}\\file",
        "mixed slashes": f"/\\127.0.0.1:{canary}/file",
        "line end": f"http://127.0.0.1:{own}{{document}}\r\nHost: 127.0.0.1:{canary}",
    }


def redirects(*, own: int, canary: int) -> dict[str, tuple[int, str]]:
    """Return answers that lead to other parties."""
    return {
        "302 to a port": (302, f"http://127.0.0.1:{canary}/file"),
        "301 without a scheme": (301, f"//127.0.0.1:{canary}/file"),
        "303 to a host": (303, f"http://localhost:{own}/file"),
        "307 to https": (307, f"https://127.0.0.1:{own}/file"),
        "308 to a user": (308, f"http://127.0.0.1:{own}@127.0.0.1:{canary}/file"),
    }


def one_file(url: str) -> dict[str, Any]:
    """Return a specification of one download and one text, which must not be visible without it."""
    files = [
        {"folder": "", "filename": "text.csv", "source": "content", "content": "a,b\n", "url": None},
        {"folder": "", "filename": "file.pdf", "source": "url", "content": None, "url": url},
    ]
    return {"documents": [{"files": files}]}


def test_a_file_of_another_origin_fails_its_task_and_nobody_there_hears_of_us(
    site: Site, sandbox: SandboxServer, sweep: Callable[[str], Sweep]
) -> None:
    faults = sandbox.sandbox.faults
    with Canary() as canary:
        ports = {"own": sandbox.port, "canary": canary.port}
        urls = foreign(**ports)
        for number, (name, (status, location)) in enumerate(redirects(**ports).items()):
            urls[name] = f"{{document}}?answer={number}"
            faults.add(Fault(status, query=f"answer={number}", headers={"Location": location}, times=None))
        kinds = {f"hostile{number:02}.pdf": kind for number, kind in enumerate(urls)}
        for name, kind in kinds.items():
            faults.specify(name, one_file(urls[kind]))
        faults.specify("absolute.pdf", one_file(f"{sandbox.url}{{document}}"))
        faults.specify("redirected.pdf", one_file("{document}?answer=own"))
        faults.add(Fault(302, query="answer=own", headers={"Location": "?answer=here"}))

        hostile = [site.drop(name) for name in kinds]
        sent = [site.drop(name) for name in ("plain.pdf", "absolute.pdf", "redirected.pdf")]
        with site.run() as running:
            site.wait_done(tasks=len(hostile) + len(sent), seconds=90)
            assert running.stop() == 0

        heard = [f"the canary heard {canary.heard!r}"] if canary.connections else []
    failed = {task["tags"]["file_name"]: task["id"] for task in site.describe() if task["state"] == "failed"}
    complaints = judge(site, sent=sent, kept=hostile, failed=failed.values()) + heard
    points = sweep("files of another origin")
    for number, (name, kind) in enumerate(kinds.items()):
        note = site.output / "error" / f"{name}.error.txt"
        reached = name in failed and note.exists() and (site.error / name).exists()
        points.point(kind, reached=reached, complaints=complaints if number == 0 else ())
    points.conclude(at_least=len(kinds))
