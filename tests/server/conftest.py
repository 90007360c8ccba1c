"""Certificates for the tests of the server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme


@dataclass(frozen=True)
class Certificates:
    """The files of a server's certificate, and the authority that clients trust."""

    certfile: str
    keyfile: str
    authority: trustme.CA

    def client(self, *protocols: str) -> ssl.SSLContext:
        """Return the TLS of a client that offers these protocols by ALPN."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for localhost."""
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return Certificates(str(folder / "cert.pem"), str(folder / "key.pem"), authority)
