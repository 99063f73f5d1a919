"""Coded terms of segments, from SNOMED CT; the owner of a model adds others in dataset.json, ``segment_codes``."""

from collections.abc import Mapping

from magms_nnunet.errors import InputError, shorten

Term = tuple[str, str, str]
"""Value, scheme and meaning."""

_MORPHOLOGY: Term = ("49755003", "SCT", "Morphologically abnormal structure")
_ANATOMY: Term = ("123037004", "SCT", "Body structure")
_TISSUE: tuple[Term, Term] = (("85756007", "SCT", "Tissue"), ("85756007", "SCT", "Tissue"))
_KNOWN: dict[str, tuple[Term, Term]] = {
    "edema": (_MORPHOLOGY, ("79654002", "SCT", "Edema")),
    "necrosis": (_MORPHOLOGY, ("6574001", "SCT", "Necrosis")),
    "tumor": (_MORPHOLOGY, ("108369006", "SCT", "Neoplasm")),
    "lesion": (_MORPHOLOGY, ("52988006", "SCT", "Lesion")),
    "white matter": (_ANATOMY, ("68523003", "SCT", "Cerebral white matter")),
}
_WORDS = {
    "edema": ("edema", "oedema"),
    "tumor": ("tumor", "tumour", "enhancing", "core"),
    "necrosis": ("necro", "ncr"),
    "lesion": ("lesion",),
}


def codes_of(region: str, dataset_json: Mapping) -> tuple[Term, Term]:
    """Return category and type of a label or region: from dataset.json, by a word in its name, or ``Tissue``.

    Raises:
        InputError: ``segment_codes`` of dataset.json has another form.
    """
    listed = dataset_json.get("segment_codes", {})
    given = listed.get(region) if isinstance(listed, Mapping) else listed
    if given is not None:
        category, kind = (given.get(key, ()) if isinstance(given, Mapping) else () for key in ("category", "type"))
        if not (_is_term(category) and _is_term(kind)):
            right = '{"category": [value, scheme, meaning], "type": [value, scheme, meaning]}'
            raise InputError(f"dataset.json: segment_codes of {shorten(region)} must be {right}, got {shorten(given)}")
        return tuple(category), tuple(kind)
    name = region.lower().replace("_", " ")
    found = next((code for code, words in _WORDS.items() if any(word in name for word in words)), None)
    return _KNOWN[found] if found else _TISSUE


def _is_term(value) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) and part for part in value)
