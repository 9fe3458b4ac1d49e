"""Small documents made by the project (packaging/make_samples.py) for the demo and the tests; three are whole."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

INVOICE: Final = "invoice.pdf"
"""Two pages of readable text."""
DELIVERY_NOTE: Final = "delivery-note.tiff"
"""Three bilevel pages."""
LETTER: Final = "letter.pdf"
"""One page of readable text."""
BROKEN: Final = "broken.pdf"
"""The invoice, cut: its head is right, its end is missing."""

SAMPLES: Final = (INVOICE, DELIVERY_NOTE, LETTER, BROKEN)


def read_sample(name: str) -> bytes:
    """Return a sample's bytes. Raises KeyError for a name that is not in SAMPLES."""
    return sample_path(name).read_bytes()


def sample_path(name: str) -> Path:
    """Return where a sample lies; packages are always unpacked. Raises KeyError for a name that is not in SAMPLES."""
    if name not in SAMPLES:
        raise KeyError(name)
    return Path(str(resources.files(__name__) / name))
