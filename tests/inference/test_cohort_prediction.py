"""``magms_predict --cohort`` and ``--bids``."""

import csv

from magms_nnunet.cli.predict import main
from tests.faults.tiny import SIDE_FILES, model, voxels  # noqa: F401
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
    names = {"p1.nii.gz", "p1.json", "p2.nii.gz", "p2.json", "predictions.csv", *SIDE_FILES}
    assert files_in(tmp_path / "out") == names
    log = (tmp_path / "out/magms_predict.log").read_text()
    assert str(tmp_path) not in log
    start, sha256, *cases, end = (line.split(" ", 1)[1] for line in log.splitlines())
    assert "mirroring False" in start
    assert "; 3 cases of a cohort from the modalities that each has; MAGMSTrainer__MAGMSPlans__tiny, folds 0, " in start
    assert sha256.startswith("2 to predict with the model of SHA-256 ")
    assert cases[:2] == ["p1: done from FLAIR+T1c", "p2: done from T1c"]
    assert cases[2].startswith("p3: failed: gone.nii.gz (FLAIR) cannot be read")
    assert end.startswith("end: 2 done, 0 of them weak, 1 failed, ")
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
