"""A table of the results of every case of a cohort, over all runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from magms_nnunet.images.cases import Case
from magms_nnunet.inference.earlier_results import read_report
from magms_nnunet.storage.csv_files import write_csv

FILE = "predictions.csv"
_COLUMNS = ("case", "state", "modalities", "expected_dice", "weak", "next_scan", "message")


def write_table(output: Path, cases: Sequence[Case], failed: Mapping[str, str], part: int, parts: int) -> None:
    """Write ``predictions.csv``; a part of the cases writes ``predictions_K_of_N.csv``.

    Args:
        output: folder of the results.
        cases: of this part.
        failed: case -> message.
        part: number of this part, from 0.
        parts: number of parts.
    """
    rows = []
    for case in cases:
        if case.name in failed:
            rows.append((case.name, "failed", "", "", "", "", failed[case.name]))
        elif report := read_report(output / f"{case.name}.json"):
            expected, scan = report.get("expected_dice") or {}, report.get("next_scan") or {}
            expectation = expected.get("mean", ""), report.get("weak"), scan.get("modality", "")
            notes = "; ".join(map(str, report.get("warnings", ())))
            rows.append((case.name, "done", "+".join(report["modalities_used"]), *expectation, notes))
    name = FILE if parts == 1 else f"predictions_{part}_of_{parts}.csv"
    write_csv(output / name, _COLUMNS, [["" if value is None else value for value in row] for row in rows])
