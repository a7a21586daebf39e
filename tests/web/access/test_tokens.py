"""Access tokens in a file that changes while a service runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mistk_service.errors import SettingsError
from mistk_service.web.access import AccessRole, Authenticator, Principal, TokenFile, add_token, open_access

EVERYWHERE = ["0.0.0.0", "::", "192.168.1.5", "model-container"]


def opened(path: Path, *, host: str, insecure: bool = False) -> Authenticator | None:
    return open_access(host=host, auth=False, insecure=insecure, token_file=path)


def test_a_token_says_who_it_is_for_and_what_it_allows(tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "ci", AccessRole.OPERATOR)
    assert TokenFile(tmp_path / "tokens").find(token) == Principal("ci", AccessRole.OPERATOR)


def test_the_file_holds_no_token_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = add_token(tmp_path / "state" / "tokens", "ci", AccessRole.ADMIN)
    file = tmp_path / "state" / "tokens"
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_added_later_is_known_at_once(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens")
    assert len(tokens) == 0
    first = add_token(tmp_path / "tokens", "a", AccessRole.VIEWER)
    assert tokens.find(first) is not None
    second = add_token(tmp_path / "tokens", "b", AccessRole.ADMIN)
    assert tokens.find(second) == Principal("b", AccessRole.ADMIN)
    assert tokens.find(first) is not None


def test_a_token_whose_line_is_removed_is_refused_at_once(tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "a", AccessRole.VIEWER)
    tokens = TokenFile(tmp_path / "tokens")
    assert tokens.find(token) is not None
    (tmp_path / "tokens").write_text("# nobody\n")
    assert tokens.find(token) is None


def test_a_change_is_seen_even_if_the_time_of_the_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    old = add_token(path, "ann", AccessRole.VIEWER)
    tokens, before, content = TokenFile(path), path.stat(), path.read_text()
    path.write_text(content.replace("ann", "bob"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = tokens.find(old)
    assert found is not None
    assert found.name == "bob"


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "a", AccessRole.VIEWER, days=1)
    tokens = TokenFile(tmp_path / "tokens")
    assert tokens.find(token) is not None
    name, role, digest, _ = (tmp_path / "tokens").read_text().split()
    (tmp_path / "tokens").write_text(f"{name} {role} {digest} 2020-01-01\n")
    assert tokens.find(token) is None


@pytest.mark.parametrize("wrong", ["", "mistk_", "x" * 10_000_000, "é\udcff", "mistk_" + "A" * 43, "\0"])
def test_what_is_not_a_token_finds_nobody(tmp_path: Path, wrong: str) -> None:
    add_token(tmp_path / "tokens", "a", AccessRole.VIEWER)
    assert TokenFile(tmp_path / "tokens").find(wrong) is None


@pytest.mark.parametrize(
    "line", ["ci", "ci admin", "ci king sha256:" + "0" * 64, "ci admin sha256:00", "ci admin 0 1 2"]
)
def test_a_malformed_line_stops_the_start_and_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "tokens").write_text(f"# tokens\n{line}\n")
    with pytest.raises(SettingsError, match=r"line 2 of .*tokens.*expected NAME ROLE"):
        TokenFile(tmp_path / "tokens")


def test_a_file_that_becomes_malformed_revokes_nothing_and_admits_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = add_token(tmp_path / "tokens", "a", AccessRole.VIEWER)
    tokens = TokenFile(tmp_path / "tokens")
    (tmp_path / "tokens").write_text("rubbish\n")
    assert tokens.find(token) is not None
    assert tokens.find("rubbish") is None
    assert "are unchanged" in caplog.text


@pytest.mark.parametrize("name", ["", "two words", "line\nbreak", "../a", "#a", "x" * 101])
def test_a_token_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="name of a token"):
        add_token(tmp_path / "tokens", name, AccessRole.VIEWER)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize("host", EVERYWHERE)
def test_a_server_that_others_reach_needs_a_log_in(tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match="mistk-service token new NAME --role admin"):
        opened(tmp_path / "tokens", host=host)
    assert opened(tmp_path / "tokens", host=host, insecure=True) is None
    assert "everybody who reaches the port controls the service" in caplog.text
    add_token(tmp_path / "tokens", "a", AccessRole.VIEWER)
    assert opened(tmp_path / "tokens", host=host) is not None
    assert opened(tmp_path / "tokens", host=host, insecure=True) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_server_for_this_machine_does_not(tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture) -> None:
    assert opened(tmp_path / "tokens", host=host) is None
    assert caplog.text == ""
