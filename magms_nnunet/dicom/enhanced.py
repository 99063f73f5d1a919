"""Enhanced (multi-frame) MR: one file holds all slices, with the attributes of a plain image's header per frame."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

# keyword of a plain image -> functional group and keyword there (DICOM PS3.3, C.7.6.16.2 and C.8.13.5)
_WHERE = {
    "ImagePositionPatient": ("PlanePositionSequence", "ImagePositionPatient"),
    "ImageOrientationPatient": ("PlaneOrientationSequence", "ImageOrientationPatient"),
    "PixelSpacing": ("PixelMeasuresSequence", "PixelSpacing"),
    "RescaleSlope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "InversionTime": ("MRModifierSequence", "InversionTimes"),
}


def frame_headers(image: "Dataset") -> list["Dataset"]:
    """Return a header per frame, in the stored order, with the keywords of plain MR images.

    Args:
        image: header of an enhanced MR image.
    """
    return [_header(image, number) for number in range(int(image.get("NumberOfFrames", 1) or 1))]


def _header(image: "Dataset", number: int) -> "Dataset":
    from pydicom import Dataset

    frame = Dataset()
    for element in image:
        if element.VR != "SQ":
            frame.add(element)
    frame.file_meta = image.file_meta
    for keyword, (group, inside) in _WHERE.items():
        value = _value(image, number, group, inside)
        if value is not None:
            first = value[0] if keyword == "InversionTime" and not isinstance(value, float) else value
            setattr(frame, keyword, first)
    if _value(image, number, "MRModifierSequence", "InversionRecovery") == "YES":
        frame.ScanningSequence = "IR"
    component = _value(image, number, "MRImageFrameTypeSequence", "ComplexImageComponent")
    types = [*_values(image.get("ImageType")), *_values(_value(image, number, "MRImageFrameTypeSequence", "FrameType"))]
    frame.ImageType = [*types, *_values(component)] or None
    agents = image.get("ContrastBolusAgentSequence") or []
    if agents and _value(image, number, "ContrastBolusUsageSequence", "ContrastBolusAgentAdministered") != "NO":
        frame.ContrastBolusAgent = str(agents[0].get("CodeMeaning", "") or "given")
    return frame


def _value(image: "Dataset", number: int, group: str, keyword: str):
    """Return a value of the functional group of a frame, or of the group that all frames share."""
    own = image.get("PerFrameFunctionalGroupsSequence") or []
    shared = image.get("SharedFunctionalGroupsSequence") or []
    for groups in (own[number : number + 1], shared[:1]):
        for item in groups:
            if found := item.get(group):
                return found[0].get(keyword)
    return None


def _values(value) -> list:
    if value is None or isinstance(value, str):
        return [value] if value else []
    return [*value]
