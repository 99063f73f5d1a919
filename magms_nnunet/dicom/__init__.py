"""DICOM in and out: the series of a study, which modality each is, their voxels, and segmentations as DICOM-SEG."""
