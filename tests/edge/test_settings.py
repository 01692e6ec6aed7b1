"""Settings: flags win over environment, and all problems are told at once."""

from __future__ import annotations

import inspect
import socket
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


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({}, "--snapshot is missing, or --store"),
        ({"snapshot": Path("built"), "store": "s3://b"}, "--snapshot and --store exclude each"),
        ({"snapshot": Path("built"), "brand": "shop"}, "--brand without --store"),
        ({"snapshot": Path("built"), "insecure": True}, "--insecure without --store"),
        ({"snapshot": Path("built"), "watch_s": 1}, "--watch-s without --store"),
        ({"store": "s3://b", "root": Path("r"), "insecure": True}, "--root and --insecure"),
        ({"store": "s3://b", "mirrors": "s3://c,s3://b"}, "--mirrors names a store twice"),
        ({"store": "s3://b", "brand": "a/b"}, "--brand=a/b: expected"),
        ({"store": "s3://b", "channel": ".hidden"}, "--channel=.hidden"),
        ({"store": "s3://b", "poll_s": 0}, "--poll-s=0"),
    ],
)
def test_a_snapshot_or_a_channel_but_not_both_nor_half_of_each(
    flags: dict[str, object], part: str
) -> None:
    with pytest.raises(SettingsRefused, match=part):
        settings_from(flags, {})


def test_a_node_follows_by_default_what_its_host_is_called() -> None:
    settings = settings_from({"store": "s3://b", "mirrors": "s3://c, https://d"}, {})

    assert settings.node_id == socket.gethostname()
    assert settings.mirrors == ("s3://c", "https://d")
    assert (settings.channel, settings.poll_s, settings.watch_s, settings.tries) == (
        "stable",
        5,
        300,
        3,
    )


def test_every_setting_has_a_flag_and_a_line_of_documentation() -> None:
    names = {one.name for one in fields(Settings)}

    assert set(inspect.signature(cli.serve).parameters) == names
    for text in (Settings.__doc__, cli.serve.__doc__):
        assert text is not None
        assert all(f" {name}: " in text for name in names)
