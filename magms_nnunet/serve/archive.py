"""A zip of a client: a study in DICOM, or images that are named after their modalities."""

import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from magms_nnunet.errors import shorten
from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.settings import Limits
from magms_nnunet.serve.study import FOLDER, Study
from magms_nnunet.serve.upload import Upload, too_large
from magms_nnunet.storage.files import is_hidden
from magms_nnunet.storage.zip_entries import refusal

MOST_FILES = 64
_MOST_SLICES = 10_000
_DIRECTORY_BYTES = 8 << 20  # of the list of entries, which is read as a whole and takes ten times as much memory
_SIZE_OF_DIRECTORY = 5  # among the fields of the record at a zip's end
_CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>[0-9]{4})")


def unpack(archive: Path, folder: Path, limits: Limits, ending: str) -> list[Upload] | Study:
    """Unpack the images of a zip, whose files are named after modalities or ``CASE_XXXX``, or a DICOM study.

    Args:
        archive: the zip.
        folder: to write to.
        limits: of sizes and numbers.
        ending: of the files that the model reads.

    Raises:
        Problem: an entry leads out of the zip, is a link, encrypted or damaged; the entries are too many or too large;
            or the zip holds several cases.
    """
    _check_directory(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            for entry in entries:
                if reason := refusal(entry):
                    raise Problem(400, f"the zip's entry {shorten(entry.filename)} {reason}: nothing is unpacked")
            entries = [e for e in entries if not any(is_hidden(Path(part)) for part in PurePosixPath(e.filename).parts)]
            if len(entries) > _MOST_SLICES:
                raise _too_many(entries)
            if slices := [entry for entry in entries if _is_dicom(opened, entry)]:
                return _study(opened, slices, folder / FOLDER, limits)
            if len(entries) > MOST_FILES:
                raise _too_many(entries)
            left, uploads = limits.upload_bytes, []
            for number, entry in enumerate(entries):
                name = PurePosixPath(entry.filename).name
                path = folder / f"part_{number}{ending}"
                left -= _write(opened, entry, path, left, limits)
                uploads.append(Upload(path, name.removesuffix(ending), name))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise Problem(400, f"the zip is damaged ({error}): make it again") from error
    return _without_case(uploads)


def _check_directory(archive: Path) -> None:
    """Check that the list of entries does not fill the memory."""
    with open(archive, "rb") as file:
        end = zipfile._EndRecData(file)  # ty: ignore[missing-attribute]
    if end is not None and end[_SIZE_OF_DIRECTORY] > _DIRECTORY_BYTES:
        raise Problem(413, "the zip holds too many files: send the images of one patient")


def _too_many(entries: list[zipfile.ZipInfo]) -> Problem:
    return Problem(413, f"the zip holds {len(entries)} files: send the images of one patient")


def _is_dicom(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with opened.open(entry) as packed:
        return packed.read(132)[128:] == b"DICM" and PurePosixPath(entry.filename).name.upper() != "DICOMDIR"


def _study(opened: zipfile.ZipFile, slices: list[zipfile.ZipInfo], folder: Path, limits: Limits) -> Study:
    folder.mkdir()
    left, names = limits.upload_bytes, {}
    for number, entry in enumerate(sorted(slices, key=lambda entry: entry.filename)):
        path = folder / f"{number:05d}"
        left -= _write(opened, entry, path, left, limits)
        names[path.name] = entry.filename
    return Study(folder, names)


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int, limits: Limits) -> int:
    """Unpack an entry; the written bytes count against the limit, not the size in the zip."""
    written = 0
    with opened.open(entry) as packed, open(path, "xb") as file:
        while chunk := packed.read(1 << 20):
            written += len(chunk)
            if written > left:
                raise too_large(limits)
            file.write(chunk)
    return written


def _without_case(uploads: list[Upload]) -> list[Upload]:
    """Read ``p1_0002`` as channel 2, where all names have a channel and the same case."""
    matches = [match for upload in uploads if (match := _CHANNEL.fullmatch(upload.modality))]
    if len(matches) < len(uploads):
        return uploads
    if len(cases := sorted({match["name"] for match in matches})) > 1:
        raise Problem(422, f"the zip holds several cases ({', '.join(map(shorten, cases[:3]))}): send one per job")
    return [Upload(u.path, str(int(m["channel"])), u.name) for u, m in zip(uploads, matches, strict=True)]
