"""Make the sample documents of agent/sandbox/samples; run it after changing what they say.

    python packaging/make_samples.py [FOLDER]

Standard library only, and the same bytes everywhere: nothing is compressed by a library whose output may change, no
time and no path is written.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

SAMPLES_FOLDER = Path(__file__).resolve().parent.parent / "agent" / "sandbox" / "samples"

# --- what the documents say -------------------------------------------------------------------------------------------

INVOICE_PAGES = (
    """\
# Northfield Paper Works Ltd
12 Mill Lane, Northfield

Bill to: Example Trading Company
         8 Harbour Street, Southport

# INVOICE
Invoice number: INV-2024-0042
Invoice date:   2024-03-25
Purchase order: PO-7731
Due date:       2024-04-24

Quantity  Description                   Unit price       Amount
      10  Copy paper A4, 80 g, box           18.50       185.00
       4  Envelopes C5, window, 500          22.00        88.00
       1  Toner cartridge, black             94.90        94.90
       6  Archive folders, green              3.25        19.50

Continued on page 2                                  Page 1 of 2""",
    """\
# Invoice INV-2024-0042, page 2

Subtotal                                                 387.40
Delivery                                                  12.60
Tax 20 %                                                  80.00
# Total amount: 480.00 EUR

Payment within 30 days to account 0042 1234 5678 90.
Please state the invoice number INV-2024-0042 in your payment.

Thank you for your order.
                                                     Page 2 of 2""",
)
LETTER_PAGES = (
    """\
# Example Trading Company
8 Harbour Street, Southport

Northfield Paper Works Ltd
12 Mill Lane, Northfield

2024-03-28

Subject: Change of our delivery address

Dear Sir or Madam,

from 1 May 2024 on please deliver to 3 Canal Road, Southport.
Invoices go to 8 Harbour Street as before. Our customer number
is C-10077.

Yours faithfully,
A. Sample""",
)
DELIVERY_NOTE_PAGES = (
    "# DELIVERY NOTE\nNUMBER: DN-2024-0107\nDATE: 2024-03-26\n10 X COPY PAPER A4\n 4 X ENVELOPES C5",
    "# DN-2024-0107\n 1 X TONER CARTRIDGE BLACK\n 6 X ARCHIVE FOLDERS, GREEN\nTOTAL: 21 PIECES, 3 BOXES",
    "# RECEIVED BY\nNAME: A. SAMPLE\nDATE: 2024-03-27\nALL BOXES COMPLETE",
)

# --- PDF --------------------------------------------------------------------------------------------------------------

_PAGE_WIDTH, _PAGE_HEIGHT = 595, 842  # A4 in points
_MARGIN = 60


def make_pdf(title: str, pages: tuple[str, ...]) -> bytes:
    """Return a PDF 1.4 with a classic cross-reference table; lines that begin with "# " are headings."""
    first_page = 6
    kids = " ".join(f"{first_page + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({title}) /Producer (fsagent samples) >>",
    ]
    for index, page in enumerate(pages):
        drawing = _draw_text(page)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_PAGE_WIDTH} {_PAGE_HEIGHT}] "
            f"/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents {first_page + 2 * index + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream")
    # The comment of four bytes above 127 tells transports that the file is binary (ISO 32000-1, 7.5.2).
    document = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    table_at = len(document)
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    document += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}".encode("ascii")
    document += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>\n".encode("ascii")
    document += f"startxref\n{table_at}\n%%EOF\n".encode("ascii")
    return bytes(document)


def _draw_text(page: str) -> str:
    commands = ["BT", "16 TL", f"{_MARGIN} {_PAGE_HEIGHT - 80} Td"]
    for line in page.splitlines():
        font, text = ("/F2 14 Tf", line[2:]) if line.startswith("# ") else ("/F1 11 Tf", line)
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        commands.append(f"{font} ({escaped}) Tj T*")
    commands.append("ET")
    return "\n".join(commands)


# --- TIFF -------------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _DPI = 595, 420, 72  # A5 landscape
_ROW_BYTES = (_WIDTH + 7) // 8
_ROWS_PER_STRIP = 140
_GLYPH_HEIGHT = 7

_CHARACTERS = " ,-.:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLUMNS = bytes.fromhex(
    "0000000000 0080703000 0808080808 0000606000 0000140000 3e5149453e 00427f4000 7249494946 2141494d33 1814127f10"
    "2745454539 3c4a494931 4121110907 3649494936 464949291e 7c1211127c 7f49494936 3e41414122 7f4141413e 7f49494941"
    "7f09090901 3e41415173 7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f021c027f 7f0408107f 3e4141413e"
    "7f09090906 3e4151215e 7f09192946 2649494932 03017f0103 3f4040403f 1f2040201f 3f4038403f 6314081463 0304780403"
    "6159494d43"
)
"""Five columns for each character, each with its top pixel in the lowest bit."""


def make_tiff(pages: tuple[str, ...]) -> bytes:
    """Return a little-endian TIFF 6.0 of bilevel PackBits pages in strips, each directory after its page's data."""
    document = bytearray(struct.pack("<2sHI", b"II", 42, 0))
    pointer_at = 4
    for index, page in enumerate(pages):
        rows = _draw_bitmap(page)
        strips = []
        for first in range(0, _HEIGHT, _ROWS_PER_STRIP):
            strip = b"".join(_pack_bits(row) for row in rows[first : first + _ROWS_PER_STRIP])
            strips.append((len(document), len(strip)))
            document += strip
        pointer_at = _append_directory(document, strips, page=index, pages=len(pages), pointer_at=pointer_at)
    return bytes(document)


def _append_directory(
    document: bytearray, strips: list[tuple[int, int]], *, page: int, pages: int, pointer_at: int
) -> int:
    """Append one directory and point to it; returns where the pointer to the next one stands."""
    short, long, rational = 3, 4, 5
    offsets_at = _append(document, struct.pack(f"<{len(strips)}I", *(offset for offset, _ in strips)))
    lengths_at = _append(document, struct.pack(f"<{len(strips)}I", *(length for _, length in strips)))
    resolution_at = _append(document, struct.pack("<II", _DPI, 1))
    entries = (
        (254, long, 1, 2),  # NewSubfileType: one page of several
        (256, short, 1, _WIDTH),
        (257, short, 1, _HEIGHT),
        (258, short, 1, 1),  # BitsPerSample
        (259, short, 1, 32773),  # Compression: PackBits
        (262, short, 1, 0),  # PhotometricInterpretation: 0 is white
        (273, long, len(strips), offsets_at),
        (277, short, 1, 1),  # SamplesPerPixel
        (278, short, 1, _ROWS_PER_STRIP),
        (279, long, len(strips), lengths_at),
        (282, rational, 1, resolution_at),
        (283, rational, 1, resolution_at),
        (296, short, 1, 2),  # ResolutionUnit: inch
        (297, short, 2, page | pages << 16),  # PageNumber
    )
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory_at = _append(document, directory + bytes(4))
    struct.pack_into("<I", document, pointer_at, directory_at)
    return directory_at + len(directory)


def _append(document: bytearray, data: bytes) -> int:
    """Append at an even offset, as TIFF asks for, and return that offset."""
    document += bytes(len(document) % 2)
    offset = len(document)
    document += data
    return offset


def _draw_bitmap(page: str) -> list[bytes]:
    rows = [bytearray(_ROW_BYTES) for _ in range(_HEIGHT)]
    top = 40
    for line in page.splitlines():
        scale, text = (3, line[2:]) if line.startswith("# ") else (2, line)
        _draw_line(rows, text, top=top, scale=scale)
        top += (_GLYPH_HEIGHT + 5) * scale
    for row in (rows[20], rows[_HEIGHT - 20]):  # a rule above and below
        row[4:-4] = b"\xff" * (_ROW_BYTES - 8)
    return [bytes(row) for row in rows]


def _draw_line(rows: list[bytearray], text: str, *, top: int, scale: int) -> None:
    for position, character in enumerate(text):
        for column, bits in enumerate(_columns(character)):
            left = 40 + (position * 6 + column) * scale
            for pixel_x in range(left, left + scale):
                for pixel_y in range(_GLYPH_HEIGHT * scale):
                    if bits >> (pixel_y // scale) & 1:
                        rows[top + pixel_y][pixel_x // 8] |= 0x80 >> pixel_x % 8


def _columns(character: str) -> bytes:
    at = _CHARACTERS.index(character) * 5
    return _COLUMNS[at : at + 5]


def _pack_bits(row: bytes) -> bytes:
    """Compress one row (TIFF 6.0 section 9); rows here are shorter than the 128 bytes one run can hold."""
    packed = bytearray()
    literal = bytearray()
    position = 0
    while position < len(row):
        length = len(row) - position - len(row[position:].lstrip(row[position : position + 1]))
        if length == 1:
            literal.append(row[position])
        else:
            if literal:
                packed += bytes((len(literal) - 1,)) + literal
                literal.clear()
            packed += bytes((257 - length, row[position]))
        position += length
    if literal:
        packed += bytes((len(literal) - 1,)) + literal
    return bytes(packed)


# --- all of them ------------------------------------------------------------------------------------------------------


def make_samples() -> dict[str, bytes]:
    """Return every sample by its file name."""
    invoice = make_pdf("Invoice INV-2024-0042", INVOICE_PAGES)
    return {
        "invoice.pdf": invoice,
        "delivery-note.tiff": make_tiff(DELIVERY_NOTE_PAGES),
        "letter.pdf": make_pdf("Change of our delivery address", LETTER_PAGES),
        "broken.pdf": invoice[: len(invoice) * 6 // 10],
    }


def main() -> None:
    """Write the samples into the package, or into the folder given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES_FOLDER
    for name, data in make_samples().items():
        (folder / name).write_bytes(data)
        print(f"{folder / name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
