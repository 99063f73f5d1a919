"""Identifies the files of a case's scores by content: copies keep times of change, and clocks differ."""

from pathlib import Path

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation.labelled_cases import LabelledCase
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.storage.files import sha256


def files_of_case(
    labelled: LabelledCase, channels: Subset, modalities: Modalities, previous: dict[Subset, Path]
) -> dict[str, Path]:
    """Return the files that the scores depend on: modality, ``reference`` or ``previous stage of SUBSET`` -> file.

    Args:
        labelled: the case.
        channels: that are read.
        modalities: for the names.
        previous: of a cascade, the previous stage's segmentation for each subset.
    """
    images = {modalities.names[channel]: labelled.case.files[channel] for channel in channels}
    stages = {f"previous stage of {modalities.format(subset)}": path for subset, path in previous.items()}
    return {**images, **stages, "reference": labelled.reference}


def digests(files: dict[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file; empty for a missing one."""
    return {what: sha256(path) if path.is_file() else "" for what, path in files.items()}


def check_scored_files(name: str, kept: object, files: dict[str, Path], scores: Path) -> None:
    """Check that the files of a case have the same content as when it was scored.

    Args:
        name: of the case.
        kept: result of :func:`digests` beside its scores, or anything else from a damaged file.
        files: see :func:`files_of_case`.
        scores: file of the scores, for the message.

    Raises:
        InputError: a file has another content.
    """
    now = digests(files)
    for what, path in files.items():
        if not isinstance(kept, dict) or kept.get(what) != now[what]:
            raise InputError(
                f"{name}: {scores} was scored with another {what} than {path}: remove it to have the case scored "
                "again, or choose another -o"
            )
