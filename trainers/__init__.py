"""One class per ``-tr`` name. nnU-Net finds them through :mod:`magms_nnunet.autoload`."""

from magms_nnunet.trainers.mag_trainer import MAGTrainer
from magms_nnunet.trainers.magms_trainer import MAGMSTrainer

__all__ = ["MAGMSTrainer", "MAGTrainer"]
