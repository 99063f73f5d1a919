"""Proposes the modality of a file by its name, for the page, on which the user can correct it."""

import re

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities

_CHANNEL = re.compile(r".*_([0-9]{4})")
_MOST_WORDS = 3  # of an alias, such as t2_flair


def modality_of(name: str, modalities: Modalities, ending: str) -> str | None:
    """Return the modality that a file's name ends in.

    Args:
        name: such as ``p1_0002.nii.gz`` (nnU-Net's channel) or ``p1-t2_flair.nii.gz`` (name or alias).
        modalities: of the model.
        ending: of the files that the model reads.

    Returns:
        Its name; None: the file has another ending, or its name names no modality.
    """
    if not name.lower().endswith(ending.lower()):
        return None
    stem = name[: -len(ending)]
    if channel := _CHANNEL.fullmatch(stem):
        number = int(channel[1])
        return modalities.names[number] if number < len(modalities) else None
    words = re.split(r"[^A-Za-z0-9]+", stem)
    tails = ["_".join(words[-count:]) for count in range(_MOST_WORDS, 0, -1)]
    for candidate in (stem, *tails, *reversed(words)):
        if candidate and not candidate.isdecimal():  # a number may be that of a patient
            try:
                return modalities.names[modalities.parse([candidate])[0]]
            except InputError:
                continue
    return None
