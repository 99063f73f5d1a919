"""Evaluation folders with scores that a test chooses."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

from magms_nnunet.images.checks import STRICT
from magms_nnunet.metrics.scores import write_scores


def write_evaluation(folder: Path, dice: dict, modalities=("FLAIR", "T1c"), hd95_mm=None, entropy=None, **run) -> Path:
    """A folder as magms_evaluate writes it.

    Args:
        folder: to make.
        dice: subset -> case -> Dice, or region -> Dice.
        modalities: of the model.
        hd95_mm: the same for HD95; 10 times what Dice lacks to 1 if not given.
        entropy: subset -> case -> nats.
        run: replaces entries of run.json.
    """
    rows = []
    for subset, of_cases in dice.items():
        for case, value in of_cases.items():
            for region, number in (value if isinstance(value, dict) else {"whole": value}).items():
                distance = hd95_mm[subset][case] if hd95_mm else 10 * (1 - number)
                rows.append(
                    {
                        **{"case": case, "subset": subset, "region": region, "dice": number, "hd95_mm": distance},
                        **{"hd95_brats_mm": distance, "reference_mm3": 8.0, "predicted_mm3": 8.0, "presence": "both"},
                    }
                )
    folder.mkdir(parents=True)
    write_scores(folder / "scores.csv", rows)
    contents = {
        "model": {
            "name": f"{folder.name}__Plans__2d",
            "dataset": "Dataset210_BraTS",
            "folds": ["0"],
            "sha256": folder.name,
        },
        "protocol": "masked",
        "fill": None,
        "settings": {"step_size": 0.5, "mirroring": True},
        "checks": asdict(STRICT),
        "modalities": list(modalities),
        "regions": {region: [1] for region in dict.fromkeys(row["region"] for row in rows)},
        "subsets": list(dice),
        "cases": list(dict.fromkeys(row["case"] for row in rows)),
        "training": {"epochs": 1000, "seconds": 7200.0, "seconds_per_epoch": 7.2, "modalities": len(modalities)},
    }
    (folder / "run.json").write_text(json.dumps(contents | run))
    if entropy:
        with (folder / "entropy.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "subset", "entropy_nats"])
            writer.writerows([case, subset, nats] for subset, of in entropy.items() for case, nats in of.items())
    return folder
