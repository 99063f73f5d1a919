"""What a prediction costs before it predicts anything, as the number of finished cases grows.

    python benchmarks/bookkeeping.py [--cases 100 1000 10000] [--json FILE]

Finds the cases, and does what ``--continue_prediction`` does with the finished ones: reads their JSON and compares the
SHA-256 of their files. The files hold one kilobyte each, so that the work per case counts, not the reading of voxels.
Then ``--dry-run`` plans the same cases from a table (``--cohort``); their files are NIfTI headers without voxels.
Seconds are those of the processor, which other programs on the machine change least.
"""

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nibabel
import numpy as np

from magms_nnunet.cli.predict import _request, parser
from magms_nnunet.environment.tiny_model import dataset_json, plans
from magms_nnunet.images.cases import choose_modalities, find_cases
from magms_nnunet.images.checks import STRICT
from magms_nnunet.inference.dry_run import plan
from magms_nnunet.inference.earlier_results import drop_finished, is_finished
from magms_nnunet.inference.job import Job, file_digests
from magms_nnunet.modalities import Modalities

ENDING, MODALITIES = ".nii.gz", Modalities(("FLAIR", "T1", "T1c", "T2"))
SETTINGS = {"step_size": 0.5, "mirroring": True}


def main(argv: list[str] | None = None) -> None:
    """Measure and print a line per number of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    rows = []
    print("cases   find the cases   look at all results   per case   plan a table   per case")
    for cases in args.cases:
        with TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), cases))
        row = rows[-1]
        per_case = 1000 * (row["find_s"] + row["continue_s"]) / cases
        finished = f"{row['find_s']:14.3f} s {row['continue_s']:19.3f} s {per_case:7.3f} ms"
        print(f"{cases:6d} {finished} {row['plan_s']:12.3f} s {1000 * row['plan_s'] / cases:7.3f} ms", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


def measure(folder: Path, cases: int) -> dict:
    """Seconds for so many finished cases."""
    images, output = make_finished(folder, cases)
    model = SimpleNamespace(dataset_json={"file_ending": ENDING}, modalities=MODALITIES, fingerprint="0" * 64)
    predictor = SimpleNamespace(model=model, settings=SETTINGS)
    begun = time.process_time()
    found, _ = find_cases(images, ENDING)
    between = time.process_time()
    jobs = [Job(case, choose_modalities(case, None, MODALITIES, ENDING)) for case in found]
    assert all(is_finished(job.case.name, output, ENDING, False) for job in jobs)
    todo = drop_finished(jobs, output, predictor, False)
    ended = time.process_time()
    assert (len(found), todo) == (cases, [])
    return {"cases": cases, "find_s": between - begun, "continue_s": ended - between, "plan_s": plan_s(folder, cases)}


def plan_s(folder: Path, cases: int) -> float:
    """Seconds of ``--dry-run`` for a table of so many cases, most of which lack scans."""
    model, table = folder / "MAGMSTrainer__MAGMSPlans__tiny", folder / "patients.csv"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "checkpoint_final.pth").touch()  # it is not read
    (model / "dataset.json").write_text(json.dumps(dataset_json(MODALITIES.names)))
    (model / "plans.json").write_text(json.dumps(plans(len(MODALITIES))))
    header = nibabel.Nifti1Header()
    header.set_data_shape((240, 240, 155))
    affine = np.eye(4)
    (folder / "headers").mkdir()
    lines = [",".join(("case", *MODALITIES.names))]
    subsets = list(MODALITIES.subsets())
    for number in range(cases):
        names = [f"headers/{number:05d}_{channel}{ENDING}" for channel in MODALITIES.complete]
        cells = [name if c in subsets[number % len(subsets)] else "" for c, name in enumerate(names)]
        affine[0, 3] = number
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner")
        content = gzip.compress(header.binaryblock + bytes(4), 1)
        for cell in filter(None, cells):
            (folder / cell).write_bytes(content)
        lines.append(",".join((f"case_{number:05d}", *cells)))
    table.write_text("\n".join(lines))
    flags = ["--cohort", str(table), "-o", str(folder / "planned"), "-m", str(model), "-f", "0"]
    request = _request(parser().parse_args([*flags, "--disable_progress_bar"]), [])
    begun = time.process_time()
    found = plan(request)
    seconds = time.process_time() - begun
    assert (found.subsets.total(), found.failed) == (cases, {})
    return seconds


def make_finished(folder: Path, cases: int) -> tuple[Path, Path]:
    """Images and results of so many cases."""
    images, output = folder / "images", folder / "output"
    images.mkdir()
    output.mkdir()
    for number in range(cases):
        name = f"case_{number:05d}"
        paths = [images / f"{name}_{channel:04d}{ENDING}" for channel in MODALITIES.complete]
        for path in paths:
            path.write_bytes(os.urandom(1024))
        (output / f"{name}{ENDING}").touch()
    for case in find_cases(images, ENDING)[0]:
        report = {
            "modalities_used": list(MODALITIES.names),
            "files_sha256": file_digests(Job(case, MODALITIES.complete)),
            "model": {"sha256": "0" * 64},
            "settings": SETTINGS,
            "checks": vars(STRICT),
        }
        (output / f"{case.name}.json").write_text(json.dumps(report))
    return images, output


if __name__ == "__main__":
    main()
