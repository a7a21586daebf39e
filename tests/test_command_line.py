"""One definition of an option yields the flag, the environment variable, the check and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from mistk_service.command_line import POSITIVE, Rule, check_options, click_option, click_options, option, options_of
from mistk_service.errors import SettingsError


@dataclass(frozen=True)
class Example:
    size: int = option(3, "How many.", POSITIVE)
    names: tuple[str, ...] = option((), "Names.", Rule(str.isalpha, "letters; not {value}"), flag="name")
    mode: Literal["fast", "slow"] = option("fast", "How.")
    cache: bool = option(True, "Whether to cache.")
    loud: bool = option(False, "Whether to be loud.")
    limit: float | None = option(None, "A limit.", POSITIVE, env=("EXAMPLE_LIMIT", "OLD_LIMIT"))

    def __post_init__(self) -> None:
        check_options(self)


def given(*arguments: str, **variables: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    @click.command()
    @click_options(Example)
    def command(**options: Any) -> None:
        seen.update(options)

    result = CliRunner().invoke(command, arguments, env=variables)
    assert result.exit_code == 0, result.output
    return seen


def test_without_flags_and_variables_the_defaults_hold() -> None:
    assert Example(**given()) == Example()


def test_a_flag_wins_over_its_variable() -> None:
    assert given("--size", "4", MISTK_SIZE="5")["size"] == 4
    assert given(MISTK_SIZE="5")["size"] == 5


def test_a_repeatable_flag_takes_several_values_with_blanks_in_its_variable() -> None:
    assert given("--name", "a", "--name", "b")["names"] == ("a", "b")
    assert given(MISTK_NAME="a b")["names"] == ("a", "b")


def test_the_first_variable_that_is_set_counts() -> None:
    assert given(OLD_LIMIT="2")["limit"] == 2
    assert given(EXAMPLE_LIMIT="1", OLD_LIMIT="2")["limit"] == 1


def test_a_switch_that_is_on_can_be_turned_off_and_the_other_on() -> None:
    assert given("--no-cache", "--loud") | {"names": ()} == given() | {"cache": False, "loud": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "--size: 0 cannot be used; expected a positive number."),
        ({"names": ("a", "1")}, "--name: '1' cannot be used; expected letters; not 1."),
        ({"mode": "odd"}, "--mode: 'odd' cannot be used; expected one of fast, slow."),
        ({"limit": -1.0}, "--limit: -1.0 cannot be used"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_by_the_name_of_its_flag(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Example(**values)
    assert str(caught.value).startswith(message)


def test_another_command_can_have_one_of_the_options_with_another_help() -> None:
    @click.command()
    @click_option(Example, "size", help="Other words.")
    def command(size: int) -> None:
        click.echo(size)

    assert CliRunner().invoke(command, env={"MISTK_SIZE": "7"}).output == "7\n"
    assert "Other words." in CliRunner().invoke(command, ["--help"]).output
    assert [each.flag for each in options_of(Example)] == ["size", "name", "mode", "cache", "loud", "limit"]
