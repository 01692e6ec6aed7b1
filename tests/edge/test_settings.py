"""Settings: flags win over environment, and all problems are told at once."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from edge import cli
from edge.errors import SettingsRefused
from edge.settings import PREFIX, Settings, settings_from


def test_flags_win_over_environment_and_that_over_defaults() -> None:
    environ = {f"{PREFIX}PORT": "9000", f"{PREFIX}WORKERS": "3", f"{PREFIX}SNAPSHOT": "built"}

    settings = settings_from({"port": 9100, "host": None}, environ)

    assert (settings.port, settings.workers, settings.host) == (9100, 3, "127.0.0.1")
    assert settings.snapshot == Path("built")
    assert settings.admin_port_wanted == 9101


def test_environment_can_say_everything_a_flag_can() -> None:
    environ = {
        f"{PREFIX}SNAPSHOT": "built",
        f"{PREFIX}STOREFRONT": "true",
        f"{PREFIX}DRAIN_DELAY_S": "2.5",
        f"{PREFIX}ALLOW_ORIGINS": "https://a.example,http://b.example:8000",
        f"{PREFIX}ADMIN_PORT": "0",
        f"{PREFIX}LOG_FORMAT": "console",
    }

    settings = settings_from({}, environ)

    assert settings.storefront
    assert settings.drain_delay_s == 2.5
    assert settings.allow_origins == ("https://a.example", "http://b.example:8000")
    assert settings.admin_port_wanted == 0
    assert settings.log_format == "console"


def test_all_problems_are_told_at_once() -> None:
    environ = {f"{PREFIX}WORKERS": "many", f"{PREFIX}PROT": "1"}

    with pytest.raises(SettingsRefused) as refused:
        settings_from({"port": 70000, "log_format": "xml"}, environ)

    told = str(refused.value)
    assert refused.value.exit_code == 2
    for part in ("--port=70000", "ALMANAC_EDGE_WORKERS=many", "--log-format=xml", "PROT is no"):
        assert part in told
    assert "--snapshot is missing" in told


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"port": 8080, "admin_port": 8080}, "--admin-port=8080 is the port that answers"),
        ({"port": 65535}, "leaves no port for the console"),
        ({"personas": Path("people.json")}, "--personas without --storefront"),
        ({"allow_origins": " , "}, "names nobody"),
        ({"allow_origins": "shop.example"}, "'shop.example' is no origin"),
        ({"allow_origins": "https://shop.example/"}, "is no origin"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    flags: dict[str, object], part: str
) -> None:
    with pytest.raises(SettingsRefused, match=part):
        settings_from({"snapshot": Path("built"), **flags}, {})


def test_every_setting_has_a_flag_and_a_line_of_documentation() -> None:
    names = {one.name for one in fields(Settings)}

    assert set(inspect.signature(cli.serve).parameters) == names
    for text in (Settings.__doc__, cli.serve.__doc__):
        assert text is not None
        assert all(f" {name}: " in text for name in names)
