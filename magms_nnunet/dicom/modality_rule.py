"""A rule for the modality of a series of MR images, from standard attributes, with a reason and a confidence.

The rule has two sources. The physics: ScanningSequence, InversionTime, EchoTime, RepetitionTime, ContrastBolusAgent.
The text: SeriesDescription and ProtocolName. Where both agree, the confidence is high; where one is missing, medium;
where they contradict each other, the series could be either, and nothing is guessed.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

FLAIR, T1, T1C, T2 = KINDS = ("FLAIR", "T1", "T1c", "T2")

_OTHER = re.compile(
    r"dwi|diff|dti|adc|trace|swi|swan|t2\s*\*|t2star|(?<!t1)(?<!t1 )gre\b|hemo|perf|dsc|dce|asl|bold|fmri|tof|angio"
    r"|mra\b|phase|spectro|stir|\bpd\b|proton|localizer|scout|survey|field.?map|subtraction|\bsub\b",
    re.IGNORECASE,
)
_TEXTS = (
    (FLAIR, re.compile(r"flair|dark.?fluid", re.IGNORECASE)),
    (T1, re.compile(r"(?<![a-z0-9])t1|mp.?rage|spgr|bravo|\btfe\b|vibe", re.IGNORECASE)),
    (T2, re.compile(r"(?<![a-z0-9])t2", re.IGNORECASE)),
)
_AGENT = r"gd|gad\w*|contrast|ce|km|cm"
_CONTRAST = re.compile(rf"(?<![a-z])(post|{_AGENT})(?![a-z])|t1ce|t1c(?![a-z])|\+\s*c\b", re.IGNORECASE)
_NO_CONTRAST = re.compile(rf"(?<![a-z])(pre|non|without|w/?o|no|native)[\s-]*({_AGENT})?(?![a-z])", re.IGNORECASE)
_NO_AGENT = {"", "NO", "NONE", "N/A", "NATIVE", "WITHOUT"}


@dataclass(frozen=True)
class Guess:
    """The possible modalities of a series.

    Attributes:
        kinds: of :data:`KINDS`; empty for another series; several for an ambiguous one.
        confidence: ``high``, ``medium``, or ``-`` without exactly one kind.
        reason: in a few words.
    """

    kinds: tuple[str, ...]
    confidence: str
    reason: str


def guess(header: "Dataset") -> Guess:
    """Apply the rule to the header of one image of a series."""
    text = f"{header.get('SeriesDescription', '')} {header.get('ProtocolName', '')}".replace("_", " ")
    if other := _OTHER.search(text):
        return Guess((), "-", f"its description says {other[0].strip()!r}")
    physics, measured = _by_physics(header)
    named = {kind for kind, pattern in _TEXTS if pattern.search(text)}
    if FLAIR in named:  # T2-FLAIR and FLAIR are FLAIR, T1-FLAIR is T1
        named = {T1} if named == {FLAIR, T1} else {FLAIR}
    words = next(iter(named)) if len(named) == 1 else None
    if physics is None and words is None:
        return Guess((), "-", f"neither times nor description say so ({measured})")
    if physics is not None and words is not None and physics != words:
        kinds = tuple(kind for kind in KINDS if kind in (physics, words))
        return Guess(kinds, "-", f"times say {physics} ({measured}), the description says {words}")
    kind, sure = str(physics or words), physics is not None and words is not None
    source = f"{measured}, description" if sure else (measured if physics else f"description alone ({measured})")
    if kind != T1:
        return Guess((kind,), "high" if sure else "medium", source)
    return _with_contrast(header, text, sure, source)


def _with_contrast(header: "Dataset", text: str, sure: bool, source: str) -> Guess:
    """Decide between T1 before and after contrast."""
    agent = str(header.get("ContrastBolusAgent", "") or "").strip()
    given = agent.upper() not in _NO_AGENT
    denied = _NO_CONTRAST.search(text) is not None
    contrast = _CONTRAST.search(_NO_CONTRAST.sub(" ", text)) is not None
    if denied and (given or contrast):
        return Guess((T1, T1C), "-", f"{source}; a contrast agent is named, and denied by the description")
    if given or contrast:
        why = "ContrastBolusAgent" if given else "contrast by description"
        return Guess((T1C,), "high" if sure and given else "medium", f"{source}, {why}")
    return Guess((T1,), "high" if sure else "medium", f"{source}, no contrast agent")


def _by_physics(header: "Dataset") -> tuple[str | None, str]:
    """Return the kind by sequence and times, and a text with these.

    FLAIR: inversion recovery with TI of 1500 to 3500 ms and TE of 60 ms or more. T2: TR of 2000 ms and TE of 60 ms or
    more. T1: TE of 30 ms or less, with TR of 1200 ms or less or TI of 400 to 1400 ms.
    """
    sequence = header.get("ScanningSequence")
    sequences = {sequence} if isinstance(sequence, str) else {*(sequence or ())}
    te, tr, ti = (_number(header, f"{name}Time") for name in ("Echo", "Repetition", "Inversion"))
    measured = ", ".join(
        f"{name} {value:g}" for name, value in (("TR", tr), ("TE", te), ("TI", ti)) if value is not None
    )
    measured = f"{measured} ms" if measured else "no times"
    if te is None or tr is None:
        return None, measured
    inverted = ti is not None and ti > 0
    if inverted and 1500 <= ti <= 3500 and te >= 60:
        return FLAIR, measured
    if inverted and te <= 30 and 400 <= ti <= 1400:
        return T1, measured
    if not inverted and "IR" not in sequences and tr >= 2000 and te >= 60:
        return T2, measured
    if te <= 30 and tr <= 1200:
        return T1, measured
    return None, measured


def _number(header: "Dataset", keyword: str) -> float | None:
    try:
        return float(header.get(keyword))
    except (TypeError, ValueError):
        return None
