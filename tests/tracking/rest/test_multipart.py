"""Large files in parts, where a tracking server offers that."""

import io
import json
import logging
import re

import httpx
import pytest

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.rest.artifacts import ProxiedArtifacts
from mistk_service.tracking.rest.transport import Transport

CONTENT = bytes(range(256)) * 10


class Server:
    """A tracking server with a storage behind it.

    Args:
        faults: how often each request fails before it works, by method and the end of the path.
        offered: whether it offers uploads in parts.
    """

    def __init__(self, faults=None, *, offered=True):
        self.faults = dict(faults or {})
        self.offered = offered
        self.parts = {}
        self.files = {}
        self.aborted = []
        self.asked = []

    def __call__(self, request):
        path = request.url.path
        self.asked.append((request.method, request.url.host, path, request.headers.get("authorization")))
        for (method, end), left in self.faults.items():
            if method == request.method and path.endswith(end) and left:
                self.faults[method, end] -= 1
                return httpx.Response(503)
        if request.url.host == "storage":
            number = int(path.rpartition("/")[2])
            self.parts[number] = request.read()
            return httpx.Response(200, headers={"ETag": f'"{number}"'})
        operation = re.fullmatch(r"/api/2\.0/mlflow-artifacts/mpu/(\w+)/1/r/artifacts/big", path)
        if operation is None:
            assert request.method == "PUT"
            self.files[path] = request.read()
            return httpx.Response(200, json={})
        return self.multipart(operation[1], json.loads(request.read()))

    def multipart(self, operation, fields):
        if not self.offered:
            return httpx.Response(501, json={"error_code": "NOT_IMPLEMENTED", "message": "Not here."})
        assert fields["path"] == "file"
        if operation == "create":
            credentials = [
                {"url": f"https://storage/{i}", "part_number": i, "headers": {"X-Part": str(i)}}
                for i in range(1, fields["num_parts"] + 1)
            ]
            return httpx.Response(200, json={"upload_id": "u", "credentials": credentials})
        assert fields["upload_id"] == "u"
        if operation == "abort":
            self.aborted.append(True)
        else:
            assert [(part["part_number"], part["etag"]) for part in fields["parts"]] == [
                (number, f'"{number}"') for number in sorted(self.parts)
            ]
            self.files["whole"] = b"".join(self.parts[number] for number in sorted(self.parts))
        return httpx.Response(200, json={})


def repository(server, part_size=1000):
    transport = Transport(RestConfig("https://host", token="secret"), httpx.MockTransport(server))
    return ProxiedArtifacts(
        transport, transport.addresses.proxied(), "1/r/artifacts", "mlflow-artifacts:/1/r/artifacts", part_size
    )


def test_a_large_file_goes_in_parts_to_the_storage_itself():
    server = Server()
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert server.files == {"whole": CONTENT}
    assert [len(server.parts[number]) for number in (1, 2, 3)] == [1000, 1000, 560]
    assert {(host, who) for _, host, _, who in server.asked} == {("host", "Bearer secret"), ("storage", None)}


def test_where_a_part_goes_stands_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    repository(Server({("PUT", "/2"): 2})).put("big/file", io.BytesIO(CONTENT))
    assert "mpu/create" in caplog.text
    assert "storage" not in caplog.text


def test_a_small_file_goes_in_one_piece():
    server = Server()
    repository(server, len(CONTENT)).put("big/file", io.BytesIO(CONTENT))
    assert list(server.files.values()) == [CONTENT]
    assert server.parts == {}


def test_a_part_that_gets_lost_is_sent_again():
    server = Server({("PUT", "/2"): 2})
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert server.files == {"whole": CONTENT}
    assert [path for method, _, path, _ in server.asked if method == "PUT"] == ["/1", "/2", "/2", "/2", "/3"]


@pytest.mark.parametrize("fault", [("PUT", "/2"), ("POST", "/complete/1/r/artifacts/big")])
def test_what_cannot_be_completed_is_given_up(fault):
    server = Server({fault: 99})
    with pytest.raises(StoreUnavailable):
        repository(server).put("big/file", io.BytesIO(CONTENT))
    assert (server.files, server.aborted) == ({}, [True])


def test_a_server_without_parts_gets_the_file_whole_and_is_asked_once():
    server = Server(offered=False)
    artifacts = repository(server)
    for _ in range(2):
        artifacts.put("big/file", io.BytesIO(CONTENT))
    assert list(server.files.values()) == [CONTENT]
    assert len([path for _, _, path, _ in server.asked if "/mpu/" in path]) == 1
