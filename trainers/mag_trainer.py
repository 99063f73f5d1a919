"""``-tr MAGTrainer``: the paper's ablation, modality-agnostic learning without distillation."""

from magms_nnunet.trainers.magms_trainer import MAGMSTrainer
from magms_nnunet.training.settings import Settings


class MAGTrainer(MAGMSTrainer):
    """Equation 2 with lambda = gamma = 0 ("MAG" in Table 1 of arXiv 2306.03730)."""

    settings = Settings(kl_weight=0.0, feature_weight=0.0)
