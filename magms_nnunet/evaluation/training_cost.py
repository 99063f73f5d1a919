"""What the training of a model took, as its checkpoints say: logs also tell of epochs that a crash or a rerun undid."""

from collections.abc import Sequence


def training_cost(epoch_seconds: Sequence[float], modalities: int) -> dict | None:
    """Epochs, seconds and seconds per epoch of all folds together.

    Args:
        epoch_seconds: of every epoch of every fold, see :class:`magms_nnunet.model.model.TrainedModel`.
        modalities: how many the model was trained on; passed through.

    Returns:
        None where the checkpoints do not say.
    """
    if not epoch_seconds:
        return None
    total = sum(epoch_seconds)
    return {
        "epochs": len(epoch_seconds),
        "seconds": total,
        "seconds_per_epoch": total / len(epoch_seconds),
        "modalities": modalities,
    }
