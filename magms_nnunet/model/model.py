"""A trained model in nnU-Net's layout: a folder with plans.json, dataset.json and fold_X/checkpoint."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.overrides import TorchFunctionMode

from magms_nnunet import autoload
from magms_nnunet.errors import InputError, shorten
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.agreement import check_agreement
from magms_nnunet.model.checkpoint_content import epoch_seconds_of, read_for_prediction
from magms_nnunet.model.manifest import check_unaltered, read_manifest
from magms_nnunet.model.model_json import check_configuration, read_dataset_json, read_plans
from magms_nnunet.model.trial_preprocessing import try_preprocessing
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.architecture import check_architecture
from magms_nnunet.networks.from_plans import build_any_subset_unet, build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.storage.files import sha256

Fold = int | str

# Networks of trainers that need not be imported: nnU-Net's trainer, with its augmentation and plots, takes as long to
# import as torch. nnU-Net's search finds all others, those of users, too.
NETWORKS = {
    "AnySubsetTrainer": build_any_subset_unet,
    "MAGMSTrainer": build_multi_encoder_unet,
    "MAGTrainer": build_multi_encoder_unet,
    "HeMISTrainer": partial(build_multi_encoder_unet, network=HeMISUNet),
}
FOR_SUBSETS = ("encoders.", "decision_offset.")  # weights that only networks for any subset have


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, loaded for prediction.

    Attributes:
        folder: ``TRAINER__PLANS__CONFIGURATION``.
        plans: content of plans.json.
        dataset_json: content of dataset.json.
        modalities: the model's, in channel order.
        trainer: class name.
        configuration: such as 3d_fullres.
        folds: as given.
        checkpoint: file name.
        network: with the weights of the first fold, in eval mode.
        weights: one state dict per fold.
        mirror_axes: axes along which test-time augmentation may mirror.
        fingerprint: SHA-256 of the checkpoint; of several folds, of their checkpoints' digests in order of the folds.
        epoch_seconds: of every epoch that led to these weights, of all folds; empty where a log is missing.
        lock: held while the network runs, which gets the weights of each fold and is moved between devices.
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
    epoch_seconds: tuple[float, ...] = ()
    lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def previous_stage(self) -> str | None:
        """The configuration whose segmentation it needs, of a cascade's second stage."""
        return PlansManager(self.plans).get_configuration(self.configuration).previous_stage_name

    @property
    def is_cascaded(self) -> bool:
        """Whether the model needs the segmentation of a previous stage."""
        return self.previous_stage is not None

    @property
    def takes_subsets(self) -> bool:
        """Whether the network takes any subset; a stock network needs all modalities, or fillings."""
        return isinstance(self.network, AnySubsetUNet | MultiEncoderUNet)


def load_model(
    folder: Path,
    folds: Sequence[Fold] | None,
    checkpoint: str = "checkpoint_final.pth",
    *,
    trust_checkpoint: bool = False,
) -> TrainedModel:
    """Load a model for prediction. Checkpoints are read as data only: nothing in them is executed.

    Args:
        folder: of the model.
        folds: their names; None: all that have the checkpoint, except ``all``.
        checkpoint: file name within the fold.
        trust_checkpoint: whether to unpickle any content of the checkpoints, code included.

    Raises:
        InputError: the folder holds no model, a fold is missing, or the files disagree, were altered after the export,
            or hold more than data.
    """
    autoload.install()  # where .pth files are not read
    plans, dataset_json = read_plans(folder), read_dataset_json(folder)
    modalities = Modalities.from_dataset_json(dataset_json)
    folds = existing_folds(folder, folds, checkpoint)
    paths = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    hashing = ThreadPoolExecutor(1)
    hashes = [hashing.submit(sha256, path) for path in paths]  # beside the loading
    hashing.shutdown(wait=False)
    _check_manifest(folder, paths, hashes)
    contents = [read_for_prediction(path, trust_checkpoint) for path in paths]
    first = contents[0]
    configuration, trainer = first["init_args"]["configuration"], first["trainer_name"]
    plans_manager = PlansManager(plans)
    configuration_manager = _configuration(plans_manager, configuration, folder, paths[0])
    _check_models_agree(folder, paths, contents, plans, dataset_json)
    try:
        try_preprocessing(plans_manager, configuration_manager, dataset_json)
    except Exception as error:
        raise _undescribed(folder / "plans.json", configuration, error) from error
    network = _build_network(trainer, plans_manager, configuration_manager, dataset_json, paths[0])
    _load_weights(network, paths, contents, trainer)
    digests = [digest.result() for digest in hashes]
    return TrainedModel(
        folder=folder,
        plans=plans,
        dataset_json=dataset_json,
        modalities=modalities,
        trainer=trainer,
        configuration=configuration,
        folds=tuple(folds),
        checkpoint=checkpoint,
        network=network.eval(),
        weights=[content["network_weights"] for content in contents],
        mirror_axes=first["inference_allowed_mirroring_axes"],
        fingerprint=fingerprint_of(digests),
        epoch_seconds=epoch_seconds_of(contents),
    )


def _check_manifest(folder: Path, paths: Sequence[Path], hashes: Sequence[Future]) -> None:
    """Raise InputError where a file of an exported model was altered."""
    manifest = read_manifest(folder)
    if manifest is not None:
        files = {
            path.relative_to(folder).as_posix(): digest.result() for path, digest in zip(paths, hashes, strict=True)
        }
        files |= {name: sha256(folder / name) for name in ("plans.json", "dataset.json")}
        check_unaltered(folder, manifest, files)


def _check_models_agree(
    folder: Path, paths: Sequence[Path], contents: Sequence[dict], plans: dict, dataset_json: dict
) -> None:
    """Raise InputError where checkpoints, plans.json and dataset.json belong to different models."""
    modalities, first = Modalities.from_dataset_json(dataset_json), contents[0]
    configuration, trainer = first["init_args"]["configuration"], first["trainer_name"]
    configuration_manager = PlansManager(plans).get_configuration(configuration)
    planned = len(configuration_manager.normalization_schemes)
    if planned != len(modalities):
        raise InputError(
            f"{folder}: plans.json is for {planned} modalities, dataset.json names {len(modalities)} "
            f"({modalities.listing()}): these files belong to different models"
        )
    for path, content in zip(paths, contents, strict=True):
        if (content["init_args"]["configuration"], content["trainer_name"]) != (configuration, trainer):
            raise InputError(f"{path} and {paths[0]} disagree on trainer or configuration: give one of them with -f")
        check_agreement(folder, path, content, plans, dataset_json)


def _load_weights(network: nn.Module, paths: Sequence[Path], contents: Sequence[dict], trainer: str) -> None:
    """Check that the weights of every fold fit the network, and load those of the first fold last."""
    wanted = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    for path, content in zip(reversed(paths), reversed(contents), strict=True):  # the first fold's are loaded last
        try:
            network.load_state_dict(content["network_weights"], assign=True)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} does not fit plans.json and dataset.json beside it: it holds other layers than {trainer} "
                "builds from them; they belong to different models"
            ) from error
        _check_numbers(path, content["network_weights"], wanted)
    if len(paths) > 1:  # nnU-Net loads each fold into the network, which must not write to the weights of another
        network.load_state_dict(
            {name: weight.clone() for name, weight in contents[0]["network_weights"].items()}, assign=True
        )


def fingerprint_of(digests: Sequence[str]) -> str:
    """Return the fingerprint of a model, from the SHA-256 of the checkpoints of its folds."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def existing_folds(folder: Path, folds: Sequence[Fold] | None, checkpoint: str) -> list[Fold]:
    """Return the folds to use.

    Args:
        folder: of the model.
        folds: their names; None: all that have the checkpoint, except ``all``.
        checkpoint: file name within the fold.

    Raises:
        InputError: a fold lacks the checkpoint, or all folds do.
    """
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


def _check_numbers(path: Path, weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.dtype]) -> None:
    """Check that the weights, which have the network's names and shapes, are finite and of its types."""
    for name, tensor in weights.items():
        if tensor.dtype != wanted[name]:
            raise InputError(f"{path}: {name} is {tensor.dtype}, not {wanted[name]} as trained: use the original file")
        # A sum takes a tenth of the time, and where it is finite all of its summands are.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity: the training failed; use an earlier checkpoint")


def _configuration(plans_manager: PlansManager, name: str, folder: Path, path: Path):
    plans = folder / "plans.json"
    if name not in plans_manager.plans["configurations"]:
        raise InputError(
            f"{path} was trained in configuration {shorten(name)}, and {plans} has none of that name; they belong to "
            "different models"
        )
    try:
        manager = plans_manager.get_configuration(name)
        check_configuration(plans, name, manager.configuration)
        check_architecture(manager)
    except InputError:
        raise
    except Exception as error:  # nnU-Net does not check plans, so an error in them may appear anywhere
        raise _undescribed(plans, name, error) from error
    return manager


def _undescribed(plans: Path, name: str, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return InputError(f"{plans} does not describe {shorten(name)} ({reason}): copy it again")


def _build_network(trainer: str, plans_manager, configuration_manager, dataset_json: dict, path: Path) -> nn.Module:
    try:
        heads = plans_manager.get_label_manager(dataset_json).num_segmentation_heads
        channels = determine_num_input_channels(plans_manager, configuration_manager, dataset_json)
        if trainer in NETWORKS:
            with torch.device("meta"), _NothingDrawn():  # the checkpoint's weights take the place of its own
                return NETWORKS[trainer](configuration_manager, channels, heads, deep_supervision=False)
        return _trainer_class(trainer, path).build_network_architecture(
            plans_manager, configuration_manager, channels, heads, enable_deep_supervision=False
        )
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(
            f"{trainer} cannot build its network from {path.parents[1]}/plans.json and dataset.json ({reason}): copy "
            "them again"
        ) from error


def _trainer_class(trainer: str, path: Path) -> Any:
    try:
        return recursive_find_trainer_class_by_name(trainer)
    except (RuntimeError, ImportError, TypeError, AssertionError) as error:
        raise InputError(f"{path} was trained by {trainer}, which nnU-Net cannot find here ({error})") from error


class _NothingDrawn(TorchFunctionMode):
    """Skips random numbers for tensors without memory, for which torch would import its compiler."""

    def __torch_function__(self, function, types, args: tuple = (), kwargs=None):
        if function in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return function(*args, **(kwargs or {}))
