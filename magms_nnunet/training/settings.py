"""The settings of MAG-MS training, each with its reason."""

from dataclasses import dataclass
from math import exp


@dataclass(frozen=True)
class Settings:
    """Settings of equations 1 and 2 (arXiv 2306.03730).

    Attributes:
        kl_weight: lambda; 1 in the paper, 0 switches output distillation off.
        feature_weight: gamma; 1 in the paper, 0 switches feature distillation off.
        temperature: divides the logits of teacher and student in the KL term.
        teacher_gradient: whether the distillation terms change the teacher, too, which is unusual and needs the memory
            of all branches at once.
        students_per_step: K, the number of the M students that a step trains, drawn at random; their terms are
            multiplied by M / K, so that the expectation is the sum of equation 2. None, or M and more: all.
        ramp: share of the training over which lambda and gamma rise from nearly 0 to their values, as
            exp(-5 (1 - t / ramp)^2) of the time t. At the start the teacher has learned nothing, and the terms slow
            the training. 0: the plain form of the paper, whose weights are constant.
        rarity_cap: largest factor of the terms of a modality that few training cases have: N / N_m for N_m of N
            cases, limited to this. 1: all modalities count alike.
        recompute_encoders: whether to run the encoders again in the backward pass, in place of keeping their features.

    Raises:
        ValueError: a weight is negative, the temperature is not above 0, the number of students is below 1, the ramp is
            not between 0 and 1, or the cap is below 1.
    """

    kl_weight: float = 1.0
    feature_weight: float = 1.0
    temperature: float = 1.0
    teacher_gradient: bool = False
    students_per_step: int | None = None
    ramp: float = 0.3
    rarity_cap: float = 1.0
    recompute_encoders: bool = False

    def __post_init__(self):
        if self.kl_weight < 0 or self.feature_weight < 0:
            raise ValueError(f"weights must be >= 0: kl {self.kl_weight}, feature {self.feature_weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
        if self.students_per_step is not None and self.students_per_step < 1:
            raise ValueError(f"students_per_step must be >= 1, got {self.students_per_step}")
        if not 0 <= self.ramp <= 1:
            raise ValueError(f"ramp must be between 0 and 1, got {self.ramp}")
        if self.rarity_cap < 1:
            raise ValueError(f"rarity_cap must be >= 1, got {self.rarity_cap}")

    def distillation(self, time: float) -> float:
        """Return the factor of lambda and gamma at a time of the training, from 0 to 1."""
        return exp(-5 * (1 - min(1.0, time / self.ramp)) ** 2) if self.ramp else 1.0
