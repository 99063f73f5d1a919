"""iSEG-2017: T1 and T2 of ten infants of six months, with CSF, grey and white matter (iseg2017.web.unc.edu)."""

import re
from pathlib import Path

from magms_nnunet.datasets.source import Source, SourceCase, files_below, lacking, register, unexpected

PARTS = {"T1": "T1", "T2": "T2", "label": "the label"}
TRAINING_SUBJECTS = 10  # subjects 11 to 23 are the challenge's test set, whose labels were never published
_FILE = re.compile(r"subject-(?P<number>\d+)-(?P<part>T1|T2|label)\.(hdr|nii|nii\.gz)")


def find(folder: Path) -> Source:
    """Find the labelled subjects of an unpacked iSEG-2017, Analyze or NIfTI; the split is that of the paper, 6, 1, 3.

    Raises:
        InputError: there is no labelled subject.
    """
    subjects: dict[int, dict[str, Path]] = {}
    for path in files_below(folder):
        if match := _FILE.fullmatch(path.name):
            register(subjects.setdefault(int(match["number"]), {}), match["part"], path)
    if not subjects:
        raise unexpected(folder, "subject-1-T1.hdr and .img (or .nii, .nii.gz), subject-1-T2, subject-1-label, ...")
    unlabelled = [n for n, found in subjects.items() if n > TRAINING_SUBJECTS and "label" not in found]
    cases, incomplete = [], {}
    for number, found in sorted(subjects.items()):
        name = f"subject-{number}"
        if number in unlabelled:
            continue
        if what := lacking(found, PARTS):
            incomplete[name] = what
        images = found.get("T1"), found.get("T2")
        if "label" in found and any(images):
            cases.append(SourceCase(name, name, images, found["label"]))
    notes = []
    if unlabelled:
        notes.append(f"{len(unlabelled)} test subjects without labels are left out")
    if any(case.label.suffix == ".hdr" for case in cases):
        notes.append(
            "Analyze files have no reliable orientation: voxels keep their order, the orientation is the identity"
        )
    return Source(
        name="iSEG2017",
        channels=("T1", "T2"),
        labels={"background": 0, "CSF": 1, "GM": 2, "WM": 3},
        label_values={0: 0, 10: 1, 150: 2, 250: 3},
        cases=cases,
        incomplete=incomplete,
        proportions=(6, 1, 3),
        notes=notes,
    )
