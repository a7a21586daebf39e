"""The lower bounds of dependencies exclude releases with known faults."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])}

#: The last release with a fault, and the fault.
FAULTY = {
    "flask": ("3.1.2", "CVE-2026-27205: sessions without Vary: Cookie"),
    "h11": ("0.14.0", "CVE-2025-43859: malformed chunks are taken"),
    "idna": ("3.6", "CVE-2024-3651: quadratic time"),
    "jinja2": ("3.1.5", "CVE-2025-27516: the sandbox can be left"),
    "python-multipart": ("0.0.21", "CVE-2026-24486: files outside the folder of uploads"),
    "requests": ("2.32.3", "CVE-2024-47081: .netrc's credentials go to other hosts"),
    "starlette": ("0.49.0", "CVE-2025-62727: quadratic time for Range"),
    "urllib3": ("2.6.2", "CVE-2026-21441: a redirect's body is decompressed without a limit"),
    "werkzeug": ("3.1.5", "CVE-2026-27199: names of devices in safe_join"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_release_with_a_known_fault_is_not_taken(name: str) -> None:
    release, fault = FAULTY[name]
    assert name in REQUIRED, fault
    assert not REQUIRED[name].specifier.contains(release), fault


@pytest.mark.parametrize("requirement", REQUIRED.values(), ids=REQUIRED)
def test_everything_has_a_lower_and_an_upper_bound(requirement: Requirement) -> None:
    assert {">=", "<"} <= {each.operator for each in requirement.specifier}
