"""A zip of models of any origin: every entry is checked by its name before any is written."""

import hashlib
import lzma
import re
import shutil
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.model import expected, manifest
from magms_nnunet.storage.zip_entries import refusal

# DATASET/TRAINER__PLANS__CONFIGURATION/FILE: the files of a model, none of which can hold code, except checkpoints,
# which have a check of their own.
_ENTRY = re.compile(
    r"(?P<model>Dataset\d{3}_[\w.+-]+/[A-Za-z]\w*?__[\w.+-]+?__[\w.+-]+)/(?P<file>"
    rf"plans\.json|dataset\.json|dataset_fingerprint\.json|{re.escape(manifest.FILE)}|{re.escape(expected.FILE)}|"
    r"fold_(\d+|all)/([\w-]+\.pth|[\w-]+\.safetensors|progress\.png))",
    re.ASCII,
)
_MOST_ENTRIES = 10_000
_MOST_EXPANSION = 100  # times the size of the zip; weights hardly shrink, JSON does so by 20
_NEVER_A_BOMB = 100 << 20


@dataclass(frozen=True)
class Contents:
    """The content of a zip.

    Attributes:
        models: folder of a model, as ``DATASET/MODEL`` -> its files.
        left_out: names of entries that no model needs.
    """

    models: dict[str, list[str]]
    left_out: list[str]


def check_entries(archive: zipfile.ZipFile) -> Contents:
    """Check the list of entries, without reading their content.

    Raises:
        InputError: an entry would be written outside its model or is a link, the zip would fill the disk, or it holds
            no model.
    """
    source, entries = Path(archive.filename or ""), archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise InputError(f"{source} holds {len(entries)} entries, which no model does")
    size, seen = sum(entry.file_size for entry in entries), set()
    if size > max(_NEVER_A_BOMB, _MOST_EXPANSION * source.stat().st_size):
        raise InputError(f"{source} of {source.stat().st_size} bytes would unpack to {size}: nothing is unpacked")
    models, left_out = defaultdict(list), []
    for entry in entries:
        reason = refusal(entry) or ("is there twice" if entry.filename.casefold() in seen else None)
        if reason:
            raise InputError(f"{source}: entry {shorten(entry.filename)} {reason}: nothing is unpacked")
        seen.add(entry.filename.casefold())
        match = _ENTRY.fullmatch(entry.filename)
        if match:
            models[match["model"]].append(match["file"])
        elif not entry.is_dir():
            left_out.append(entry.filename)
    for model, files in models.items():
        if not any(file.endswith(".pth") for file in files):
            raise InputError(f"{source}: {model} has no checkpoint: export the model again")
    if not models:
        raise InputError(f"{source} holds no model of nnU-Net's (DATASET/TRAINER__PLANS__CONFIGURATION), or is damaged")
    return Contents(dict(models), left_out)


def unpack(archive: zipfile.ZipFile, model: str, files: Sequence[str], folder: Path) -> dict[str, str]:
    """Write the files of a model.

    Args:
        archive: with checked entries.
        model: as ``DATASET/MODEL``.
        files: relative to the model.
        folder: new, for the model.

    Returns:
        File -> SHA-256.

    Raises:
        InputError: an entry is damaged, or the disk is full.
    """
    digests = {}
    for name in files:
        path, digest = folder / name, hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = archive.getinfo(str(PurePosixPath(model, name)))
        if shutil.disk_usage(path.parent).free < entry.file_size:
            raise InputError(f"no space left on the disk of {folder} for {model}: free some, then import again")
        with open(path, "xb") as file:
            for chunk in _chunks(archive, entry):
                digest.update(chunk)
                file.write(chunk)
        digests[name] = digest.hexdigest()
    return digests


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(entry) as packed:
            while chunk := packed.read(1 << 20):
                yield chunk
    # the errors of the format and of its compressions: bzip2 raises OSError, lzma one of its own
    except (zipfile.BadZipFile, zlib.error, OSError, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise InputError(
            f"{archive.filename}: entry {entry.filename} is damaged ({error}): copy the zip again"
        ) from error
