"""What run.json of an evaluation must hold, wherever it is read back."""

from collections.abc import Callable
from pathlib import Path

from magms_nnunet.errors import InputError, shorten


def check_run(path: Path, run: dict) -> None:
    """See that what is there is of the kind that magms_evaluate writes; keys may be missing.

    Args:
        path: of run.json, for the message.
        run: its content.

    Raises:
        InputError: it was damaged, or written by something else.
    """
    for key, (is_right, description) in _KINDS.items():
        if key in run and not is_right(run[key]):
            raise InputError(f"{path}: {key} must be {description}, got {shorten(run[key])}: evaluate again")


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
    "training": _OBJECT,
}
