"""The schema registry: our schemas go in under their topics, the users' are looked up by id."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

import fastavro
from cachetools import LRUCache, TTLCache
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
from fastavro.types import Schema

from streamproc.codec import AvroCodec, Kind, schema_files
from streamproc.errors import AwayError, BadRecord, StreamprocError

if TYPE_CHECKING:
    from streamproc.pipeline import Topics

COMPATIBILITY = "BACKWARD"
"""What our subjects are held to: a newer schema reads what older ones wrote."""

SCHEMAS_KEPT = 1000
"""How many looked-up schemas are kept, the longest unused going first."""

UNKNOWN_KEPT_S = 10.0
"""How long an id that the registry doesn't know isn't asked for again."""

_KEEPS_IT = {"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}
_CONFLICT, _SERVER_ERROR = 409, 500
_T = TypeVar("_T")


class Registry:
    """A registry that serves Confluent's API at ``url``; to be closed, or used in ``with``.

    Its methods wait for the network, ``timeout_s`` at most, and raise :class:`AwayError` where the
    registry doesn't answer, :class:`StreamprocError` where it refuses.
    """

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self.address = _without_password(url)
        try:
            self._client = SchemaRegistryClient(
                {"url": url, "timeout": timeout_s, "max.retries": 0}
            )
        except ValueError:
            raise StreamprocError(
                f"{self.address!r} is no address of a schema registry; write "
                "STREAMPROC_REGISTRY as http://host:port"
            ) from None
        self._schemas: LRUCache[int, Schema] = LRUCache(SCHEMAS_KEPT)
        self._unknown: TTLCache[int, BadRecord] = TTLCache(SCHEMAS_KEPT, UNKNOWN_KEPT_S)

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def codec(self, topics: Topics) -> AvroCodec:
        """Register the schemas of a pipeline's topics, and return the codec that uses them."""
        names: dict[Kind, str] = {
            "prediction": topics.predictions,
            "outcome": topics.outcomes,
            "model": topics.models,
            "alert": topics.alerts,
            "late": topics.late,
            "performance": topics.metrics,
        }
        ids = {kind: self.register(kind, topic) for kind, topic in names.items()}
        return AvroCodec(ids, self.lookup)

    def register(self, kind: Kind, topic: str) -> int:
        """Register our newest schema of a message as ``<topic>-value``; return its id.

        What is there already keeps its id. The subject is held to backward compatibility, unless
        it is held to something that includes it.
        """
        subject = f"{topic}-value"
        if self._level(subject) not in _KEEPS_IT:
            self._hold_to_it(subject)
        schema = json.loads(schema_files(kind)[-1].read_text("utf-8"))
        return self._ask(
            lambda: self._client.register_schema(
                subject, RegistrySchema(json.dumps(schema), "AVRO")
            ),
            refused=f"the schema of {subject}",
        )

    def _hold_to_it(self, subject: str) -> None:
        """Hold a subject to our compatibility, unless a worker beside this one just does so."""

        def hold() -> None:
            try:
                self._client.set_compatibility(subject, COMPATIBILITY)
            except SchemaRegistryError as error:
                if error.http_status_code != _CONFLICT:
                    raise

        self._ask(hold)

    def lookup(self, schema_id: int) -> Schema:
        """Return the schema with this id, parsed; :class:`BadRecord` if it can't be used.

        The first record of each schema waits for the registry, the others for nothing.
        """
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        unknown = self._unknown.get(schema_id)
        if unknown is not None:
            raise BadRecord(unknown.reason, unknown.detail)
        try:
            parsed = self._fetch(schema_id)
        except BadRecord as error:
            self._unknown[schema_id] = error
            raise
        self._schemas[schema_id] = parsed
        return parsed

    def _fetch(self, schema_id: int) -> Schema:
        try:
            found = self._ask(lambda: self._client.get_schema(schema_id))
        except _NotThereError:
            raise BadRecord(
                "unknown_schema", f"the registry has no schema with id {schema_id}"
            ) from None
        if (found.schema_type or "AVRO") != "AVRO" or found.references:
            what = "refers to other schemas" if found.references else f"is {found.schema_type}"
            raise BadRecord("unknown_schema", f"schema {schema_id} {what}; use Avro in one piece")
        try:
            return fastavro.parse_schema(json.loads(found.schema_str or ""))
        except Exception as error:  # fastavro has a type of its own for each misuse
            raise BadRecord(
                "unknown_schema", f"schema {schema_id} can't be parsed: {type(error).__name__}"
            ) from None

    def _level(self, subject: str) -> str | None:
        try:
            return self._ask(lambda: self._client.get_compatibility(subject))
        except _NotThereError:
            return None

    def _ask(self, question: Callable[[], _T], refused: str | None = None) -> _T:
        try:
            return question()
        except SchemaRegistryError as error:
            raise self._reading_of(error, refused) from None
        except Exception as error:  # the http client's own types, and answers that are no JSON
            raise AwayError(
                f"no schema registry answered at {self.address} ({type(error).__name__}); start "
                "it, or unset STREAMPROC_REGISTRY to use JSON"
            ) from None

    def _reading_of(self, error: SchemaRegistryError, refused: str | None) -> Exception:
        if error.http_status_code == 404 and error.error_code:
            return _NotThereError(str(error.error_message))
        if error.http_status_code == _CONFLICT and refused:
            why = " ".join(str(error.error_message).split())[:300]
            return StreamprocError(
                f"the registry at {self.address} refused {refused}, which can't read what is there "
                f"({why}); add fields only with a default, in a new version"
            )
        hint = {
            401: "check the name and password in STREAMPROC_REGISTRY",
            403: "check what its user may do",
            404: "check the path in STREAMPROC_REGISTRY (Apicurio: /apis/ccompat/v7)",
        }.get(error.http_status_code, "look at its log")
        kind = AwayError if error.http_status_code >= _SERVER_ERROR else StreamprocError
        return kind(f"the registry at {self.address} answered {error.http_status_code}; {hint}")


class _NotThereError(Exception):
    """The registry answered that it has no such thing."""


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the given url"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
