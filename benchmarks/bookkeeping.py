"""What a prediction costs before it predicts anything, as the number of finished cases grows.

    python benchmarks/bookkeeping.py [--cases 100 1000 10000] [--json FILE]

Finds the cases, and does what ``--continue_prediction`` does with the finished ones: reads their JSON and compares the
SHA-256 of their files. The files hold one kilobyte each, so that the work per case counts, not the reading of voxels.
Seconds are those of the processor, which other programs on the machine change least.
"""

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from magms_nnunet.images.cases import choose_modalities, find_cases
from magms_nnunet.images.checks import STRICT
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
    print("cases   find the cases   look at all results   per case")
    for cases in args.cases:
        with TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), cases))
        row = rows[-1]
        per_case = 1000 * (row["find_s"] + row["continue_s"]) / cases
        print(f"{cases:6d} {row['find_s']:14.3f} s {row['continue_s']:19.3f} s {per_case:7.3f} ms", flush=True)
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
    return {"cases": cases, "find_s": between - begun, "continue_s": ended - between}


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
