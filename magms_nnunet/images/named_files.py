"""Images that are given by name: ``FLAIR=a.nii.gz``, in any format that SimpleITK reads."""

import os
from collections.abc import Sequence
from pathlib import Path

from magms_nnunet.errors import CaseError, InputError
from magms_nnunet.images.files import ImageFileError, read_image_file
from magms_nnunet.modalities import Modalities

_NIFTI = (".nii", ".nii.gz")


def parse_named(tokens: Sequence[str], modalities: Modalities) -> dict[int, Path]:
    """Read tokens ``NAME=FILE``; return channel -> file.

    Raises:
        InputError: a token has another form, a modality is unknown or given twice, or a file does not exist or is given
            twice.
    """
    names, files = [], []
    for token in tokens:
        name, separator, file = token.partition("=")
        if not (separator and name and file):
            raise InputError(f"--image {token}: give NAME=FILE, such as {modalities.names[0]}=scan.nii.gz")
        names.append(name)
        files.append(Path(file))
    modalities.parse(names)  # says which is given twice
    given = {modalities.parse([name])[0]: file for name, file in zip(names, files, strict=True)}
    for channel, file in given.items():
        if not file.exists():
            raise InputError(f"--image {modalities.names[channel]}={file}: there is no such file")
    return dict(sorted(given.items()))


def is_read_as_it_is(path: Path, file_ending: str) -> bool:
    """Return whether a model that reads ``file_ending`` takes this file without a conversion."""
    return path.name.endswith(file_ending) or (path.name.endswith(_NIFTI) and file_ending in _NIFTI)


def convert(path: Path, target: Path, case: str, label: str) -> Path:
    """Write an image of another format in the format that the model reads.

    Args:
        path: of the image.
        target: the file to write.
        case: for messages.
        label: for messages.

    Raises:
        CaseError: the file is damaged, is no image, or cannot be written in that format.
    """
    import SimpleITK as sitk

    try:
        read_image_file(path)  # notices damage that SimpleITK does not
        sitk.WriteImage(sitk.ReadImage(os.fspath(path)), os.fspath(target))
    except ImageFileError as error:
        raise CaseError(case, f"{label} {error}") from error
    except RuntimeError as error:
        raise CaseError(case, f"{label} cannot be read as an image: convert it to NIfTI") from error
    return target


def labels_of(files: dict[int, Path], modalities: Modalities) -> dict[int, str]:
    """Return channel -> name of the image in messages: ``a.mha (T1c)``."""
    return {channel: f"{file.name} ({modalities.names[channel]})" for channel, file in files.items()}
