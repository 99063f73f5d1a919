"""Reads DICOM studies: series, their modalities and voxels; writes segmentations as DICOM-SEG."""
