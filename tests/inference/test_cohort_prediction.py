"""``magms_predict --cohort`` and ``--bids``."""

import csv

from magms_nnunet.cli.predict import main
from tests.faults.tiny import model, voxels  # noqa: F401
from tests.integration.workspace import QUIET, files_in, write_image


def test_a_cohort_is_predicted_and_a_table_says_what_was_done(model, tmp_path, capfd):  # noqa: F811
    for seed, name in enumerate(("p1/FLAIR/scan.nii.gz", "p1/T1c/scan.nii.gz", "p2.nii.gz")):
        write_image(tmp_path / name, voxels(seed))
    table = tmp_path / "patients.csv"
    table.write_text("case,FLAIR,T1c\np1,p1/FLAIR/scan.nii.gz,p1/T1c/scan.nii.gz\np2,,p2.nii.gz\np3,gone.nii.gz,\n")
    arguments = [*map(str, ("--cohort", table, "-o", tmp_path / "out", "-m", model, "-f", 0, "--disable_tta", *QUIET))]
    assert main(arguments) == 3
    out, err = capfd.readouterr()
    assert "p3: gone.nii.gz (FLAIR) cannot be read" in err
    assert out.splitlines()[-1].startswith("2 done, 0 of them weak, 1 failed, ")
    names = {"p1.nii.gz", "p1.json", "p2.nii.gz", "p2.json", "predictions.csv", "dataset.json", "plans.json"}
    assert files_in(tmp_path / "out") == names
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["state"], row["modalities"]) for row in rows] == [
        ("p1", "done", "FLAIR+T1c"),
        ("p2", "done", "T1c"),
        ("p3", "failed", ""),
    ]
    before = (tmp_path / "out/p1.nii.gz").stat().st_mtime_ns
    write_image(tmp_path / "gone.nii.gz", voxels(3))
    assert main([*arguments, "--c"]) == 0
    assert (tmp_path / "out/p1.nii.gz").stat().st_mtime_ns == before
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done"] * 3
