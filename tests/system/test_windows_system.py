r"""The Windows agent from drop to export: a Windows Python under Wine, driven from Linux, with folders on `C:\`.

Needs `python packaging/windows/wine.py setup`; `wine.py test` and .ci/run do that. The sandbox runs on the Linux side:
loopback is shared.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.sandbox.aluma.settings import DEMO_PROJECT_ID, AlumaSettings
from agent.sandbox.samples import DELIVERY_NOTE, INVOICE, read_sample
from agent.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WINE = Path(__file__).parents[2] / "packaging" / "windows" / "wine.py"
NOT_SET_UP = 69
PATIENCE = 120.0
"""Seconds for what takes two or three: the first Windows process after a start of Wine is slow."""

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DROPS = {"invoice.pdf": INVOICE, "Büro 7/Lieferschein & mehr.TIFF": DELIVERY_NOTE}


@pytest.fixture(scope="module")
def drive_c() -> Path:
    done = subprocess.run([sys.executable, str(WINE), "where"], capture_output=True, text=True, check=False)
    if done.returncode == NOT_SET_UP:
        pytest.skip("there is no Windows Python: python packaging/windows/wine.py setup")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def folder(drive_c: Path) -> Iterator[Path]:
    path = drive_c / f"fsagent {uuid.uuid4().hex[:8]}"
    for name in ("inbox", "output"):
        (path / name).mkdir(parents=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(AlumaSettings(queue_delay=0.05, processing_delay=0.05)) as server:
        yield server


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    never = threading.Event()
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the agent ended: {process.communicate()[0]}"
        assert time.monotonic() < end, "did not happen in time"
        never.wait(0.1)


def test_a_drop_on_drive_c_becomes_a_task_and_its_exports_lie_on_drive_c(folder: Path, sandbox: SandboxServer) -> None:
    windows = f"C:\\{folder.name}"
    config = folder / "config.yaml"
    config.write_text(
        f"""
service: {{url: '{sandbox.url}', client_id: sandbox, client_secret: sandbox-secret}}
state_dir: '{windows}\\state'
watch_folders:
  - name: documents
    project_id: {DEMO_PROJECT_ID}
    inbox: '{windows}\\inbox'
    output: '{windows}\\output'
    settle: 300ms
    export: {{poll_min: 100ms, poll_max: 500ms}}
""",
        encoding="utf-8",
    )
    command = [sys.executable, str(WINE), "run", "--", "-m", "agent", "-c", f"{windows}\\config.yaml", "run"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for name, sample in DROPS.items():
            target = folder / "inbox" / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(read_sample(sample))
        archive, output = folder / "inbox" / "archive", folder / "output"
        wait_until(lambda: all((archive / name).exists() for name in DROPS), process)
        tables = [(output / name).with_suffix(".csv") for name in DROPS]
        wait_until(lambda: all(table.exists() for table in tables), process)
        wait_until(lambda: all(task["state"] == "completed" for task in sandbox.sandbox.describe()), process)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()

    assert process.returncode == 0, said
    tasks = {task["tags"]["file_name"]: task for task in sandbox.sandbox.describe()}
    assert {name.rpartition("/")[2] for name in DROPS} == tasks.keys()
    assert len(sandbox.sandbox.describe()) == len(DROPS)
    for name, sample in DROPS.items():
        task = tasks[name.rpartition("/")[2]]
        assert task["sha256"] == hashlib.sha256(read_sample(sample)).hexdigest()
        inner = name.rpartition("/")[0]
        assert task["tags"]["file_path"] == f"{windows}\\inbox" + (f"\\{inner}" if inner else "")
        assert (output / name).read_bytes() == read_sample(sample)
        assert (output / name).with_suffix(".csv").read_bytes().endswith(b"\r\n"), "native newlines of Windows"
    assert not list(folder.rglob("*.part"))
