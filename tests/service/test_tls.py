"""TLS: what the files must be, who is let in, and that new files are followed."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from certificates import Authority, Pem
from cryptography.hazmat.primitives import serialization

from antiphon.engine.clock import VirtualClock
from antiphon.engine.errors import ServerFileError
from antiphon.engine.service.tls import TlsFiles, server_credentials, tls_files


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@asynccontextmanager
async def serving(files: TlsFiles, clock: VirtualClock) -> AsyncIterator[int]:
    """A server that answers; its port."""

    async def answer(request: bytes, context: object) -> bytes:
        return b"answer"

    server = grpc.aio.server()
    methods: dict[str, Any] = {"Method": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(files, clock))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def is_let_in(port: int, trusted: Path | None, own: Pem | None = None) -> bool:
    """Whether a new connection gets an answer. `trusted` None: without TLS."""
    address = f"127.0.0.1:{port}"
    # A subchannel of its own for each connection: what was agreed on before is not used again.
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
    if trusted is None:
        channel = grpc.aio.insecure_channel(address, options)
    else:
        pair = (None, None) if own is None else (own.key.read_bytes(), own.certificate.read_bytes())
        channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(trusted.read_bytes(), *pair), options)
    async with channel:
        try:
            method: Any = channel.unary_unary("/test.Service/Method")
            return bool(await method(b"", timeout=10) == b"answer")
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False


def test_a_client_is_let_in_over_tls_alone(authority: Authority, stranger: Authority) -> None:
    pem = authority.sign("localhost")

    async def check() -> None:
        async with serving(TlsFiles(pem.certificate, pem.key), VirtualClock()) as port:
            assert await is_let_in(port, authority.certificate)
            assert not await is_let_in(port, stranger.certificate)
            assert not await is_let_in(port, None)

    asyncio.run(check())


def test_with_a_client_ca_its_clients_alone_are_let_in(authority: Authority, stranger: Authority) -> None:
    pem = authority.sign("localhost")

    async def check() -> None:
        async with serving(TlsFiles(pem.certificate, pem.key, authority.certificate), VirtualClock()) as port:
            assert await is_let_in(port, authority.certificate, authority.sign("client"))
            assert not await is_let_in(port, authority.certificate)
            assert not await is_let_in(port, authority.certificate, stranger.sign("client"))

    asyncio.run(check())


def test_new_files_are_followed_and_halves_of_them_are_not(
    tmp_path: Path, authority: Authority, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    files = TlsFiles(tmp_path / "tls.pem", tmp_path / "tls.key")
    clock = VirtualClock()

    def put(certificate: Path, key: Path) -> None:
        shutil.copy(certificate, files.certificate)
        shutil.copy(key, files.key)
        clock.advance(1.0)

    old, new = authority.sign("localhost"), stranger.sign("localhost")
    put(old.certificate, old.key)

    async def check() -> None:
        async with serving(files, clock) as port:
            put(new.certificate, old.key)
            assert await is_let_in(port, authority.certificate)
            assert [record.message for record in caplog.records] == ["tls_files_not_taken"]
            put(new.certificate, new.key)
            assert await is_let_in(port, stranger.certificate)
            assert not await is_let_in(port, authority.certificate)

    asyncio.run(check())


def with_passphrase(key: Path) -> bytes:
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


Spoil = Callable[[TlsFiles, Pem], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "no certificate": (lambda files, other: files.certificate.unlink(), "tls.pem cannot be read: No such file"),
    "no key": (lambda files, other: files.key.unlink(), "tls.key cannot be read: No such file"),
    "no authority": (lambda files, other: files.paths[2].unlink(), "ca.pem cannot be read: No such file"),
    "an empty certificate": (lambda files, other: files.certificate.write_bytes(b"\n"), "tls.pem is empty"),
    "an empty key": (lambda files, other: files.key.write_bytes(b""), "tls.key is empty"),
    "an empty authority": (lambda files, other: files.paths[2].write_bytes(b""), "ca.pem is empty"),
    "rubbish for a certificate": (lambda files, other: files.certificate.write_bytes(b"rubbish"), "not a certificate"),
    "rubbish for a key": (lambda files, other: files.key.write_bytes(b"rubbish"), "not a certificate and its key"),
    "rubbish for an authority": (lambda files, other: files.paths[2].write_bytes(b"rubbish"), "no certificates in PEM"),
    "another's key": (lambda files, other: shutil.copy(other.key, files.key), "does not belong to the first"),
    "a key for a certificate": (lambda files, other: shutil.copy(files.key, files.certificate), "not a certificate"),
    "a client's own certificate for an authority": (
        lambda files, other: files.paths[2].write_bytes(other.certificate.read_bytes()),
        "holds no certificate of an authority",
    ),
    "a passphrase": (lambda files, other: files.key.write_bytes(with_passphrase(files.key)), "has a passphrase"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_files_that_cannot_be_used_are_refused_before_the_start(
    tmp_path: Path, authority: Authority, stranger: Authority, case: str
) -> None:
    spoil, told = SPOILT[case]
    files = TlsFiles(tmp_path / "tls.pem", tmp_path / "tls.key", tmp_path / "ca.pem")
    pem = authority.sign("localhost")
    for source, target in zip((pem.certificate, pem.key, authority.certificate), files.paths, strict=True):
        shutil.copy(source, target)
    server_credentials(files, VirtualClock())
    spoil(files, stranger.sign("other"))
    with pytest.raises(ServerFileError, match=told) as refused:
        server_credentials(files, VirtualClock())
    assert "None" not in str(refused.value)


def test_the_options_go_together(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    assert tls_files(None, None, None) is None
    assert tls_files(a, b, None) == TlsFiles(a, b)
    assert tls_files(a, b, c) == TlsFiles(a, b, c)
    for incomplete in ((a, None, None), (None, b, None), (None, None, c), (a, None, c)):
        with pytest.raises(ServerFileError, match="both --tls-cert and --tls-key"):
            tls_files(*incomplete)
