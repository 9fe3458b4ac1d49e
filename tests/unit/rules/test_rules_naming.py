from __future__ import annotations

import ntpath
import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import TaskFatal
from agent.model import ExportFile, FileSource
from agent.rules.naming import (
    byte_length,
    clash_name,
    clash_suffix,
    collision_key,
    error_note_name,
    export_targets,
    fill_placeholders,
    for_display,
    is_staged_name,
    join,
    safe_filename,
    safe_folder,
    safe_part,
    split_extension,
    staged_name,
    with_suffix_in_stem,
)

quick = settings(max_examples=150, deadline=None, derandomize=True)

NASTY = [
    "..", ".", "/", "\\", ":", "C:", "con", "COM¹", "nul .", "aux.", "CONIN$", ".fsagent", ".FSAGENT", "~", " ", "...",
    "\0", "\n", "\x1b", "\x7f", "\x85", "\u202e", "\u200b", "\udc80", "\ud83d", '*?<>|"', "ä", "😀", "e\u0301",
    "x" * 150,
]  # fmt: skip
hostile = st.lists(st.sampled_from(NASTY) | st.text(st.characters(codec=None), max_size=40), max_size=8).map("".join)


def exported(folder: str, filename: str) -> ExportFile:
    return ExportFile(folder=folder, filename=filename, source=FileSource.CONTENT)


# --- one part ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile_name", "safe"),
    [
        ("00001.csv", "00001.csv"),
        ("Rechnung Müller & Söhne 😀.pdf", "Rechnung Müller & Söhne 😀.pdf"),
        ("../../x", ".._.._x"),
        ("/etc/x", "_etc_x"),
        (r"C:\x", "C__x"),
        (r"\\h\s\x", "__h_s_x"),
        ("a:b", "a_b"),
        ('<>:"|?*\\/', "_________"),
        ("a\0b\nc\x7fd\x85e", "a_b_c_d_e"),
        ("a\udc80b\ud800", "a_b_"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("x.", "x_"),
        ("x ", "x_"),
        ("x. . ..", "x_"),
        ("...", "_"),
        ("   ", "_"),
        ("", "_"),
        ("CON", "_CON"),
        ("con.pdf", "_con.pdf"),
        ("CON.tar.gz", "_CON.tar.gz"),
        ("CON  .pdf", "_CON  .pdf"),
        ("CON.", "CON_"),
        ("Prn", "_Prn"),
        ("aux.txt", "_aux.txt"),
        ("NUL", "_NUL"),
        ("COM0", "_COM0"),
        ("com9.x", "_com9.x"),
        ("COM¹", "_COM¹"),
        ("lpt².txt", "_lpt².txt"),
        ("LPT³", "_LPT³"),
        ("CONIN$", "_CONIN$"),
        ("conout$.csv", "_conout$.csv"),
        ("CONSOLE.pdf", "CONSOLE.pdf"),
        ("COM10", "COM10"),
        (".fsagent", "_.fsagent"),
        (".FSagent-0011223344556677.part", "_.FSagent-0011223344556677.part"),
        (".fs\u200bagent", "_.fs\u200bagent"),
        (".hidden.pdf", ".hidden.pdf"),
    ],
)
def test_a_hostile_name_becomes_safe_by_the_one_rule(hostile_name: str, safe: str) -> None:
    assert safe_part(hostile_name) == safe


def test_a_long_name_is_cut_to_200_bytes_with_hash_and_extension() -> None:
    assert safe_part("x" * 300 + ".pdf") == "x" * 187 + "~c5aab184.pdf"


def test_a_long_name_is_never_cut_inside_a_character() -> None:
    cut = safe_part("ä" * 150 + ".pdf")
    assert cut.startswith("ä" * 93 + "~")
    assert byte_length(cut) == 199


def test_two_long_names_with_the_same_beginning_stay_apart() -> None:
    assert safe_part("x" * 300 + "1.pdf") != safe_part("x" * 300 + "2.pdf")


def test_an_endless_extension_is_cut_too() -> None:
    assert byte_length(safe_part("a." + "x" * 300)) == 200


@given(hostile)
@quick
def test_a_safe_part_is_safe_already(part: str) -> None:
    once = safe_part(part)
    assert safe_part(once) == once


@given(hostile)
@quick
def test_a_safe_part_takes_1_to_200_bytes_of_plain_utf_8(part: str) -> None:
    assert 1 <= len(safe_part(part).encode("utf-8")) <= 200


@given(hostile)
@quick
def test_windows_takes_a_safe_part_for_a_plain_name(part: str) -> None:
    safe = safe_part(part)
    assert ntpath.normpath(ntpath.join(r"D:\out", safe)) == "D:\\out\\" + safe
    assert safe[-1] not in ". "
    assert not safe.casefold().startswith(".fsagent")


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "parts"),
    [
        ("", ()),
        ("invoices", ("invoices",)),
        (r"a\b/c", ("a", "b", "c")),
        ("a//./b/", ("a", "b")),
        ("a/CON/b.", ("a", "_CON", "b_")),
        ("a/.. /b", ("a", "_", "b")),
        ("suppliers/A: Smith", ("suppliers", "A_ Smith")),
    ],
)
def test_a_folder_is_split_at_both_separators_and_made_safe(folder: str, parts: tuple[str, ...]) -> None:
    assert safe_folder(folder) == parts


@pytest.mark.parametrize(
    "folder", ["..", "a/../b", r"a\..", "/etc", r"\x", r"\\host\share", "//host/share", "C:", "C:/x", "a:b", "./c:/x"]
)
def test_a_folder_that_means_another_place_fails_the_task(folder: str) -> None:
    with pytest.raises(TaskFatal):
        safe_folder(folder)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_file_name_that_is_none_fails_the_task(name: str) -> None:
    with pytest.raises(TaskFatal):
        safe_filename(name)


def test_a_message_about_a_hostile_name_is_short_and_shows_no_control_characters() -> None:
    with pytest.raises(TaskFatal) as caught:
        safe_folder("/\x1b[2J" + "x" * 5000)
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 200


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets_mirror_the_source_folder_as_it_is() -> None:
    assert export_targets([exported("out", "a.csv")], "Kunde. /CON") == ("Kunde. /CON/out/a.csv",)


def test_the_same_target_twice_ignoring_case_is_numbered() -> None:
    files = [exported("", "A.pdf"), exported("", "a.PDF"), exported("", "a.pdf")]
    assert export_targets(files, "") == ("A.pdf", "a-2.PDF", "a-3.pdf")


def test_a_number_never_takes_the_name_of_another_file_of_the_task() -> None:
    files = [exported("", "a.pdf"), exported("", "a.pdf"), exported("", "A-2.pdf")]
    assert export_targets(files, "") == ("a.pdf", "a-3.pdf", "A-2.pdf")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ä.pdf", "ä.pdf"), ("\u00e4.pdf", "a\u0308.pdf"), ("STRASSE", "straße"), ("\u0131", "I"), ("a\u200bb", "ab")],
)
def test_names_that_some_file_system_takes_for_one_are_numbered(one: str, other: str) -> None:
    first, second = export_targets([exported("", one), exported("", other)], "")
    assert first == one
    assert "-2" in second


@pytest.mark.parametrize("names", [("A/b.pdf", "a"), ("a", "A/b.pdf"), ("x/y/z.pdf", "x/Y")])
def test_a_target_that_is_the_folder_of_another_fails_the_task(names: tuple[str, str]) -> None:
    files = [exported(*posixpath.split(name)) for name in names]
    with pytest.raises(TaskFatal, match="folder"):
        export_targets(files, "")


def test_a_character_that_resembles_a_separator_makes_no_folder() -> None:
    files = [exported("", "c\uff0fo"), exported("c", "o")]
    assert export_targets(files, "") == ("c\uff0fo", "c/o")


def test_a_target_of_exactly_1024_bytes_is_taken() -> None:
    deep = "/".join(["x" * 199] * 5)
    assert export_targets([exported("", "y" * 24)], deep) == (f"{deep}/{'y' * 24}",)


def test_a_target_over_1024_bytes_fails_the_task() -> None:
    deep = "/".join(["x" * 199] * 5)
    with pytest.raises(TaskFatal, match="path_too_long"):
        export_targets([exported("", "y" * 25)], deep)


def test_a_thousand_equal_names_get_a_thousand_targets() -> None:
    targets = export_targets([exported("", "a.pdf")] * 1000, "")
    assert targets[-1] == "a-1000.pdf"
    assert len(set(targets)) == 1000


@given(st.lists(st.tuples(hostile, hostile), min_size=1, max_size=6))
@quick
def test_no_target_leaves_the_output_on_either_platform(names: list[tuple[str, str]]) -> None:
    try:
        targets = export_targets([exported(*name) for name in names], "mirrored")
    except TaskFatal:
        return
    for target in targets:
        assert posixpath.normpath(posixpath.join("/srv/out", target)) == f"/srv/out/{target}"
        windows = ntpath.normpath(ntpath.join(r"D:\out", target))
        assert windows == "D:\\out\\" + target.replace("/", "\\")


@given(st.lists(st.tuples(st.sampled_from(["", "a", "A"]), st.sampled_from(["x.p", "X.p", "x-2.p", "x-3.P"]))))
@quick
def test_no_two_targets_of_a_task_are_one_ignoring_case(names: list[tuple[str, str]]) -> None:
    targets = export_targets([exported(*name) for name in names], "")
    assert len({collision_key(target) for target in targets}) == len(names)


# --- names the agent gives --------------------------------------------------------------------------------------------


def test_a_clash_name_carries_time_and_four_digits_before_the_extension() -> None:
    assert clash_name("sub/a.b.pdf", now=1711958908.9, entropy=0xABC) == "sub/a.b-20240401T080828Z-0abc.pdf"


def test_a_suffix_goes_to_the_end_of_a_name_without_extension() -> None:
    assert with_suffix_in_stem("sub.d/.profile", "-2") == "sub.d/.profile-2"


def test_a_name_of_251_bytes_gives_way_to_the_suffix() -> None:
    clash = clash_name("ä" * 123 + "x.pdf", now=0, entropy=0)
    assert clash == "ä" * 114 + "-19700101T000000Z-0000.pdf"


def test_undecodable_bytes_survive_a_clash() -> None:
    assert clash_name("caf\udce9.pdf", now=0, entropy=1) == "caf\udce9-19700101T000000Z-0001.pdf"


@given(st.text(st.characters(codec=None, exclude_characters="/\0"), min_size=1, max_size=300))
@quick
def test_a_clash_name_takes_at_most_255_bytes(name: str) -> None:
    clash = clash_name(name, now=0, entropy=0xFFFF)
    assert byte_length(clash) <= 255
    assert clash_suffix(now=0, entropy=0xFFFF) in clash


def test_a_staged_name_is_hidden_and_known_again() -> None:
    name = staged_name("0123456789abcdef")
    assert name == ".fsagent-0123456789abcdef.part"
    assert is_staged_name(name)


@pytest.mark.parametrize("entropy", ["", "0123", "0123456789ABCDEF", "0123456789abcdef0", "../456789abcdef0"])
def test_a_staged_name_takes_16_hexadecimal_digits_only(entropy: str) -> None:
    with pytest.raises(ValueError, match="16"):
        staged_name(entropy)


def test_a_note_stands_beside_its_file() -> None:
    assert error_note_name("a.pdf") == "a.pdf.error.txt"


def test_notes_of_two_long_names_fit_and_stay_apart() -> None:
    one, other = error_note_name("x" * 250 + "1.pdf"), error_note_name("x" * 250 + "2.pdf")
    assert byte_length(one) == byte_length(other) == 255
    assert one != other
    assert one.endswith(".error.txt")


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.b.pdf", ("a.b", ".pdf")), ("a", ("a", "")), (".a", (".a", "")), ("..a", ("..a", "")), ("a.", ("a", "."))],
)
def test_an_extension_begins_at_the_last_dot_but_not_at_a_leading_one(name: str, parts: tuple[str, str]) -> None:
    assert split_extension(name) == parts


def test_joining_leaves_out_empty_parts() -> None:
    assert join("", "a/b", "", "c") == "a/b/c"


# --- text -------------------------------------------------------------------------------------------------------------


def test_a_template_is_filled_from_the_path() -> None:
    template = "{watch_folder}|{relative_path}|{file_name}|{stem}|{{x}}"
    assert fill_placeholders(template, "sub/a.b.pdf", "invoices") == "invoices|sub/a.b.pdf|a.b.pdf|a.b|{x}"


def test_a_file_name_is_never_taken_for_a_template() -> None:
    assert fill_placeholders("{file_name}", "{stem}.pdf", "invoices") == "{stem}.pdf"


@pytest.mark.parametrize("template", ["{name}", "{}", "{file_name!r}", "{file_name:>9}", "{file_name.x}", "{0}"])
def test_an_unknown_placeholder_is_refused_with_those_allowed(template: str) -> None:
    with pytest.raises(ValueError, match=r"\{file_name\} \{stem\} \{relative_path\} \{watch_folder\}"):
        fill_placeholders(template, "a.pdf", "invoices")


@pytest.mark.parametrize("template", ["{", "}", "{file_name"])
def test_a_single_brace_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"brace|expected|Single"):
        fill_placeholders(template, "a.pdf", "invoices")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller 😀.pdf", "Müller 😀.pdf"),
        ("a\nb\tc", r"a\x0ab\x09c"),
        ("\x1b[31m", r"\x1b[31m"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud83d", r"\ud83d"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
    ],
)
def test_text_for_display_moves_no_cursor(text: str, shown: str) -> None:
    assert for_display(text) == shown
