"""Server certificates for the loopback, right and wrong, made on the spot."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate, which is its own authority.

    :param context: what the server shows.
    :param authority: the PEM file that a client must trust to accept it.
    """

    context: ssl.SSLContext
    authority: Path


def self_signed(folder: Path, *, address: str = "127.0.0.1", expired: bool = False) -> Certificate:
    """Make a certificate for an address; another address than the server's makes it one of the wrong host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    end = dt.datetime.now(dt.UTC) + (-_DAY if expired else _DAY)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 30 * _DAY)
        .not_valid_after(end)
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    stem = f"{address}-{'expired' if expired else 'valid'}"
    authority, secret = folder / f"{stem}.pem", folder / f"{stem}.key"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, secret)
    return Certificate(context, authority)
