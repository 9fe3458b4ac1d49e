"""The ledger between processes: a crash in the middle of commits, and commands beside a running agent."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import agent
from agent.ledger.opening import open_ledger
from agent.model import FileRecord, FileState, Signature

COMMITTING = """
import sys, threading
from pathlib import Path
from agent.ledger.opening import open_ledger
from agent.model import Event, FileRecord, FileState, Signature

ledger = open_ledger(Path(sys.argv[1]), create=False)
lock = threading.Lock()

def work(name):
    number = 0
    while True:
        key = f"{sys.argv[2]}-{name}-{number}"
        record = FileRecord(key, "invoices", key, Signature("1:1", 1, 1), FileState.WAITING, 1.0, 1.0)
        ledger.commit(record, Event(1.0, "invoices", "seen", file_key=key))
        ledger.commit(record.change(state=FileState.SENDING))
        with lock:
            sys.stdout.write(key + "\\n")
            sys.stdout.flush()
        number += 1

for name in "abcd":
    threading.Thread(target=work, args=(name,)).start()
"""

ASKING = """
import sys
from pathlib import Path
from agent.ledger.opening import open_ledger_readonly

ledger = open_ledger_readonly(Path(sys.argv[1]))
for number in range(20):
    ledger.ask("rescan", {"number": number}, now=float(number))
    ledger.put_note("pauses", {"number": number})
sys.stdout.write(ledger.ledger_id + " " + str(len(ledger.find_files(limit=10**6))))
ledger.close()
"""

ROOT = Path(agent.__file__).parents[1]


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=ROOT
    )


def test_what_was_acknowledged_survives_killing_the_process_again_and_again(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    open_ledger(state_dir, create=True).close()
    acknowledged: list[str] = []
    for trial in range(3):
        with started(COMMITTING, str(state_dir), str(trial)) as child:
            assert child.stdout is not None
            acknowledged.extend(child.stdout.readline().rstrip("\n") for _ in range(50 * (trial + 1)))
            child.kill()
            rest = child.stdout.read()
            acknowledged.extend(line.rstrip("\n") for line in rest.splitlines(keepends=True) if line.endswith("\n"))
        with closing(open_ledger(state_dir, create=False)) as ledger:
            files = {key: ledger.file(key) for key in acknowledged}
            assert all(file is not None and file.state is FileState.SENDING for file in files.values())
            assert all(len(ledger.history(file_key=key)) == 1 for key in acknowledged)
            assert list(ledger.check()) == []


def test_a_command_asks_and_reads_while_the_agent_writes(tmp_path: Path) -> None:
    with closing(open_ledger(tmp_path / "state", create=True)) as ledger:
        with started(ASKING, str(tmp_path / "state")) as child:
            number = 0
            while child.poll() is None:
                number += 1
                record = FileRecord(f"{number}", "w", "a", Signature("1:1", 1, 1), FileState.WAITING, 1.0, 1.0)
                ledger.commit(record)
            assert child.stdout is not None
            ledger_id, seen = child.stdout.read().split()
        assert child.returncode == 0
        assert ledger_id == ledger.ledger_id
        assert 0 <= int(seen) <= number
        assert [request.arguments for request in ledger.open_requests()] == [{"number": n} for n in range(20)]
        assert ledger.note("pauses") == {"number": 19}
        assert len(ledger.find_files(limit=10**6)) == number
