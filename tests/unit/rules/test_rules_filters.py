from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rules.filters import Filter, FilterVerdict, ready_file_for

DOCUMENTS = ("*.pdf", "*.tif", "*.tiff")


@pytest.mark.parametrize("path", ["a.pdf", "A.PDF", "sub/folder/b.TiFf", "ä b&c=%.pdf", "caf\udce9.pdf", "a\nb.pdf"])
def test_a_document_is_taken_whatever_its_case_and_characters(path: str) -> None:
    assert Filter(DOCUMENTS).judge(path) is FilterVerdict.TAKE


@pytest.mark.parametrize("path", ["a.docx", "pdf", "a.pdf.bak", "a.pdfx", "a.pdf\n"])
def test_a_file_that_no_include_matches_is_unmatched(path: str) -> None:
    assert Filter(DOCUMENTS).judge(path) is FilterVerdict.UNMATCHED


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.pdf", ".fsagent", ".fsagent-0123456789abcdef.part", "~$letter.pdf", "a.tmp", "a.PART", "a.pdf.partial",
        "a.crdownload", "a.download", "a.filepart", "Thumbs.db", "THUMBS.DB", "desktop.ini",
    ],
)  # fmt: skip
def test_junk_is_junk_even_where_everything_is_included(name: str) -> None:
    assert Filter(["*"]).judge(f"sub/{name}") is FilterVerdict.JUNK


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", ".stfolder", ".snapshot", "~snapshot", "DfsrPrivate",
        "lost+found", "System Volume Information", ".Trash-1000", ".git",
    ],
)  # fmt: skip
def test_a_junk_folder_is_never_entered(folder: str) -> None:
    assert Filter(DOCUMENTS).skips_folder(f"sub/{folder}")


@pytest.mark.parametrize("folder", ["sub", "sub/recycle", "a.b", "archive", "snapshot"])
def test_an_ordinary_folder_is_entered(folder: str) -> None:
    assert not Filter(DOCUMENTS).skips_folder(folder)


def test_an_event_from_within_a_junk_folder_is_junk() -> None:
    assert Filter(DOCUMENTS).judge("sub/@eaDir/deep/a.pdf") is FilterVerdict.JUNK


def test_an_excluded_file_is_junk() -> None:
    assert Filter(DOCUMENTS, ["draft*"]).judge("sub/Draft-1.pdf") is FilterVerdict.JUNK


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("sub/*.pdf", "Sub/a.pdf", "sub/deep/a.pdf"),
        (r"sub\*.pdf", "sub/a.pdf", "a.pdf"),
        ("/*.pdf", "a.pdf", "sub/a.pdf"),
        ("**/final/*.pdf", "a/b/final/x.pdf", "a/b/finale/x.pdf"),
        ("**/final/*.pdf", "final/x.pdf", "final/deep/x.pdf"),
        ("a/**/z.pdf", "a/z.pdf", "b/a/z.pdf"),
        ("a/**", "a/b/c.pdf", "ab/c.pdf"),
        ("a/", "a/b/c.pdf", "b/a/c.pdf"),
        ("scan?.pdf", "scan1.pdf", "scan12.pdf"),
        ("scan[0-9].pdf", "scan7.pdf", "scanx.pdf"),
        ("scan[!0-9].pdf", "scanx.pdf", "scan7.pdf"),
        ("a[&&]b[]].pdf", "a&b].pdf", "ab].pdf"),
        ("a[b.pdf", "a[b.pdf", "ab.pdf"),
        ("a[+--z].pdf", "a,.pdf", "ab.pdf"),
        ("a[x-].pdf", "a-.pdf", "ay.pdf"),
        ("a.pdf", "a.pdf", "axpdf"),
        ("*a*b*.pdf", "xxaxxbxx.pdf", "xxbxxaxx.pdf"),
        ("*ab*ab.pdf", "abab.pdf", "ab.pdf"),
        ("ä*.pdf", "a\u0308x.pdf", "ax.pdf"),
    ],
)
def test_a_pattern_matches_what_it_says_and_nothing_beside(pattern: str, matching: str, other: str) -> None:
    names = Filter([pattern])
    assert (names.judge(matching), names.judge(other)) == (FilterVerdict.TAKE, FilterVerdict.UNMATCHED)


@pytest.mark.parametrize("pattern", ["drafts/", "drafts/**", "/drafts/", "**/drafts/**"])
def test_a_folder_excluded_with_everything_below_is_not_entered(pattern: str) -> None:
    names = Filter(DOCUMENTS, [pattern])
    assert names.skips_folder("Drafts")
    assert not names.skips_folder("draftsman")


def test_a_name_made_to_be_slow_is_judged_at_once() -> None:
    assert Filter(["*a" * 30 + "*b"]).judge("a" * 255) is FilterVerdict.UNMATCHED


def test_an_unusable_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Filter(["[z-a].pdf"])


@pytest.mark.parametrize(
    ("template", "ready"),
    [("{file_name}.ready", "sub/a.b.pdf.ready"), ("{stem}.ok", "sub/a.b.ok"), ("DONE {stem}", "sub/DONE a.b")],
)
def test_a_ready_file_lies_beside_its_document(template: str, ready: str) -> None:
    assert ready_file_for(template, "sub/a.b.pdf") == ready


def test_a_ready_file_is_no_document_itself() -> None:
    names = Filter(["*"], ready_file="{file_name}.ready")
    assert names.judge("sub/a.pdf.READY") is FilterVerdict.JUNK
    assert names.judge("sub/a.pdf") is FilterVerdict.TAKE


def test_without_a_ready_file_nothing_is_one() -> None:
    assert not Filter(["*"]).is_ready_file("a.pdf.ready")


@pytest.mark.parametrize("template", ["ready", "{stem}", "{file_name}", "{stem}/x", r"x\{stem}", "{name}.ready", "{"])
def test_a_ready_file_template_of_no_use_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"ready_file|placeholder|brace|expected|Single"):
        Filter(["*"], ready_file=template)


@given(st.text(st.characters(codec=None), max_size=60), st.text("*?[]!-ab/\\.", min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_name_breaks_the_filter(path: str, pattern: str) -> None:
    try:
        names = Filter([pattern], ["x*"], ready_file="{stem}.ready")
    except ValueError:
        return
    assert names.judge(path) in FilterVerdict
    assert names.skips_folder(path) in {True, False}
