"""Series of scanners in daily use, by times and by words."""

import pytest

pydicom = pytest.importorskip("pydicom")

from magms_nnunet.dicom.modality_rule import guess  # noqa: E402


def header(text="", tr=None, te=None, ti=None, sequence="SE", agent=None):
    made = pydicom.Dataset()
    made.SeriesDescription = text
    made.ScanningSequence = sequence
    for keyword, value in (
        ("RepetitionTime", tr),
        ("EchoTime", te),
        ("InversionTime", ti),
        ("ContrastBolusAgent", agent),
    ):
        if value is not None:
            setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("made", "kinds", "confidence"),
    [
        (header("AX FLAIR", 9000, 120, 2500, ["SE", "IR"]), ("FLAIR",), "high"),
        (header("t2_tirm_tra_dark-fluid", 8000, 100, 2400, ["SE", "IR"]), ("FLAIR",), "high"),
        (header("3D Brain VIEW", 4800, 340, 1650, ["SE", "IR"]), ("FLAIR",), "medium"),
        (header("Ax T2 FSE", 4500, 95), ("T2",), "high"),
        (header("unnamed", 4500, 95), ("T2",), "medium"),
        (header("Ax T1 SE", 600, 12), ("T1",), "high"),
        (header("MPRAGE", 2300, 2.9, 900, ["GR", "IR"]), ("T1",), "high"),
        (header("Ax T1 FLAIR", 2500, 24, 860, ["SE", "IR"]), ("T1",), "high"),
        (header("SAG 3D BRAVO", 8.2, 3.2, 450, "GR"), ("T1",), "high"),
        (header("Ax T1 POST GD", 600, 12, agent="Gadavist"), ("T1c",), "high"),
        (header("t1_mprage_KM", 2000, 3, 900, ["GR", "IR"]), ("T1c",), "medium"),
        (header("T1 +C", 600, 12), ("T1c",), "medium"),
        (header("T1CE", 600, 12), ("T1c",), "medium"),
        (header("AX T1 PRE", 600, 12), ("T1",), "high"),
        (header("T1 w/o contrast", 600, 12, agent="NONE"), ("T1",), "high"),
        (header("T1 pre gd", 600, 12, agent="Gadavist"), ("T1", "T1c"), "-"),
        (header("T1", 4500, 95), ("T1", "T2"), "-"),
        (header("FLAIR"), ("FLAIR",), "medium"),
        (header("Brain"), (), "-"),
        (header("Ax PD", 2500, 15), (), "-"),
        (header("ep2d_diff_3scan_trace", 4000, 90), (), "-"),
        (header("AX T2* GRE", 600, 20, sequence="GR"), (), "-"),
        (header("SWI", 28, 20, sequence="GR"), (), "-"),
        (header("PERFUSION DSC", 1500, 30, sequence="EP", agent="Gadavist"), (), "-"),
        (header("MRA TOF", 22, 3, sequence="GR"), (), "-"),
    ],
    ids=lambda value: value.SeriesDescription if isinstance(value, pydicom.Dataset) else "",
)
def test_a_series_is_what_times_and_words_say(made, kinds, confidence):
    found = guess(made)
    assert (found.kinds, found.confidence) == (kinds, confidence), found.reason
    assert found.reason
