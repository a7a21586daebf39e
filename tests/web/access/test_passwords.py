"""Concurrent requests share one verification of a password, which is slow by design."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path

import pytest

from mistk_service.errors import NotAuthenticated
from mistk_service.web.access import AccessRole, Principal, TokenFile
from mistk_service.web.access.authentication import Authenticator
from mistk_service.web.access.passwords import VerifiedPasswords

pytestmark = pytest.mark.anyio


class Users:
    """One user, whose password is verified when a test allows it."""

    def __init__(self) -> None:
        self.verified = VerifiedPasswords()
        self.begun, self.allowed = threading.Event(), threading.Event()
        self.asked: list[str] = []

    def verify(self, username: str, password: str) -> Principal | None:
        self.asked.append(username)
        self.begun.set()
        self.allowed.wait()
        return Principal(username, AccessRole.VIEWER) if password == "right" else None


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
def authenticator(tmp_path: Path, users: Users) -> Authenticator:
    made = Authenticator(TokenFile(tmp_path / "tokens"))
    made.open_users = lambda: users
    return made


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


async def test_requests_that_come_together_wait_for_one_verification(
    authenticator: Authenticator, users: Users
) -> None:
    requests = [asyncio.ensure_future(authenticator.identify(basic("ann:right"), "here")) for _ in range(20)]
    await asyncio.to_thread(users.begun.wait)
    users.allowed.set()
    assert set(await asyncio.gather(*requests)) == {Principal("ann", AccessRole.VIEWER)}
    assert users.asked == ["ann"]


async def test_a_request_that_is_withdrawn_leaves_the_verification_to_the_others(
    authenticator: Authenticator, users: Users
) -> None:
    first, second = (asyncio.ensure_future(authenticator.identify(basic("ann:right"), "here")) for _ in range(2))
    await asyncio.to_thread(users.begun.wait)
    first.cancel()
    users.allowed.set()
    assert (await second).name == "ann"
    assert users.asked == ["ann"]


async def test_a_wrong_password_is_wrong_for_all_and_is_asked_again(authenticator: Authenticator, users: Users) -> None:
    users.allowed.set()
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            await authenticator.identify(basic("ann:wrong"), "here")
    assert users.asked == ["ann", "ann"]
