"""The service over HTTP: models, jobs, results, slices, health and metrics."""

import asyncio
import hmac
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Body, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import magms_nnunet
from magms_nnunet.modalities import Modalities
from magms_nnunet.serve import metrics, slices
from magms_nnunet.serve.assignment import modality_of
from magms_nnunet.serve.device import Device, say
from magms_nnunet.serve.intake import channels_of, receive
from magms_nnunet.serve.job import DONE, FAILED, Answer, Job
from magms_nnunet.serve.jobs import Jobs
from magms_nnunet.serve.openapi import PROBLEMS, UPLOAD, UPLOAD_OF_STUDY
from magms_nnunet.serve.parameters import study_flags
from magms_nnunet.serve.problems import Problem
from magms_nnunet.serve.study import Study, StudyFlags, described
from magms_nnunet.storage.files import reserved_name

_CASE = re.compile(r"[\w+-][\w .+-]{0,99}")
_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}
_OPEN = ("/health", "/ready", *_PAGE_FILES)  # they tell nothing about patients, and need no token
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Service:
    """The state that requests share.

    Args:
        models: identifier -> description by :func:`magms_nnunet.serve.worker.load`.
        jobs: of the server.
        devices: that run them.
        token: that clients must send; empty: none.
        hosts: allowed names of the server, which exclude pages of other sites; empty: any.

    Attributes:
        answers: HTTP status -> number of answers.
    """

    def __init__(
        self, models: dict[str, dict], jobs: Jobs, devices: Sequence[Device], token: str, hosts: frozenset[str]
    ):
        self.models, self.jobs, self.devices = models, jobs, devices
        self.token, self.hosts, self.answers = token, hosts, Counter()

    def check_allowed(self, request: Request) -> None:
        """Raise Problem where a request has no token, or comes from a page of another site."""
        host = request.headers.get("host", "")
        if self.hosts and urlsplit(f"//{host}").hostname not in self.hosts:
            raise Problem(421, f"this server is not {host}: ask for it by its own name")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Problem(403, f"requests from pages of {origin} are refused")
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if (
            self.token
            and request.url.path not in _OPEN
            and not hmac.compare_digest(given.encode(), self.token.encode())
        ):
            raise Problem(401, "send the server's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    def model(self, identifier: str | None) -> tuple[str, dict]:
        """Return the requested model; the name of an only model may be left out.

        Raises:
            Problem: there is no model of this name.
        """
        if identifier is None and len(self.models) == 1:
            return next(iter(self.models.items()))
        if identifier not in self.models:
            raise Problem(404, f"no model {identifier or 'is named'}: this server has {', '.join(self.models)}")
        return identifier, self.models[identifier]


def make_app(service: Service) -> FastAPI:
    """Make the application."""
    app = FastAPI(
        title="magms_serve",
        version=magms_nnunet.__version__,
        description="Segmentation from whichever modalities a patient has.",
        docs_url=None,  # the page of FastAPI loads scripts of another site
        redoc_url=None,
    )

    @app.middleware("http")
    async def guarded(request: Request, call_next):
        try:
            service.check_allowed(request)
            answer = await call_next(request)
        except Problem as problem:
            answer = _of_problem(problem)
        answer.headers.update(_HEADERS)
        service.answers[answer.status_code] += 1
        return answer

    @app.exception_handler(Problem)
    async def on_problem(_: Request, problem: Problem) -> Response:
        return _of_problem(problem)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        return _of_problem(Problem(error.status_code, str(error.detail), error.headers))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _of_problem(Problem(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def on_fault(_: Request, error: Exception) -> Response:
        say(f"unexpected {type(error).__name__}: {error}")
        return _of_problem(Problem(500, "an internal fault, which the server's log describes"))

    _add_page(app)
    _add_state(app, service)
    _add_jobs(app, service)
    _add_results(app, service)
    return app


def _of_problem(problem: Problem) -> Response:
    return JSONResponse(problem.content, problem.status, headers=problem.headers, media_type="application/problem+json")


def _add_page(app: FastAPI) -> None:
    def add(path: str, name: str) -> None:
        content = (_PAGE / name).read_bytes()

        @app.get(path, include_in_schema=False)
        async def page() -> Response:
            return Response(content, media_type=_TYPES[Path(name).suffix])

    for path, name in _PAGE_FILES.items():
        add(path, name)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict:
        """Return whether the server answers."""
        return {"status": "ok"}

    @app.get("/ready", responses={503: PROBLEMS[503]})
    async def ready() -> dict:
        """Return whether the server takes jobs, with all models loaded."""
        if service.jobs.stopping or not any(device.ready for device in service.devices):
            raise Problem(503, "the server is stopping" if service.jobs.stopping else "the models are being loaded")
        return {"status": "ready"}

    @app.get("/metrics", responses={401: PROBLEMS[401]})
    async def of_prometheus() -> Response:
        """Return the metrics for Prometheus."""
        text = metrics.metrics(service.jobs, service.devices, service.answers)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    @app.get("/models", responses={401: PROBLEMS[401]})
    async def models() -> list[dict]:
        """Return the models: modalities, labels, and the Dice to expect from each subset."""
        return [
            {"id": name} | {key: value for key, value in model.items() if key != "folder"}
            for name, model in service.models.items()
        ]

    @app.post("/assignment", responses={401: PROBLEMS[401], 404: PROBLEMS[404]})
    async def assignment(
        names: Annotated[list[Annotated[str, Field(max_length=1000)]], Body(max_length=1000)], model: str | None = None
    ) -> list[str | None]:
        """Return the modality of each file by its name; null: the name gives none."""
        _, chosen = service.model(model)
        modalities = Modalities(tuple(chosen["modalities"]))
        return [modality_of(name, modalities, chosen["file_ending"]) for name in names]


def _add_jobs(app: FastAPI, service: Service) -> None:
    @app.post("/series", openapi_extra=UPLOAD_OF_STUDY, responses=PROBLEMS)
    async def series(request: Request, model: Annotated[str | None, Query()] = None) -> list[dict]:
        """Return the series of a zipped DICOM study, and the possible modalities of each; nothing is kept."""
        _, chosen = service.model(model)
        async with _slot(service) as job:
            study = await receive(request, job.folder, service.jobs.limits, chosen["file_ending"])
            if not isinstance(study, Study):
                raise Problem(422, "no DICOM in the zip: zip the folder that holds the study")
            found = await asyncio.to_thread(study.series)
            await asyncio.to_thread(service.jobs.abandon, job)
        return described(found, Modalities(tuple(chosen["modalities"])))

    @app.post("/jobs", status_code=202, openapi_extra=UPLOAD, responses=PROBLEMS)
    async def post(
        request: Request,
        flags: Annotated[StudyFlags, Depends(study_flags)],
        model: Annotated[str | None, Query(description="id of GET /models; not needed where there is one")] = None,
        case: Annotated[str, Query(description="name of the result")] = "image",
        slices: Annotated[bool, Query(description="whether to keep slices for viewing")] = False,
    ) -> Response:
        """Predict a patient from the uploaded modalities."""
        identifier, chosen = service.model(model)
        if not _CASE.fullmatch(case) or reserved_name(case):
            raise Problem(422, "case takes up to 100 letters, digits, spaces and . + - _, beginning with no dot")
        async with _slot(service) as job:
            job.model, job.case, job.preview = identifier, case, slices
            await _take(request, job, chosen, flags, service)
        service.jobs.submit(job)
        return JSONResponse(_state(job, service), 202, headers={"Location": f"/jobs/{job.id}"})

    @app.get("/jobs/{identifier}", responses={401: PROBLEMS[401], 404: PROBLEMS[404]})
    async def get(identifier: str) -> dict:
        """Return the state of a job: waiting, running, done or failed."""
        return _state(service.jobs.get(identifier), service)

    @app.delete("/jobs/{identifier}", status_code=204, responses={401: PROBLEMS[401], 404: PROBLEMS[404]})
    async def delete(identifier: str) -> Response:
        """Cancel a job, or delete its result."""
        await asyncio.to_thread(service.jobs.remove, identifier)
        return Response(status_code=204)


@asynccontextmanager
async def _slot(service: Service) -> AsyncIterator[Job]:
    """Yield a job for an upload, and abandon it where the upload fails."""
    job = service.jobs.begin()
    try:
        yield job
    except BaseException as error:
        await asyncio.to_thread(service.jobs.abandon, job)
        if isinstance(error, ClientDisconnect):  # the client is gone
            raise Problem(400, "the upload ended in the middle: send it again") from error
        raise


async def _take(request: Request, job: Job, model: dict, flags: StudyFlags, service: Service) -> None:
    """Store the uploaded images under nnU-Net's names, or the study."""
    modalities, ending, limits = Modalities(tuple(model["modalities"])), model["file_ending"], service.jobs.limits
    uploads = await receive(request, job.folder, limits, ending)
    if isinstance(uploads, Study):
        job.modalities = await asyncio.to_thread(uploads.choose, flags, modalities, limits.voxels)
        job.study = flags
    else:
        if flags != StudyFlags():
            raise Problem(
                422, "series, modalities, output-type, grid and register are for DICOM studies, sent as a zip"
            )
        files = channels_of(uploads, modalities, ending)
        job.images.mkdir()
        for channel, path in files.items():
            path.rename(job.images / f"{job.case}_{channel:04d}{ending}")
        job.modalities = tuple(modalities.names[channel] for channel in sorted(files))
    if len(job.modalities) < len(modalities) and not model["any_subset"]:
        raise Problem(422, f"this model needs all of {modalities.listing()}")


def _state(job: Job, service: Service) -> dict:
    state = {
        "id": job.id,
        "model": job.model,
        "case": job.case,
        "modalities": job.modalities,
        "state": job.state,
        "progress": job.progress(),
        "position": service.jobs.position(job),
        "seconds": job.seconds,
    }
    if job.state == FAILED:
        state["problem"] = Problem(job.status, job.detail).content
    if job.state == DONE and job.answer is not None:
        state["file"] = job.answer.name
        if job.answer.preview is not None:
            state["slices"] = slices.shape(job.answer.preview)
            state["best_slices"] = slices.best_slices(job.answer.preview)
    return state


def _add_results(app: FastAPI, service: Service) -> None:
    responses = {status: PROBLEMS[status] for status in (401, 404, 409)}

    def finished(identifier: str) -> tuple[Job, Answer]:
        job = service.jobs.get(identifier)
        if job.state == FAILED:
            raise Problem(409, f"the job has failed: {job.detail}")
        if job.state != DONE or job.answer is None:
            raise Problem(409, f"the job is {job.state}: ask again later", {"Retry-After": "1"})
        return job, job.answer

    @app.get("/jobs/{identifier}/result", responses=responses)
    async def result(identifier: str) -> Response:
        """Return the segmentation, in the model's file format or as DICOM-SEG."""
        job, answer = finished(identifier)
        job.fetched = True
        kind = "application/dicom" if answer.name.endswith(".dcm") else "application/octet-stream"
        disposition = f"attachment; filename*=UTF-8''{quote(answer.name)}"
        return Response(answer.segmentation, media_type=kind, headers={"Content-Disposition": disposition})

    @app.get("/jobs/{identifier}/report", responses=responses)
    async def report(identifier: str) -> Response:
        """Return the JSON that magms_predict writes beside a segmentation."""
        return Response(finished(identifier)[1].report, media_type="application/json")

    @app.get("/jobs/{identifier}/slices/{plane}/{index}", responses=responses)
    async def of_slice(
        identifier: str,
        plane: str,
        index: int,
        modality: str,
        opacity: Annotated[float, Query(ge=0, le=1)] = 0.5,
    ) -> Response:
        """Return a slice as PNG, for a job with ``slices=true``."""
        preview = finished(identifier)[1].preview
        if preview is None:
            raise Problem(409, "no slices: the job was sent without slices=true, or its images are 2-D")
        png = await asyncio.to_thread(slices.draw, preview, plane, index, modality, opacity)
        return Response(png, media_type="image/png")
