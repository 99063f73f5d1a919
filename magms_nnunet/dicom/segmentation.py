"""Writes a segmentation as a DICOM-SEG that refers to the segmented images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from magms_nnunet import __version__
from magms_nnunet.dicom.codes import codes_of
from magms_nnunet.dicom.study import Series, require_pydicom
from magms_nnunet.errors import InputError
from magms_nnunet.metrics.dice import Regions


def write_segmentation(
    path: Path, labels: np.ndarray, regions: Regions, series: Series, dataset_json: Mapping, model: str
) -> None:
    """Write a segment per label or region; attributes of the patient and the study are those of the images.

    Args:
        path: file to write.
        labels: label map ``(z, y, x)`` on the grid of the series, slices in its order.
        regions: label values of each region.
        series: the images.
        dataset_json: of the model, for coded terms.
        model: name of the model.

    Raises:
        InputError: highdicom is not installed, nothing is segmented, or the shapes differ.
    """
    pydicom = require_pydicom()
    try:
        import highdicom as hd
    except ImportError as error:
        raise InputError('DICOM-SEG needs highdicom: pip install "magms_nnunet[dicom]"') from error
    first = series.headers[0]
    if labels.shape != (len(series.headers), first.Rows, first.Columns):
        raise InputError(
            f"a segmentation of {labels.shape} voxels does not lie on the {len(series.headers)} slices of "
            f"{first.Rows}x{first.Columns} that DICOM-SEG refers to: give --grid a modality of the study"
        )
    if not labels.any():
        raise InputError("nothing is segmented, and a DICOM-SEG cannot be empty: use --output-type nifti")
    masks = np.stack([np.isin(labels, values) for values in regions.values()], axis=-1)
    if series.frames is not None:
        masks = masks[np.argsort(series.frames)]  # in the order in which the frames are stored
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.files]
    written = hd.seg.Segmentation(
        source_images=images,
        pixel_array=masks,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=_descriptions(regions, dataset_json, model),
        series_instance_uid=hd.UID(),
        series_number=int(first.get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="magms_nnunet",
        manufacturer_model_name="magms_nnunet",
        software_versions=__version__,
        device_serial_number="0",
        series_description="Segmentation by magms_nnunet, for research",
    )
    written.save_as(path)


def _descriptions(regions: Regions, dataset_json: Mapping, model: str) -> list:
    """Describe each segment by coded terms for its region and for the model that made it."""
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept

    algorithm = hd.AlgorithmIdentificationSequence(
        name=model[:64],
        version=__version__,
        family=CodedConcept("123109", "DCM", "Artificial Intelligence"),
    )
    descriptions = []
    for number, region in enumerate(regions, 1):
        category, kind = (CodedConcept(*term) for term in codes_of(region, dataset_json))
        descriptions.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=region[:64],
                segmented_property_category=category,
                segmented_property_type=kind,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
            )
        )
    return descriptions
