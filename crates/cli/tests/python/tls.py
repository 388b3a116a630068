"""A certificate for 127.0.0.1, made into a directory; and a request over TLS that trusts it.

`tls.py make DIR` writes `cert.pem` and `key.pem`. `tls.py get ADDRESS DIR` prints what `/healthz` says, or why there is no connection.
"""

import datetime
import ipaddress
import pathlib
import ssl
import sys
import urllib.request

if sys.argv[1] == "make":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    directory = pathlib.Path(sys.argv[2])
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(private)
else:
    trusting = ssl.create_default_context(cafile=str(pathlib.Path(sys.argv[3]) / "cert.pem"))
    try:
        with urllib.request.urlopen(f"https://{sys.argv[2]}/healthz", context=trusting, timeout=20) as answer:
            print(answer.read().decode(), end="")
    except OSError as cause:
        print(f"no connection: {cause}")
