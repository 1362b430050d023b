"""With `--redact strict`, no output of any driver holds a phone number, a token or a body of the input."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from consumer import aws_lambda
from consumer.app import create_pipeline
from consumer.cli.letter_views import detailed
from consumer.dead_letters.attempt import attempt
from consumer.decoders import decoders, redaction_of
from consumer.decoding.deaggregation import aggregate
from consumer.decoding.locations import EncodedRow
from consumer.errors import ConfigurationError
from consumer.records import Record, Shard
from consumer.settings import load
from consumer.telemetry import logs
from consumer.telemetry.exposition import Exposition
from tests.events import event
from tests.unit.dead_letters.letters import opened
from tests.unit.test_aws_lambda import Context, lambda_event

PHONE, TOKEN, BODY = "+15550109876", "tok-Zq81xv_77secret", "Your code is 482913, Ann"
SECRETS = [PHONE, TOKEN, BODY, 15550109876]


def hostile(value: Any, secret: Any) -> Iterator[Any]:
    """Yield copies of a JSON value, each with the secret in another place: a value, a part of one, or a name."""
    yield secret
    if isinstance(value, str):
        yield f"{value}{secret}"
        yield f"{value}/{secret}?{quote(str(secret))}#{secret}"
        yield f"https://u:{secret}@example.com/{secret}?a={secret}"
    elif isinstance(value, dict):
        yield {**value, str(secret): "x"}
        for name, member in value.items():
            for other in hostile(member, secret):
                yield {**value, name: other}
    elif isinstance(value, list):
        yield [*value, secret]


def inputs() -> list[bytes]:
    """Return records that hold a secret in every place: in events, arrays, aggregates, and what is damaged."""
    usual = event()
    usual["data"]["response"]["responseBody"] = base64.b64encode(json.dumps({"message": BODY}).encode()).decode()
    events = [json.dumps(other).encode() for secret in SECRETS for other in hostile(usual, secret)]
    for text in (f"<Response><Say>{BODY}</Say><Dial>{PHONE}</Dial></Response>", BODY, f'{{"to":"{PHONE}"}}'):
        usual["data"]["response"]["responseBody"] = base64.b64encode(text.encode()).decode()
        events.append(json.dumps(usual).encode())
    damaged = [each[: len(each) // 2] for each in events[:5]]
    packed = [aggregate([(PHONE, each) for each in events[:9]]), aggregate([(PHONE, events[0])])[:-1] + b"x"]
    return [*events, *damaged, *packed, b"[" + b",".join(events[:9]) + b"]", PHONE.encode()]


def forms(secret: Any) -> set[bytes]:
    """Return the forms in which a secret could leave: as it is, without its sign, percent-encoded, and in base64."""
    text = str(secret)
    plain = {text, text.lstrip("+"), quote(text, safe="")}
    encoded = {base64.b64encode(b"." * shift + text.encode())[4:-4].decode() for shift in range(3)}
    return {form.encode() for form in plain | encoded}


FORMS = {form for secret in SECRETS for form in forms(secret)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Choose strict redaction, by the environment."""
    for name, value in {
        "SINK": f"jsonl:{tmp_path}/rows",
        "DEAD_LETTERS": f"sqlite:{tmp_path}/letters.db",
        "REDACT": "strict",
        "LOG_LEVEL": "debug",
    }.items():
        monkeypatch.setenv(f"CALL_CONSUMER_{name}", value)
    return tmp_path


def test_no_output_holds_what_was_put_into_any_place_of_an_event(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, dead letters, log and metrics. The events still are rows, and each is told apart."""
    pipeline = create_pipeline(load({}))
    pipeline.check()
    monkeypatch.setattr(aws_lambda, "_process", lambda: (load({}), pipeline))
    logs.configure("debug", "json")
    records = inputs()
    assert aws_lambda.handler(lambda_event(*records), Context()) == {"batchItemFailures": []}
    logs.flush()
    structlog.reset_defaults()
    exposition = Exposition(pipeline.metrics, lambda: 0, "1").text()
    files = {str(file): file.read_bytes() for file in place.rglob("*") if file.is_file()}
    pipeline.dead_letters.close()
    output = {**files, "log": "".join(capfd.readouterr()).encode(), "metrics": exposition}
    assert len(files) >= 2
    assert not {(name, form) for name, data in output.items() for form in FORMS if form in data}
    assert pipeline.metrics.summary()["written"] > len(records) / 2
    letters = list(opened(f"sqlite:{place}/letters.db").letters())
    assert len(letters) > 9
    assert {letter.data for letter in letters} == {None}
    assert "left out" in str(detailed(letters[0], [], attempt(letters[0]), reveal=True)["today"])


def test_the_check_finds_what_another_choice_keeps(place: Path) -> None:
    """Else it would hold for any output."""
    decoder = decoders(load({"redact": "body=mask"}), "stream", keep_data=False)(Shard("shard"))
    outcomes = [decoder.outcomes(Record(1, "key", 0.0, data)) for data in inputs()[:50]]
    lines = [outcome.line for some in outcomes for outcome in some if isinstance(outcome, EncodedRow)]
    assert any(form in line for line in lines for form in FORMS)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"redact": "strict", "raw": True}, "--raw writes original events"),
        ({"redact": "body=hash"}, "--redact-key-file FILE"),
        ({"redact": "body=hash", "redact_key_file": "missing"}, "No such file"),
        ({"redact": "body=hash", "redact_key_file": "short"}, "too short"),
    ],
)
def test_a_redaction_that_cannot_work_is_one_line(
    given: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, with what to do."""
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("key\n")
    with pytest.raises(ConfigurationError, match=says):
        redaction_of(load(given, environ={}))
