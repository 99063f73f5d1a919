"""The base of all our trainers: nnU-Net's trainer with a variable run length, safe checkpoints and a log."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.cpu.freed_memory import retain_freed_memory
from magms_nnunet.errors import InputError, one_line
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.agreement import check_checkpoint_fits, check_continues, check_trained_with, with_current_keys
from magms_nnunet.model.checkpoints import TRUST_VARIABLE, as_data, read_checkpoint, trusted_by_environment
from magms_nnunet.model.model_json import check_configuration, check_dataset_json, check_plans
from magms_nnunet.networks.architecture import check_architecture
from magms_nnunet.networks.availability import without_absent
from magms_nnunet.networks.input_channels import with_checked_channels
from magms_nnunet.nnunet.version import check_hooks, untested_nnunet_warnings
from magms_nnunet.preprocessing.available_modalities import AvailableModalities, available_channels
from magms_nnunet.preprocessing.training_cases import check_cases
from magms_nnunet.runtime.child_processes import bind_forks_to_parent
from magms_nnunet.runtime.cores import limit_augmenting_processes, limit_threads
from magms_nnunet.storage.files import write_then_rename
from magms_nnunet.storage.output_lock import locked_output
from magms_nnunet.training.finite import check_epoch, check_images, check_loss, check_weights
from magms_nnunet.training.pretrained_weights import guard_pretrained_weights
from magms_nnunet.training.progress import Progress
from magms_nnunet.training.run_length import run_length_from_environment, run_length_of_checkpoint
from magms_nnunet.training.stopping import Signals, end_augmentation, kill

_HOOKS = (
    *("build_network_architecture", "initialize", "_build_loss", "configure_optimizers", "get_dataloaders"),
    *("get_tr_and_val_datasets", "run_training", "on_train_start", "on_train_epoch_start", "train_step"),
    *("validation_step", "on_train_epoch_end", "on_epoch_end", "perform_actual_validation", "save_checkpoint"),
    "load_checkpoint",
)


class ModalityTrainer(nnUNetTrainer):
    """nnU-Net's trainer with the names of the modalities; trainers derive from it.

    Args:
        plans: as for nnU-Net's trainer.
        configuration: as for nnU-Net's trainer.
        fold: as for nnU-Net's trainer.
        dataset_json: as for nnU-Net's trainer.
        device: as for nnU-Net's trainer.

    Attributes:
        modalities: of the dataset, in channel order.
        build: makes the network from a configuration of the plans, the numbers of input and output channels, and
            whether there is deep supervision. None: nnU-Net's network.
        takes_incomplete_cases: marks a trainer whose cases may lack modalities, for
            :mod:`magms_nnunet.preprocessing.incomplete_cases`.

    Raises:
        InputError: no command would load the trained model, for its plans or its dataset.json.
    """

    build: ClassVar[Callable[[ConfigurationManager, int, int, bool], nn.Module] | None] = None
    takes_incomplete_cases = True

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 nnU-Net's signature
    ):
        check_hooks(nnUNetTrainer, _HOOKS)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.modalities = Modalities.from_dataset_json(dataset_json)
        self._check_that_the_model_can_be_loaded()
        self._apply_run_length(run_length_from_environment())
        self._available = AvailableModalities(len(self.modalities))
        self._lock, self._signals, self._augmenting = ExitStack(), Signals(self.is_ddp), []
        self._progress = Progress(shows_bar=self.local_rank == 0)
        guard_pretrained_weights()
        for text in untested_nnunet_warnings():
            self.print_to_log_file(f"magms_nnunet: warning: {text}")

    def _check_that_the_model_can_be_loaded(self) -> None:
        """Raise InputError where a command would refuse the trained model for its plans or its dataset.json."""
        arguments, folder = self.my_init_kwargs, Path(self.preprocessed_dataset_folder_base)
        plans, name = folder / f"{self.plans_manager.plans_name}.json", self.configuration_name
        check_dataset_json(folder / "dataset.json", arguments["dataset_json"])
        check_plans(plans, with_current_keys(arguments["plans"]))
        check_configuration(plans, name, self.configuration_manager.configuration)
        check_architecture(self.configuration_manager)
        if (planned := len(self.configuration_manager.normalization_schemes)) != len(self.modalities):
            raise InputError(
                f"{plans} is for {planned} modalities, dataset.json names {len(self.modalities)} "
                f"({self.modalities.listing()}): plan again"
            )

    def _apply_run_length(self, changes: dict[str, int]) -> None:
        for attribute, value in changes.items():
            setattr(self, attribute, value)
        # nothing else writes to init_args in nnU-Net's checkpoint, where a continued run finds these values.
        self.my_init_kwargs["magms"] = {"run_length": changes, **self.describe()}

    def describe(self) -> dict:
        """Return the settings of a trainer, plain values, for the checkpoint and the log."""
        return {}

    def available(self, batch: dict) -> torch.Tensor:
        """Return the modalities that the samples of a batch have: bool ``(B, M)``."""
        available = self._available.of_batch(batch.get("keys", ()))
        if available is None:
            return torch.ones(len(batch["data"]), len(self.modalities), dtype=torch.bool)
        return available

    @contextmanager
    def passing_availability(self, available: torch.Tensor | None) -> Iterator[None]:
        """Pass ``available``, bool ``(B, M)`` or ``(1, M)``, to a network that takes it, within the block."""
        if available is None or "available" not in signature(self.plain_network.forward).parameters:
            yield
            return

        def add(_, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return args, {**kwargs, "available": available.expand(len(args[0]), -1)}

        hook = self.network.register_forward_pre_hook(add, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _without_absent(self, batch: dict) -> tuple[dict, torch.Tensor | None]:
        """Return the batch with 0 in place of absent modalities, and the available ones; None: all."""
        available = self._available.of_batch(batch.get("keys", ()))
        if available is None:
            return batch, None
        return {**batch, "data": without_absent(batch["data"], available)}, available

    def network_input(self, batch: dict) -> dict:
        """Return the batch for the network in training; trainers that leave out modalities replace ``data``."""
        return batch

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the network for these plans with :attr:`build`; nnU-Net calls this in training and in prediction.

        Args:
            plans_manager: of the plans.
            configuration_manager: of the configuration.
            num_input_channels: modalities, and the channels of a cascade's previous stage.
            num_output_channels: of the logits.
            enable_deep_supervision: whether the network returns logits of every scale in training.
        """
        if cls.build is not None:
            return cls.build(configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision)
        network = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return with_checked_channels(network, num_input_channels)

    def initialize(self):
        """Build as nnU-Net does; processes do not send each other buffers, which are equal in all of them anyway."""
        super().initialize()
        if self.is_ddp:  # in a validation, a process without a case would not take part
            self.network.broadcast_buffers = False

    @property
    def plain_network(self) -> Any:
        """The network without the wrappers of DistributedDataParallel and torch.compile."""
        network = self.network.module if self.is_ddp else self.network
        return getattr(network, "_orig_mod", network)

    def on_train_start(self):
        """Also lock the output folder, and write our settings into the log."""
        if self.local_rank == 0:
            self._lock.enter_context(locked_output(Path(self.output_folder)))
        if self.device.type == "cpu":
            limit_threads()
        super().on_train_start()
        if self.device.type == "cpu":
            retain_freed_memory()  # after nnU-Net has started its processes for augmentation
        description = "".join(f"{name} {value}; " for name, value in self.describe().items())
        self.print_to_log_file(
            f"magms_nnunet: modalities {one_line(self.modalities.listing())}; {description}{self.num_epochs} epochs of "
            f"{self.num_iterations_per_epoch} iterations, a checkpoint every {self.save_every} epochs"
        )
        if pretrained := getattr(self.plain_network, "pretrained", None):
            self.print_to_log_file(f"magms_nnunet: {pretrained}", also_print_to_console=False)

    def get_tr_and_val_datasets(self):
        """Return nnU-Net's datasets, whose cases may lack modalities.

        Raises:
            InputError: see :func:`magms_nnunet.preprocessing.training_cases.check_cases` and
                :meth:`magms_nnunet.preprocessing.available_modalities.AvailableModalities.check`.
        """
        datasets = super().get_tr_and_val_datasets()
        if warning := check_cases(datasets, self.modalities.names):
            self.print_to_log_file(f"magms_nnunet: warning: {one_line(warning)}")
        self._available = AvailableModalities.of_datasets(datasets, len(self.modalities))
        dataset, ending = self.plans_manager.dataset_name, self.dataset_json["file_ending"]
        self._available.check(datasets, self.modalities.names, ending, dataset)
        return datasets

    def get_dataloaders(self):
        """Return nnU-Net's data loaders, whose processes end with this one and do not exceed its cores."""
        with bind_forks_to_parent() as self._augmenting, limit_augmenting_processes(), self._signals.deferred():
            self.dataloader_train, self.dataloader_val = super().get_dataloaders()
        return self.dataloader_train, self.dataloader_val

    def run_training(self):
        """Train as nnU-Net does; SIGINT and SIGTERM end it with a checkpoint. Unlock the output folder at the end."""
        last_words = "The training did not end in time: --c continues it from the last checkpoint."
        try:
            with self._signals.end(self._stop_training, last_words):
                super().run_training()
        finally:
            self._progress.close()
            kill(self._augmenting)
            self._lock.close()

    def _stop_training(self, signal: str) -> None:
        outcome = "before the first epoch: give the same command again"
        if self.dataloader_train is not None:
            outcome = f"in epoch {self.current_epoch}: the same command with --c continues"
            self.current_epoch -= 1  # nnU-Net stores the number of the next epoch, and this epoch is not complete
            try:
                self.save_checkpoint(str(Path(self.output_folder, "checkpoint_latest.pth")))
            except (InputError, OSError) as error:
                outcome += f" from an earlier checkpoint, as checkpoint_latest.pth cannot be written ({error})"
        end_augmentation((self.dataloader_train, self.dataloader_val), self._augmenting)
        self.print_to_log_file(f"magms_nnunet: stopped by {signal} {outcome}")

    def perform_actual_validation(self, save_probabilities: bool = False):
        """Validate as nnU-Net does; SIGINT and SIGTERM end it and its processes."""

        def stop(signal: str) -> None:
            self.print_to_log_file(
                f"magms_nnunet: stopped by {signal} in the validation: the same command with --val repeats it"
            )

        if self.device.type == "cpu":
            limit_threads()
        with (
            self._signals.end(stop, "The validation did not end in time: --val repeats it."),
            self._masking_absent_in_validation(),
        ):
            super().perform_actual_validation(save_probabilities)

    @contextmanager
    def _masking_absent_in_validation(self) -> Iterator[None]:
        """Load cases with 0 in place of absent modalities, within the block, and pass the available ones on."""
        trainer, base, count, passing = self, self.dataset_class, len(self.modalities), ExitStack()

        class AvailableImages(base):
            def load_case(self, identifier: str) -> tuple:
                images, *rest = super().load_case(identifier)
                available = available_channels(images, count)
                passing.close()
                if not all(available):
                    images = np.array(images[:])
                    images[[m for m in range(count) if not available[m]]] = 0
                    passing.enter_context(trainer.passing_availability(torch.tensor([available])))
                return images, *rest

        self.dataset_class = AvailableImages
        try:
            with passing:
                yield
        finally:
            self.dataset_class = base

    def on_train_epoch_start(self):
        """Also start the bar of the epoch."""
        super().on_train_epoch_start()
        self._progress.start_epoch(self.current_epoch, self.num_epochs, self.num_iterations_per_epoch)

    def train_step(self, batch: dict) -> dict:
        """Train a step as nnU-Net does; a signal waits for its end.

        Raises:
            InputError: the loss is not finite.
        """
        batch, _ = self._without_absent(batch)
        check_images(batch, self.current_epoch)
        with self._signals.deferred():
            result = super().train_step(self.network_input(batch))
        check_loss(result["loss"], batch, self.current_epoch, may_overflow=self.grad_scaler is not None)
        self._progress.step(float(result["loss"]))
        return result

    def validation_step(self, batch: dict) -> dict:
        """Validate a step as nnU-Net does.

        Raises:
            InputError: the loss is not finite, for instance after a last step that made the weights infinite.
        """
        batch, available = self._without_absent(batch)
        with self.passing_availability(available):
            result = super().validation_step(batch)
        check_loss(result["loss"], batch, self.current_epoch, may_overflow=self.grad_scaler is not None)
        return result

    def on_train_epoch_end(self, train_outputs: list[dict]):
        """Also end a training in which no step of an epoch counted."""
        check_epoch(np.array([output["loss"] for output in train_outputs]), self.current_epoch)
        super().on_train_epoch_end(train_outputs)

    def on_epoch_end(self):
        """Also log the expected end of the training."""
        super().on_epoch_end()
        if message := self._progress.end_epoch(self.num_epochs - self.current_epoch):
            self.print_to_log_file(f"magms_nnunet: {message}")

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint; a crash leaves either the old file or the new one.

        Raises:
            InputError: a weight is not finite; the file is unchanged.
        """
        if self.local_rank == 0 and not self.disable_checkpointing:
            check_weights(Path(filename), self.plain_network.state_dict())
            write_then_rename(filename, super().save_checkpoint)
        else:
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str | Path) -> None:
        """Load as nnU-Net does, and set the run length of the checkpoint, unless the environment sets another.

        Args:
            filename_or_checkpoint: a file; nnU-Net's signature also offers its content, its code does not accept that.

        Raises:
            InputError: the file is damaged; it holds more than data, and ``MAGMS_TRUST_CHECKPOINT=1`` is not set; or it
                is of another trainer, configuration or fold, or was trained with other labels, modalities, plans,
                layers or optimizer.
        """
        if isinstance(filename_or_checkpoint, dict):
            with TemporaryDirectory() as folder:
                file = Path(folder) / "checkpoint.pth"
                torch.save(filename_or_checkpoint, file)
                self.load_checkpoint(file)
            return
        path, arguments = Path(filename_or_checkpoint), self.my_init_kwargs
        trust, remedy = trusted_by_environment(), f"{TRUST_VARIABLE}=1 if you trust who made it"
        content = read_checkpoint(path, trust, remedy)
        this_run = {
            "trainer": type(self).__name__,
            "configuration": arguments["configuration"],
            "fold": arguments["fold"],
        }
        check_continues(path, content, this_run)
        folder, trained = Path(self.preprocessed_dataset_folder_base), content["init_args"]
        check_trained_with(folder, path, trained, arguments["plans"], arguments["dataset_json"])
        kept = run_length_of_checkpoint(path, trained)
        if not self.was_initialized:
            self.initialize()
        check_checkpoint_fits(path, content, self.plain_network, self.optimizer)
        with as_data(path, trust, remedy):
            super().load_checkpoint(str(path))
        self._apply_run_length(kept | run_length_from_environment())
        self.lr_scheduler.max_steps = self.num_epochs
