"""The server's certificate, and the authorities whose clients it takes (mutual TLS).

All files are PEM: the certificate first, then those between it and the root; the key without a passphrase. They are
checked before the server listens. When they change they are checked and taken again for the connections that come from
then on; a set that cannot be used (half of a renewal, say) is not taken, and a line of the log tells so. Connections
that are open keep what they began with: a client certificate is judged once, when its connection opens.
"""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from antiphon.engine.clock import Clock
from antiphon.engine.errors import ServerFileError
from antiphon.engine.service.logs import log_event
from antiphon.engine.service.watch import FileWatch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """`--tls-cert`, `--tls-key` and, for mutual TLS, `--tls-client-ca`."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # with it, a client without a certificate of these authorities is turned away

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that are given."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)


def tls_files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    """The files of the three options; None without any: no TLS. Raises ServerFileError when one lacks another."""
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca)
    if (certificate, key, client_ca) == (None, None, None):
        return None
    raise ServerFileError("TLS needs both --tls-cert and --tls-key; --tls-client-ca goes with them, never alone.")


def server_credentials(files: TlsFiles, clock: Clock) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises ServerFileError when they cannot be used as they are now."""
    follower = _Follower(files, clock)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files),
        follower.changed_configuration,  # type: ignore[arg-type]  # None is allowed: no change
        require_client_authentication=files.client_ca is not None,
    )


class _Follower:
    """Reads the files again when they change. gRPC asks before each handshake, from threads of its own."""

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        self._files = files
        self._watch = FileWatch(files.paths, clock)
        self._lock = threading.Lock()

    def changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        with self._lock:
            if not self._watch.changed():
                return None
        try:
            configuration = _configuration(self._files)
        except ServerFileError:
            log_event(_log, logging.WARNING, "tls_files_not_taken")
            return None
        log_event(_log, logging.INFO, "tls_files_read")
        return configuration


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    certificate, key = _read(files.certificate, "TLS certificate"), _read(files.key, "TLS key")
    _check_pair(files)
    client_ca = None
    if files.client_ca is not None:
        client_ca = _read(files.client_ca, "TLS client CA")
        _check_authorities(files.client_ca, client_ca)
    if (certificate, key) != (_read(files.certificate, "TLS certificate"), _read(files.key, "TLS key")):
        raise ServerFileError(f"{files.certificate} or {files.key} changed while they were read; try again.")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)


def _read(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ServerFileError(f"the {what} {path} cannot be read: {error.strerror}.") from None
    if not content.strip():
        raise ServerFileError(f"the {what} {path} is empty; expected PEM.")
    return content


def _check_pair(files: TlsFiles) -> None:
    def no_passphrase() -> str:
        raise ServerFileError(f"the TLS key {files.key} has a passphrase; expected a key without one.")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ServerFileError(
                f"the TLS key {files.key} does not belong to the first certificate of {files.certificate}."
            ) from None
        raise ServerFileError(
            f"{files.certificate} and {files.key} are not a certificate and its key in PEM{_reason(error)}."
        ) from None
    except OSError as error:
        raise ServerFileError(f"{files.certificate} or {files.key} cannot be read: {error.strerror}.") from None


def _check_authorities(path: Path, content: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ServerFileError(f"the TLS client CA {path} holds no certificates in PEM{_reason(error)}.") from None
    if not context.cert_store_stats()["x509_ca"]:
        raise ServerFileError(f"the TLS client CA {path} holds no certificate of an authority (basicConstraints CA).")


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's word for it, where it has one."""
    return f" ({error.reason})" if error.reason else ""
