"""A trained model as nnU-Net leaves it: a folder with plans.json, dataset.json and fold_X/checkpoint."""

import hashlib
import json
import pickle
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.overrides import TorchFunctionMode

from magms_nnunet import autoload
from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet

Fold = int | str

# What nnU-Net's checkpoints hold besides tensors and plain Python: the log's numbers.
_SAFE_GLOBALS = [
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    # numpy 2 moved it, and a checkpoint may come from a machine with the other one
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]

# Networks of trainers that need not be imported: nnU-Net's trainer, with all that augments and plots, takes as long to
# import as torch. Others, those of users too, are found by nnU-Net's search.
NETWORKS = {
    "MAGMSTrainer": build_multi_encoder_unet,
    "MAGTrainer": build_multi_encoder_unet,
    "HeMISTrainer": partial(build_multi_encoder_unet, network=HeMISUNet),
}


@dataclass(frozen=True)
class TrainedModel:
    """Everything that prediction needs.

    Attributes:
        folder: ``TRAINER__PLANS__CONFIGURATION``.
        plans: content of plans.json; ``dataset_json``: of dataset.json.
        modalities: the model's, in channel order.
        trainer: class name; ``configuration``: such as 3d_fullres.
        folds: as given; ``checkpoint``: file name.
        network: with the weights of the first fold, in eval mode.
        weights: one state dict per fold.
        mirror_axes: axes along which test-time augmentation may mirror.
        fingerprint: SHA-256 over the checkpoint files, in order of the folds.
    """

    folder: Path
    plans: dict
    dataset_json: dict
    modalities: Modalities
    trainer: str
    configuration: str
    folds: tuple[Fold, ...]
    checkpoint: str
    network: nn.Module
    weights: list[dict]
    mirror_axes: tuple[int, ...] | None
    fingerprint: str

    @property
    def is_cascaded(self) -> bool:
        """Whether it needs the segmentation of a previous stage."""
        return PlansManager(self.plans).get_configuration(self.configuration).previous_stage_name is not None

    @property
    def takes_subsets(self) -> bool:
        """Whether its network has an encoder per modality; a stock network takes all, or has to be filled up."""
        return isinstance(self.network, MultiEncoderUNet)


def read_json(path: Path) -> dict:
    """Content of a JSON file of the model.

    Raises:
        InputError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not a trained model: it has no {path.name}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error})") from error


def load_model(folder: Path, folds: Sequence[Fold] | None, checkpoint: str = "checkpoint_final.pth") -> TrainedModel:
    """Load a model for prediction. Checkpoints are read as data only: nothing in them is executed.

    Args:
        folder: of the model.
        folds: which; None: all that have the checkpoint, except ``all``.
        checkpoint: file name within the fold.

    Raises:
        InputError: not a model, a fold is missing, or plans, dataset.json and weights disagree.
    """
    autoload.install()  # where .pth files are not read
    plans, dataset_json = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    modalities = Modalities.from_dataset_json(dataset_json)
    folds = _existing_folds(folder, folds, checkpoint)
    paths = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    hashing = ThreadPoolExecutor(1)
    fingerprint = hashing.submit(_sha256, paths)  # beside the loading
    hashing.shutdown(wait=False)
    contents = [_read_checkpoint(path) for path in paths]
    first = contents[0]
    plans_manager = PlansManager(plans)
    configuration_manager = plans_manager.get_configuration(first["init_args"]["configuration"])
    planned = len(configuration_manager.normalization_schemes)
    if planned != len(modalities):
        raise InputError(
            f"{folder}: plans.json is for {planned} modalities, dataset.json names {len(modalities)} "
            f"({modalities.listing()}): these files belong to different models"
        )
    network = _build_network(first, plans_manager, configuration_manager, dataset_json, paths[0])
    for path, content in reversed(list(zip(paths, contents, strict=True))):  # the first fold's weights stay
        try:
            network.load_state_dict(content["network_weights"], assign=True)
        except RuntimeError as error:
            trained = len({key.split(".")[1] for key in content["network_weights"] if key.startswith("encoders.")})
            raise InputError(
                f"{path} does not fit plans.json and dataset.json beside it: it holds {trained} encoders for "
                f"{len(modalities)} modalities, or other layers; they belong to different models"
            ) from error
    if len(paths) > 1:  # nnU-Net loads each fold into the network, which must not write to the weights of another
        network.load_state_dict(
            {name: weight.clone() for name, weight in first["network_weights"].items()}, assign=True
        )
    return TrainedModel(
        folder=folder,
        plans=plans,
        dataset_json=dataset_json,
        modalities=modalities,
        trainer=first["trainer_name"],
        configuration=first["init_args"]["configuration"],
        folds=tuple(folds),
        checkpoint=checkpoint,
        network=network.eval(),
        weights=[content["network_weights"] for content in contents],
        mirror_axes=first["inference_allowed_mirroring_axes"],
        fingerprint=fingerprint.result(),
    )


def _existing_folds(folder: Path, folds: Sequence[Fold] | None, checkpoint: str) -> list[Fold]:
    present = sorted(
        path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}") if path.is_file()
    )
    if folds is None:
        folds = [fold for fold in present if fold != "all"]
    missing = [fold for fold in folds if str(fold) not in present]
    if missing or not folds:
        raise InputError(
            f"{folder} has no {checkpoint} for fold {', '.join(map(str, missing)) or '0 to 4'}: "
            + (f"give -f {' '.join(present)}" if present else "train it first, or name another file with -chk")
        )
    return list(folds)


def _read_checkpoint(path: Path) -> dict:
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"; it holds {foreign[1]}, and only data is loaded from checkpoints" if foreign else ""
        raise InputError(f"{path} is damaged or not a checkpoint of nnU-Net{reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it holds a {type(content).__name__}")
    wanted = {"network_weights", "init_args", "trainer_name", "inference_allowed_mirroring_axes"}
    missing = wanted - set(content)
    if missing:
        raise InputError(f"{path} is not a checkpoint of nnU-Net: it lacks {', '.join(sorted(missing))}")
    # The optimiser's state is not read; the weights are, since the file may be written to by a training.
    weights = {name: tensor.clone() for name, tensor in content["network_weights"].items()}
    return {**{key: content[key] for key in wanted}, "network_weights": weights}


def _build_network(content: dict, plans_manager, configuration_manager, dataset_json: dict, path: Path) -> nn.Module:
    trainer = content["trainer_name"]
    inputs = determine_num_input_channels(plans_manager, configuration_manager, dataset_json)
    outputs = plans_manager.get_label_manager(dataset_json).num_segmentation_heads
    if trainer in NETWORKS:
        with torch.device("meta"), _NothingDrawn():  # the checkpoint's weights take the place of its own
            return NETWORKS[trainer](configuration_manager, inputs, outputs, deep_supervision=False)
    try:
        trainer_class = recursive_find_trainer_class_by_name(trainer)
    except (RuntimeError, ImportError) as error:
        raise InputError(f"{path} was trained by {trainer}, which nnU-Net cannot find here ({error})") from error
    return trainer_class.build_network_architecture(
        plans_manager, configuration_manager, inputs, outputs, enable_deep_supervision=False
    )


class _NothingDrawn(TorchFunctionMode):
    """Random numbers of tensors without memory are not drawn: torch would import its compiler for that."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return function(*args, **(kwargs or {}))


def _sha256(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
