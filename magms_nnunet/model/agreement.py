"""Checks that checkpoint, plans.json and dataset.json in a folder belong to one model."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.optim import Optimizer

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.modalities import Modalities

_INTENSITIES = "foreground_intensity_properties_per_channel"
_INTENSITIES_BEFORE = "foreground_intensity_properties_by_modality"  # in the plans of nnU-Net 2.0

# The output of a model depends on these besides its weights, and not on the patch size, which may be changed.
_OF_DATASET = ("channel_names", "labels", "regions_class_order")
_OF_PLANS = (
    "transpose_forward",
    "transpose_backward",
    _INTENSITIES,
    "image_reader_writer",  # some reverse the axes
)
_OF_CONFIGURATION = (
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "architecture",
    "previous_stage",
    "preprocessor_name",
    *(f"resampling_fn_{kind}{part}" for kind in ("data", "seg", "probabilities") for part in ("", "_kwargs")),
)


def check_agreement(folder: Path, path: Path, content: dict, plans: dict, dataset_json: dict) -> None:
    """Check that a checkpoint was trained with the files beside it.

    Args:
        folder: of the model.
        path: of the checkpoint.
        content: of the checkpoint.
        plans: of plans.json.
        dataset_json: of dataset.json.

    Raises:
        InputError: two of them disagree; the message says which, and on what.
    """
    trained, name = content["init_args"], path.relative_to(folder)
    M, count = len(Modalities.from_dataset_json(dataset_json)), _encoders(content["network_weights"])
    if count and count != M:
        raise InputError(
            f"{path} does not fit dataset.json beside it: it holds {count} encoders for {M} modalities; they belong "
            "to different models"
        )
    _check_folder(folder, name, content, plans)
    check_trained_with(folder, name, trained, plans, dataset_json)


def check_trained_with(folder: Path, checkpoint: Path, trained: dict, plans: dict, dataset_json: dict) -> None:
    """Check that a checkpoint was trained with these plans and this dataset.json, as far as they affect its output.

    Args:
        folder: of the model, for the message.
        checkpoint: path within the folder, for the message.
        trained: ``init_args`` of the checkpoint.
        plans: the plans.
        dataset_json: content of dataset.json.

    Raises:
        InputError: two of them disagree; the message says which, and on what.
    """
    _compare(folder, "dataset.json", checkpoint, dataset_json, trained.get("dataset_json"), _OF_DATASET)
    if trained.get("plans") is None:
        return
    trained_plans = trained["plans"]
    if isinstance(trained_plans, dict):
        plans, trained_plans = with_current_keys(plans), with_current_keys(trained_plans)
    _compare(folder, "plans.json", checkpoint, plans, trained_plans, _OF_PLANS)
    name = trained.get("configuration")
    try:
        trained_configuration = PlansManager(trained["plans"]).get_configuration(name).configuration
    except Exception as error:  # the file may hold anything
        raise InputError(f"{folder / checkpoint} is damaged: the plans in it do not describe {name}") from error
    here = PlansManager(plans).get_configuration(name).configuration
    _compare(folder, "plans.json", checkpoint, here, trained_configuration, _OF_CONFIGURATION)


def check_continues(path: Path, content: dict, this_run: dict) -> None:
    """Check that a checkpoint belongs to the training that continues with it.

    Args:
        path: of the checkpoint.
        content: of the checkpoint.
        this_run: ``trainer``, ``configuration`` and ``fold`` of the training.

    Raises:
        InputError: the checkpoint belongs to another training.
    """
    trained = content.get("init_args")
    if not isinstance(trained, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it lacks init_args")
    in_checkpoint = {"trainer": content.get("trainer_name"), **{k: trained.get(k) for k in ("configuration", "fold")}}
    for what, here in this_run.items():
        if str(in_checkpoint[what]) != str(here):
            raise InputError(
                f"{path} is of {what} {shorten(in_checkpoint[what])}, not {shorten(here)}: move it away, or train with "
                "what it is of"
            )


def check_checkpoint_fits(path: Path, content: dict, network: nn.Module, optimizer: Optimizer) -> None:
    """Check that a training can continue with the weights and the optimizer's state of a checkpoint.

    Args:
        path: of the checkpoint.
        content: of the checkpoint.
        network: without wrappers, as the trainer makes it.
        optimizer: of the network, as the trainer makes it.

    Raises:
        InputError: they belong to another network or optimizer.
    """
    weights, state = content.get("network_weights"), content.get("optimizer_state")
    if not isinstance(weights, dict) or not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it lacks network_weights or optimizer_state")
    shapes = {name.removeprefix("module."): getattr(weight, "shape", None) for name, weight in weights.items()}
    if shapes != {name: weight.shape for name, weight in network.state_dict().items()}:
        raise InputError(f"{path} holds other layers than {content['trainer_name']} builds: move it away to train anew")
    groups = [len(group["params"]) for group in state["param_groups"]]
    if groups != [len(group["params"]) for group in optimizer.param_groups]:
        raise InputError(
            f"{path} was trained with another optimizer than {content['trainer_name']}'s {type(optimizer).__name__}: "
            "move it away to train anew, or give it to a new training with -pretrained_weights"
        )


def _encoders(weights: dict) -> int:
    """Return the number of encoders of a network that has one per modality; 0: a stock network."""
    return len({match[1] for match in map(re.compile(r"encoders\.(\d+)\.").match, weights) if match})


def split_folder_name(name: str) -> tuple[str, str, str] | None:
    """Return trainer, plans and configuration from the name that nnU-Net gives a folder; None: it has another name.

    The name is split from both ends, because the names of plans may hold ``__``.
    """
    trainer, _, rest = name.partition("__")
    plans, _, configuration = rest.rpartition("__")
    return (trainer, plans, configuration) if trainer and plans and configuration else None


def with_current_keys(plans: dict) -> dict:
    """Return plans of any version with the keys of the current nnU-Net; senseless values are unchanged."""
    if _INTENSITIES in plans or _INTENSITIES_BEFORE not in plans:
        return plans
    return {_INTENSITIES if key == _INTENSITIES_BEFORE else key: value for key, value in plans.items()}


def _check_folder(folder: Path, name: Path, content: dict, plans: dict) -> None:
    """Check a folder's name, where nnU-Net has given it, against the model; other names are not checked."""
    in_checkpoint = (content["trainer_name"], plans["plans_name"], content["init_args"]["configuration"])
    in_name = split_folder_name(folder.resolve().name)
    if in_name is None or folder.resolve().name == "__".join(in_checkpoint):
        return
    for what, by_name, by_file, file in zip(
        ("trainer", "plans", "configuration"), in_name, in_checkpoint, (name, "plans.json", name), strict=True
    ):
        if by_name != by_file:
            raise InputError(
                f"{folder}: the folder's name and {file} disagree on the {what}: {shorten(by_name)} and "
                f"{shorten(by_file)}; use the file of that model, or rename the folder"
            )


def _compare(folder: Path, file: str, checkpoint: Path, here: dict, trained: dict | None, keys: Sequence[str]) -> None:
    if trained is None:  # after some conversions
        return
    if not isinstance(trained, dict):
        raise InputError(f"{folder / checkpoint} is damaged: it should hold {file}, not a {type(trained).__name__}")
    for key in keys:
        try:
            agrees = _as_json(here.get(key)) == _as_json(trained.get(key))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{folder / checkpoint} is damaged: its {key} cannot be of a {file}") from error
        if not agrees:
            raise InputError(
                f"{folder}: {file} and {checkpoint} disagree on {key}: {shorten(here.get(key))} and "
                f"{shorten(trained.get(key))}; they belong to different models"
            )


def _as_json(value):
    """Return a value as JSON holds it: a training from Python may have tuples."""
    return json.loads(json.dumps(value, default=str))
