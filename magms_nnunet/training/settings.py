"""What can be set about MAG-MS training, each field with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of equations 1 and 2 (arXiv 2306.03730).

    Attributes:
        kl_weight: lambda; 1 in the paper, 0 switches output distillation off.
        feature_weight: gamma; 1 in the paper, 0 switches feature distillation off.
        temperature: divides the logits of teacher and student in the KL term.
        teacher_gradient: let the distillation terms move the teacher as well; distillation usually does not.

    Raises:
        ValueError: a weight is negative, or the temperature is not above 0.
    """

    kl_weight: float = 1.0
    feature_weight: float = 1.0
    temperature: float = 1.0
    teacher_gradient: bool = False

    def __post_init__(self):
        if self.kl_weight < 0 or self.feature_weight < 0:
            raise ValueError(f"weights must be >= 0: kl {self.kl_weight}, feature {self.feature_weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
