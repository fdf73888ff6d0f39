"""The feedback endpoint: a customer's thumb, comment or better answer, about one answer of ours."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import JSONResponse, Response

from agent import wire
from agent.auth import Guard
from agent.limits import read_body
from agent.metrics import Metrics
from agent.recorder import Recorder
from agent.response_ids import ResponseIds
from agent.wire import FeedbackRequest, InvalidRequest
from infra.events import Feedback


@dataclass(frozen=True, slots=True)
class FeedbackEndpoint:
    """The endpoint's collaborators. `limit` is the largest body, in bytes."""

    guard: Guard
    recorder: Recorder
    ids: ResponseIds
    metrics: Metrics
    limit: int

    async def give(self, request: Request) -> Response:
        """POST /v1/feedback. Answers once the feedback is durable; the last one on an answer counts."""
        self.guard.require(request, "feedback")
        said = wire.parse(FeedbackRequest, await read_body(request, self.limit))
        self.ids.check(said.response_id)
        if not (said.rating or said.comment or said.correction):
            raise InvalidRequest(
                "The feedback says nothing: send a rating of 1 or -1, a comment or a correction."
            )
        body = Feedback(
            response_id=said.response_id,
            rating=said.rating,
            comment=said.comment,
            correction=said.correction,
            user=said.user or "",
        )
        await self.recorder.feedback(body)
        self.metrics.feedback.labels(str(said.rating)).inc()
        return JSONResponse({"recorded": True, "response_id": said.response_id})
