"""The model and the sliding window, as the flags of all predicting commands give them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from nnunetv2.utilities.file_path_utilities import convert_trainer_plans_config_to_identifier

from magms_nnunet.cpu.freed_memory import retain_freed_memory
from magms_nnunet.errors import InputError
from magms_nnunet.inference.predictor import Predictor, check_filling
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.agreement import split_folder_name
from magms_nnunet.model.checkpoints import read_checkpoint
from magms_nnunet.model.model import FOR_SUBSETS, NETWORKS, Fold, TrainedModel, existing_folds, load_model
from magms_nnunet.nnunet.folders import datasets_with_id, nnunet_folder
from magms_nnunet.runtime.cores import use_available_cores
from magms_nnunet.storage.files import check_writable, folder_error


@dataclass(frozen=True)
class ModelRequest:
    """The flags that name a model: either ``model``, its folder, or dataset and configuration.

    The default of ``trainer`` is the only one that trained such a model; several are refused.
    """

    model: Path | None
    dataset: str | None
    configuration: str | None
    trainer: str | None
    plans: str
    folds: tuple[Fold, ...]
    checkpoint: str
    trust_checkpoint: bool = False

    def folder(self) -> Path:
        """Return the model's folder.

        Raises:
            InputError: nnU-Net has no such dataset, no such model is trained, or the folder does not exist.
        """
        if self.model is not None:
            if not self.model.is_dir():
                raise folder_error("model", self.model)
            return self.model.resolve()  # "." has no name
        if self.dataset is None:
            raise InputError("no model is given: name its folder with -m, or its dataset and configuration with -d -c")
        results = nnunet_folder("nnUNet_results", ", or name the model's folder with -m")
        dataset = results / _dataset_name(self.dataset, results)
        folder = dataset / self._name(self.trainer or "AnySubsetTrainer")
        if self.trainer is None:
            models = sorted(
                path for path in dataset.glob("*__*__*") if path.name == self._name(path.name.split("__")[0])
            )
            if len(models) > 1:
                trainers = ", ".join(model.name.partition("__")[0] for model in models)
                raise InputError(f"several trainers have such a model in {dataset}: say which with -tr: {trainers}")
            folder = models[0] if models else folder
        if not folder.is_dir():
            trained = ", ".join(sorted(path.name for path in folder.parent.glob("*__*__*"))) or "nothing"
            raise InputError(
                f"no trained model {folder.name} in {folder.parent}; there is {trained}: see -tr, -p and -c"
            )
        return folder

    def _name(self, trainer: str) -> str:
        return convert_trainer_plans_config_to_identifier(trainer, self.plans, self.configuration)

    def check(self, window: "WindowRequest", subset: Subset | None, modalities: Modalities) -> None:
        """Check, without loading the model, that its files exist and that it can be given a subset.

        Args:
            window: the flags of the prediction.
            subset: the modalities; None: each case is predicted from all that it has.
            modalities: of the model.

        Raises:
            InputError: a fold lacks the checkpoint, or ``--fill`` does not suit the model.
        """
        folder, first = self.folder(), self.existing_folds()[0]
        subset = modalities.complete if subset is None else subset
        trainer = folder.name.partition("__")[0]
        if trainer in NETWORKS:
            takes_subsets = True
        elif window.fill or len(subset) < len(modalities):  # of a stock model only the weights are conclusive
            content = read_checkpoint(folder / f"fold_{first}" / self.checkpoint, self.trust_checkpoint)
            trainer, weights = content.get("trainer_name"), content.get("network_weights")
            if not isinstance(weights, dict):
                return  # loading reports the error
            takes_subsets = any(str(name).startswith(FOR_SUBSETS) for name in weights)
        else:
            return
        check_filling(str(trainer), takes_subsets, window.fill, subset, modalities)

    def existing_folds(self) -> list[Fold]:
        """Return the folds that predict; see :func:`magms_nnunet.model.model.existing_folds`."""
        return existing_folds(self.folder(), self.folds, self.checkpoint)

    def reads_volumes(self, plans: dict) -> bool:
        """Return whether the configuration is 3-D, as far as it is known before the model is loaded.

        Raises:
            InputError: a checkpoint that names the configuration is damaged, or holds more than data.
        """
        return is_3d(plans, self._configuration_name(plans))

    def _configuration_name(self, plans: dict) -> str | None:
        """Read the configuration from the folder's name if nnU-Net named it, otherwise from the checkpoint.

        None: there is none, and loading reports the error.
        """
        folder = self.folder()
        if (names := split_folder_name(folder.name)) and names[2] in plans["configurations"]:
            return names[2]
        path = folder / f"fold_{self.folds[0]}" / self.checkpoint
        trained = read_checkpoint(path, self.trust_checkpoint).get("init_args") if path.is_file() else None
        return trained.get("configuration") if isinstance(trained, dict) else None

    def load(self) -> TrainedModel:
        """Load the model; see :func:`magms_nnunet.model.model.load_model`."""
        return load_model(self.folder(), self.folds, self.checkpoint, trust_checkpoint=self.trust_checkpoint)


@dataclass(frozen=True)
class WindowRequest:
    """The flags of the sliding window."""

    device: str | None
    step_size: float
    mirroring: bool
    results_on_device: bool
    verbose: bool
    fill: str | None
    fast_sweep: bool = False

    def prepare_device(self) -> None:
        """Set up the device: on the CPU, the threads and malloc; raise InputError where the device does not exist."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("-device cuda: torch finds no CUDA GPU here; use -device cpu")
        if self.device == "mps" and not torch.backends.mps.is_available():
            raise InputError("-device mps: torch finds no Apple GPU here; use -device cpu")
        on_cpu = self.device != "cuda" and not (self.device is None and torch.cuda.is_available())
        if on_cpu:
            retain_freed_memory()
            use_available_cores()

    def predictor(self, model: TrainedModel) -> Predictor:
        """Return a predictor for this model."""
        return Predictor(
            model,
            device=self.device,
            step_size=self.step_size,
            mirroring=self.mirroring,
            results_on_device=self.results_on_device,
            verbose=self.verbose,
            fill=self.fill,
            fast_sweep=self.fast_sweep,
        )


def _dataset_name(dataset: str, results: Path) -> str:
    """Return the full name of a dataset that is given by its name or id.

    Raises:
        InputError: nnU-Net's folders hold no such dataset, or several with that id.
    """
    if dataset.startswith("Dataset"):
        return dataset
    if not dataset.isdecimal():
        raise InputError(f"-d {dataset}: give an id such as 210, or a full name such as Dataset210_BraTS")
    names = sorted(datasets_with_id(int(dataset)))
    if len(names) > 1:
        raise InputError(f"-d {dataset}: {' and '.join(names)} have this id: give the full name")
    if not names:
        there = ", ".join(sorted(path.name for path in results.glob("Dataset*"))) or "nothing"
        raise InputError(f"-d {dataset}: no dataset has this id; nnUNet_results ({results}) holds {there}")
    return names[0]


def is_3d(plans: dict, configuration: str | None) -> bool:
    """Return whether a configuration of these plans is 3-D."""
    configurations = plans["configurations"]
    for _ in configurations:  # a cascade's second stage inherits its patch size
        content = configurations.get(configuration, {}) if isinstance(configuration, str) else {}
        if isinstance(content.get("patch_size"), list):
            return len(content["patch_size"]) == 3
        configuration = content.get("inherits_from")
    return False


def check_output(output: Path, source: Path | None) -> None:
    """Make the output folder.

    Raises:
        InputError: the folder cannot be written to, or is the folder of the images.
    """
    if source is not None and output.resolve() == source.resolve():
        raise InputError(f"-i and -o are the same folder, {output}: choose another one for the segmentations")
    check_writable(output)
