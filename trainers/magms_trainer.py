"""``-tr MAGMSTrainer``: modality-agnostic learning by self-distillation; ``-tr MAGTrainer``: without distillation."""

from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from magms_nnunet.losses.modality_agnostic import ModalityAgnosticLoss
from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.training.muon import muon_and_schedule
from magms_nnunet.training.settings import Settings
from magms_nnunet.training.trainer import ModalityTrainer


class MAGMSTrainer(ModalityTrainer):
    """nnU-Net's trainer with an encoder per modality and the loss of equation 2 (arXiv 2306.03730).

    Derive from it and set ``settings`` to change the loss; everything else is changed as in nnU-Net.
    """

    build = staticmethod(build_multi_encoder_unet)
    settings = Settings()

    def describe(self) -> dict:
        """Return the settings."""
        return {"settings": asdict(self.settings)}

    def initialize(self):
        """Initialise as nnU-Net does; where it compiles the network, also compile the decoder, which the loss calls."""
        super().initialize()
        self.plain_network.recompute_encoders = self.settings.recompute_encoders
        if self._do_i_compile():
            self.plain_network.decoder.compile()

    def _build_loss(self) -> nn.Module:
        of_the_loss = asdict(self.settings)
        del of_the_loss["recompute_encoders"], of_the_loss["ramp"], of_the_loss["rarity_cap"]
        return ModalityAgnosticLoss(
            super()._build_loss(),
            self.plain_network.decoder,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            **of_the_loss,
        )

    def configure_optimizers(self):
        """Return Muon, with a learning rate that falls along a cosine."""
        return muon_and_schedule(self)

    def get_tr_and_val_datasets(self):
        """Return nnU-Net's datasets, and set the weights of the modalities by their rarity."""
        training, validation = super().get_tr_and_val_datasets()
        self._modality_weights = self._available.rarity(training.identifiers, self.settings.rarity_cap)
        return training, validation

    def on_train_epoch_start(self):
        """Also set the weights of the distillation and of each modality in this epoch."""
        super().on_train_epoch_start()
        self.loss.modality_weights = self._modality_weights
        self.loss.distillation = self.settings.distillation(self.current_epoch / self.num_epochs)

    def train_step(self, batch: dict) -> dict:
        """Train a step as nnU-Net does; the result also holds the terms of the loss, ``(M + 1, 3)``."""
        if self.grad_scaler is not None:
            self.loss.gradient_scale = self.grad_scaler.scale(torch.ones((), device=self.device))
        available = self.available(batch)
        with self.passing_availability(None if available.all() else available):
            result = super().train_step(batch)
        return {**result, "terms": self.loss.last_terms.cpu().numpy()[None]}

    def on_train_epoch_end(self, train_outputs: list[dict]):
        """Also write the mean of each term over the epoch into the log."""
        super().on_train_epoch_end(train_outputs)
        terms = np.concatenate([output["terms"] for output in train_outputs]).mean(0)
        for name, (dc, kl, feature) in zip(("all", *self.modalities.names), terms, strict=True):
            self.print_to_log_file(f"train_loss {name}: DC {dc:.4f}, KL {kl:.4f}, features {feature:.4f}")


class MAGTrainer(MAGMSTrainer):
    """Equation 2 with lambda = gamma = 0 ("MAG" in Table 1 of arXiv 2306.03730)."""

    settings = Settings(kl_weight=0.0, feature_weight=0.0)
