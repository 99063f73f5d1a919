"""Checks of the content of an evaluation's run.json."""

from collections.abc import Callable
from pathlib import Path

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.modalities import Modalities


def check_run(path: Path, run: dict) -> None:
    """Check that the values have the types that magms_evaluate writes; keys may be missing.

    Args:
        path: of run.json, for the message.
        run: its content.

    Raises:
        InputError: the file is damaged, or was written by another program.
    """
    for key, (is_right, description) in _KINDS.items():
        if key in run and not is_right(run[key]):
            raise InputError(f"{path}: {key} must be {description}, got {shorten(run[key])}: evaluate again")


def lacking(run: dict) -> set[tuple[str, str]]:
    """Return case and subset of a run that have no score, because the case lacks a modality of the subset."""
    absent = run.get("absent_modalities")
    if not absent:
        return set()
    modalities = Modalities(tuple(run["modalities"]))
    names = {modalities.format(subset): {modalities.names[m] for m in subset} for subset in modalities.subsets()}
    return {
        (case, subset)
        for case, of_case in absent.items()
        for subset in run["subsets"]
        if not names.get(subset, set()).isdisjoint(of_case)
    }


def _are_names(value) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_model(value) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str) for key in ("name", "dataset", "sha256"))
        and isinstance(value.get("folds"), list)
    )


def _are_regions(value) -> bool:
    return isinstance(value, dict) and all(isinstance(labels, list) for labels in value.values())


def _are_names_of_cases(value) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_are_names, value.values())))


def _is_object_or_none(value) -> bool:
    return value is None or isinstance(value, dict)


_NAMES = (_are_names, "a list of names")
_OBJECT = (_is_object_or_none, "an object")
_KINDS: dict[str, tuple[Callable[..., bool], str]] = {
    "model": (_is_model, "an object with name, dataset, sha256 and folds"),
    "protocol": (lambda value: isinstance(value, str), "a name"),
    "settings": _OBJECT,
    "folders_sha256": _OBJECT,
    "checks": _OBJECT,
    "modalities": _NAMES,
    "regions": (_are_regions, "an object of lists of labels"),
    "subsets": _NAMES,
    "all_cases": _NAMES,
    "cases": _NAMES,
    "absent_modalities": (_are_names_of_cases, "an object of lists of modalities"),
    "training": _OBJECT,
}
