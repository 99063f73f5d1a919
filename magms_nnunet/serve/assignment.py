"""Which modality a file is, as its name says; a proposal for the page, which a person can correct."""

import re

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities

_CHANNEL = re.compile(r".*_([0-9]{4})")
_MOST_WORDS = 3  # of an alias, such as t2_flair


def modality_of(name: str, modalities: Modalities, ending: str) -> str | None:
    """The modality that a file's name ends in: nnU-Net's ``_0002``, or a name or alias, ``p1-t2_flair.nii.gz``.

    Returns:
        None: its ending is not the model's, or no part of the name is a modality's.
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
        if candidate and not candidate.isdecimal():  # which may be a patient's number
            try:
                return modalities.names[modalities.parse([candidate])[0]]
            except InputError:
                continue
    return None
