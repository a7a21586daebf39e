"""A server that speaks S3's protocol, for the tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.remotes import reserved_port

#: The libraries of S3 look for these; the server takes any.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto as a server, and give its URL; its log is in ``folder``."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with reserved_port() as place:
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", url.rpartition(":")[2]]
        with (folder / "s3.log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env={**os.environ, **CREDENTIALS}, stdout=log, stderr=log)
        try:
            answered = threading.Event()
            with httpx.Client() as http:
                while not answered.wait(0.1):
                    assert process.poll() is None, (folder / "s3.log").read_text()
                    with contextlib.suppress(httpx.TransportError):
                        http.get(url)
                        answered.set()
            yield url
        finally:
            process.kill()
            process.wait()


def new_bucket(server: str) -> str:
    """Create a bucket on a server, and return its name."""
    name = f"bucket-{uuid.uuid4().hex}"
    # Moto asks for no signature; the region is read from where the signature says it.
    authorization = (
        "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )
    httpx.put(f"{server}/{name}", headers={"Authorization": authorization}, timeout=30).raise_for_status()
    return name
