"""``-tr MAGMSTrainer``: modality-agnostic learning through multi-modality self-distillation."""

from dataclasses import asdict

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from magms_nnunet.files import write_then_rename
from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.modalities import Modalities
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.training.run_length import run_length_from_environment
from magms_nnunet.training.settings import Settings


class MAGMSTrainer(nnUNetTrainer):
    """nnU-Net's trainer with an encoder per modality and the loss of equation 2 (arXiv 2306.03730).

    Derive from it and set ``settings`` to change the loss; everything else is changed as in nnU-Net.
    """

    settings = Settings()

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

    def _apply_run_length(self, changes: dict[str, int]) -> None:
        for attribute, value in changes.items():
            setattr(self, attribute, value)
        # init_args is the part of nnU-Net's checkpoint that nobody else writes to: a continued run finds them there.
        self.my_init_kwargs["magms"] = {"run_length": changes, "settings": asdict(self.settings)}

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The multi-encoder network for these plans; called by nnU-Net in training and in prediction."""
        return build_multi_encoder_unet(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )

    def _build_loss(self) -> nn.Module:
        return ModalityAgnosticLoss(
            super()._build_loss(),
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            **asdict(self.settings),
        )

    def on_train_start(self):
        """Also writes what is ours into the log."""
        super().on_train_start()
        self.print_to_log_file(
            f"MAG-MS: modalities {self.modalities.listing()}; {self.settings}; {self.num_epochs} epochs of "
            f"{self.num_iterations_per_epoch} iterations, a checkpoint every {self.save_every} epochs"
        )

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step; its result also holds the loss's terms, ``(M + 1, 3)``."""
        result = super().train_step(batch)
        return {**result, "terms": self.loss.last_terms.cpu().numpy()[None]}

    def on_train_epoch_end(self, train_outputs: list[dict]):
        """Also writes each term's mean over the epoch into the log."""
        super().on_train_epoch_end(train_outputs)
        terms = np.concatenate([output["terms"] for output in train_outputs]).mean(0)
        for name, (dc, kl, feature) in zip(("all", *self.modalities.names), terms, strict=True):
            self.print_to_log_file(f"train_loss {name}: DC {dc:.4f}, KL {kl:.4f}, features {feature:.4f}")

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, written so that a crash never leaves half a file under this name."""
        if self.local_rank == 0 and not self.disable_checkpointing:
            write_then_rename(filename, super().save_checkpoint)
        else:
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """nnU-Net's, and the run length that the checkpoint was trained with, unless the environment sets another."""
        super().load_checkpoint(filename_or_checkpoint)
        kept = self.my_init_kwargs.get("magms", {}).get("run_length", {})
        self._apply_run_length(kept | run_length_from_environment())
        self.lr_scheduler.max_steps = self.num_epochs
