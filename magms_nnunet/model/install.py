"""Installs models from a zip: all files are checked in a temporary folder, then each model is moved to its place."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from magms_nnunet.errors import InputError
from magms_nnunet.model.archive import check_entries, unpack
from magms_nnunet.model.manifest import FILE, check_unaltered, read_manifest
from magms_nnunet.model.model import load_model
from magms_nnunet.nnunet.folders import datasets_with_id
from magms_nnunet.storage.files import open_regular, reason
from magms_nnunet.storage.new_folders import new_folders

TEMPORARY = ".magms-import_"
"""Prefix of the temporary folder. It may hold a model that is being replaced, so it does not count as unfinished."""


@dataclass(frozen=True)
class Installed:
    """An installed model.

    Attributes:
        folder: of the model.
        modalities: names of its channels.
        folds: of the model.
        has_manifest: whether the zip had hashes of its files.
        same_id: other datasets that nnU-Net finds by the same id.
    """

    folder: Path
    modalities: tuple[str, ...]
    folds: tuple[str, ...]
    has_manifest: bool
    same_id: tuple[str, ...]


def install_models(
    source: Path, results: Path, *, overwrite: bool = False, trust_checkpoint: bool = False
) -> tuple[list[Installed], list[str]]:
    """Install the models of a zip that ``magms_export`` or ``nnUNetv2_export_model_to_zip`` wrote.

    Args:
        source: the zip.
        results: nnU-Net's folder of trained models.
        overwrite: whether to replace existing models.
        trust_checkpoint: see :func:`magms_nnunet.model.model.load_model`.

    Returns:
        The models, and the names of the entries that no model needs, which were left out.

    Raises:
        InputError: the zip fails a check, or a model exists; nothing is installed.
    """
    try:
        with open(source, "rb", opener=open_regular) as file, zipfile.ZipFile(file) as archive:
            contents = check_entries(archive)
            there = [str(results / model) for model in contents.models if (results / model).exists()]
            if there and not overwrite:
                raise InputError(f"{', '.join(there)} exists: replace it with --overwrite, or move it away")
            results.mkdir(parents=True, exist_ok=True)
            with new_folders(list(contents.models), results, TEMPORARY, overwrite) as new:
                try:
                    installed = [
                        _unpack_and_check(archive, model, files, new, results, trust_checkpoint)
                        for model, files in contents.models.items()
                    ]
                except InputError as error:  # the message names the zip, not our temporary folder
                    raise InputError(str(error).replace(f"{new}{os.sep}", f"{source}: ")) from error
    except (zipfile.BadZipFile, FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{source} is not a zip file, or damaged ({error}): copy it again") from error
    except OSError as error:
        raise InputError(f"cannot install {source} in {results} ({reason(error, results)})") from error
    return installed, contents.left_out


def _unpack_and_check(
    archive: zipfile.ZipFile, model: str, files: Sequence[str], new: Path, results: Path, trust_checkpoint: bool
) -> Installed:
    folder = new / model
    digests = unpack(archive, model, files, folder)
    manifest = read_manifest(folder)
    if manifest is not None:
        check_unaltered(folder, manifest, {name: digest for name, digest in digests.items() if name != FILE})
        lost = sorted(set(manifest["files"]) - set(digests))
        if lost:
            raise InputError(f"{folder} lacks {', '.join(lost)}, which {FILE} lists: copy the zip again")
    folds: dict[str, list[str]] = {}
    for name in map(PurePosixPath, files):
        if name.suffix == ".pth":
            folds.setdefault(name.name, []).append(name.parent.name.removeprefix("fold_"))
    for checkpoint, its_folds in folds.items():
        loaded = load_model(folder, sorted(its_folds), checkpoint, trust_checkpoint=trust_checkpoint)
    every_fold = sorted({fold for its_folds in folds.values() for fold in its_folds})
    names, others = loaded.modalities.names, _same_id(PurePosixPath(model).parts[0])
    return Installed(results / model, names, tuple(every_fold), manifest is not None, others)


def _same_id(dataset: str) -> tuple[str, ...]:
    number = int(dataset.removeprefix("Dataset").partition("_")[0])
    return tuple(sorted(datasets_with_id(number).keys() - {dataset}))
