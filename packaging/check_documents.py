"""Hold the document check against real PDFs and TIFFs of other producers; nothing of them is kept.

    python packaging/check_documents.py [--folder FOLDER] [--verbose]

Needs Debian's apt-get and dpkg-deb, and PyPI. Fetches the packages named below into a temporary folder (or FOLDER,
where they stay for the next time), unpacks every PDF and TIFF in them, and asks of each:

- whole, as the package ships it: it must pass `agent.rules.documents.examine`;
- cut at 30, 50, 70 and 95 % of its bytes: it must not.

Packages of test data hold documents that are damaged on purpose. Which files count is decided by other readers,
never by hand: a PDF counts if pypdf in strict mode reads every page's contents (encrypted ones are left out), a TIFF
if Pillow decodes every frame and every image below one (SubIFDs). A cut that passes is forgiven if the same reader
finds exactly the same pages in it: it lost nothing of them. Equal files count once. The readers are installed into a
virtual environment of their own.
Exit status 0: no disagreement and at least MINIMUM files of each kind.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gzip
import hashlib
import importlib
import io
import logging
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import venv
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
READERS = ("pypdf>=5", "cryptography", "pillow")
CUTS = (30, 50, 70, 95)
MINIMUM = 50
MAX_SIZE = 20 * 1024 * 1024  # larger ones only cost time; fault tests have their own large files
MAX_MEMORY = 4 * 1024**3  # some readers fill the memory over a document made to do that

DEBIAN_PACKAGES = (
    *("asymptote-doc", "auctex", "cups-filters", "dblatex", "debian-faq", "debian-policy", "developers-reference"),
    *("fop-doc", "ghostscript-doc", "gnuplot-doc", "graphviz-doc", "lyx-common", "maint-guide", "octave-doc"),
    *("python-reportlab-doc", "python3-skimage", "r-cran-sf", "r-cran-stars", "r-cran-terra", "r-cran-tiff"),
    *("r-cran-zoo", "r-doc-pdf", "texlive-fonts-recommended-doc", "xfig-doc"),
)
PYPI_SOURCES = (
    *("img2pdf", "ocrmypdf", "pikepdf", "pillow", "pyhanko", "pypdf", "pypdfium2", "reportlab", "rst2pdf"),
    "tifftools",
)


@dataclass(frozen=True)
class Sample:
    """One file out of a package."""

    package: str
    name: str
    data: bytes

    @property
    def kind(self) -> str:
        """Return pdf or tiff, by the name."""
        return "pdf" if self.name.lower().endswith(".pdf") else "tiff"

    def __str__(self) -> str:
        """Return where it came from."""
        return f"{self.package}: {self.name}"


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch(folder: Path) -> None:
    """Download what is not there yet; a package that cannot be had is named and left out."""
    for package in DEBIAN_PACKAGES:
        if not any(folder.glob(f"{package}_*.deb")):
            _run("apt-get", "-q", "download", package, folder=folder)
    for package in PYPI_SOURCES:
        if not any(folder.glob(f"{package}-*.tar.gz")):
            pip = (sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--no-binary", ":all:", package)
            _run(*pip, folder=folder)


def _run(*command: str, folder: Path) -> None:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        print(f"left out: {' '.join(command[-2:])}: {finished.stderr.strip().splitlines()[-1:]}")


def unpack(folder: Path) -> Iterator[Sample]:
    """Yield every PDF and TIFF of the downloaded packages, equal ones once."""
    seen: set[str] = set()
    for archive in sorted((*folder.glob("*.deb"), *folder.glob("*.tar.gz"))):
        package = re.split(r"[_-]\d", archive.name)[0]
        for name, data in _members(archive):
            digest = hashlib.sha256(data).hexdigest()
            if data and digest not in seen:
                seen.add(digest)
                yield Sample(package, name, data)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix != ".deb":
        yield from _members_of_tar(archive.read_bytes())
        return
    command = ("dpkg-deb", "--fsys-tarfile", str(archive))
    yield from _members_of_tar(subprocess.run(command, capture_output=True, check=True).stdout)


def _members_of_tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            found = re.fullmatch(r"(?i)(.*\.(?:pdf|tiff?))(\.gz)?", member.name)
            file = tar.extractfile(member) if found and member.isfile() and member.size <= MAX_SIZE else None
            if found and file:
                content = file.read()
                yield found[1], gzip.decompress(content) if found[2] else content


# --- the other readers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What another reader made of a document: one digest for each page, and who wrote it."""

    pages: tuple[str, ...]
    producer: str


def read_pdf(data: bytes) -> Reading | None:
    """Read every page's contents with pypdf in strict mode, which raises where it cannot; None where encrypted."""
    pypdf = importlib.import_module("pypdf")
    reader = pypdf.PdfReader(io.BytesIO(data), strict=True)
    if reader.is_encrypted:
        return None
    pages = tuple(_digest(_page_contents(page)) for page in reader.pages)
    producer = str((reader.metadata or {}).get("/Producer", "")) if pages else ""
    return Reading(pages, producer) if pages else None


def _page_contents(page: Any) -> bytes:
    contents = page.get_contents()
    return bytes(contents.get_data()) if contents is not None else b""


def read_tiff(data: bytes) -> Reading:
    """Decode every frame and every image below one with Pillow, which raises where it cannot."""
    image_module = importlib.import_module("PIL.Image")
    with image_module.open(io.BytesIO(data), formats=("TIFF",)) as image:
        frames = []
        producer = str(image.tag_v2.get(305, ""))
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(_digest(image.tobytes()))
            for child in image.get_child_images():
                child.load()
    return Reading(tuple(frames), producer)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(sample: Sample, data: bytes) -> Reading | None:
    """Return what the other reader makes of these bytes; None where it gives up, whatever it raises."""
    reader: Callable[[bytes], Reading | None] = read_pdf if sample.kind == "pdf" else read_tiff
    with contextlib.suppress(Exception):
        return reader(data)
    return None


# --- the comparison ---------------------------------------------------------------------------------------------------


class Tally:
    """Counts and disagreements of one kind."""

    def __init__(self) -> None:
        self.count: collections.Counter[str] = collections.Counter()
        self.producers: collections.Counter[str] = collections.Counter()
        self.packages: collections.Counter[str] = collections.Counter()
        self.disagreements: list[str] = []
        self.forgiven: list[str] = []
        self.refused_by_all: list[str] = []

    def add(self, sample: Sample) -> None:
        """Check one file, whole and cut."""
        reading = read(sample, sample.data)
        found = _examine(sample.data)
        if reading is None:
            self.count["not read by the other reader"] += 1
            self.count["… of them whole to us"] += found.whole
            if not found.whole:
                self.refused_by_all.append(f"{sample}: {found.detail}")
            return
        self.count["files"] += 1
        self.packages[sample.package] += 1
        self.producers[_short(reading.producer)] += 1
        if found.whole and found.kind == sample.kind:
            self.count["whole passed"] += 1
        else:
            self.disagreements.append(f"{sample} is whole, but: {found.kind}, {found.detail}")
        for percent in CUTS:
            self._add_cut(sample, percent, reading)

    def _add_cut(self, sample: Sample, percent: int, reading: Reading) -> None:
        cut = sample.data[: len(sample.data) * percent // 100]
        self.count["cuts"] += 1
        if not _examine(cut).whole:
            self.count["cuts refused"] += 1
            return
        rest = read(sample, cut)
        if rest is not None and rest.pages == reading.pages:
            self.forgiven.append(f"{sample} cut at {percent} % ({len(cut)} of {len(sample.data)} bytes)")
            return
        self.disagreements.append(f"{sample} cut at {percent} % ({len(cut)} of {len(sample.data)} bytes) passes")


def _examine(data: bytes) -> Any:
    documents = importlib.import_module("agent.rules.documents")
    return documents.examine(io.BytesIO(data), len(data))


def _short(producer: str) -> str:
    """Return a producer's name without version, date and operating system."""
    words = re.match(r"[A-Za-z][A-Za-z .-]*", producer.strip("\0 "))
    return " ".join(words[0].split()[:3]) if words else "(not named)"


def compare(samples: Iterable[Sample], *, verbose: bool) -> bool:
    """Check all, print the numbers, and return whether everybody agrees."""
    tallies = {"pdf": Tally(), "tiff": Tally()}
    for sample in samples:
        if verbose:
            print(sample, len(sample.data), flush=True)
        tallies[sample.kind].add(sample)
    for kind, tally in tallies.items():
        print(f"\n{kind}")
        for name, number in tally.count.items():
            print(f"  {number:5} {name}")
        print(f"  {len(tally.forgiven):5} cuts that lose no page, and pass")
        if verbose:
            print(*(f"    {line}" for line in tally.forgiven), sep="\n")
            print("  not whole to anybody:", *tally.refused_by_all, sep="\n    ")
        print("  packages: " + ", ".join(f"{name} {number}" for name, number in tally.packages.most_common()))
        print("  producers: " + ", ".join(f"{name} {number}" for name, number in tally.producers.most_common()))
        print(f"  {len(tally.disagreements):5} disagreements")
        for line in tally.disagreements:
            print(f"    {line}")
    return all(not tally.disagreements and tally.count["files"] >= MINIMUM for tally in tallies.values())


# --- start ------------------------------------------------------------------------------------------------------------


def main() -> int:
    """Fetch and compare in the environment of the readers; make it first where this is not it."""
    parser = argparse.ArgumentParser(description="Hold the document check against real files of other producers.")
    parser.add_argument("--folder", type=Path, help="keep the downloads here")
    parser.add_argument("--verbose", action="store_true", help="name every file")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        readers = folder / "readers"
        if Path(sys.prefix) != readers:
            return _start_in(readers, folder, verbose=arguments.verbose)
        logging.disable(logging.CRITICAL)  # the readers' opinions about each file
        warnings.simplefilter("ignore")
        if sys.platform != "win32":
            resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        fetch(folder)
        return 0 if compare(unpack(folder), verbose=arguments.verbose) else 1


def _start_in(readers: Path, folder: Path, *, verbose: bool) -> int:
    python = readers / "bin" / "python"
    if not python.exists():
        venv.create(readers, with_pip=True)
        subprocess.run([python, "-m", "pip", "-q", "install", *READERS], check=True)
    options = ["--folder", str(folder), *(["--verbose"] if verbose else [])]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([python, __file__, *options], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
