"""The verification of a tracking server's certificate."""

import subprocess
from dataclasses import replace
from typing import Any, cast

import pytest

from mistk_service.tracking.errors import (
    InvalidParameter,
    StoreUnavailable,
)
from mistk_service.tracking.rest import RestConfig, open_rest_store
from tests.support.serving import served


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody but itself has signed."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder


@pytest.fixture(scope="module")
def secure_url(certificate):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"run": {"info": {"run_id": "r"}}}'})

    files = {"ssl_certfile": str(certificate / "cert.pem"), "ssl_keyfile": str(certificate / "key.pem")}
    with served(app, lifespan="off", **files) as url:
        yield url


def test_a_server_that_nobody_vouches_for_is_not_talked_to(secure_url):
    with open_rest_store(RestConfig(secure_url)) as store:
        with pytest.raises(StoreUnavailable, match="certificate") as caught:
            store.get_run("r")
    assert type(caught.value) is StoreUnavailable


@pytest.mark.parametrize("way", ["ca_cert", "insecure_tls", "insecure with a certificate of one's own"])
def test_a_server_is_trusted_where_one_says_so(secure_url, certificate, way):
    ways: dict[str, dict[str, Any]] = {
        "ca_cert": {"ca_cert": str(certificate / "cert.pem")},
        "insecure_tls": {"insecure_tls": True},
    }
    settings = ways.get(way, {"insecure_tls": True, "client_cert": str(certificate / "both.pem")})
    with open_rest_store(RestConfig(secure_url, **settings)) as store:
        assert store.get_run("r").info.run_id == "r"


@pytest.mark.parametrize("setting", ["ca_cert", "client_cert"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_read_is_named(tmp_path, setting, content):
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidParameter, match=r"cert\.pem") as caught:
        open_rest_store(replace(RestConfig("https://host"), **cast(dict[str, Any], {setting: str(file)})))
    assert caught.value.field == setting
