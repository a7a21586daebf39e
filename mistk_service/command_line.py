"""What the options of all commands share."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

__all__ = ["warn_of_password"]

#: An address, several, or none.
Value = TypeVar("Value", str, tuple[str, ...], str | None)


def warn_of_password(context: click.Context, option: click.Parameter, value: Value) -> Value:
    """Warn of a password or token in an address that was given on the command line, and return the address as it is.

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
