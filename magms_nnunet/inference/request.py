"""Which model, and how its sliding window runs: what every command that predicts is told by its flags."""

from dataclasses import dataclass
from pathlib import Path

import torch
from nnunetv2.utilities.file_path_utilities import get_output_folder

from magms_nnunet.agreement import split_folder_name
from magms_nnunet.checkpoints import read_checkpoint
from magms_nnunet.cores import use_available_cores
from magms_nnunet.errors import InputError
from magms_nnunet.files import check_writable
from magms_nnunet.freed_memory import keep_freed_memory
from magms_nnunet.inference.model import Fold, TrainedModel, load_model
from magms_nnunet.inference.predictor import Predictor


@dataclass(frozen=True)
class ModelRequest:
    """Either ``model``, its folder, or dataset and configuration is given."""

    model: Path | None
    dataset: str | None
    configuration: str | None
    trainer: str
    plans: str
    folds: tuple[Fold, ...]
    checkpoint: str
    trust_checkpoint: bool = False

    def folder(self) -> Path:
        """The model's folder.

        Raises:
            InputError: nnU-Net has no such dataset, or no such model is trained.
        """
        if self.model is not None:
            return self.model.resolve()  # "." has no name
        try:
            folder = Path(get_output_folder(self.dataset, self.trainer, self.plans, self.configuration))
        except (RuntimeError, ValueError) as error:
            raise InputError(f"-d {self.dataset}: {str(error).splitlines()[0]}") from error
        if not folder.is_dir():
            trained = ", ".join(sorted(path.name for path in folder.parent.glob("*__*__*"))) or "nothing"
            raise InputError(
                f"no trained model {folder.name} in {folder.parent}; there is {trained}: see -tr, -p and -c"
            )
        return folder

    def reads_volumes(self, plans: dict) -> bool:
        """Whether the configuration is 3-D, as far as that can be told before the model is loaded.

        Raises:
            InputError: a checkpoint that had to be asked is damaged, or holds more than data.
        """
        return is_3d(plans, self._configuration_name(plans))

    def _configuration_name(self, plans: dict) -> str | None:
        """As a folder that nnU-Net has named says, which loading compares with the checkpoint; else the checkpoint's.

        None: there is none, and loading will say what is wrong.
        """
        folder = self.folder()
        if (names := split_folder_name(folder.name)) and names[2] in plans["configurations"]:
            return names[2]
        path = folder / f"fold_{self.folds[0]}" / self.checkpoint
        trained = read_checkpoint(path, self.trust_checkpoint).get("init_args") if path.is_file() else None
        return trained.get("configuration") if isinstance(trained, dict) else None

    def load(self) -> TrainedModel:
        """The model; see :func:`magms_nnunet.inference.model.load_model`."""
        return load_model(self.folder(), self.folds, self.checkpoint, trust_checkpoint=self.trust_checkpoint)


@dataclass(frozen=True)
class WindowRequest:
    """How the sliding window runs."""

    device: str | None
    step_size: float
    mirroring: bool
    results_on_device: bool
    verbose: bool
    fill: str | None
    fast_sweep: bool = False

    def check_device(self) -> None:
        """Raise InputError where the device is not there; on the CPU take the cores that this process may use."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("-device cuda: torch finds no CUDA GPU here; use -device cpu")
        if self.device == "mps" and not torch.backends.mps.is_available():
            raise InputError("-device mps: torch finds no Apple GPU here; use -device cpu")
        on_cpu = self.device != "cuda" and not (self.device is None and torch.cuda.is_available())
        if on_cpu:
            keep_freed_memory()
            use_available_cores()

    def predictor(self, model: TrainedModel) -> Predictor:
        """A predictor for this model."""
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


def is_3d(plans: dict, configuration: str | None) -> bool:
    """Whether a configuration of these plans is."""
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
        InputError: it cannot be written to, or is the folder that is read from.
    """
    if source is not None and output.resolve() == source.resolve():
        raise InputError(f"-i and -o are the same folder, {output}: choose another one for the segmentations")
    check_writable(output)
