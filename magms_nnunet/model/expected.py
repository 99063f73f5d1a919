"""The Dice that a model had in its own evaluation, kept beside it: what to expect of a prediction from a subset."""

from pathlib import Path, PureWindowsPath

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Subset
from magms_nnunet.model.model import TrainedModel
from magms_nnunet.model.model_json import read_model_json
from magms_nnunet.storage.json_files import replace_json

FILE = "magms_expected_dice.json"
_RESIDUALS = "residuals"


def attach(folder: Path, evaluations: dict) -> Path:
    """Keep what evaluations say beside the model.

    Args:
        folder: of the model.
        evaluations: ``sha256`` and ``fill`` that they are of, ``protocol``, ``dataset`` (or name of the folder of
            images), number of ``cases``, and ``subsets``: subset -> ``{"cases": how many have it, "mean": Dice,
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
    """Of a folder, without where it lies on this machine."""
    return PureWindowsPath(path).name or path  # it separates names by / as well


def expected_dice(model: TrainedModel, subset: Subset, fill: str | None) -> dict | None:
    """What to expect from a subset, and where that comes from.

    Returns:
        ``{"mean", "regions", "cases", "dataset", "protocol"}``, with ``sd`` and ``mean_interval_95`` where they are
        known; None: nobody evaluated these folds with this filling.

    Raises:
        InputError: the file is damaged.
    """
    known = _known(model, fill)
    scores = None if known is None else known["subsets"].get(model.modalities.format(subset))
    if known is None or scores is None:
        return None
    own = {key: value for key, value in scores.items() if key != _RESIDUALS}  # with the number of cases of the subset
    about = {key: known[key] for key in ("cases", "protocol")}
    return about | own | {"dataset": last_name(known["dataset"])}


def mean_dice(model: TrainedModel, fill: str | None) -> dict[str, float]:
    """Subset as ``FLAIR+T1c`` -> mean Dice; empty: nobody evaluated these folds with this filling.

    Raises:
        InputError: the file is damaged.
    """
    known = _known(model, fill)
    return {} if known is None else {subset: float(scores["mean"]) for subset, scores in known["subsets"].items()}


def residuals(model: TrainedModel, subset: Subset, fill: str | None) -> dict[str, list[float]]:
    """Region -> the network's own estimate minus Dice, of every case of the evaluation; empty: they are not known.

    Raises:
        InputError: the file is damaged.
    """
    known = _known(model, fill)
    scores = known and known["subsets"].get(model.modalities.format(subset))
    return (scores or {}).get(_RESIDUALS, {})


def _known(model: TrainedModel, fill: str | None) -> dict | None:
    """Content of the file, checked; None: there is none, or it is of other folds or another filling."""
    path = model.folder / FILE
    if not path.is_file():
        return None
    known = read_model_json(path)
    try:
        for key in ("cases", "protocol"):
            known[key]
        last_name(known["dataset"])
        for scores in known["subsets"].values():
            float(scores["mean"])
            [float(value) for values in scores.get(_RESIDUALS, {}).values() for value in values]
        is_of_this = (known["sha256"], known["fill"]) == (model.fingerprint, fill)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: remove it, or run magms_evaluate --attach again") from error
    return known if is_of_this else None
