"""Reads plans.json and dataset.json of a model, and checks the values that prediction uses."""

import math
import re
from collections.abc import Callable
from pathlib import Path

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.agreement import with_current_keys
from magms_nnunet.storage.json_files import read_json_object

_LARGEST_LABEL = 65535  # nnU-Net writes 16 bits at most
_LARGEST_OF_A_REGION = 32767  # 8 bits for few labels, and 15 while regions are combined
_SPACING_MM = (1e-6, 1e6)
_ENDING = re.compile(r"(\.[A-Za-z0-9]+)+")  # it becomes part of file names
_INTENSITIES = "foreground_intensity_properties_per_channel"
_NAME = re.compile(r"[A-Za-z_]\w*")  # nnU-Net looks up such a name in its own folders


def read_model_json(path: Path) -> dict:
    """Return the content of a JSON file of the model.

    Raises:
        InputError: the file is missing, cannot be read, is not JSON, or holds no object.
    """
    return read_json_object(path, f"{path.parent} is not a trained model: it has no {path.name}", "copy it again")


def read_dataset_json(folder: Path) -> dict:
    """Read and check the dataset.json of a model.

    Raises:
        InputError: the file is missing, or its values make no sense.
    """
    path = folder / "dataset.json"
    content = read_model_json(path)
    check_dataset_json(path, content)
    return content


def check_dataset_json(path: Path, content: dict) -> None:
    """Check that a dataset.json can be that of a model; ``path`` is for messages.

    Raises:
        InputError: its values make no sense, or no result could be written.
    """
    Modalities.from_dataset_json(content)
    labels = content.get("labels")
    if not isinstance(labels, dict) or labels.get("background") != 0:
        raise InputError(f"{path}: labels must be names and numbers, background 0, got {shorten(labels)}")
    declared = []
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(label) is int and 0 <= label <= _LARGEST_LABEL for label in values):
            raise InputError(
                f"{path}: label {shorten(name)} must be a number from 0 to {_LARGEST_LABEL}, or a list of such, got "
                f"{shorten(value)}"
            )
        declared += values
    order = content.get("regions_class_order")
    if order is not None and not (isinstance(order, list) and all(label in declared for label in order)):
        raise InputError(f"{path}: regions_class_order must list numbers that labels holds, got {shorten(order)}")
    few = len(set(declared) - {0, labels.get("ignore")}) < 255
    if order is not None and max(order, default=0) > (most := 255 if few else _LARGEST_OF_A_REGION):
        raise InputError(
            f"{path}: regions_class_order holds {max(order)}, and nnU-Net would write another number in its place: "
            f"train with numbers up to {most}"
        )
    ending = content.get("file_ending")
    if not isinstance(ending, str) or not _ENDING.fullmatch(ending):
        raise InputError(f"{path}: file_ending must be something like .nii.gz, got {shorten(ending)}")


def without_listed_files(dataset_json: dict) -> dict:
    """Return a dataset.json without its lists of training files, which name patients and folders."""
    return {key: value for key, value in dataset_json.items() if key != "dataset"}


def read_plans(folder: Path) -> dict:
    """Read the plans.json of a model with the current keys, and check the values that all configurations share.

    Raises:
        InputError: the file is missing, or its values make no sense.
    """
    path = folder / "plans.json"
    plans = with_current_keys(read_model_json(path))
    check_plans(path, plans)
    return plans


def check_plans(path: Path, plans: dict) -> None:
    """Check the values of plans, with the current keys, that all configurations share; ``path`` is for messages.

    Raises:
        InputError: a value makes no sense.
    """
    _check(path, "", {"label_manager": "LabelManager", **plans}, _PLANS)
    forward, backward = plans["transpose_forward"], plans["transpose_backward"]
    if [forward[axis] for axis in backward] != [0, 1, 2]:
        raise InputError(f"{path}: transpose_backward {backward} does not undo transpose_forward {forward}")
    for name, configuration in plans["configurations"].items():
        if not isinstance(configuration, dict):
            raise InputError(f"{path}: configurations.{name} must be an object, got {shorten(configuration)}")


def check_configuration(path: Path, name: str, configuration: dict) -> None:
    """Check the values of a configuration that preprocessing and prediction use.

    Args:
        path: of plans.json, for the message.
        name: of the configuration, such as 3d_fullres.
        configuration: with inherited values.

    Raises:
        InputError: a key is missing or its value makes no sense.
    """
    _check(path, f"configurations.{name}.", configuration, _CONFIGURATION)
    if len(configuration["use_mask_for_norm"]) != len(configuration["normalization_schemes"]):
        raise InputError(
            f"{path}: configurations.{name} names more or fewer normalization_schemes than use_mask_for_norm"
        )


def _check(path: Path, where: str, content: dict, wanted: dict[str, tuple[Callable, str]]) -> None:
    for key, (is_right, description) in wanted.items():
        if key not in content:
            raise InputError(f"{path} lacks {where}{key}: copy it again from whoever trained the model")
        if not is_right(content[key]):
            raise InputError(f"{path}: {where}{key} must be {description}, got {shorten(content[key])}")


def _is_name(value) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_object(value) -> bool:
    return isinstance(value, dict)


def _is_object_of_objects(value) -> bool:
    return _is_object(value) and all(map(_is_object, value.values()))


def _is_permutation(value) -> bool:
    return isinstance(value, list) and all(type(axis) is int for axis in value) and sorted(value) == [0, 1, 2]


def _is_spacing(value) -> bool:
    smallest, largest = _SPACING_MM
    return (
        isinstance(value, list)
        and len(value) in (2, 3)
        and all(type(mm) in (int, float) and math.isfinite(mm) and smallest <= mm <= largest for mm in value)
    )


def _list_of(is_right: Callable) -> Callable:
    return lambda value: isinstance(value, list) and bool(value) and all(map(is_right, value))


_A_NAME = (_is_name, "a name of nnU-Net's")
_AN_OBJECT = (_is_object, "an object")
_PLANS: dict[str, tuple[Callable, str]] = {
    "dataset_name": (lambda value: isinstance(value, str), "a name"),
    "plans_name": (lambda value: isinstance(value, str), "a name"),
    "image_reader_writer": _A_NAME,
    "transpose_forward": (_is_permutation, "an order of the axes 0, 1, 2"),
    "transpose_backward": (_is_permutation, "an order of the axes 0, 1, 2"),
    "label_manager": _A_NAME,
    _INTENSITIES: (_is_object_of_objects, "an object that holds an object per channel"),
    "configurations": _AN_OBJECT,
}
_CONFIGURATION: dict[str, tuple[Callable, str]] = {
    "preprocessor_name": _A_NAME,
    "spacing": (_is_spacing, f"2 or 3 sizes in mm from {_SPACING_MM[0]:g} to {_SPACING_MM[1]:g}"),
    "normalization_schemes": (_list_of(_is_name), "names of nnU-Net's, one per modality"),
    "use_mask_for_norm": (_list_of(lambda value: isinstance(value, bool)), "true or false, one per modality"),
    **{
        f"resampling_fn_{kind}{part}": right
        for kind in ("data", "seg", "probabilities")
        for part, right in (("", _A_NAME), ("_kwargs", _AN_OBJECT))
    },
}
