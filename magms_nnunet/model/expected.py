"""The Dice of a model in its evaluation, kept beside it, as the quality to expect of a prediction."""

from pathlib import Path, PureWindowsPath

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Subset
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.model.model_json import read_model_json
from magms_nnunet.storage.json_files import replace_json

FILE = "magms_expected_dice.json"
_RESIDUALS = "residuals"


def attach(folder: Path, evaluations: dict) -> Path:
    """Keep the results of evaluations beside the model.

    Args:
        folder: of the model.
        evaluations: ``sha256`` and ``fill`` of the model, ``protocol``, ``dataset`` (or name of the folder of images),
            number of ``cases``, and ``subsets``: subset -> ``{"cases": number that have it, "mean": Dice,
            "regions": {region: Dice}}``; where they are known also ``sd``, ``mean_interval_95`` and ``residuals``:
            region -> the network's own estimate minus Dice of every case.

    Returns:
        The file.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = folder / FILE
    try:
        replace_json(path, evaluations)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): --attach needs a model that can be written to"
        ) from error
    return path


def last_name(path: str) -> str:
    """Return the last name of a path, without its place on this machine."""
    return PureWindowsPath(path).name or path  # PureWindowsPath also splits at /


def attached_dice(model: TrainedModel, subset: Subset, fill: str | None) -> dict | None:
    """Return the Dice to expect from a subset, and its source.

    Args:
        model: beside which an evaluation may be kept.
        subset: the modalities.
        fill: what takes the place of absent modalities in a model that does not read subsets.

    Returns:
        ``{"mean", "regions", "cases", "dataset", "protocol"}``, with ``sd`` and ``mean_interval_95`` where they are
        known; None: these folds were not evaluated with this filling.

    Raises:
        InputError: the file is damaged.
    """
    evaluation = _evaluation_of(model, fill)
    scores = None if evaluation is None else evaluation["subsets"].get(model.modalities.format(subset))
    if evaluation is None or scores is None:
        return None
    own = {key: value for key, value in scores.items() if key != _RESIDUALS}  # with the number of cases of the subset
    about = {key: evaluation[key] for key in ("cases", "protocol")}
    return about | own | {"dataset": last_name(evaluation["dataset"])}


def attached_mean_dice(model: TrainedModel, fill: str | None) -> dict[str, float]:
    """Return subset as ``FLAIR+T1c`` -> mean Dice; empty: these folds were not evaluated with this filling.

    Raises:
        InputError: the file is damaged.
    """
    evaluation = _evaluation_of(model, fill)
    return (
        {}
        if evaluation is None
        else {subset: float(scores["mean"]) for subset, scores in evaluation["subsets"].items()}
    )


def residuals(model: TrainedModel, subset: Subset, fill: str | None) -> dict[str, list[float]]:
    """Return the network's own estimate of its Dice minus the Dice, of every case of the evaluation.

    Args:
        model: beside which an evaluation may be kept.
        subset: the modalities.
        fill: what takes the place of absent modalities in a model that does not read subsets.

    Returns:
        Region -> values; empty where these folds were not evaluated with this filling.

    Raises:
        InputError: the file is damaged.
    """
    evaluation = _evaluation_of(model, fill)
    scores = evaluation and evaluation["subsets"].get(model.modalities.format(subset))
    return (scores or {}).get(_RESIDUALS, {})


def _evaluation_of(model: TrainedModel, fill: str | None) -> dict | None:
    """Read and check the file; None: it is missing, or belongs to other folds or another filling."""
    path = model.folder / FILE
    if not path.is_file():
        return None
    evaluation = read_model_json(path)
    try:
        for key in ("cases", "protocol"):
            evaluation[key]
        last_name(evaluation["dataset"])
        for scores in evaluation["subsets"].values():
            float(scores["mean"])
            [float(value) for values in scores.get(_RESIDUALS, {}).values() for value in values]
        is_of_this = (evaluation["sha256"], evaluation["fill"]) == (model.fingerprint, fill)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: remove it, or run magms_evaluate --attach again") from error
    return evaluation if is_of_this else None
