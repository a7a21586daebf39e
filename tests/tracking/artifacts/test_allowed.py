"""The locations that may contain artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.tracking.artifacts import AllowedLocations
from mistk_service.tracking.errors import InvalidParameter


@pytest.mark.parametrize(
    ("root", "location", "fits"),
    [
        ("s3://bucket/runs", "s3://bucket/runs", True),
        ("s3://bucket/runs/", "s3://bucket/runs/1/artifacts", True),
        ("s3://bucket", "s3://bucket/anything", True),
        ("s3://bucket/runs", "s3://bucket/runs-of-others", False),
        ("s3://bucket/runs", "s3://bucket/runs/../secrets", False),
        ("s3://bucket/runs", "s3://bucket/runs/%2e%2e/secrets", False),
        ("s3://bucket/runs", "s3://other/runs", False),
        ("s3://bucket/runs", "s3://bucket@other/runs", False),
        ("s3://bucket/runs", "webhdfs://bucket/runs", False),
        ("file:///data", "/data/1", True),
        ("/data", "file://localhost/data/1", True),
        ("file:///data", "file:///etc", False),
        ("file:///data", "file:///data/../etc", False),
    ],
)
def test_a_location_is_allowed_below_a_root(root: str, location: str, *, fits: bool) -> None:
    allowed = AllowedLocations((root,))
    if fits:
        allowed.require(location)
    else:
        with pytest.raises(InvalidParameter, match="allowed are locations below"):
            allowed.require(location)


def test_without_a_root_nothing_is_allowed_and_no_password_is_shown() -> None:
    with pytest.raises(InvalidParameter, match="none is allowed") as caught:
        AllowedLocations().require("s3://key:secret@bucket/x")

    assert "secret" not in str(caught.value)


def test_a_link_below_a_root_leads_to_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to("/etc")

    with pytest.raises(InvalidParameter):
        AllowedLocations((str(tmp_path / "root"),)).require(str(tmp_path / "root" / "link" / "x"))
