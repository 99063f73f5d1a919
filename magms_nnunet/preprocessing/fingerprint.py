"""nnU-Net's fingerprint of a dataset in which cases lack modalities."""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.paths import nnUNet_preprocessed
from tqdm import tqdm

from magms_nnunet.nnunet.raw_dataset import Files
from magms_nnunet.storage.files import write_then_rename


def extract_fingerprint(
    extractor: DatasetFingerprintExtractor, files: Mapping[str, Files], overwrite_existing: bool = False
) -> dict:
    """Write and return the fingerprint, with each modality's intensities from the cases that have it.

    Args:
        extractor: of the dataset.
        files: of each case, by channel; at least one per case, and each modality in at least one case.
        overwrite_existing: whether to extract an existing fingerprint again.

    Returns:
        As nnU-Net's extractor does.
    """
    path = Path(nnUNet_preprocessed) / extractor.dataset_name / "dataset_fingerprint.json"
    if path.is_file() and not overwrite_existing:
        return load_json(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    first_file = next(iter(next(iter(files.values())).values()))
    reader = determine_reader_writer_from_dataset_json(extractor.dataset_json, first_file)
    samples = int(extractor.num_foreground_voxels_for_intensitystats // len(files))
    jobs = [([*of_case.values()], extractor.dataset[case]["label"], reader, samples) for case, of_case in files.items()]
    with ProcessPoolExecutor(extractor.num_processes, multiprocessing.get_context("spawn")) as pool:
        found = pool.map(extractor.analyze_case, *zip(*jobs, strict=True))
        bar = tqdm(found, "Extracting dataset fingerprint", len(jobs), disable=not extractor.show_progress_bar)
        shapes, spacings, intensities, _, relative_sizes = zip(*bar, strict=True)
    by_channel: dict[int, list] = {}
    for of_case, values in zip(files.values(), intensities, strict=True):
        for channel, of_channel in zip(of_case, values, strict=True):
            by_channel.setdefault(channel, []).append(of_channel)
    fingerprint = {
        "spacings": list(spacings),
        "shapes_after_crop": list(shapes),
        "foreground_intensity_properties_per_channel": {
            channel: _properties(np.concatenate(values)) for channel, values in sorted(by_channel.items())
        },
        "median_relative_size_after_cropping": np.median(relative_sizes, 0),
    }
    write_then_rename(path, lambda file: save_json(fingerprint, str(file)))
    return fingerprint


def _properties(values: np.ndarray) -> dict[str, float]:
    percentile_00_5, median, percentile_99_5 = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "mean": float(np.mean(values)),
        "median": float(median),
        "std": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentile_99_5": float(percentile_99_5),
        "percentile_00_5": float(percentile_00_5),
    }
