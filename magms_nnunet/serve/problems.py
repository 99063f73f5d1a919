"""Errors for clients: problem details for HTTP, RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus

from magms_nnunet.errors import one_line


class Problem(Exception):  # noqa: N818 RFC 9457's word
    """A request cannot be answered.

    Args:
        status: of HTTP.
        detail: the error and a remedy, in one line.
        headers: further headers of the answer.
        members: further members of the JSON object.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, one_line(detail), dict(headers or {})
        self._members = dict(members or {})

    @property
    def content(self) -> dict:
        """Return the JSON object; its title is the phrase of the status."""
        return {"type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status} | {
            "detail": self.detail,
            **self._members,
        }
