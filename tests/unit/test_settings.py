"""Load settings from flags, environment, file and defaults, in this order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.settings import PREFIX, Settings, flag, load

VALUES = {  # one value per setting that differs from its default, as typed
    "stream": "calls",
    "sink": "jsonl:rows",
    "dead_letters": "sqlite:letters.db",
    "leases": "memory:",
    "application": "reports",
    "from_": "latest",
    "until_caught_up": "true",
    "fail_on_dead_letters": "true",
    "raw": "true",
    "on_rejected": "not-json=halt",
    "halt_share": "0.5",
    "halt_window": "30",
    "halt_minimum": "10",
    "redact": "strict",
    "redact_key_file": "/run/secrets/redact-key",
    "worker_id": "w1",
    "lease_duration": "3.5",
    "shutdown_timeout": "5",
    "batch_rows": "7",
    "batch_bytes": "2MiB",
    "batch_age": "0.5",
    "memory": "1GiB",
    "threads": "3",
    "max_leases": "4",
    "poll_interval": "0.2",
    "region": "eu-west-1",
    "endpoint_url": "http://127.0.0.1:4566",
    "http": ":8080",
    "stream_role_arn": "arn:aws:iam::123456789012:role/reader",
    "leases_role_arn": "arn:aws-cn:iam::123456789012:role/path/leases@team",
    "log_level": "debug",
    "log_format": "json",
}


def toml(directory: Path, text: str) -> str:
    file = directory / "settings.toml"
    file.write_text(text)
    return str(file)


def test_every_setting_has_a_value_here() -> None:
    """Add one for a new setting, so that the tests below hold for it."""
    assert VALUES.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("name", VALUES)
def test_flag_variable_and_file_key_give_the_same_setting(name: str, tmp_path: Path) -> None:
    """The value is parsed in the same way."""
    value = VALUES[name]
    by_flag = load({name: value}, environ={})
    by_variable = load({}, environ={PREFIX + name.rstrip("_").upper(): value})
    by_key = load({}, toml(tmp_path, f'{flag(name)[2:]} = "{value}"'), environ={})
    assert by_flag == by_variable == by_key
    assert getattr(by_flag, name) != Settings.model_fields[name].default


def test_a_flag_wins_over_variable_file_and_default(tmp_path: Path) -> None:
    """Each source wins over those after it."""
    file = toml(tmp_path, "threads = 1\nmax-leases = 1\nbatch-rows = 1")
    found = load({"threads": "3"}, file, environ={f"{PREFIX}THREADS": "2", f"{PREFIX}MAX_LEASES": "2"})
    assert (found.threads, found.max_leases, found.batch_rows, found.raw) == (3, 2, 1, False)


def test_a_variable_may_name_the_file(tmp_path: Path) -> None:
    """Containers do this."""
    assert load({}, environ={f"{PREFIX}CONFIG": toml(tmp_path, 'stream = "s"')}).stream == "s"


def test_the_region_of_the_environment_is_used_last() -> None:
    """Containers get AWS_REGION; our own setting wins."""
    assert load({}, environ={"AWS_REGION": "eu-west-1"}).region == "eu-west-1"
    assert load({}, environ={"AWS_REGION": "eu-west-1", f"{PREFIX}REGION": "us-east-1"}).region == "us-east-1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('sinc = "stdout:"', "there is no setting 'sinc'; did you mean sink"),
        ("threads = [1]", "threads: input should be a valid integer"),
        ("from = 2026-01-01T00:00:00", "from: a time needs its offset"),
        ("= 1", "not TOML"),
        ("batch_rows = 1\nbatch-rows = 2", "'batch-rows' and 'batch_rows' are the same setting"),
    ],
)
def test_an_error_in_the_file_names_the_file_and_the_key(tmp_path: Path, text: str, says: str) -> None:
    """It is one line."""
    file = toml(tmp_path, text)
    with pytest.raises(ConfigurationError, match=says) as raised:
        load({}, file, environ={})
    assert file in str(raised.value)


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({"threads": "0"}, {}, "--threads"),
        ({"lease_duration": "nan"}, {}, "--lease-duration"),
        ({}, {f"{PREFIX}MEMORY": "lots"}, f"{PREFIX}MEMORY"),
        ({}, {f"{PREFIX}MEMORY": "lots"}, f"{PREFIX}MEMORY 'lots': "),
        ({}, {"AWS_REGION": "us east"}, "AWS_REGION 'us east': say a region's name"),
        ({"region": "-"}, {}, "--region '-': say a region's name"),
        ({"endpoint_url": "localhost:4566"}, {}, "--endpoint-url 'localhost:4566': say http://HOST:PORT"),
        ({"endpoint_url": "http://127.0.0.1:99999"}, {}, "--endpoint-url 'http://127.0.0.1:99999': say http://HOST"),
        ({"endpoint_url": "http://"}, {}, "--endpoint-url 'http://': say http://HOST:PORT"),
        ({"stream_role_arn": "reader"}, {}, "--stream-role-arn 'reader': say arn:aws:iam::ACCOUNT:role/NAME"),
        ({}, {f"{PREFIX}LEASES_ROLE_ARN": "arn:aws:iam::1:role/x"}, f"{PREFIX}LEASES_ROLE_ARN 'arn:aws:iam::1:role/x'"),
        ({}, {f"{PREFIX}SINC": "x"}, f"did you mean {PREFIX}SINK"),
        ({"from_": "yesterday"}, {}, "--from 'yesterday': say trim-horizon"),
        ({"from_": "99999999999999d"}, {}, "--from '99999999999999d': say trim-horizon"),
        ({"from_": "2999-01-01T00:00:00Z"}, {}, "--from '2999-01-01T00:00:00Z': this time is in the future"),
    ],
)
def test_an_error_names_its_source(flags: dict[str, object], environ: dict[str, str], says: str) -> None:
    """It is the flag or the variable."""
    with pytest.raises(ConfigurationError, match=says):
        load(flags, environ=environ)


@pytest.mark.parametrize("setting", ["worker_id", "application"])
@pytest.mark.parametrize("value", ["\n", " ", "a\tb", " a", "a ", "\x00", "\udcff", "a" * 256])
def test_a_name_that_a_log_line_or_a_lease_cannot_contain_is_rejected(setting: str, value: str) -> None:
    """Examples are control characters, outer blanks, and names longer than a table name."""
    with pytest.raises(ConfigurationError, match="say at most 255 printable characters") as caught:
        load({setting: value}, environ={})
    assert str(caught.value).startswith(flag(setting))
    assert str(caught.value).isprintable()


def test_an_invalid_value_that_may_contain_a_password_is_not_shown() -> None:
    """The setting is named."""
    with pytest.raises(ConfigurationError, match="--endpoint-url: an endpoint takes no user") as refused:
        load({"endpoint_url": "http://me:hush@127.0.0.1:4566"}, environ={})
    assert "hush" not in str(refused.value)


def test_an_age_counts_back_from_now() -> None:
    """`2h` is two hours ago."""
    start = load({"from_": "2h"}, environ={}).from_
    assert isinstance(start, datetime)
    assert abs(datetime.now(UTC) - timedelta(hours=2) - start) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["2026-01-02", "2026-01-02T00:00:00Z"])
def test_a_date_means_midnight_in_utc(text: str, tmp_path: Path) -> None:
    """As a flag and as a TOML date."""
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    assert load({"from_": text}, environ={}).from_ == midnight
    assert load({}, toml(tmp_path, f"from = {text}"), environ={}).from_ == midnight


def test_a_week_is_seven_days() -> None:
    """`1w` and `7d` name the same time."""
    start = load({"from_": "1w"}, environ={}).from_
    assert isinstance(start, datetime)
    assert abs(datetime.now(UTC) - timedelta(days=7) - start) < timedelta(seconds=5)


def test_an_arn_names_the_application_by_its_stream() -> None:
    """The default application is the name of the stream."""
    assert load({"stream": "arn:aws:kinesis:eu-west-1:123456789012:stream/calls"}, environ={}).name == "calls"


@pytest.mark.parametrize("size", ["-1", "many", "4 parsecs", ""])
def test_a_wrong_number_of_bytes_is_answered_with_a_correct_form(size: str) -> None:
    """The validation library's own words name neither the unit nor an example."""
    with pytest.raises(ConfigurationError, match=f"^--memory '{size}': say a number of bytes, such as 4MiB$"):
        load({"memory": size}, environ={})
