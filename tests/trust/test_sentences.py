from magms_nnunet.trust.sentences import sentences

EXPECTED = {"mean": 0.506, "sd": 0.2, "cases": 67, "dataset": "Dataset240", "regions": {}, "protocol": "masked"}
BOUND = {"dice": 0.714, "estimate": 0.9, "coverage": 0.9, "calibration_cases": 67}


def report(**changes):
    return {
        "case": "p1",
        "modalities_used": ["T1"],
        "expected_dice": EXPECTED,
        "weak": True,
        "next_scan": {"modality": "T1c", "expected_dice": 0.68, "gain": 0.174},
        "dice_at_least": {"whole": BOUND, "core": BOUND | {"dice": 0.1}},
    } | changes


def test_a_patient_has_a_line_on_the_subset_and_one_on_the_bounds():
    assert [*sentences([report()])] == [
        "p1 from T1: expected Dice 0.51 (SD 0.20, 67 cases of Dataset240), WEAK; T1c would add 0.17",
        "p1: Dice of whole >= 0.71, core >= 0.10, each with 90% confidence (calibrated on 67 cases like those of "
        "Dataset240)",
    ]


def test_many_patients_have_a_line_per_subset():
    strong = report(modalities_used=["T1", "T1c"], weak=False, next_scan=None)
    assert [*sentences([report(), strong, report()])] == [
        "2 cases from T1: expected Dice 0.51 (SD 0.20, 67 cases of Dataset240), WEAK; T1c would add 0.17",
        "1 case from T1+T1c: expected Dice 0.51 (SD 0.20, 67 cases of Dataset240)",
    ]


def test_what_is_not_known_is_said_of_a_single_patient_only():
    unknown = report(expected_dice=None, weak=None, next_scan=None, dice_at_least=None)
    assert [*sentences([unknown])] == [
        "p1 from T1: the Dice to expect is not known (magms_evaluate --attach measures it)"
    ]
    assert [*sentences([unknown, unknown])] == []
    assert [*sentences([])] == []
