"""The address of a remote tracking server, and the credentials for it."""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeVar

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.rest.urls import origin, split_userinfo

_log = logging.getLogger(__name__)

_N = TypeVar("_N", int, float)

#: The environment variable of each field that has one.
VARIABLES = {
    "uri": "MLFLOW_TRACKING_URI",
    "username": "MLFLOW_TRACKING_USERNAME",
    "password": "MLFLOW_TRACKING_PASSWORD",
    "token": "MLFLOW_TRACKING_TOKEN",
    "token_file": "MLFLOW_TRACKING_TOKEN_FILE",
    "insecure_tls": "MLFLOW_TRACKING_INSECURE_TLS",
    "ca_cert": "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "client_cert": "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "timeout": "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "part_size": "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE",
}
#: Bytes of a part of a large file. Storages require at least ``_SMALLEST_PART`` of each but the last.
PART_SIZE = 64 << 20
_SMALLEST_PART = 5 << 20
#: The fields with credentials; those of an address are not mixed with those of the environment.
_IDENTITY = ("username", "password", "token", "token_file")

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: The characters of a header's value. Otherwise HTTP libraries would quote a token with a line end in an error.
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_API_VERSION = re.compile(r"\d+\.\d+(-\w+)?")
_DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True)
class RestConfig:
    """The address of a remote tracking server, and the credentials for it.

    Its ``repr`` hides secrets.

    Attributes:
        uri: the server's address, with or without ``/api`` at its end. Credentials may stand before the host, and are
            removed from it: ``NAME:PASSWORD@``, ``:TOKEN@``, or ``@`` for none. They replace the other arguments.
        username: for HTTP Basic, together with ``password``.
        password: for HTTP Basic.
        token: for ``Authorization: Bearer``; a username and password take precedence.
        token_file: a file with the token, read again whenever it changes; it takes precedence over ``token``.
        insecure_tls: whether to trust a server whose certificate cannot be verified.
        ca_cert: a file, or a folder, with the certificates of the authorities to trust instead of the usual ones.
        client_cert: a PEM file with a certificate and its key, shown to the server.
        headers: sent with every request.
        api_version: the number in the paths of MLflow's API.
        timeout: seconds to wait for a connection, and for each response after that.
        part_size: maximum bytes of a file that is sent as a whole, and bytes of the parts of a larger one.

    Raises:
        InvalidParameter: values exclude each other, or one is of the wrong form. The message names no secret.
    """

    uri: str
    username: str | None = None
    password: str | None = None
    token: str | None = None
    token_file: str | None = None
    insecure_tls: bool = False
    ca_cert: str | None = None
    client_cert: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    api_version: str = "2.0"
    timeout: float = _DEFAULT_TIMEOUT
    part_size: int = PART_SIZE

    def __post_init__(self) -> None:
        uri, username, password = split_userinfo(self.uri)
        object.__setattr__(self, "uri", uri)
        if username is not None:
            # Without a name before it, what stands in the password's place is a token; without both there are no credentials.
            found = {"username": username, "password": password} if username else {"token": password}
            for name in _IDENTITY:
                object.__setattr__(self, name, found.get(name) or None)
        object.__setattr__(self, "headers", dict(self.headers))
        self._check_identity()
        self._check_forms()
        if self.insecure_tls and self.ca_cert:
            raise InvalidParameter(
                "The TLS settings exclude each other: insecure_tls trusts every server, ca_cert only some. Give one of them "
                f"({VARIABLES['insecure_tls']}, {VARIABLES['ca_cert']}).",
                field="ca_cert",
            )

    @classmethod
    def from_environment(
        cls, uri: str | None = None, *, environment: Mapping[str, str] | None = None, **arguments: Any
    ) -> Self:
        """Return the configuration from arguments and environment.

        A variable of the environment takes precedence over the argument, which is logged as a warning.

        Args:
            uri: the address, if ``MLFLOW_TRACKING_URI`` is not set.
            environment: instead of this process's.
            arguments: other fields by name.

        Raises:
            InvalidParameter: there is no address, or something is of the wrong form.
        """
        given = arguments | ({} if uri is None else {"uri": uri})
        found = _found(os.environ if environment is None else environment)
        for name in sorted(given.keys() & found.keys()):
            if given[name] is not None and given[name] != found[name]:
                _log.warning("The argument %r is ignored, since the variable %s is set.", name, VARIABLES[name])
        if not (given | found).get("uri"):
            raise InvalidParameter(
                "There is no tracking server: pass its URI, or set MLFLOW_TRACKING_URI.", field="uri"
            )
        return cls(**(given | found))

    @classmethod
    def at(cls, uri: str, environment: Mapping[str, str] | None = None) -> Self:
        """Return the configuration for exactly this address, with everything else from the environment.

        If the address has credentials, those of the environment are not sent to it: they are for another server.
        """
        found = _found(os.environ if environment is None else environment)
        found.pop("uri", None)
        if _has_identity(uri):
            found = {name: value for name, value in found.items() if name not in _IDENTITY}
        return cls(uri, **found)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets: passwords, tokens, the values of headers."""
        found = [self.password, self.token]
        for value in self.headers.values():
            found += [value, value.rpartition(" ")[2]]
        if self.username and self.password:
            found.append(basic(self.username, self.password))
        return tuple(sorted({secret for secret in found if secret}, key=len, reverse=True))

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default or not value:
                continue
            if each.name == "headers":
                value = dict.fromkeys(value, "***")
            elif each.name in ("username", "password", "token"):  # some services take a token in place of the username
                value = "***"
            shown.append(f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_identity(self) -> None:
        has_header = any(name.lower() == "authorization" for name in self.headers)
        if has_header and (self.username or self.password):
            raise InvalidParameter(
                "Both an Authorization header and a username with a password are given; only one of them can be "
                f"sent. Leave the other out ({VARIABLES['username']}, {VARIABLES['password']}).",
                field="headers",
            )
        if has_header and (self.token or self.token_file):
            raise InvalidParameter(
                "Both an Authorization header and a token are given; only one of them can be sent. Leave the other "
                f"out ({VARIABLES['token']}, {VARIABLES['token_file']}).",
                field="headers",
            )
        if bool(self.username) != bool(self.password):
            have, lack = ("username", "password") if self.username else ("password", "username")
            raise InvalidParameter(
                f"A {have} is given without a {lack}; give both, or neither ({VARIABLES[lack]}).", field=lack
            )

    def _check_forms(self) -> None:
        for name, value in self.headers.items():
            if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
                raise InvalidParameter("A header has a name that HTTP does not allow.", field="headers")
            if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
                raise InvalidParameter(
                    f"The value of the header {name!r} has characters that HTTP does not allow in one.", field="headers"
                )
        if self.token and not _HEADER_VALUE.fullmatch(self.token):
            raise InvalidParameter(
                "The token has characters that HTTP does not allow in a header, such as a line break.", field="token"
            )
        if not _API_VERSION.fullmatch(self.api_version):
            raise InvalidParameter(
                f"Invalid API version {self.api_version!r}: expected a number such as '2.0'.", field="api_version"
            )
        if not self.timeout > 0:
            raise InvalidParameter(f"Invalid timeout {self.timeout!r}: expected more than 0 seconds.", field="timeout")
        if self.part_size < _SMALLEST_PART:
            raise InvalidParameter(
                f"Invalid part size {self.part_size}: expected at least {_SMALLEST_PART} bytes, which storages require.",
                field="part_size",
            )


def basic(username: str, password: str) -> str:
    """Return a username and password as HTTP Basic sends them, without the word ``Basic``."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def sharing_identity(uris: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the addresses that would all get the environment's credentials, which are for one server only.

    They belong to more than one server, and none of them has credentials itself.

    Args:
        uris: of tracking servers.
        environment: instead of this process's.

    Raises:
        InvalidParameter: one of them is not an address.
    """
    environment = os.environ if environment is None else environment
    if not any(environment.get(VARIABLES[name]) for name in _IDENTITY):
        return ()
    sharing = tuple(uri for uri in uris if not _has_identity(uri))
    return sharing if len({origin(uri) for uri in sharing}) > 1 else ()


def _has_identity(uri: str) -> bool:
    return split_userinfo(uri)[1] is not None


def _found(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that the environment sets; an empty variable counts as none."""
    found: dict[str, Any] = {
        name: environment[variable] for name, variable in VARIABLES.items() if environment.get(variable)
    }
    if "insecure_tls" in found:
        found["insecure_tls"] = _boolean(found["insecure_tls"], VARIABLES["insecure_tls"])
    if "timeout" in found:
        found["timeout"] = _number(float, found["timeout"], VARIABLES["timeout"], "seconds")
    if "part_size" in found:
        found["part_size"] = _number(int, found["part_size"], VARIABLES["part_size"], "bytes")
    return found


def _boolean(text: str, variable: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise InvalidParameter(f"Invalid value {text!r} of {variable}: expected true or false.", field=variable)
    return word in _TRUE


def _number(convert: Callable[[str], _N], text: str, variable: str, unit: str) -> _N:
    try:
        return convert(text)
    except ValueError:
        raise InvalidParameter(
            f"Invalid value {text!r} of {variable}: expected a number of {unit}.", field=variable
        ) from None
