"""The lines on the terminal about the trust in results: one per subset, and the bounds of a single patient."""

from collections.abc import Iterator, Sequence


def sentences(reports: Sequence[dict]) -> Iterator[str]:
    """Yield lines on finished cases.

    Args:
        reports: contents of the JSON beside each result.
    """
    of_subset: dict[str, list[dict]] = {}
    for report in reports:
        of_subset.setdefault("+".join(report["modalities_used"]), []).append(report)
    for subset, group in of_subset.items():
        if group[0]["expected_dice"] is None and len(reports) > 1:
            continue
        what = group[0]["case"] if len(reports) == 1 else f"{len(group)} case{'s' if len(group) > 1 else ''}"
        yield f"{what} from {subset}: {_expectation(group[0])}"
    if len(reports) == 1 and (bounds := reports[0]["dice_at_least"]):
        at_least = ", ".join(f"{region} >= {bound['dice']:.2f}" for region, bound in bounds.items())
        first = next(iter(bounds.values()))
        yield (
            f"{reports[0]['case']}: Dice of {at_least}, each with {first['coverage']:.0%} confidence (calibrated on "
            f"{first['calibration_cases']} cases like those of {reports[0]['expected_dice']['dataset']})"
        )


def summary(reports: Sequence[dict], failed: int, seconds: float) -> str:
    """Return the last line on many cases: how many are done, weak and failed, the time, and the output folder.

    Args:
        reports: contents of the JSON beside each result.
        failed: number of cases.
        seconds: duration of the run.
        output: folder of the results.
    """
    weak = sum(bool(report["weak"]) for report in reports)
    return f"{len(reports)} done, {weak} of them weak, {failed} failed, {seconds:.0f} s"


def _expectation(report: dict) -> str:
    expected, scan = report["expected_dice"], report["next_scan"]
    if expected is None:
        return "the Dice to expect is not known (magms_evaluate --attach measures it)"
    sd = f"SD {expected['sd']:.2f}, " if "sd" in expected else ""
    text = f"expected Dice {expected['mean']:.2f} ({sd}{expected['cases']} cases of {expected['dataset']})"
    if report["weak"]:
        text += ", WEAK"
    if scan is not None:
        text += f"; {scan['modality']} would add {scan['gain']:.2f}"
    return text
