"""Leaving the group for good, and ending what those left open who didn't.

A static member (``group.instance.id``, KIP-345) doesn't leave when it closes: its partitions wait
for it until the session times out. One that was asked to end says so itself.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import confluent_kafka
import structlog
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from agents.deployment import Deployment
from streamproc.errors import StreamprocError
from streamproc.settings import Settings

log = structlog.get_logger("group")
_LEAVE_S = 2.0
_ADMIN_S = 5.0
_ending = threading.Lock()


def leave(settings: Settings, group: str, member: str) -> None:
    """Leave a group by a member's id; where that fails the session times out, as it would have."""
    try:
        asyncio.run(asyncio.wait_for(_leave(settings, group, member), _LEAVE_S))
    except Exception as error:  # whatever keeps it from being said: the group finds out by itself
        log.warning("not_left", member=member, error=f"{type(error).__name__} {error}".strip())


async def _leave(settings: Settings, group: str, member: str) -> None:
    client = AIOKafkaClient(**_config(settings))
    await client.bootstrap()
    try:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.send(node, LeaveGroupRequest(group, member))
    finally:
        await client.close()


def _config(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap_servers": settings.brokers.split(","),
        "security_protocol": settings.security_protocol.upper(),
    }
    if "ssl" in settings.security_protocol:
        password = settings.security_key_password
        config["ssl_context"] = create_ssl_context(
            cafile=settings.security_ca_file,
            certfile=settings.security_certificate_file,
            keyfile=settings.security_key_file,
            password=password.get_secret_value() if password else None,
        )
    if settings.security_password is not None:
        config["sasl_mechanism"] = settings.security_mechanism
        config["sasl_plain_username"] = settings.security_username
        config["sasl_plain_password"] = settings.security_password.get_secret_value()
    return config


def end_open_transactions(at: Deployment) -> None:
    """Abort what workers left open that wrote lately and are members of the group no longer.

    Until then nobody reads past it, nor learns what is committed (the brokers abort it themselves
    after ``transaction.timeout.ms``).
    """
    if not at.exactly_once or not _ending.acquire(blocking=False):
        return  # several tasks may wait for the same transaction: one is enough
    try:
        _end(at)
    except (StreamprocError, KafkaException) as error:
        log.warning("not_ended", of="whoever is gone", error=str(error))
    finally:
        _ending.release()


def _end(at: Deployment) -> None:
    gone = at.lately_wrote() - _members(at) - {at.settings.instance}
    for instance in sorted(gone):
        log.warning("ending_open_transaction", of=instance)
        producer = confluent_kafka.Producer(at.transactional_config(instance))
        try:
            producer.init_transactions(_ADMIN_S)
        except KafkaException as error:
            log.warning("not_ended", of=instance, error=error.args[0].str())


def _members(at: Deployment) -> set[str]:
    """Return the names of the group's members."""
    admin = AdminClient({**at.settings.kafka_config(), "log_level": 4})
    group = at.pipeline.name
    try:
        told = admin.describe_consumer_groups([group], request_timeout=_ADMIN_S)[group].result()
    except KafkaException as error:
        raise StreamprocError(
            f"the members of group {group} are not known ({error.args[0].str()}); see whether the "
            "brokers are up"
        ) from error
    return {str(member.group_instance_id) for member in told.members}
