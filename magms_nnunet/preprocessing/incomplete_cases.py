"""Lets nnU-Net's commands process training cases that lack modalities, and refuses them elsewhere.

nnU-Net lists a case's images by position and assumes that none is missing. For a dataset with gaps its preprocessing
gets another image of the same case in place of a missing one, so that grid and crop are those of the existing images;
the channel is then overwritten with NaN. So the preprocessed case itself shows what it lacks, and no trainer can
mistake it for an image. nnU-Net processes a complete dataset unchanged.

:mod:`magms_nnunet.autoload` applies the functions named ``change_*`` to nnU-Net's modules. It passes the module and the
names of our planners, whose plans allow such cases.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path

from magms_nnunet.errors import InputError, listing, one_line
from magms_nnunet.nnunet.raw_dataset import Files, incomplete_files
from magms_nnunet.preprocessing.available_modalities import AvailableModalities


class StandIn(str):
    """The path of another image of a case, read in place of the one that the case lacks."""


def check_gaps(files: Mapping[str, Files], names: Sequence[str]) -> None:
    """Check that each case has a modality and each modality a case.

    Args:
        files: of each case, by channel.
        names: of the modalities.

    Raises:
        InputError: a case or a modality has no image; names them.
    """
    if empty := [case for case, of_case in files.items() if not of_case]:
        raise InputError(
            one_line(
                f"training cases without any image: {listing(empty, separator='; ')}: add images or remove the cases"
            )
        )
    if nowhere := [name for channel, name in enumerate(names) if not any(channel in have for have in files.values())]:
        raise InputError(
            one_line(f"no training case has {' or '.join(nowhere)}: add images, or remove it from dataset.json")
        )


def summary(files: Mapping[str, Files], names: Sequence[str]) -> str:
    """Return the number of cases that have each modality, as a line.

    Args:
        files: of each case, by channel.
        names: of the modalities."""
    counts = (f"{name} {sum(channel in have for have in files.values())}" for channel, name in enumerate(names))
    gaps = sum(len(of_case) < len(names) for of_case in files.values())
    return f"{gaps} of {len(files)} training cases are incomplete; cases with {', '.join(counts)}"


def change_fingerprint(module, planners: Container[str]) -> None:
    """Extract the fingerprint of a dataset with gaps from the existing images."""
    extractor = module.DatasetFingerprintExtractor
    run = extractor.run

    @wraps(run)
    def run_with_gaps(self, overwrite_existing: bool = False) -> dict:
        files = incomplete_files(self.dataset, self.dataset_json)
        if files is None:
            try:
                return run(self, overwrite_existing)
            except IndexError:  # raised by nnU-Net where each file holds fewer channels than the dataset
                files = incomplete_files(self.dataset, self.dataset_json, several_channels_per_file=False)
                if files is None:
                    raise
        check_gaps(files, _names(self.dataset_json))
        # Imported here because it needs ``module``, which is being imported while this function is applied.
        from magms_nnunet.preprocessing.fingerprint import extract_fingerprint

        return extract_fingerprint(self, files, overwrite_existing)

    extractor.run = run_with_gaps


def change_planner(module, planners: Container[str]) -> None:
    """Refuse a dataset with gaps where the planner is not of this package."""
    planner = module.ExperimentPlanner
    plan = planner.plan_experiment

    @wraps(plan)
    def plan_complete(self):
        if not hasattr(self, "takes_incomplete_cases"):
            _refuse_gaps(self.dataset, self.dataset_json)
        return plan(self)

    planner.plan_experiment = plan_complete


def change_preprocessor(module, planners: Container[str]) -> None:
    """Preprocess a dataset with gaps, for plans of this package only; missing channels become NaN."""
    preprocessor = module.DefaultPreprocessor
    run, run_case = preprocessor.run, preprocessor.run_case

    @wraps(run)
    def run_with_gaps(self, dataset_name_or_id, configuration_name, plans_identifier, num_processes):
        name = module.maybe_convert_to_dataset_name(dataset_name_or_id)
        raw, folder = (Path(root) / name for root in (module.nnUNet_raw, module.nnUNet_preprocessed))
        plans, dataset_json = folder / f"{plans_identifier}.json", folder / "dataset.json"
        if plans.is_file() and dataset_json.is_file():
            own_plans = module.load_json(str(plans)).get("experiment_planner_used") in planners
            if not own_plans or type(self).run_case is not preprocessor.run_case:
                content = module.load_json(str(dataset_json))
                _refuse_gaps(listed(str(raw), content), content)
        return run(self, dataset_name_or_id, configuration_name, plans_identifier, num_processes)

    @wraps(run_case)
    def run_case_with_gaps(self, image_files, *args, **kwargs):
        data, seg, properties = run_case(self, image_files, *args, **kwargs)
        for channel, file in enumerate(image_files):
            if isinstance(file, StandIn):
                data[channel] = float("nan")
        return data, seg, properties

    listed = module.get_filenames_of_train_images_and_targets
    change_listing(module, planners)
    preprocessor.run, preprocessor.run_case = run_with_gaps, run_case_with_gaps


def change_listing(module, planners: Container[str]) -> None:
    """List a dataset with gaps with stand-ins; used for ``--verify_dataset_integrity``, too."""
    listed = module.get_filenames_of_train_images_and_targets

    @wraps(listed)
    def listed_with_stand_ins(raw_dataset_folder: str, dataset_json: dict | None = None) -> dict:
        if dataset_json is None:
            return listed(raw_dataset_folder)
        cases = listed(raw_dataset_folder, dataset_json)
        files = incomplete_files(cases, dataset_json)
        if files is None:
            return cases
        names = _names(dataset_json)
        check_gaps(files, names)
        return {case: {**cases[case], "images": _with_stand_ins(files[case], len(names))} for case in cases}

    module.get_filenames_of_train_images_and_targets = listed_with_stand_ins


def change_trainer(module, planners: Container[str]) -> None:
    """Refuse preprocessed cases with gaps where the trainer is not of this package."""
    trainer = module.nnUNetTrainer
    datasets_of = trainer.get_tr_and_val_datasets

    @wraps(datasets_of)
    def complete_datasets(self):
        datasets = datasets_of(self)
        own_plans = self.plans_manager.plans.get("experiment_planner_used") in planners
        if own_plans and not hasattr(self, "takes_incomplete_cases"):
            names = _names(self.dataset_json)
            if cases := AvailableModalities.of_datasets(datasets, len(names)).incomplete():
                incomplete = _missing_modalities(cases, names)
                raise InputError(
                    one_line(f"{type(self).__name__} needs complete cases, and {incomplete}: use -tr AnySubsetTrainer")
                )
        return datasets

    trainer.get_tr_and_val_datasets = complete_datasets


def _with_stand_ins(files: Files, count: int) -> list[str]:
    any_file = next(iter(files.values()))
    return [str(files[channel]) if channel in files else StandIn(any_file) for channel in range(count)]


def _refuse_gaps(cases: dict[str, dict], dataset_json: dict) -> None:
    if (files := incomplete_files(cases, dataset_json)) is None:
        return
    names = _names(dataset_json)
    channels = range(len(names))
    absent = ((case, [channel for channel in channels if channel not in have]) for case, have in files.items())
    incomplete = [(case, missing) for case, missing in absent if missing]
    raise InputError(
        one_line(
            f"{len(incomplete)} of {len(files)} training cases are incomplete: "
            f"{_missing_modalities(incomplete, names)}: plan and preprocess with -pl MAGMSPlanner and train with "
            "-tr AnySubsetTrainer, or add the files"
        )
    )


def _missing_modalities(cases: Iterable[tuple[str, list[int]]], names: Sequence[str]) -> str:
    """List cases and their missing channels for a message: ``p1 lacks T1 and T2; p2 lacks T2``."""
    texts = (f"{case} lacks {' and '.join(names[channel] for channel in missing)}" for case, missing in cases)
    return listing(texts, separator="; ")


def _names(dataset_json: dict) -> list[str]:
    channels = dataset_json.get("channel_names") or dataset_json["modality"]
    return [str(channels[str(channel)]) for channel in range(len(channels))]
