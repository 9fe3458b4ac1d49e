"""Writes a Windows DLL without code: its one function is another name for a function of another DLL.

Wine 8 has no bcryptprimitives.dll, from which everything built with Rust (pydantic_core, rpds, jsonschema_rs) takes its
random bytes: `ProcessPrng(buffer, length)`. Windows has the same function since always as advapi32's SystemFunction036
(RtlGenRandom), and so does Wine. For Wine only; on Windows the system's own DLL is loaded.
Layout: "PE Format" of Microsoft's documentation; a function whose address lies in the export directory is a forwarder.
"""

from __future__ import annotations

import struct

FILE_ALIGNMENT = 0x200
SECTION_ALIGNMENT = 0x1000
SECTION_ADDRESS = 0x1000  # relative to the image, as all addresses below
OPTIONAL_HEADER_SIZE = 240
DATA_DIRECTORIES = 16
MACHINE_AMD64 = 0x8664
DLL_IMAGE = 0x2022  # executable image, large addresses, DLL
READABLE_DATA = 0x40000040
RELOCATABLE = 0x0160  # high entropy, dynamic base, no execution of data


def forwarding_dll(name: str, *, function: str, target: str) -> bytes:
    """Return the DLL `name` whose `function` is `target`, written `dll.function` without the .dll."""
    section = export_directory(name, function=function, target=target)
    headers = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + file_header() + optional_header(len(section))
    headers += section_header(len(section))
    return padded(headers) + padded(section)


def export_directory(name: str, *, function: str, target: str) -> bytes:
    """Return the export directory, its three tables of one entry each, and the texts they point to."""
    tables = SECTION_ADDRESS + 40
    texts = tables + 4 + 4 + 2
    name_at, function_at = texts, texts + len(name) + 1
    target_at = function_at + len(function) + 1
    directory = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, name_at, 1, 1, 1, tables, tables + 4, tables + 8)
    strings = b"".join(text.encode("ascii") + b"\0" for text in (name, function, target))
    return directory + struct.pack("<IIH", target_at, function_at, 0) + strings


def file_header() -> bytes:
    """Return the signature and the file header of an image with one section."""
    return b"PE\0\0" + struct.pack("<HHIIIHH", MACHINE_AMD64, 1, 0, 0, 0, OPTIONAL_HEADER_SIZE, DLL_IMAGE)


def optional_header(exports: int) -> bytes:
    """Return the optional header (PE32+) with `exports` bytes of export directory as its only directory."""
    magic, image_base, version, console = 0x20B, 0x180000000, 6, 3
    reserve, commit = 0x100000, 0x1000
    standard = struct.pack("<HBBIIIII", magic, 0, 0, 0, len(padded(b"\0" * exports)), 0, 0, SECTION_ADDRESS)
    windows = struct.pack("<QII", image_base, SECTION_ALIGNMENT, FILE_ALIGNMENT)
    windows += struct.pack("<HHHHHHI", version, 0, 0, 0, version, 0, 0)
    windows += struct.pack("<IIIHH", SECTION_ADDRESS + SECTION_ALIGNMENT, FILE_ALIGNMENT, 0, console, RELOCATABLE)
    windows += struct.pack("<QQQQII", reserve, commit, reserve, commit, 0, DATA_DIRECTORIES)
    directories = struct.pack("<II", SECTION_ADDRESS, exports).ljust(DATA_DIRECTORIES * 8, b"\0")
    return standard + windows + directories


def section_header(size: int) -> bytes:
    """Return the header of the one section, which begins in the file right after the headers."""
    raw_size = len(padded(b"\0" * size))
    place = (size, SECTION_ADDRESS, raw_size, FILE_ALIGNMENT)
    return struct.pack("<8sIIIIIIHHI", b".edata", *place, 0, 0, 0, 0, READABLE_DATA)


def padded(data: bytes) -> bytes:
    """Return the data up to the next multiple of FILE_ALIGNMENT."""
    return data.ljust(-(-len(data) // FILE_ALIGNMENT) * FILE_ALIGNMENT, b"\0")
