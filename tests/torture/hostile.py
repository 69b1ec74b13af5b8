"""Hostile records among the payments, into both inputs, ten thousand a round."""

from __future__ import annotations

import random
import time
from collections import deque

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from tests.kafka.processes import eventually
from tests.torture import oracle
from tests.torture.avro import decoded
from tests.torture.field import Field
from tests.torture.ledger import id_of, read
from tests.torture.mutations import Fields, Mutator, odd_values, text_of_ms

ROUND = 10_000
LABELS = 0.3
"""The share of them that goes to the labels."""

VALID_LABELS = 0.3
LARGEST_BYTES = 1_048_000
_AT_ONCE = 2_500
_BACKLOG = 3_000
_CAUGHT_UP = 500
_CAUGHT_UP_S = 120.0
_MINUTE_MS = 60_000
Headers = list[tuple[str, str | bytes | None]]


def hostile(field: Field) -> float:
    """Send ten thousand hostile records, and wait until the worker has come through."""
    sender = _Sender(field)
    for number in range(ROUND):
        if number % _AT_ONCE == 0:
            sender.wait_below(_BACKLOG)
        if field.chance.random() < LABELS:
            sender.label(number)
        else:
            sender.event(number)
    field.round += 1
    sender.flush()
    began_s = time.monotonic()
    sender.wait_below(_CAUGHT_UP)
    took_s = field.recovered(began_s)
    for worker in field.workers.values():
        worker.check()
    return took_s


class _Sender:
    """Sends hostile events, and labels of those that it sent before."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._chance = field.chance
        number = field.seed * 1_000 + field.round
        self._mutator = Mutator(random.Random(number), odd_values(number))
        self._sent: deque[tuple[Fields, bytes]] = deque(maxlen=200)
        self._newest_ms = 0
        self._schemas = field.avro.schemas if field.avro else {}
        self._producer = Producer(
            {
                "bootstrap.servers": field.kafka.address,
                "partitioner": "murmur2_random",
                "message.max.bytes": LARGEST_BYTES,
                "linger.ms": 5,
                "log_level": 0,
            }
        )

    def event(self, number: int) -> None:
        """Send an event; some with an id that was there before."""
        chance = self._chance
        if self._sent and chance.random() < 0.03:
            fields, key = chance.choice(self._sent)
            self._produce("transactions", key, orjson.dumps(fields), self._time_ms())
            return
        customer = f"h{chance.randrange(100)}"
        time_ms = self._time_ms()
        fields = {
            "transaction_id": f"h{self._field.round}-{number}",
            "event_time": text_of_ms(time_ms),
            "customer_id": customer,
            "terminal_id": chance.randrange(10_000),
            "amount": round(chance.uniform(0, 300), 2),
        }
        key = customer.encode()
        value = self._mutate("transactions", fields)
        if id_of(read(value, self._schemas)) == fields["transaction_id"]:
            self._sent.append((fields, key))
        self._produce("transactions", self._key(key), value, time_ms)

    def label(self, number: int) -> None:
        """Send a label of an event that was sent, where it is one, or what looks like it."""
        name, key = f"h-none-{self._field.round}-{number}", b"h1"
        if self._sent:
            fields, key = self._chance.choice(self._sent)
            name = fields["transaction_id"]
        label = {"transaction_id": name, "fraud": self._chance.randrange(2)}
        valid = self._chance.random() < VALID_LABELS
        value = orjson.dumps(label) if valid else self._mutate("labels", label)
        self._produce("labels", self._key(key), value, self._time_ms() + 6 * 60 * _MINUTE_MS)

    def _mutate(self, topic: str, fields: Fields) -> bytes | None:
        avro = self._field.avro
        if avro is None or self._chance.random() < 0.2:
            return self._mutator.mutate(fields)
        return avro.mutate(topic, fields, self._chance)

    def wait_below(self, waiting: int) -> None:
        """Wait until fewer records than that wait for the workers."""
        address, name = self._field.kafka.address, self._field.name
        what = f"fewer than {waiting} records to wait"
        self._producer.poll(0)
        eventually(lambda: oracle.lag(address, name) < waiting, what, _CAUGHT_UP_S)
        newest = self._field.watcher.newest if self._field.watcher else None
        if newest is not None:
            found = decoded(newest, "prediction")["event_time_ms"]
            self._newest_ms = max(self._newest_ms, found)

    def flush(self) -> None:
        """Wait until all has arrived."""
        while self._producer.flush(1.0):
            pass

    def _time_ms(self) -> int:
        """Return a time shortly before that of the payments; never after it."""
        return max(1, self._newest_ms - self._chance.randrange(30 * _MINUTE_MS))

    def _key(self, key: bytes) -> bytes | None:
        if self._chance.random() < 0.9:
            return key
        odd = [None, b"", b"596", self._chance.randbytes(8), b"k" * 20_000]
        return self._chance.choice(odd)

    def _headers(self) -> Headers:
        if self._chance.random() < 0.8:
            return []
        odd: Headers = [
            ("source_topic", b"elsewhere"),
            ("source_partition", b"-1"),
            ("source_offset", b"\xff"),
            ("traceparent", b"\xff" * 55),
            ("traceparent", b"x"),
            ("", b""),
            ("late", None),
            ("h", self._chance.randbytes(self._chance.choice([1, 100, 5_000]))),
        ]
        return self._chance.choices(odd, k=self._chance.randint(1, 12))

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, time_ms: int) -> None:
        where = f"{self._field.name}.{topic}"
        while True:
            try:
                self._producer.produce(
                    where, value, key, timestamp=time_ms, headers=self._headers()
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                return  # with its key and headers it is more than a broker takes
