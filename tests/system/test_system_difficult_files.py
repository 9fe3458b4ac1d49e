"""Half-written, broken, empty, misnamed, linked, special and too large files, with good files beside them."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent.sandbox.samples import BROKEN, DELIVERY_NOTE, INVOICE, read_sample
from system.sites import PATIENCE, Site, document_for, pdf, sha256, tiff, tree, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(200)
GOOD = "good neighbour.pdf"


def reason_of(site: Site, name: str) -> str:
    return site.note(name)["reason"].partition(":")[0]


def test_what_cannot_be_sent_goes_to_error_with_its_reason_and_good_neighbours_are_sent(site: Site) -> None:
    site.configure(max_size="20KB", unmatched="error")
    refused = {
        "cut.pdf": (read_sample(BROKEN), "truncated"),
        "cut.tif": (read_sample(DELIVERY_NOTE)[:4000], "truncated"),
        "sub folder/cut.pdf": (read_sample(INVOICE)[:-40], "truncated"),
        "empty.pdf": (b"", "empty"),
        "picture.pdf": (PNG, "wrong_type"),
        "text.pdf": (b"Dear Sir or Madam, this is a letter and no PDF at all.\n" * 5, "wrong_type"),
        "huge.tif": (tiff("huge", size=30_000), "too_large"),
        "letter.docx": (b"PK\x03\x04" + bytes(100), "unmatched"),
    }
    good = {name: document_for(name) for name in (GOOD, "sub folder/good.tif", "pdf that is a tiff.pdf")}
    good["pdf that is a tiff.pdf"] = tiff("misnamed, but accepted")
    for name, content in {**{name: content for name, (content, _) in refused.items()}, **good}.items():
        site.drop(name, content)

    with site.run() as running:
        site.wait_done(tasks=len(good))
        wait_until(lambda: not site.inbox_files(), what=site.inbox_files)
        running.stop()

    assert {name: reason_of(site, name) for name in refused} == {name: why for name, (_, why) in refused.items()}
    for name, (content, _) in refused.items():
        assert site.error.joinpath(*name.split("/")).read_bytes() == content
    assert set(tree(site.error)) == {each for name in refused for each in (name, f"{name}.error.txt")}
    assert set(tree(site.archive)) == set(good)
    assert {task["sha256"]: task["content_type"] for task in site.describe()} == {
        sha256(content): "application/pdf" if name.endswith("neighbour.pdf") else "image/tiff"
        for name, content in good.items()
    }


def test_the_note_beside_a_refused_file_says_why_what_to_do_when_and_for_which_file(site: Site) -> None:
    site.configure(give_up_after="200ms")
    site.drop("branch/cut invoice.pdf", read_sample(BROKEN))

    assert site.run_once().returncode == 1

    lines = (site.error / "branch" / "cut invoice.pdf.error.txt").read_text(encoding="utf-8").splitlines()
    note = site.note("branch/cut invoice.pdf")
    assert lines[0].startswith("reason: truncated: ")
    assert list(note) == ["reason", "what to do", "file", "watch folder", "when", "attempts", "task", "id"]
    assert note["file"] == "branch/cut invoice.pdf"
    assert (note["attempts"], note["task"]) == ("0", "none")
    assert note["when"].startswith("20")
    assert note["id"] == site.files()["branch/cut invoice.pdf"].key


def test_a_refused_file_dropped_again_whole_is_sent(site: Site) -> None:
    site.drop("invoice.pdf", read_sample(BROKEN))
    with site.run() as running:
        wait_until((site.error / "invoice.pdf.error.txt").exists)
        content = site.drop("invoice.pdf")
        site.wait_done(tasks=1)
        running.stop()

    assert site.tasks()["invoice.pdf"]["sha256"] == sha256(content)
    assert (site.archive / "invoice.pdf").read_bytes() == content


def test_a_file_written_with_pauses_longer_than_a_look_is_sent_once_and_whole(site: Site) -> None:
    site.configure(settle="400ms", stalled_after="2s", give_up_after="5m")
    parts = [read_sample(INVOICE)[start : start + 400] for start in range(0, len(read_sample(INVOICE)), 400)]
    pause, is_neighbour_sent = threading.Event(), threading.Event()
    neighbours = {}

    def write_slowly() -> None:
        with (site.inbox / "slow.pdf").open("wb") as file:
            for number, part in enumerate(parts):
                file.write(part)
                file.flush()
                # Twice longer than settle: then only the structure tells that more is to come.
                pause.wait(0.8 if number in {2, 5} else 0.15)
                if number == len(parts) - 2:
                    is_neighbour_sent.wait(PATIENCE)

    writer = threading.Thread(target=write_slowly)
    with site.run() as running:
        writer.start()
        neighbours[GOOD] = site.drop(GOOD)
        try:
            wait_until(lambda: GOOD in site.tasks())
            assert (site.inbox / "slow.pdf").exists()
        finally:
            is_neighbour_sent.set()
            writer.join()
        site.wait_done(tasks=2)
        running.stop()

    site.assert_each_once({**neighbours, "slow.pdf": read_sample(INVOICE)})


def test_a_file_that_is_not_whole_shows_as_stalled_before_it_is_given_up(site: Site) -> None:
    site.configure(give_up_after="5m")
    site.drop("half.pdf", read_sample(BROKEN))
    good = site.drop(GOOD)

    with site.run() as running:
        wait_until(lambda: (found := site.files().get("half.pdf")) and found.state.value == "stalled")
        site.wait_done(tasks=1)
        site.drop("half.pdf", pdf("whole at last"))
        site.wait_done(tasks=2)
        running.stop()

    site.assert_each_once({GOOD: good, "half.pdf": pdf("whole at last")})


def test_a_half_file_of_zeros_is_not_whole_yet_and_never_of_the_wrong_type(site: Site) -> None:
    site.configure(give_up_after="1500ms")
    site.drop("preallocated.pdf", bytes(8192))

    with site.run() as running:
        wait_until(lambda: site.files().get("preallocated.pdf") and site.files()["preallocated.pdf"].detail)
        wait_until((site.error / "preallocated.pdf.error.txt").exists)
        running.stop()

    assert reason_of(site, "preallocated.pdf") == "truncated"


def test_what_is_truncated_is_sent_where_the_configuration_says_so(site: Site) -> None:
    site.configure(truncated="submit")
    content = site.drop("cut.pdf", read_sample(BROKEN))

    with site.run() as running:
        task = wait_until(lambda: site.tasks().get("cut.pdf"))
        wait_until((site.error / "cut.pdf.error.txt").exists)
        running.stop()

    assert task["sha256"] == sha256(content)
    assert reason_of(site, "cut.pdf") == "task_failed"


def make_symlinks(site: Site, elsewhere: Path) -> set[str]:
    try:
        (site.inbox / "link.pdf").symlink_to(elsewhere / "secret.pdf")
        (site.inbox / "linked folder").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make symbolic links here")
    return {"link.pdf", "linked folder"}


def test_links_stay_where_they_lie_and_are_never_sent(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.pdf").write_bytes(pdf("secret"))
    links = make_symlinks(site, elsewhere)
    good = site.drop(GOOD)

    with site.run() as running:
        site.wait_done(tasks=1)
        wait_until(lambda: site.files().get("link.pdf"))
        running.stop()

    assert [task["sha256"] for task in site.describe()] == [sha256(good)]
    assert all((site.inbox / name).is_symlink() for name in links)
    assert (elsewhere / "secret.pdf").read_bytes() == pdf("secret")
    assert site.files()["link.pdf"].state.value == "ignored"
    assert "symlink" in site.files()["link.pdf"].detail


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes in folders are a matter of POSIX")
def test_pipes_sockets_and_devices_stay_where_they_lie_and_block_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = {"pipe.pdf", "socket.pdf"}
    os.mkfifo(site.inbox / "pipe.pdf")
    monkeypatch.chdir(site.inbox)  # the path of a socket may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.pdf")
    with suppress(PermissionError):  # only root makes devices, and not everywhere
        os.mknod(site.inbox / "device.pdf", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        special.add("device.pdf")
    (site.inbox / "folder.pdf").mkdir()
    good = site.drop("folder.pdf/inside.pdf")

    with site.run() as running:
        site.wait_done(tasks=1)
        wait_until(lambda: special <= site.files().keys())
        running.stop()

    assert [task["sha256"] for task in site.describe()] == [sha256(good)]
    assert {site.files()[name].state.value for name in special} == {"ignored"}
    assert all(site.files()[name].detail for name in special)
    assert (site.inbox / "pipe.pdf").is_fifo()
    assert (site.inbox / "socket.pdf").is_socket()


@pytest.mark.skipif(os.name != "posix", reason="hard links carry no owner of their own on Windows")
def test_a_file_with_two_names_waits_until_it_is_old_and_goes_where_its_owner_may(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.pdf").write_bytes(pdf("mine"))
    os.link(tmp_path / "mine.pdf", site.inbox / "linked.pdf")

    with site.run() as running:
        site.wait_done(tasks=1)
        running.stop()

    record = site.files()["linked.pdf"]
    assert record.intent_at is not None
    assert record.intent_at - record.first_seen_at >= 0.3
    assert (tmp_path / "mine.pdf").read_bytes() == pdf("mine")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_a_hard_link_to_a_strangers_file_is_ignored(site: Site, tmp_path: Path) -> None:
    (tmp_path / "theirs.pdf").write_bytes(pdf("theirs"))
    os.chown(tmp_path / "theirs.pdf", 12345, 12345)
    os.link(tmp_path / "theirs.pdf", site.inbox / "linked.pdf")
    good = site.drop(GOOD)

    with site.run() as running:
        site.wait_done(tasks=1)
        wait_until(lambda: (found := site.files().get("linked.pdf")) and found.state.value == "ignored")
        running.stop()

    assert [task["sha256"] for task in site.describe()] == [sha256(good)]
    assert (site.inbox / "linked.pdf").exists()


def test_a_file_changed_after_it_was_sent_becomes_a_second_task(site: Site) -> None:
    first = site.drop("same name.pdf", pdf("first"))
    with site.run() as running:
        site.wait_done(tasks=1)
        second = site.drop("same name.pdf", pdf("second"))
        site.wait_done(tasks=2)
        running.stop()

    assert {task["sha256"] for task in site.describe()} == {sha256(first), sha256(second)}
    archived = sorted(tree(site.archive))
    assert len(archived) == 2
    assert archived[1] == "same name.pdf"
    assert archived[0].startswith("same name-20")
    assert (site.archive / "same name.pdf").read_bytes() == first


def test_junk_and_hidden_files_are_as_if_they_were_not_there(site: Site) -> None:
    junk = {".hidden.pdf", "~$open.pdf", "copy.pdf.part", "Thumbs.db", "@eaDir/thumb.pdf", ".stfolder/x.pdf"}
    for name in junk:
        site.drop(name, pdf(name))
    site.drop(GOOD)

    assert site.run_once().returncode == 0

    assert list(site.tasks()) == [GOOD]
    assert site.inbox_files() == junk


def test_an_old_file_that_lay_there_at_start_settles_like_any_other(site: Site) -> None:
    content = site.drop("old.pdf")
    os.utime(site.inbox / "old.pdf", (time.time() - 86_400, time.time() - 86_400))

    assert site.run_once().returncode == 0

    site.assert_each_once({"old.pdf": content})
    assert (site.archive / "old.pdf").stat().st_mtime < time.time() - 86_000
