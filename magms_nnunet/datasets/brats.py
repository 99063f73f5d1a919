"""BraTS glioma challenges, 2017 to 2024, in the folders in which they are published.

The names of the files show the convention of their labels: until 2021 (``BraTS20_..._flair.nii.gz``) 1 is the necrotic
and non-enhancing core, 2 edema, 4 enhancing tumour; from 2023 (``BraTS-GLI-...-t2f.nii.gz``) 3 is enhancing tumour and
4, in the post-treatment cases of 2024, the resection cavity.
"""

import re
from pathlib import Path

from magms_nnunet.datasets.source import (
    BRAIN_TUMOUR_CHANNELS,
    BRAIN_TUMOUR_REGIONS,
    Source,
    SourceCase,
    files_below,
    lacking,
    register,
    unexpected,
)
from magms_nnunet.errors import InputError

_UNTIL_2021 = re.compile(
    r"(?P<case>(?P<patient>brats(17|18|19|20|2021)_.+))_(?P<part>flair|t1|t1ce|t2|seg)\.nii(\.gz)?", re.IGNORECASE
)
_FROM_2023 = re.compile(r"(?P<case>(?P<patient>BraTS-(GLI|SSA)-\d+)-\d+)-(?P<part>t2f|t1n|t1c|t2w|seg)\.nii(\.gz)?")
_OTHER_TUMOURS = re.compile(r"BraTS-(?!GLI|SSA)(?P<tumour>[A-Z]+)-.+\.nii(\.gz)?")
_SEGMENTATION_355 = re.compile(r"W39_1998\.09\.19_Segm\.nii(\.gz)?")  # published so in 2020
_PARTS = {  # in the order of our channels
    False: ("flair", "t1", "t1ce", "t2"),
    True: ("t2f", "t1n", "t1c", "t2w"),
}
_LABEL_VALUES = {False: {0: 0, 1: 2, 2: 1, 4: 3}, True: {0: 0, 1: 2, 2: 1, 3: 3, 4: 4}}


def find(folder: Path) -> Source:
    """Find the cases of an unpacked training set; they are split by patient, 80 to 20, as no split is published.

    Raises:
        InputError: there are no cases, or cases of both conventions or of other tumours.
    """
    styles: dict[bool, dict[str, dict[str, Path]]] = {False: {}, True: {}}
    patients = {}
    for path in files_below(folder):
        match = _UNTIL_2021.fullmatch(path.name) or _FROM_2023.fullmatch(path.name)
        if match:
            style = match.re is _FROM_2023
            register(styles[style].setdefault(match["case"], {}), match["part"].lower(), path)
            patients[match["case"]] = match["patient"]
        elif _SEGMENTATION_355.fullmatch(path.name) and path.parent.name == "BraTS20_Training_355":
            register(styles[False].setdefault(path.parent.name, {}), "seg", path)
            patients[path.parent.name] = path.parent.name
        elif other := _OTHER_TUMOURS.fullmatch(path.name):
            raise InputError(
                f"{path} is of BraTS-{other['tumour']}, whose labels mean something else in other years: "
                "only gliomas (BraTS-GLI, BraTS-SSA) can be converted"
            )
    if styles[False] and styles[True]:
        names = " and ".join(next(iter(found)) for found in styles.values())
        raise InputError(f"{folder} holds cases of two conventions for labels, as {names}: convert them apart")
    if not patients:
        raise unexpected(
            folder, "CASE/CASE_flair.nii.gz (BraTS 2017 to 2021) or CASE/CASE-t2f.nii.gz (BraTS-GLI, from 2023)"
        )
    style = bool(styles[True])
    expected = {**dict(zip(_PARTS[style], BRAIN_TUMOUR_CHANNELS, strict=True)), "seg": "the segmentation"}
    cases, incomplete = [], {}
    for name, found in sorted(styles[style].items()):
        if what := lacking(found, expected):
            incomplete[name] = what
        images = tuple(found.get(part) for part in _PARTS[style])
        if "seg" in found and any(images):
            cases.append(SourceCase(name, patients[name], images, found["seg"]))
    return Source(
        name="BraTS",
        channels=BRAIN_TUMOUR_CHANNELS,
        labels=BRAIN_TUMOUR_REGIONS,
        label_values=_LABEL_VALUES[style],
        cases=cases,
        incomplete=incomplete,
        proportions=(80, 20, 0),
        optional_labels={"resection_cavity": 4} if style else {},
    )
