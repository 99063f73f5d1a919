"""One class per ``-tr`` name. nnU-Net finds them through :mod:`magms_nnunet.autoload`."""

from magms_nnunet.trainers.any_subset_trainer import AnySubsetTrainer
from magms_nnunet.trainers.hemis_trainer import HeMISTrainer
from magms_nnunet.trainers.magms_trainer import MAGMSTrainer, MAGTrainer
from magms_nnunet.trainers.modality_dropout_trainer import ModalityDropoutTrainer
from magms_nnunet.trainers.unetr_trainers import MAGMSUNETRTrainer, MAGUNETRTrainer, UNETRTrainer

__all__ = [
    "AnySubsetTrainer",
    "HeMISTrainer",
    "MAGMSTrainer",
    "MAGMSUNETRTrainer",
    "MAGTrainer",
    "MAGUNETRTrainer",
    "ModalityDropoutTrainer",
    "UNETRTrainer",
]
