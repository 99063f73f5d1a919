"""What all our trainers share: nnU-Net's trainer with a length of its own, checkpoints that survive a crash, a log."""

from contextlib import ExitStack
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from magms_nnunet.agreement import check_continues, check_trained_with
from magms_nnunet.checkpoints import TRUST_VARIABLE, as_data, read_checkpoint, trusted_by_environment
from magms_nnunet.errors import one_line
from magms_nnunet.files import write_then_rename
from magms_nnunet.freed_memory import keep_freed_memory
from magms_nnunet.modalities import Modalities
from magms_nnunet.output_lock import locked_output
from magms_nnunet.training.pretrained_weights import guard_pretrained_weights
from magms_nnunet.training.run_length import run_length_from_environment, run_length_of_checkpoint


class ModalityTrainer(nnUNetTrainer):
    """nnU-Net's trainer that knows the names of the modalities; trainers derive from it.

    Attributes:
        modalities: of the dataset, in channel order.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 nnU-Net's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.modalities = Modalities.from_dataset_json(dataset_json)
        self._apply_run_length(run_length_from_environment())
        guard_pretrained_weights()

    def _apply_run_length(self, changes: dict[str, int]) -> None:
        for attribute, value in changes.items():
            setattr(self, attribute, value)
        # init_args is the part of nnU-Net's checkpoint that nobody else writes to: a continued run finds them there.
        self.my_init_kwargs["magms"] = {"run_length": changes, **self.described()}

    def described(self) -> dict:
        """What a trainer wants kept in the checkpoint and the log about itself: plain values."""
        return {}

    @property
    def plain_network(self) -> nn.Module:
        """The network without the wrappers of DistributedDataParallel and torch.compile."""
        network = self.network.module if self.is_ddp else self.network
        return getattr(network, "_orig_mod", network)

    def on_train_start(self):
        """Also keeps other runs out of the output folder, and writes what is ours into the log."""
        self._lock = ExitStack()
        if self.local_rank == 0:
            self._lock.enter_context(locked_output(Path(self.output_folder)))
        super().on_train_start()
        if self.device.type == "cpu":
            keep_freed_memory()  # after nnU-Net has started its processes for augmentation
        description = "".join(f"{name} {value}; " for name, value in self.described().items())
        self.print_to_log_file(
            f"magms_nnunet: modalities {one_line(self.modalities.listing())}; {description}{self.num_epochs} epochs of "
            f"{self.num_iterations_per_epoch} iterations, a checkpoint every {self.save_every} epochs"
        )

    def on_train_end(self):
        """Also lets other runs into the output folder."""
        super().on_train_end()
        self._lock.close()

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, written so that a crash never leaves half a file under this name."""
        if self.local_rank == 0 and not self.disable_checkpointing:
            write_then_rename(filename, super().save_checkpoint)
        else:
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """nnU-Net's, and the run length that the checkpoint was trained with, unless the environment sets another.

        Raises:
            InputError: the file is damaged; it holds more than data, and ``MAGMS_TRUST_CHECKPOINT=1`` is not set; or it
                is of another trainer, configuration or fold, or was trained with other labels, modalities or plans.
        """
        path, ours = Path(filename_or_checkpoint), self.my_init_kwargs
        trust, remedy = trusted_by_environment(), f"{TRUST_VARIABLE}=1 if you trust who made it"
        content = read_checkpoint(path, trust, remedy)
        this_run = {"trainer": type(self).__name__, "configuration": ours["configuration"], "fold": ours["fold"]}
        check_continues(path, content, this_run)
        folder, trained = Path(self.preprocessed_dataset_folder_base), content["init_args"]
        check_trained_with(folder, path, trained, ours["plans"], ours["dataset_json"])
        kept = run_length_of_checkpoint(path, trained)
        with as_data(path, trust, remedy):
            super().load_checkpoint(filename_or_checkpoint)
        self._apply_run_length(kept | run_length_from_environment())
        self.lr_scheduler.max_steps = self.num_epochs
