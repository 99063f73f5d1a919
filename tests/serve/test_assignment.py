"""Which modality a file's name says, worked out by hand."""

import pytest

from magms_nnunet.modalities import Modalities
from magms_nnunet.serve.assignment import modality_of

MODALITIES = Modalities(("FLAIR", "T1", "T1c", "T2"))


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("p1_0002.nii.gz", "T1c"),
        ("p1_0007.nii.gz", None),
        ("FLAIR.nii.gz", "FLAIR"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "T1c"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "FLAIR"),
        ("Brats18_1_flair.nii.gz", "FLAIR"),
        ("p1_t2_flair.nii.gz", "FLAIR"),
        ("p1_T1_Gd.nii.gz", "T1c"),
        ("t1ce_of_patient_12.NII.GZ", "T1c"),
        ("patient_2.nii.gz", None),  # a number is no channel
        ("scan.nii.gz", None),
        ("p1_t1.mha", None),
        ("", None),
    ],
)
def test_name(name, modality):
    assert modality_of(name, MODALITIES, ".nii.gz") == modality
