"""The cases of a BIDS folder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from magms_nnunet.errors import InputError
from magms_nnunet.images.cases import Case, visible_files
from magms_nnunet.images.cohort import case_of_files
from magms_nnunet.modalities import Modalities
from magms_nnunet.storage.files import folder_error

_NAME = re.compile(r"(?P<entities>sub-.+)_(?P<suffix>[A-Za-z0-9]+)\.nii(\.gz)?")
_SUFFIX = re.compile(r"(?P<entities>([a-z]+-[A-Za-z0-9]+_)*)(?P<suffix>[A-Za-z0-9]+)")
_ANY = "ce-"
"""The entity ``ce`` with any value."""


class Suffix(NamedTuple):
    """The end of the names of a modality's images: ``ce-gadolinium_T1w``.

    Attributes:
        suffix: ``T1w``.
        entities: that a name must have, too: ``{"ce-gadolinium"}``.
    """

    suffix: str
    entities: frozenset[str] = frozenset()

    def fits(self, suffix: str, entities: Sequence[str]) -> bool:
        """Return whether a name has this suffix and these entities; a contrast agent must be among them."""
        there = {*entities, *(_ANY for entity in entities if entity.startswith(_ANY))}
        names_contrast = any(entity.startswith(_ANY) for entity in self.entities)
        return suffix == self.suffix and self.entities <= there and (names_contrast or _ANY not in there)


_USUAL = {
    "FLAIR": Suffix("FLAIR"),
    "T1": Suffix("T1w"),
    "T2": Suffix("T2w"),
    "T1c": Suffix("T1w", frozenset({_ANY})),
}


def parse_suffixes(tokens: Sequence[str], modalities: Modalities) -> dict[int, Suffix]:
    """Return channel -> suffix of its images: the usual ones, except for the modalities in ``tokens``.

    Args:
        tokens: ``NAME=SUFFIX``, such as ``T1c=ce-gadolinium_T1w``.
        modalities: of the model.

    Raises:
        InputError: a token has another form, or names a modality that is unknown or given twice.
    """
    given: dict[str, Suffix] = {}
    for token in tokens:
        name, _, text = token.partition("=")
        match = _SUFFIX.fullmatch(text)
        if not (name and match):
            raise InputError(f"--bids-suffix {token}: give NAME=SUFFIX, such as T1c=ce-gadolinium_T1w")
        if name in given:
            raise InputError(f"--bids-suffix names {name} twice")
        given[name] = Suffix(match["suffix"], frozenset(filter(None, match["entities"].split("_"))))
    if given:
        modalities.parse([*given])  # says which is unknown or given twice
    usual = {channel: suffix for name, suffix in _USUAL.items() if (channel := _channel(name, modalities)) is not None}
    return usual | {modalities.parse([name])[0]: suffix for name, suffix in given.items()}


def find_bids(root: Path, modalities: Modalities, file_ending: str, tokens: Sequence[str] = ()) -> list[Case]:
    """Return the cases of a BIDS folder: per subject and session the images of ``anat`` with these suffixes.

    A name that fits several suffixes belongs to the one with most entities. Derivatives are left out.

    Args:
        root: of the data set.
        modalities: of the model.
        file_ending: of the files that the model reads.
        tokens: see :func:`parse_suffixes`.

    Raises:
        InputError: the folder is no BIDS folder, a token has another form, or a session has two images of a modality.
    """
    if not root.is_dir():
        raise folder_error("--bids", root)
    suffixes = parse_suffixes(tokens, modalities)
    found: list[Case] = []
    for anat in sorted([*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat")]):
        name, files = "_".join(anat.relative_to(root).parts[:-1]), {}
        for path in visible_files(anat, "--bids"):
            if (channel := _channel_of_file(path, suffixes)) is None:
                continue
            if channel in files:
                two = f"{files[channel].name} and {path.name}"
                raise InputError(
                    f"{name} has two images of {modalities.names[channel]} ({two}): choose with --bids-suffix, or with "
                    "--cohort"
                )
            files[channel] = path
        if files:
            found.append(case_of_files(name, files, file_ending))
    if not found:
        wanted = ", ".join("_".join([*sorted(of.entities), of.suffix]) for of in suffixes.values()) or "images"
        raise InputError(f"--bids {root}: no sub-*/anat has {wanted} of {modalities.listing()}: see --bids-suffix")
    return found


def _channel_of_file(path: Path, suffixes: Mapping[int, Suffix]) -> int | None:
    if not (match := _NAME.fullmatch(path.name)):
        return None
    fitting = [
        channel for channel, suffix in suffixes.items() if suffix.fits(match["suffix"], match["entities"].split("_"))
    ]
    return max(fitting, key=lambda channel: len(suffixes[channel].entities), default=None)


def _channel(name: str, modalities: Modalities) -> int | None:
    try:
        return modalities.parse([name])[0]
    except InputError:
        return None
