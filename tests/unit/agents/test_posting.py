"""Posting to an endpoint, with all that may go wrong at the other end."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.posting import Endpoint
from tests.receiver import Receiver
from tests.servers import free_port


def test_what_is_posted_arrives(receiver: Receiver) -> None:
    """The body, the headers, and the path behind that of the url."""
    endpoint = Endpoint(f"http://{receiver.address}/behind/?tenant=1", "/api/v2/alerts")

    assert endpoint.post(b"[]", {"Content-Type": "application/json"}).taken

    (posted,) = receiver.posted
    assert (posted.path, posted.body) == ("/behind/api/v2/alerts?tenant=1", b"[]")
    assert posted.headers["Content-Type"] == "application/json"
    assert "Authorization" not in posted.headers


def test_a_url_without_a_path_of_ours_is_taken_as_it_is(receiver: Receiver) -> None:
    """A webhook's path is its secret, to the last slash."""
    Endpoint(f"http://{receiver.address}/services/T0/B0/").post(b"", {})
    Endpoint(f"http://{receiver.address}").post(b"", {})

    assert [posted.path for posted in receiver.posted] == ["/services/T0/B0/", "/"]


def test_a_user_and_a_password_go_into_a_header(receiver: Receiver) -> None:
    """As HTTP's basic authentication has it, percent-encoded in the url."""
    Endpoint(f"http://ada:open%20s%40same@{receiver.address}").post(b"", {})

    scheme, _, pair = receiver.posted[0].headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"ada:open s@same")


@pytest.mark.parametrize(
    ("status", "why", "refused"),
    [
        (302, "302 Found", True),
        (400, "400 Bad Request", True),
        (404, "404 Not Found", True),
        (429, "429 Too Many Requests", False),
        (500, "500 Internal Server Error", False),
        (503, "503 Service Unavailable", False),
        (599, "599", False),
    ],
)
def test_an_answer_says_whether_to_try_again(
    receiver: Receiver, status: int, why: str, refused: bool
) -> None:
    """A redirection isn't followed: it would turn the post into something else."""
    receiver.answer = lambda posted: status

    answer = Endpoint(f"http://{receiver.address}").post(b"", {})

    assert (answer.taken, answer.refused, answer.why) == (False, refused, why)


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("86400", 300.0), ("soon", 0.0), ("-1", 0.0), ("²", 0.0)]
)
def test_a_server_may_say_when_to_come_back(receiver: Receiver, said: str, seconds: float) -> None:
    """Not for longer than five minutes, and in seconds only."""
    receiver.answer = lambda posted: 429
    receiver.headers = {"Retry-After": said.encode().decode("latin-1")}

    assert Endpoint(f"http://{receiver.address}").post(b"", {}).retry_after_s == seconds


def test_where_nobody_listens_that_is_said() -> None:
    """Without the url."""
    answer = Endpoint(f"http://127.0.0.1:{free_port()}/secret").post(b"", {})

    assert (answer.status, answer.refused, answer.why) == (None, False, "Connection refused")


@contextmanager
def raw_server(answer: bytes, every_s: float = 0.0) -> Iterator[str]:
    """A server that answers a connection by these bytes, one at a time where it takes its time."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                connection.recv(65_536)
                for at in range(0, len(answer), 1 if every_s else max(1, len(answer))):
                    connection.sendall(answer[at : at + 1] if every_s else answer)
                    if closing.wait(every_s):
                        return
            except OSError:
                return
            if every_s:
                closing.wait(30)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/secret"
    finally:
        closing.set()
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000])
def test_however_slowly_it_answers_a_try_ends(answer: bytes) -> None:
    """A byte now and then would hold up a reader that waits for each of them."""
    with raw_server(answer, every_s=0.05) as url:
        began_s = time.monotonic()
        answered = Endpoint(url, timeout_s=0.4).post(b"", {})
        took_s = time.monotonic() - began_s

    assert (answered.status, answered.why) == (None, "no answer within 0.4 s")
    assert took_s < 3


def test_a_try_can_be_ended() -> None:
    """A worker that stops waits for no endpoint."""
    with raw_server(b"", every_s=0.05) as url:
        endpoint = Endpoint(url, timeout_s=30.0)
        timer = threading.Timer(0.2, endpoint.cut)
        timer.start()
        began_s = time.monotonic()
        assert not endpoint.post(b"", {}).taken
        assert time.monotonic() - began_s < 5
        timer.join()


@pytest.mark.parametrize(
    "answer", [b"/secret is no HTTP\r\n\r\n", b"HTTP/1.1 /secret\r\n\r\n", b"HTTP/1.1 200\r\n"]
)
def test_nothing_a_server_sends_back_is_told(answer: bytes) -> None:
    """A server may answer with the request's own path, which is a secret."""
    with raw_server(answer) as url:
        assert "secret" not in repr(Endpoint(url).post(b"", {}))


def test_a_reason_of_the_server_is_not_told() -> None:
    """The name of a status is ours."""
    with raw_server(b"HTTP/1.1 500 /secret\r\nContent-Length: 0\r\n\r\n") as url:
        assert Endpoint(url).post(b"", {}).why == "500 Internal Server Error"


def _self_signed(folder: Path) -> Path:
    """Write a key, and a certificate of 127.0.0.1 that it vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    now = datetime.now(UTC)
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, form, serialization.NoEncryption()) + signed.public_bytes(pem)
    )
    return file


def test_a_certificate_that_nobody_vouches_for_is_refused(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS the other end has to show who it is; SSL_CERT_FILE says whom to trust."""
    certificate = _self_signed(tmp_path)
    receiver.encrypt(certificate)
    url = f"https://{receiver.address}/secret"

    answer = Endpoint(url).post(b"", {})
    assert (answer.status, "CERTIFICATE_VERIFY_FAILED" in answer.why) == (None, True)
    assert "secret" not in answer.why

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert Endpoint(url).post(b"", {}).taken
