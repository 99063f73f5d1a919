"""Differences between systems other than their models: in prediction, selection or training."""

from collections.abc import Callable

from magms_nnunet.comparison.comparison import Comparison
from magms_nnunet.comparison.systems import Evaluation
from magms_nnunet.comparison.text_table import TextTable

UNKNOWN = "–"


def differences_table(data: Comparison) -> TextTable | None:
    """Return the differences between the systems other than their models, a row each; None: none is recorded."""
    rows = []
    for aspect, of_evaluation in _ASPECTS.items():
        cells = [_cell(system.evaluations, of_evaluation) for system in data.systems]
        values = {value for cell in cells for value in cell.split(" / ") if value != UNKNOWN}
        if len(values) > 1:
            rows.append([aspect, *cells])
    if not rows:
        return None
    aspects = [aspect.lower() for aspect, *_ in rows]
    title = f"Not comparable because these differ: {', '.join(aspects)}"
    note = "Differences between the systems may come from these as well as from their models."
    return TextTable(title, ["What differs", *(system.name for system in data.systems)], rows, note)


def _cell(evaluations: tuple[Evaluation, ...], of_evaluation: Callable[[Evaluation], object]) -> str:
    values = [of_evaluation(evaluation) for evaluation in evaluations]
    return " / ".join(dict.fromkeys(UNKNOWN if value is None else f"{value}" for value in values))


def _setting(name: str) -> Callable[[Evaluation], object]:
    return lambda evaluation: (evaluation.run.get("settings") or {}).get(name)


def _epochs(evaluation: Evaluation) -> str | None:
    epochs = (evaluation.run.get("training") or {}).get("epochs")
    return f"{epochs / max(1, len(evaluation.run['model']['folds'])):g}" if isinstance(epochs, int | float) else None


def _checks(evaluation: Evaluation) -> str | None:
    checks = evaluation.run.get("checks")
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in checks.items()) if checks else None


_ASPECTS: dict[str, Callable[[Evaluation], object]] = {
    "Mirroring": _setting("mirroring"),
    "Step size": _setting("step_size"),
    "Checkpoint": lambda evaluation: evaluation.run["model"].get("checkpoint"),
    "Number of folds": lambda evaluation: len(evaluation.run["model"]["folds"]),
    "Epochs of training": _epochs,
    "Checks of the images": _checks,
}
