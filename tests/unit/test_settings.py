"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import StreamprocError
from streamproc.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for field in Settings.model_fields:
        monkeypatch.delenv(f"STREAMPROC_{field.upper()}", raising=False)


def test_the_environment_names_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting is read from its variable."""
    monkeypatch.setenv("STREAMPROC_BROKERS", "kafka-1:9092,kafka-2:9092")
    monkeypatch.setenv("STREAMPROC_INSTANCE", "w2")
    monkeypatch.setenv("STREAMPROC_GUARANTEE", "at_least_once")
    monkeypatch.setenv("STREAMPROC_PIPELINE", "examples/payments.py")
    settings = Settings.load()
    assert settings.brokers == "kafka-1:9092,kafka-2:9092"
    assert settings.instance == "w2"
    assert settings.guarantee == "at_least_once"
    assert settings.pipeline == Path("examples/payments.py")


def test_without_an_environment_the_machine_itself_is_meant() -> None:
    """The defaults reach a broker on this machine in plain text."""
    assert Settings.load().kafka_config() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "plaintext",
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STREAMPROC_BROKERS", "kafka-1"),
        ("STREAMPROC_BROKERS", "kafka-1:9092,"),
        ("STREAMPROC_METRICS_ADDRESS", "127.0.0.1:99999"),
        ("STREAMPROC_INSTANCE", "worker 1"),
        ("STREAMPROC_GUARANTEE", "exactly once"),
        ("STREAMPROC_SECURITY_PROTOCOL", "tls"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Whoever set it wrong reads which variable it is."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(StreamprocError) as raised:
        Settings.load()
    assert str(raised.value).startswith(f"{variable}: ")
    assert "\n" not in str(raised.value)


def test_logging_in_takes_a_name_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """SASL without credentials is told before anything connects."""
    monkeypatch.setenv("STREAMPROC_SECURITY_PROTOCOL", "sasl_ssl")
    with pytest.raises(StreamprocError, match="STREAMPROC_SECURITY_USERNAME"):
        Settings.load()


def test_a_certificate_takes_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a client certificate is told before anything connects."""
    monkeypatch.setenv("STREAMPROC_SECURITY_CERTIFICATE_FILE", "client.pem")
    with pytest.raises(StreamprocError, match="STREAMPROC_SECURITY_KEY_FILE"):
        Settings.load()


def test_everything_of_security_reaches_the_clients() -> None:
    """Each security setting has its name in librdkafka."""
    settings = Settings.load(
        security_protocol="sasl_ssl",
        security_ca_file="ca.pem",
        security_certificate_file="client.pem",
        security_key_file="client.key",
        security_key_password="turn",
        security_mechanism="PLAIN",
        security_username="ada",
        security_password="open sesame",
    )
    assert settings.kafka_config() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "client.pem",
        "ssl.key.location": "client.key",
        "ssl.key.password": "turn",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ada",
        "sasl.password": "open sesame",
    }


def test_a_secret_is_never_shown() -> None:
    """Neither a printed setting nor an error tells a password."""
    secret = "open sesame"
    settings = Settings.load(
        security_protocol="sasl_ssl", security_username="ada", security_password=secret
    )
    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert secret not in settings.model_dump_json()
    with pytest.raises(StreamprocError) as raised:
        Settings.load(security_protocol="sasl_ssl", security_password=secret)
    assert secret not in str(raised.value)


@pytest.mark.parametrize("variable", ["STREAMPROC_ALERTMANAGER", "STREAMPROC_WEBHOOK"])
@pytest.mark.parametrize(
    "url",
    [
        "hooks/T0/sesame",
        "ftp://hooks/T0/sesame",
        "https:///T0/sesame",
        "https://hooks:sesame/T0",
        "https://hooks:99999/sesame",
        "https://hooks:0/sesame",
        "https://[hooks/sesame",
        "https://hooks/sesame\r\nHost: elsewhere",
        "https://hooks/ses ame",
        "https://hooks/sésame",
        "",
    ],
)
def test_a_url_that_is_none_is_told_without_its_text(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    """It may be the right one with a slip of the pen."""
    monkeypatch.setenv(variable, url)
    with pytest.raises(StreamprocError) as raised:
        Settings.load()
    assert str(raised.value) == f"{variable}: it is no url, such as http://127.0.0.1:9093"


def test_where_alerts_go_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook's url is all that it takes to post; an Alertmanager's may carry a password."""
    monkeypatch.setenv("STREAMPROC_ALERTMANAGER", "https://ada:sesame@alerts/am")
    monkeypatch.setenv("STREAMPROC_WEBHOOK", "https://hooks/T0/sesame")
    monkeypatch.setenv("STREAMPROC_WEBHOOK_SECRET", "sesame")
    settings = Settings.load()
    assert settings.webhook is not None
    assert settings.webhook.get_secret_value() == "https://hooks/T0/sesame"
    assert "sesame" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_secret_takes_a_webhook() -> None:
    """What it is to sign is told before anything connects."""
    with pytest.raises(StreamprocError, match="STREAMPROC_WEBHOOK_SECRET signs"):
        Settings.load(webhook_secret="sesame")
