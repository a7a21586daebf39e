"""One method for each operationId of the contract: unpack, call the controller, wrap. The logic knows nothing of it."""

from __future__ import annotations

from typing import Any

from connexion.context import receive, request
from starlette.responses import JSONResponse, Response

from mistk_service.core.controller import Controller
from mistk_service.core.status_log import StatusEvent
from mistk_service.doors.mistk.watch import last_event_id, watch_response
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.model.values import InitParams
from mistk_service.web.contract.records import require_base64
from mistk_service.web.disconnect import while_present

__all__ = ["Handlers"]


class Handlers:
    """The operations of the contract, named by their operationIds in snake case.

    Args:
        controller: does the work.
        api_version: what ``apiVersion`` answers.
        keepalive: seconds between two signs of life of a watch.
    """

    def __init__(self, controller: Controller, *, api_version: str, keepalive: float) -> None:
        self._controller = controller
        self._api_version = api_version
        self._keepalive = keepalive

    async def initialize_model(self, initialization_parameters: dict[str, Any]) -> Response:
        """POST /initialize."""
        return await self._begun(self._controller.initialize(InitParams.from_wire(initialization_parameters)))

    async def _begun(self, event: StatusEvent) -> Response:
        """Answer with the status in which an operation began, unless its hook refuses the request at once."""
        await self._controller.wait_taken_up()
        return _status(event)

    async def load_data(self, datasets: dict[str, Any]) -> Response:
        """POST /loadData."""
        return await self._begun(await self._controller.load_data(datasets))

    async def build_model(self, model_path: str | None = None) -> Response:
        """POST /buildModel."""
        return await self._begun(await self._controller.build_model(model_path))

    async def train(self) -> Response:
        """POST /train."""
        return await self._begun(self._controller.begin("train"))

    async def save_model(self, model_path: str) -> Response:
        """POST /saveModel."""
        return await self._begun(await self._controller.save("saveModel", model_path, "modelPath"))

    async def predict(self) -> Response:
        """POST /predict."""
        return await self._begun(self._controller.begin("predict"))

    async def stream_predict(self, data_map: dict[str, str], details: bool = False) -> Response:
        """POST /streamPredict."""
        if self._controller.record_encoding == "base64":
            await require_base64(data_map)
        prediction = self._controller.stream_predict(data_map, details)
        del data_map  # it is on its way, may be large, and nobody else needs it while this waits
        body = await while_present(receive, prediction)
        return Response(body + b"\n", media_type="application/json")

    async def update_stream_properties(self, props: dict[str, Any]) -> Response:
        """POST /updateStreamProperties."""
        return await self._begun(self._controller.begin("updateStreamProperties", props))

    async def save_predictions(self, data_path: str) -> Response:
        """POST /savePredictions."""
        return await self._begun(await self._controller.save("savePredictions", data_path, "dataPath"))

    async def generate(self) -> Response:
        """POST /generate."""
        return await self._begun(self._controller.begin("generate"))

    async def save_generations(self, data_path: str) -> Response:
        """POST /saveGenerations."""
        return await self._begun(await self._controller.save("saveGenerations", data_path, "dataPath"))

    async def pause(self) -> Response:
        """POST /pause."""
        return _status(self._controller.pause())

    async def resume_training(self) -> Response:
        """POST /resumeTraining."""
        return _status(self._controller.resume("resumeTraining"))

    async def resume_predict(self) -> Response:
        """POST /resumePredict."""
        return _status(self._controller.resume("resumePredict"))

    async def get_status(self, watch: bool = False, resource_version: int | None = None) -> Response:
        """GET /status, once or as a stream."""
        if resource_version is not None and not 0 <= resource_version < 2**63:
            raise InvalidRequest(
                f"resourceVersion: {str(resource_version)[:40]} is no version; expected an integer from 0 to 2^63 - 1.",
                field="resourceVersion",
            )
        if not watch:
            return _status(self._controller.log.latest())
        headers = request.headers
        sse = "text/event-stream" in headers.get("accept", "")
        # A browser that reconnects sends the id of the last event, and the query that it began with.
        known = last_event_id(headers.get("last-event-id"))
        after = resource_version if known is None else known
        return watch_response(self._controller.log, after, sse=sse, keepalive=self._keepalive)

    async def terminate(self) -> Response:
        """POST /shutdown."""
        return _status(self._controller.shutdown())

    async def reset(self) -> Response:
        """POST /reset."""
        return _status(self._controller.reset())

    async def get_api_version(self) -> Response:
        """GET /apiVersion."""
        return JSONResponse(self._api_version)


def _status(event: StatusEvent) -> Response:
    # The line's end is for people: without it their prompt sticks to the answer.
    return Response(event.status + b"\n", media_type="application/json")
