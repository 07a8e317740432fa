"""Certificates for tests: an authority made on the spot, and what it signs."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pem:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.certificate = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.certificate)

    def sign(self, name: str) -> Pem:
        """A certificate for the host `name`, a client's as well as a server's; its files are written anew."""
        signed = self._authority.issue_cert(name)
        pem = Pem(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pem.certificate.write_bytes(b"".join(blob.bytes() for blob in signed.cert_chain_pems))
        signed.private_key_pem.write_to_path(pem.key)
        return pem
