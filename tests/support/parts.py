"""A tracking server in this process that accepts files in parts, with its storage."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

_MPU = re.compile(r"/api/2\.0/mlflow-artifacts/mpu/(\w+)/(.*)")
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class _Upload:
    """An upload that was begun; ``etags`` are those of the parts that have come."""

    target: str
    parts: dict[int, bytes] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)


class PartsServer:
    """A tracking server that hands out addresses of a storage, as MLflow's does for S3; a handler for httpx.

    Like MLflow's it answers 500 where the storage does not know an upload, which is so after it was completed, too.

    Attributes:
        faults: how often a request is answered with 503, by its method and the end of its path.
        most_parts: for how many parts it hands out addresses.
        cuts: whether the end is missing of what it hands out.
        completes: whether it completes uploads, or refuses that, and repeats what it was sent.
        lost_answers: how often a completion is done and answered with 502.
        offered: whether it offers uploads in parts.
        listed: whether folders may be listed.
        uploads: what was begun and neither completed nor given up, by ids.
        refused: the ids of the uploads whose addresses have expired.
        files: what is there, by paths.
        aborted: the ids of the uploads that were given up.
        sent: the ends of the addresses to which parts were sent, as ``id/number``, whether they were accepted or not.
        asked: every request: its method, host, path, and who asked.
    """

    def __init__(self, faults: Mapping[tuple[str, str], int] | None = None, *, offered: bool = True) -> None:
        self.faults = dict(faults or {})
        self.offered = offered
        self.most_parts = 10_000
        self.cuts = False
        self.completes = True
        self.lost_answers = 0
        self.listed = True
        self.uploads: dict[str, _Upload] = {}
        self.refused: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.aborted: list[str] = []
        self.sent: list[str] = []
        self.asked: list[tuple[str, str, str, str | None]] = []
        self._begun = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append((request.method, request.url.host, path, request.headers.get("authorization")))
        if request.url.host == "storage":
            self.sent.append(path.removeprefix("/"))
        for (method, end), left in self.faults.items():
            if method == request.method and path.endswith(end) and left:
                self.faults[method, end] -= 1
                return httpx.Response(503, text=f"{request.url} is not available")
        if request.url.host == "storage":
            return self._part(request)
        operation = _MPU.fullmatch(path)
        if operation is not None:
            return self._operation(operation[1], operation[2], json.loads(request.read()))
        if request.method == "GET":
            return self._list(request.url.params["path"])
        assert request.method == "PUT"
        self.files[path.removeprefix(f"{_ARTIFACTS}/")] = request.read()
        return httpx.Response(200, json={})

    def _part(self, request: httpx.Request) -> httpx.Response:
        upload_id, _, number = request.url.path.removeprefix("/").partition("/")
        content = request.read()
        said = f"<Error><Code>Refused</Code><Url>{request.url}</Url></Error>"
        if upload_id in self.refused:
            return httpx.Response(403, text=said)
        if upload_id not in self.uploads:
            return httpx.Response(404, text=said)
        assert request.url.params["signature"] == f"secret-{upload_id}-{number}"
        assert request.headers["x-part"] == number
        upload = self.uploads[upload_id]
        upload.parts[int(number)] = content
        upload.etags[int(number)] = f'"{upload_id}-{number}-{self.sent.count(request.url.path[1:])}"'
        return httpx.Response(200, headers={"ETag": upload.etags[int(number)]})

    def _list(self, folder: str) -> httpx.Response:
        if not self.listed:
            return httpx.Response(403)
        files = [
            {"path": posixpath.basename(path), "is_dir": False, "file_size": len(content)}
            for path, content in self.files.items()
            if posixpath.dirname(path) == folder
        ]
        return httpx.Response(200, json={"files": files})

    def _operation(self, operation: str, folder: str, fields: dict) -> httpx.Response:
        if not self.offered:
            return httpx.Response(501, json={"error_code": "NOT_IMPLEMENTED", "message": "Not here."})
        target = f"{folder}/{fields['path']}"
        if operation == "create":
            return self._create(target, fields["num_parts"])
        if operation == "complete" and not self.completes:
            return httpx.Response(400, json={"error_code": "INVALID_PARAMETER_VALUE", "message": f"Invalid: {fields}"})
        upload = self.uploads.pop(fields["upload_id"], None)
        if upload is None:
            return httpx.Response(500, text="Internal Server Error")
        assert upload.target == target
        if operation == "abort":
            self.aborted.append(fields["upload_id"])
        else:
            assert {part["part_number"]: part["etag"] for part in fields["parts"]} == upload.etags
            self.files[target] = b"".join(upload.parts[number] for number in sorted(upload.parts))
            if self.lost_answers:
                self.lost_answers -= 1
                return httpx.Response(502)
        return httpx.Response(200, json={})

    def _create(self, target: str, number: int) -> httpx.Response:
        self._begun += 1
        upload_id = f"upload{self._begun}"
        self.uploads[upload_id] = _Upload(target)
        credentials = [
            {
                "url": f"https://storage/{upload_id}/{i}?signature=secret-{upload_id}-{i}",
                "part_number": i,
                "headers": {"X-Part": str(i)},
            }
            for i in range(1, min(number, self.most_parts) + 1)
        ]
        answer = json.dumps({"upload_id": upload_id, "credentials": credentials})
        return httpx.Response(200, text=answer[:-10] if self.cuts else answer)
