"""Options of the command line and the environment, each defined in one place.

A field of a settings class, made with :func:`option`, is the only definition of an option. From it come the flag and the
environment variable (:func:`click_options`), the default, the check (:func:`check_options`), and the line in the reference
(:func:`options_of`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from mistk_service.errors import SettingsError
from mistk_service.logs import LogFormat, LogLevel

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value", str, tuple[str, ...], str | None)


@dataclass(frozen=True)
class Rule:
    """What a value must satisfy.

    Attributes:
        accepts: returns something true if a value is valid.
        expected: describes a valid value; it ends the sentence "expected ...". ``{value}`` stands for the given value.
        show: returns the value as an error message may show it, without passwords.
    """

    accepts: Callable[[Any], object]
    expected: str
    show: Callable[[Any], object] = lambda value: value


SECONDS = Rule(lambda value: 0 < value < math.inf, "a positive number of seconds")
PORT = Rule(lambda value: 0 <= value <= 65535, "a number from 0 to 65535")
POSITIVE = Rule(lambda value: value > 0, "a positive number")


@dataclass(frozen=True)
class Option:
    """One option of a settings class. Its type, default and choices are those of the field.

    Attributes:
        help: one or two sentences for ``--help`` and the reference.
        rules: what each value must satisfy.
        flag: the flag without its dashes; by default the field's name with dashes.
        variables: the environment variables; the first one that is set counts; by default ``MISTK_`` and the flag.
        click: further arguments for :func:`click.option`.
        name: the name of the field.
        default: the value without a flag and a variable.
        kind: the type of one value: ``str``, ``int``, ``float`` or ``bool``.
        multiple: whether the flag may be repeated; its variable then holds several values, separated by blanks.
        choices: the only values, if the field's type is a ``Literal``.
    """

    help: str
    rules: tuple[Rule, ...]
    flag: str
    variables: tuple[str, ...]
    click: dict[str, Any]
    name: str = ""
    default: Any = None
    kind: type = str
    multiple: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_switch(self) -> bool:
        """Whether the flag has a ``--no-`` form; one that is off by default needs none."""
        return self.kind is bool and self.default is not False

    def decorate(self, command: Command, **overrides: Any) -> Command:
        """Give a command this option; ``overrides`` replace arguments of :func:`click.option`."""
        flags = f"--{self.flag}/--no-{self.flag}" if self.is_switch else f"--{self.flag}"
        attributes: dict[str, Any] = {
            "help": self.help,
            "envvar": self.variables[0] if len(self.variables) == 1 else list(self.variables),
            "show_envvar": True,
            "default": self.default,
            "show_default": self.default not in (None, "", (), False),
            "is_flag": self.kind is bool,
            "multiple": self.multiple,
        }
        if self.kind is not bool:
            attributes["type"] = click.Choice(self.choices, case_sensitive=False) if self.choices else self.kind
        return click.option(flags, self.name, **attributes | self.click | overrides)(command)


def option(
    default: Any,
    help: str,
    *rules: Rule,
    flag: str = "",
    env: str | tuple[str, ...] = (),
    secret: bool = False,
    **attributes: Any,
) -> Any:
    """Return a dataclass field that is an :class:`Option`; a ``secret`` one is left out of the ``repr`` of the settings."""
    given = Option(help, rules, flag, (env,) if isinstance(env, str) else env, attributes)
    return dataclasses.field(default=default, repr=not secret, metadata={"option": given})


@functools.cache
def options_of(settings: type) -> tuple[Option, ...]:
    """Return the options of a settings class, in the order of its fields."""
    found = []
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        given: Option | None = field.metadata.get("option")
        if given is None:
            continue
        flag = given.flag or field.name.replace("_", "-")
        variables = given.variables or (f"MISTK_{flag.upper().replace('-', '_')}",)
        hint, rules = hints[field.name], given.rules
        if isinstance(hint, types.UnionType):  # ... | None
            hint = typing.get_args(hint)[0]
        multiple = typing.get_origin(hint) is tuple
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        if choices:
            rules = (*rules, Rule(frozenset(choices).__contains__, f"one of {', '.join(choices)}"))
        kind = str if choices else typing.get_args(hint)[0] if multiple else hint
        each = dataclasses.replace(
            given, name=field.name, default=field.default, flag=flag, variables=variables, rules=rules, kind=kind,
            multiple=multiple, choices=choices,
        )  # fmt: skip
        found.append(each)
    return tuple(found)


def click_options(settings: type) -> Callable[[Command], Command]:
    """Return a decorator that gives a command all options of a settings class."""

    def decorate(command: Command) -> Command:
        for each in reversed(options_of(settings)):
            command = each.decorate(command)
        return command

    return decorate


def click_option(settings: type, name: str, **overrides: Any) -> Callable[[Command], Command]:
    """Return a decorator that gives a command one option of a settings class, with other arguments where given."""
    (found,) = [each for each in options_of(settings) if each.name == name]
    return lambda command: found.decorate(command, **overrides)


def check_options(settings: object) -> None:
    """Check every option of a settings object.

    Raises:
        SettingsError: a value is not valid; it names the flag and what was expected.
    """
    for each in options_of(type(settings)):  # type: ignore[arg-type]  # a class is hashable
        value = getattr(settings, each.name)
        if value is None:
            continue
        for one in value if each.multiple else (value,):
            for rule in each.rules:
                if not rule.accepts(one):
                    shown, expected = rule.show(one), rule.expected.replace("{value}", str(one))
                    raise SettingsError(f"--{each.flag}: {shown!r} cannot be used; expected {expected}.")


#: A name or an address as in a Host header, or a pattern of names.
_HOST = re.compile(r"\*|(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]")


@dataclass(frozen=True, kw_only=True)
class ListenSettings:
    """The settings of every server of the package: address, limits for clients, and logging."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on. An address that other machines can reach needs access tokens, --auth or --insecure.",
    )
    port: int = option(8080, "Port to listen on; 0 picks a free one.", PORT)
    auth: bool = option(
        False,
        "Require a log-in, with a token or as a user of the tracking store. On by default if there are access tokens "
        "or --token-file is given. "
        "MLFLOW_AUTH_ADMIN_USERNAME and MLFLOW_AUTH_ADMIN_PASSWORD create the first user.",
    )
    token_file: str | None = option(
        None,
        "File of access tokens, written by 'mistk-service token new'; by default the file 'tokens' in the state directory.",
        type=click.Path(dir_okay=False),
    )
    proxy_secret_file: str | None = option(
        None,
        "File with the secret that a reverse proxy sends in X-Mistk-Proxy-Secret. X-Forwarded-User then names the user, and "
        "a group mistk-ROLE in X-Forwarded-Groups gives the role.",
        type=click.Path(dir_okay=False),
    )
    auth_function: str | None = option(
        None,
        "Python function, module:function, that returns a name and a role for the headers of a request, or None.",
    )
    audit_file: str | None = option(
        None, "Append a line of JSON to this file for every change that a client makes or attempts; - means the log."
    )
    access_log: bool = option(
        False, "Log a line for every request: account, address, request, status, duration and request id."
    )
    tls_cert: str | None = option(
        None, "Certificate chain (PEM) for HTTPS, read again when it changes.", type=click.Path(dir_okay=False)
    )
    tls_key: str | None = option(None, "Private key (PEM) of the certificate.", type=click.Path(dir_okay=False))
    default_permission: Literal["READ", "EDIT", "MANAGE", "NO_PERMISSIONS"] = option(
        "READ", "Permission of users for experiments and registered models without a granted permission."
    )
    insecure: bool = option(
        False, "Allow full access without a log-in to everyone who can reach the port, also from other machines."
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "Accept this host name in requests too: a name, *.DOMAIN, or * for any. Repeatable. By default, addresses, the "
        "machine's own name and names of the local network are accepted; on loopback, only loopback's names.",
        Rule(
            _HOST.fullmatch, "a name or an address without a port, *.DOMAIN for all names below a domain, or * for all"
        ),
        flag="allowed-host",
    )
    max_body: int = option(
        64 * 1024 * 1024,
        "Largest request body in bytes. Artifact uploads have no limit.",
        POSITIVE,
    )
    max_uploads: int = option(
        256, "Maximum number of concurrent uploads of artifacts; more are answered with 503.", POSITIVE
    )
    keep_alive_timeout: float = option(75.0, "Seconds to keep an idle connection open for another request.", SECONDS)
    max_connections: int = option(
        4096, "Maximum number of open connections; a new one replaces the one that was idle longest.", POSITIVE
    )
    log_level: LogLevel = option("info", "How much to log.")
    log_format: LogFormat = option("text", "Log lines of text, or one JSON object per line.")

    def __post_init__(self) -> None:
        check_options(self)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key belong together; expected both or none.")

    @property
    def requires_login(self) -> bool:
        """Whether clients have to log in. A token file that is named requires it, also while it holds no token."""
        return self.auth or self.token_file is not None


def warn_of_password(context: click.Context, option: click.Parameter, value: Value) -> Value:
    """Warn about a password or token in an address on the command line, and return the address unchanged.

    Every user of the machine can read the command lines of its processes, and shells keep them in their histories.
    """
    given = [value] if isinstance(value, str) else list(value or ())
    source = context.get_parameter_source(option.name or "")
    if source is ParameterSource.COMMANDLINE and any(_has_password(address) for address in given):
        variable = option.envvar[0] if isinstance(option.envvar, list) else option.envvar
        whole = f", or give the address in {variable}" if variable else ""
        click.echo(
            f"Warning: {option.opts[0]} has a password or token on the command line, which every user of this machine can "
            f"read. Leave it out and set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD{whole}.",
            err=True,
        )
    return value


def _has_password(address: str) -> bool:
    try:
        return bool(urlsplit(address).password)
    except ValueError:
        return False
