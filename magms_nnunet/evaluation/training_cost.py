"""The cost of a model's training, from its checkpoints: logs also hold epochs that were repeated after a crash."""

from collections.abc import Sequence


def training_cost(epoch_seconds: Sequence[float], modalities: int) -> dict | None:
    """Return epochs, seconds and seconds per epoch of all folds together.

    Args:
        epoch_seconds: of every epoch of every fold, see :class:`magms_nnunet.model.model.TrainedModel`.
        modalities: number of the model's modalities, which is returned, too.

    Returns:
        None where a checkpoint has no log.
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
