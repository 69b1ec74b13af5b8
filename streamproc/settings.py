"""Where and how to run: what the environment says, and nothing of what a pipeline computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamproc.errors import StreamprocError

_PREFIX = "STREAMPROC_"
Guarantee = Literal["exactly_once", "at_least_once"]


class Settings(BaseSettings):
    """The settings of a deployment, each from the environment variable ``STREAMPROC_<NAME>``.

    Make them by :meth:`load`, which turns what is wrong into one line.

    >>> settings = Settings.load(brokers="kafka-1:9092", security_password="open sesame")
    >>> settings.kafka_config()["bootstrap.servers"]
    'kafka-1:9092'
    >>> "sesame" in repr(settings)
    False
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    brokers: str = Field("127.0.0.1:9092", description="brokers as host:port, separated by commas")
    store: str = Field(
        ".streamproc", description="where models and snapshots are kept: a folder or an fsspec url"
    )
    instance: str = Field(
        "worker-1",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="this worker's name, which no other running worker may have",
    )
    guarantee: Guarantee | None = Field(
        None,
        description="exactly_once or at_least_once; unset, what the brokers can hold",
    )
    registry: str | None = Field(None, description="url of a schema registry; unset means JSON")
    pipeline: Path | None = Field(None, description="pipeline file, for `faust -A agents.app`")
    metrics_address: str = Field(
        "127.0.0.1:0", description="host:port of /metrics; port 0 takes a free one and logs it"
    )
    metrics_token: SecretStr | None = Field(
        None, description="what every request to them must bring, where others can reach them"
    )
    alertmanager: SecretStr | None = Field(
        None, description="url of an Alertmanager, which hears of alerts; may carry a password"
    )
    webhook: SecretStr | None = Field(
        None, description="url that alerts are posted to, as Slack's; whoever has it can post"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="what these posts are signed with; unset, they are not"
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how to talk to the brokers"
    )
    security_ca_file: Path | None = Field(None, description="certificates to trust, PEM")
    security_certificate_file: Path | None = Field(None, description="this client's, PEM")
    security_key_file: Path | None = Field(None, description="its private key, PEM")
    security_key_password: SecretStr | None = Field(None, description="that key's password")
    security_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to log in, where the protocol is sasl_*"
    )
    security_username: str | None = Field(None, description="whom to log in as")
    security_password: SecretStr | None = Field(None, description="and the password")

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is ``given`` goes before it.

        Raises :class:`StreamprocError` that names the variable which does not fit.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            # Values are left out: one of them may be a password.
            first = error.errors(include_input=False, include_url=False)[0]
            name = _PREFIX + "_".join(map(str, first["loc"])).upper() if first["loc"] else _PREFIX
            reason = first["msg"].removeprefix("Value error, ")
            raise StreamprocError(f"{name.rstrip('_')}: {reason}") from None

    @field_validator("brokers", "metrics_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        for address in value.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
                raise ValueError(f"{address.strip()!r} is not host:port, such as 127.0.0.1:9092")
        return value.strip()

    @field_validator("alertmanager", "webhook")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            text = value.get_secret_value()
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none, whose text shall not be told
            usable = False
        if not usable or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("it is no url, such as http://127.0.0.1:9093") from None
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.webhook_secret is not None and self.webhook is None:
            raise ValueError("STREAMPROC_WEBHOOK_SECRET signs what goes to STREAMPROC_WEBHOOK")
        logs_in = self.security_protocol.startswith("sasl")
        if logs_in and not (self.security_username and self.security_password):
            raise ValueError(
                "STREAMPROC_SECURITY_USERNAME and STREAMPROC_SECURITY_PASSWORD are needed with "
                f"STREAMPROC_SECURITY_PROTOCOL={self.security_protocol}"
            )
        if bool(self.security_certificate_file) != bool(self.security_key_file):
            raise ValueError(
                "STREAMPROC_SECURITY_CERTIFICATE_FILE and STREAMPROC_SECURITY_KEY_FILE go together"
            )
        return self

    def kafka_config(self) -> dict[str, Any]:
        """Return what every client of the brokers needs, passwords included: never log it.

        >>> Settings.load(brokers="127.0.0.1:9092").kafka_config()
        {'bootstrap.servers': '127.0.0.1:9092', 'security.protocol': 'plaintext'}
        """
        config: dict[str, Any] = {
            "bootstrap.servers": self.brokers,
            "security.protocol": self.security_protocol,
        }
        if self.security_protocol in ("ssl", "sasl_ssl"):
            files = {
                "ssl.ca.location": self.security_ca_file,
                "ssl.certificate.location": self.security_certificate_file,
                "ssl.key.location": self.security_key_file,
            }
            config.update({key: str(path) for key, path in files.items() if path is not None})
            if self.security_key_password is not None:
                config["ssl.key.password"] = self.security_key_password.get_secret_value()
        if self.security_protocol.startswith("sasl"):
            assert self.security_password is not None  # _is_complete saw to it
            config["sasl.mechanism"] = self.security_mechanism
            config["sasl.username"] = self.security_username
            config["sasl.password"] = self.security_password.get_secret_value()
        return config
