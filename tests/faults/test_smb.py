"""Real SMB: a Linux file server whose clients drop files in the inbox and read the output, beside a running agent.

The agent watches the folders below the server. What a client holds back, it holds back from the folder too: a slow
upload, a client that stands still and one that caches its writes look the same there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from system.sites import PATIENCE, pdf, wait_until

from agent.model import FileState
from agent.sandbox.samples import LETTER, read_sample
from faults.checker import judge
from faults.smb_share import BLOCK, Server, sharing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system.sites import Site

pytestmark = pytest.mark.timeout(120)

SIZE = 4 * 1024 * 1024
"""Bytes of a file that does not fit into what lies between a client and the folder."""


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with sharing({"inbox": site.inbox, "output": site.output}) as server:
        yield server


def large_pdf(mark: str) -> bytes:
    """Return a whole PDF of many megabytes that is none without its last bytes."""
    lead = read_sample(LETTER)
    found = re.findall(rb"startxref\s+\d+\s+%%EOF", lead)
    return b"".join([lead, f"% {mark} ".encode(), b"." * SIZE, b"\n", found[-1], b"\n"])


def give_up_late(site: Site) -> None:
    site.configure(stalled_after="1m", give_up_after="5m")


def states(site: Site) -> dict[str, tuple[FileState, str]]:
    return {name: (record.state, record.detail) for name, record in site.files().items()}


def is_seen_as_half(site: Site, name: str) -> bool:
    """Tell whether the agent has taken a file that came to rest, found it not whole, and let it lie."""
    return name in states(site) and "%%EOF is missing" in states(site)[name][1]


def size_of(site: Site, name: str) -> int:
    """Return the bytes that arrived of a file, in the inbox or, given up meanwhile, in error/."""
    return max((path.stat().st_size for path in (site.inbox / name, site.error / name) if path.exists()), default=0)


def half_of(content: bytes) -> tuple[bytes, bytes]:
    return content[: SIZE // 2], content[SIZE // 2 :]


def test_a_client_puts_files_and_folders_and_each_is_sent_once(site: Site, server: Server, tmp_path: Path) -> None:
    tree = {
        f"{folder}{number}.pdf": pdf(f"{folder}{number}") for folder in ("", "a/", "a/b/", "ü d/") for number in (1, 2)
    }
    for name, content in tree.items():
        path = tmp_path / "client" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    give_up_late(site)  # a client that is kept from going on in the middle of a file has not given it up
    with site.run() as running:
        site.wait_scanned()
        server.client("inbox", "prompt off", "recurse on", f"lcd {tmp_path / 'client'}", "mput *")
        site.wait_done(tasks=len(tree))
        running.stop()

    assert judge(site, sent=tree.values()) == []


@pytest.mark.parametrize("stands_still", [False, True], ids=["its pipe stalls", "it is stopped"])
def test_an_upload_that_stalls_for_longer_than_settle_is_sent_whole(
    site: Site, server: Server, *, stands_still: bool
) -> None:
    content = large_pdf("slow")
    first, rest = half_of(content)
    give_up_late(site)
    with site.run() as running:
        site.wait_scanned()
        with server.upload("inbox", "slow.pdf") as upload:
            upload.write(first)
            if stands_still:
                upload.stop()
            wait_until(lambda: is_seen_as_half(site, "slow.pdf"), what=lambda: states(site))
            assert site.describe() == []
            upload.go_on()
            upload.write(rest)
            upload.finish()
        site.wait_done(tasks=1)
        running.stop()

    assert judge(site, sent=[content]) == []


def test_a_whole_file_that_its_client_still_holds_open_is_sent_once(site: Site, server: Server) -> None:
    content = large_pdf("held open")
    content += b"\n" * (-len(content) % BLOCK)  # the client keeps back what fills no block
    give_up_late(site)
    with site.run() as running:
        site.wait_scanned()
        with server.upload("inbox", "open.pdf") as upload:
            upload.write(content)
            site.wait_done(tasks=1)
            upload.finish()
        site.wait_scanned()
        running.stop()

    assert judge(site, sent=[content]) == []


def test_a_file_renamed_after_its_upload_is_sent_once(site: Site, server: Server, tmp_path: Path) -> None:
    contents = {name: pdf(name) for name in ("hidden", "plain", "moved")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    give_up_late(site)
    with site.run() as running:
        site.wait_scanned()
        server.client(
            "inbox",
            f"lcd {tmp_path}",
            "put hidden upload.pdf.part",
            "rename upload.pdf.part hidden.pdf",
            "put plain first.pdf",
            "rename first.pdf second.pdf",
            "mkdir deeper",
            "put moved moved.pdf",
            "rename moved.pdf deeper/moved.pdf",
        )
        site.wait_done(tasks=len(contents))
        running.stop()

    assert judge(site, sent=contents.values()) == []


def test_an_upload_that_is_cut_off_is_never_sent_but_the_next_one_is(
    site: Site, server: Server, tmp_path: Path
) -> None:
    content = large_pdf("cut off")
    (tmp_path / "source").write_bytes(content)
    give_up_late(site)
    with site.run() as running:
        site.wait_scanned()
        with server.upload("inbox", "cut.pdf") as upload:
            upload.write(half_of(content)[0])
            wait_until(lambda: is_seen_as_half(site, "cut.pdf"), what=lambda: states(site))
            upload.kill()
        server.client("inbox", f"put {tmp_path / 'source'} cut.pdf")
        site.wait_done(tasks=1)
        running.stop()

    assert judge(site, sent=[content]) == []


def test_an_upload_that_stays_cut_off_goes_to_error_and_is_taken_when_it_comes_again(
    site: Site, server: Server, tmp_path: Path
) -> None:
    content = large_pdf("given up")
    (tmp_path / "source").write_bytes(content)
    with site.run() as running:
        site.wait_scanned()
        with server.upload("inbox", "cut.pdf") as upload:
            upload.write(half_of(content)[0])
            wait_until(lambda: size_of(site, "cut.pdf") == SIZE // 2, what=lambda: states(site))
            upload.kill()
        wait_until((site.error / "cut.pdf.error.txt").exists, what=lambda: states(site))
        half = (site.error / "cut.pdf").read_bytes()
        running.stop()
    give_up_late(site)
    with site.run() as running:
        site.wait_scanned()
        server.client("inbox", f"put {tmp_path / 'source'} cut.pdf")
        site.wait_done(tasks=1)
        running.stop()

    assert half == half_of(content)[0]
    assert judge(site, sent=[content], kept=[half]) == []


def test_a_file_deleted_before_it_settled_is_not_sent(site: Site, server: Server, tmp_path: Path) -> None:
    other = pdf("other")
    (tmp_path / "source").write_bytes(other)
    site.configure(settle="1h")
    with site.run() as running:
        site.wait_scanned()
        server.client("inbox", f"put {tmp_path / 'source'} gone.pdf")
        wait_until(lambda: states(site).get("gone.pdf", ())[:1] == (FileState.WAITING,), what=lambda: states(site))
        server.client("inbox", "del gone.pdf")
        wait_until(lambda: states(site).get("gone.pdf", ())[:1] == (FileState.GONE,), what=lambda: states(site))
        running.stop()
    site.configure(settle="100ms")
    server.client("inbox", f"put {tmp_path / 'source'} other.pdf")
    site.run_once()

    assert judge(site, sent=[other]) == []


def test_whoever_sees_the_csv_through_the_share_finds_the_document_whole(
    site: Site, server: Server, tmp_path: Path
) -> None:
    names = [f"{number}.pdf" for number in range(6)]
    contents = {name: site.drop(name, large_pdf(name)) for name in names}
    seen: dict[str, bytes] = {}

    def look() -> bool:
        listed = set(re.findall(r"^\s+(\d)\.csv\s", server.client("output", "ls"), re.MULTILINE))
        for stem in listed - {name.removesuffix(".pdf") for name in seen}:
            server.client("output", f"lcd {tmp_path}", f"get {stem}.pdf", f"get {stem}.csv")
            seen[f"{stem}.pdf"] = (tmp_path / f"{stem}.pdf").read_bytes()
            assert (tmp_path / f"{stem}.csv").read_bytes()
        return len(seen) == len(names)

    with site.run() as running:
        wait_until(look, seconds=2 * PATIENCE, what=seen.keys)
        site.wait_done(tasks=len(names))
        running.stop()

    assert seen == contents
    assert judge(site, sent=contents.values()) == []
