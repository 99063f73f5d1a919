"""The Dice that a model had in its own evaluation, kept beside it: what to expect of a prediction from a subset."""

import json
from pathlib import Path, PureWindowsPath

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Subset
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.model.model_json import read_json
from magms_nnunet.storage.files import write_then_rename

FILE = "magms_expected_dice.json"


def attach(folder: Path, evaluations: dict) -> Path:
    """Keep what evaluations say beside the model.

    Args:
        folder: of the model.
        evaluations: ``sha256`` and ``fill`` that they are of, ``protocol``, ``dataset`` (or name of the folder of
            images), number of ``cases``, and ``subsets``: subset -> ``{"cases": how many have it, "mean": Dice,
            "regions": {region: Dice}}``.

    Returns:
        The file.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = folder / FILE
    try:
        write_then_rename(path, lambda name: Path(name).write_text(json.dumps(evaluations, indent=2)))
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): --attach needs a model that can be written to"
        ) from error
    return path


def last_name(path: str) -> str:
    """Of a folder, without where it lies on this machine."""
    return PureWindowsPath(path).name or path  # it separates names by / as well


def expected_dice(model: TrainedModel, subset: Subset, fill: str | None) -> dict | None:
    """What to expect from a subset, and where that comes from.

    Returns:
        ``{"mean", "regions", "cases", "dataset", "protocol"}``; None: nobody evaluated these folds with this filling.

    Raises:
        InputError: the file is damaged.
    """
    path = model.folder / FILE
    if not path.is_file():
        return None
    known = read_json(path)
    try:
        scores = known["subsets"].get(model.modalities.format(subset))
        if scores is None or (known["sha256"], known["fill"]) != (model.fingerprint, fill):
            return None
        about = {key: known[key] for key in ("cases", "protocol")}  # scores hold the number of cases of the subset
        return {**about, **scores, "dataset": last_name(known["dataset"])}
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged: remove it, or run magms_evaluate --attach again") from error
