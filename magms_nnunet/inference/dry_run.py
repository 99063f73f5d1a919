"""``magms_predict --dry-run``: plans a run from the names and headers of files, and writes nothing."""

from collections import Counter
from dataclasses import dataclass, field

from tqdm import tqdm

from magms_nnunet.errors import CaseError
from magms_nnunet.images.cases import check_headers, choose_modalities
from magms_nnunet.inference.command import PredictionRequest, cases_of, check_name, previous_stage_of, why_misnamed
from magms_nnunet.inference.earlier_results import check_replaceable, is_finished
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.model_json import read_dataset_json, read_plans


@dataclass
class Plan:
    """The plan of a run.

    Attributes:
        subsets: modalities -> number of cases to predict from them.
        finished: number of finished cases.
        failed: case -> reason why it would fail.
    """

    subsets: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def plan(request: PredictionRequest) -> Plan:
    """Plan a run.

    Raises:
        InputError: nothing could be predicted.
    """
    folder = request.model.folder()
    dataset_json, plans = read_dataset_json(folder), read_plans(folder)
    modalities, ending = Modalities.from_dataset_json(dataset_json), dataset_json["file_ending"]
    requested = None if request.modalities is None else modalities.parse(modalities.split(request.modalities))
    request.model.check(request.window, requested, modalities)
    extras = request.extras.of_model(dataset_json, len(request.model.existing_folds()))
    cases, misnamed = cases_of(request, modalities, ending)
    found = Plan(failed={path.name: why_misnamed(path, ending) for path in misnamed[request.part :: request.parts]})
    header_checks = {
        "geometry_tolerance": request.checks.geometry_tolerance,
        "allow_two_positions": request.checks.allow_two_positions,
        "volumes": request.model.reads_volumes(plans),
    }
    own_cases = cases[request.part :: request.parts]
    for case in tqdm(own_cases, "reading headers", unit="case", leave=False, disable=not request.progress_bar):
        try:
            check_name(case, ending)
            subset = choose_modalities(case, requested, modalities, ending)
            previous_stage_of(case, request.previous_stage, ending)
            done = is_finished(case.name, request.output, ending, request.save_probabilities, extras)
            if done and request.continue_prediction:
                found.finished += 1
                continue
            check_replaceable(case.name, request.output, ending)
            check_headers(case, subset, modalities, **header_checks)
            found.subsets[modalities.format(subset)] += 1
        except CaseError as error:
            found.failed[case.name] = error.message
    return found
