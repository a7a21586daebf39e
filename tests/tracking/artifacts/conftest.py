"""A storage that speaks S3's protocol."""

import pytest

from tests.support.s3 import CREDENTIALS, new_bucket


@pytest.fixture
def bucket(s3, monkeypatch):
    """An empty bucket, and the environment in which it is found."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3)
