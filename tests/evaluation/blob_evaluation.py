"""An evaluation folder with pictures: blobs on a brain, and predictions that get better with the modalities."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from magms_nnunet.images.checks import STRICT
from magms_nnunet.metrics.scores import Reference, read_scores, summarise, write_scores
from magms_nnunet.modalities import Modalities

REGIONS = {"whole_tumor": (1, 2, 3), "tumor_core": (2, 3), "enhancing_tumor": (3,)}
WORTH = (0.30, 0.12, 0.38, 0.16, 0.2)  # how well each modality alone shows the blob; only the best three add up
TISSUE = ((0, 70, 50, 30), (0, -15, -30, -20), (0, -10, -25, 90), (0, 60, 70, 40))  # grey per modality and label


def write_blob_evaluation(
    folder: Path,
    modalities: Sequence[str] = ("FLAIR", "T1", "T1c", "T2"),
    regions: dict[str, tuple[int, ...]] = REGIONS,
    cases: Sequence[str] = tuple(f"BRATS_{number:03d}" for number in range(1, 7)),
    subsets: Sequence[str] | None = None,
    size: int = 64,
    **run: object,
) -> Path:
    """Write run.json, scores.csv, entropy.csv, summary.json and slices/; ``run`` replaces entries of run.json."""
    (folder / "slices").mkdir(parents=True)
    names = Modalities(tuple(modalities))
    by_name = {names.format(subset): subset for subset in names.subsets()}
    subsets = list(by_name) if subsets is None else list(subsets)
    shown = sorted({channel for subset in subsets for channel in by_name[subset]})
    rows, entropy = [], []
    for index, case in enumerate(cases):
        rng = np.random.default_rng(index)
        brain, tumour = _fields(rng, size)
        reference = _labels(brain, tumour, 0, rng)
        scorer = Reference(reference, regions, (1.0, 1.0))
        predictions = []
        for subset in subsets:
            quality = 0.1 + sum(sorted((WORTH[channel] for channel in by_name[subset]), reverse=True)[:3])
            predictions.append(_labels(brain, tumour, 0.9 * (1 - quality), rng))
            rows += scorer.score(case, subset, predictions[-1])
            entropy.append({"case": case, "subset": subset, "entropy_nats": 0.03 * (1.2 - quality)})
        images = np.stack([_image(brain, reference, channel, rng) for channel in shown])
        np.savez_compressed(
            folder / "slices" / f"{case}.npz",
            images=images,
            reference=reference,
            predictions=np.stack(predictions),
            spacing_mm=np.array([1.0, 1.0]),
        )
    write_scores(folder / "scores.csv", rows)
    with open(folder / "entropy.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(entropy[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(entropy)
    summary = summarise(read_scores(folder / "scores.csv"), pd.DataFrame(entropy), subsets, modalities)
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    content = {
        "model": {
            "name": "MAGMSTrainer__MAGMSPlans__3d_fullres",
            "dataset": "Dataset210_BraTS",
            "trainer": "MAGMSTrainer",
            "plans": "MAGMSPlans",
            "configuration": "3d_fullres",
            "folds": ["0"],
            "checkpoint": "checkpoint_final.pth",
            "sha256": "0123456789abcdef" * 4,
        },
        "protocol": "masked",
        "fill": None,
        "settings": {"step_size": 0.5, "mirroring": True},
        "checks": asdict(STRICT),
        "modalities": list(modalities),
        "regions": regions,
        "subsets": subsets,
        "cases": list(cases),
        "training": {"epochs": 1000, "seconds": 93600.0, "seconds_per_epoch": 93.6, "modalities": len(modalities)},
        "versions": {"magms_nnunet": "0.1.0", "nnunetv2": "2.8.1", "torch": "2.13.0"},
        "command": "magms_evaluate -d 210 -c 3d_fullres -f 0 -o OUT",
    }
    (folder / "run.json").write_text(json.dumps(content | run), encoding="utf-8")
    return folder


def _fields(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Brain and tumour ``(size, size)``: 0 in the middle of each, 1 at its edge."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle, side = rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.42)
    wobble = 0.25 * gaussian_filter(rng.standard_normal((size, size)), size / 16) * size / 8
    tumour = np.hypot(x - 0.25 * np.cos(angle), y - 0.3 * np.sin(angle)) / side + wobble
    return np.hypot(x / 0.72, y / 0.88), tumour


def _labels(brain: np.ndarray, tumour: np.ndarray, error: float, rng: np.random.Generator) -> np.ndarray:
    """Shells 1, 2 and 3 of the tumour, uint8, its edges displaced by smooth noise of the size ``error``."""
    size = len(tumour)
    shells = tumour + error * gaussian_filter(rng.standard_normal((size, size)), size / 20) * size / 6
    return ((shells < 1).astype(np.uint8) + (shells < 0.7) + (shells < 0.45)) * (brain < 1)


def _image(brain: np.ndarray, labels: np.ndarray, channel: int, rng: np.random.Generator) -> np.ndarray:
    size = len(labels)
    texture = gaussian_filter(rng.standard_normal((size, size)), size / 50) * size / 25
    grey = 95 + 20 * texture + np.array(TISSUE[channel % 4])[labels] + 40 * (np.abs(brain - 0.95) < 0.05)
    return np.where(brain < 1, np.clip(grey, 1, 255), 0).astype(np.uint8)
