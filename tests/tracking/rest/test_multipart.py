"""Uploads of large files in parts, if the tracking server supports them."""

import io
import logging

import httpx
import pytest

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.rest.artifacts import ProxiedArtifacts
from mistk_service.tracking.rest.transport import Transport
from tests.support.parts import PartsServer

CONTENT = bytes(range(256)) * 10
TARGET = "1/r/artifacts/big/file"


def repository(server, part_size=1000):
    transport = Transport(RestConfig("https://host", token="secret"), httpx.MockTransport(server))
    return ProxiedArtifacts(
        transport, transport.addresses.proxied(), "1/r/artifacts", "mlflow-artifacts:/1/r/artifacts", part_size
    )


def test_a_large_file_goes_in_parts_to_the_storage_itself():
    server = PartsServer()
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert server.files == {TARGET: CONTENT}
    assert server.sent == ["upload1/1", "upload1/2", "upload1/3"]
    assert {(host, who) for _, host, _, who in server.asked} == {("host", "Bearer secret"), ("storage", None)}
    assert len(server.asked) == 5


def test_where_a_part_goes_stands_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    repository(PartsServer({("PUT", "/2"): 2})).put("big/file", io.BytesIO(CONTENT))
    assert "mpu/create" in caplog.text
    assert "signature" not in caplog.text


def test_a_small_file_goes_in_one_piece():
    server = PartsServer()
    repository(server, len(CONTENT)).put("big/file", io.BytesIO(CONTENT))
    assert server.files == {TARGET: CONTENT}
    assert server.sent == []


def test_a_part_that_gets_lost_is_sent_again():
    server = PartsServer({("PUT", "/2"): 2})
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert server.files == {TARGET: CONTENT}
    assert server.sent == [f"upload1/{number}" for number in (1, 2, 2, 2, 3)]


@pytest.mark.parametrize("fault", [("PUT", "/2"), ("POST", "/complete/1/r/artifacts/big")])
def test_what_cannot_be_completed_and_nobody_continues_is_given_up(fault):
    server = PartsServer({fault: 99})
    with pytest.raises(StoreUnavailable) as caught:
        repository(server).put("big/file", io.BytesIO(CONTENT))
    assert "signature" not in str(caught.value)
    assert (server.files, server.uploads, server.aborted) == ({}, {}, ["upload1"])


def test_a_file_whose_parts_the_storage_never_takes_goes_through_the_server():
    server = PartsServer()
    server.refused.add("upload1")
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert (server.files, server.uploads, server.aborted) == ({TARGET: CONTENT}, {}, ["upload1"])
    assert server.sent == ["upload1/1"]


def test_a_server_without_parts_gets_the_file_whole_and_is_asked_once():
    server = PartsServer(offered=False)
    artifacts = repository(server)
    for _ in range(2):
        artifacts.put("big/file", io.BytesIO(CONTENT))
    assert server.files == {TARGET: CONTENT}
    assert len([path for _, _, path, _ in server.asked if "/mpu/" in path]) == 1


def test_a_server_that_offers_too_few_parts_gets_the_file_whole():
    server = PartsServer()
    server.most_parts = 2
    repository(server).put("big/file", io.BytesIO(CONTENT))
    assert (server.files, server.uploads, server.sent) == ({TARGET: CONTENT}, {}, [])
