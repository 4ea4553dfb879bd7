# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate authorities and server certificates, valid or not, made while a test runs."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class CertificateAuthority:
    """An authority that signs server certificates.

    Attributes:
        certificate: Its own certificate.
        certificate_file: The same as a PEM file, for the option ca_path.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = generate_private_key(SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        public_key = self._key.public_key()
        self.certificate = (
            _builder(self._name, public_key, now - DAY, now + DAY)
            .issuer_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_ca_key_usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate_file = folder / f"{name}.pem"
        self.certificate_file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def server_context(self, host: str = "127.0.0.1", days_valid: int = 1, self_signed: bool = False) -> ssl.SSLContext:
        """Return the TLS context of a server that has a certificate for `host`.

        Args:
            host: The host name or IP address in the certificate.
            days_valid: The days until the certificate expires. A negative number makes an expired certificate.
            self_signed: Whether the certificate is signed by its own key instead of the authority's key.
        """
        key = generate_private_key(SECP256R1())
        end = datetime.now(UTC) + days_valid * DAY
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        issuer_name, issuer_key = (name, key) if self_signed else (self._name, self._key)
        certificate = (
            _builder(name, key.public_key(), end - 30 * DAY, end)
            .issuer_name(issuer_name)
            .add_extension(x509.SubjectAlternativeName([_alternative_name(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        key_and_certificate = self._folder / f"{certificate.serial_number}.pem"
        private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_and_certificate.write_bytes(private_key + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key_and_certificate)
        return context


def _builder(name: x509.Name, key: EllipticCurvePublicKey, start: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _ca_key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
