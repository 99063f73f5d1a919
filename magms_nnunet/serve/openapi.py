"""What the interface's description says of uploads and errors."""

ZIP = {"schema": {"type": "string", "format": "binary"}}
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "A file per modality; each part is named after its modality.",
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            },
            "application/zip": ZIP,
        },
    }
}
PROBLEMS = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        400: "malformed body or zip",
        401: "the token is missing or wrong",
        404: "unknown model or job",
        408: "the upload paused for too long",
        409: "the job has no result",
        413: "too large",
        415: "neither multipart nor zip",
        422: "no file, an unknown modality, one given twice, or a study that is not clear",
        429: "too many jobs are waiting",
        501: "the server does not read DICOM",
        503: "not ready, or stopping",
    }.items()
}
UPLOAD_OF_STUDY = {"requestBody": {"required": True, "content": {"application/zip": ZIP}}}
