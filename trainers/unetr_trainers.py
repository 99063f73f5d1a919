"""``-tr UNETRTrainer``, ``MAGUNETRTrainer``, ``MAGMSUNETRTrainer``: on UNETR, the paper's backbone; they need MONAI."""

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from magms_nnunet.networks.from_plans import build_multi_encoder_unetr, build_unetr
from magms_nnunet.trainers.magms_trainer import MAGMSTrainer, MAGTrainer
from magms_nnunet.training.trainer import ModalityTrainer


class UNETRTrainer(ModalityTrainer):
    """nnU-Net's trainer and loss with UNETR, which gets all modalities as channels of one image.

    UNETR has logits of full resolution only, so there is no deep supervision. nnU-Net's SGD at 0.01 does not suit a
    transformer; AdamW at 1e-4 is used as in UNETR's own training (arXiv 2103.10504), with nnU-Net's schedule.

    Args:
        plans: as for nnU-Net's trainer.
        configuration: as for nnU-Net's trainer.
        fold: as for nnU-Net's trainer.
        dataset_json: as for nnU-Net's trainer.
        device: as for nnU-Net's trainer.
    """

    build = staticmethod(lambda plans, inputs, outputs, _: build_unetr(plans, inputs, outputs))

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 nnU-Net's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr = 1e-4
        self.weight_decay = 1e-5

    def configure_optimizers(self):
        """Return AdamW, with nnU-Net's polynomial schedule."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)


class MAGMSUNETRTrainer(UNETRTrainer, MAGMSTrainer):
    """Equation 2 (arXiv 2306.03730) with UNETR's transformer once per modality and its decoder shared."""

    build = staticmethod(lambda plans, inputs, outputs, _: build_multi_encoder_unetr(plans, inputs, outputs))


class MAGUNETRTrainer(MAGMSUNETRTrainer):
    """The same without distillation: "MAG" in Table 1 of arXiv 2306.03730."""

    settings = MAGTrainer.settings
