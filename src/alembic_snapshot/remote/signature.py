"""Ed25519 signatures, by keys that are text."""

from __future__ import annotations

import base64

from alembic_snapshot.project.remote import PUBLIC, SECRET, raw_of

# The signer of a record in a store that has no keys.
UNSIGNED = "unsigned"
_SAID_BEFORE = b"alembic-snapshot record\n"


def make_pair() -> tuple[str, str]:
    """A new signing key and its public key, as text."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return _text(SECRET, private.private_bytes_raw()), _text(PUBLIC, public)


def public_of(signing_key: str) -> str:
    """The public key of a signing key.

    Raises:
        ValueError: it is none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(raw_of(signing_key, SECRET))
    return _text(PUBLIC, private.public_key().public_bytes_raw())


def sign(signing_key: str, content: bytes) -> str:
    """The signature of a record's content."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(raw_of(signing_key, SECRET))
    return base64.b64encode(private.sign(_SAID_BEFORE + content)).decode()


def is_signed(public_key: str, signature: str, content: bytes) -> bool:
    """Whether the owner of a public key signed a record's content."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(raw_of(public_key, PUBLIC))
    try:
        public.verify(base64.b64decode(signature, validate=True), _SAID_BEFORE + content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(kind: str, raw: bytes) -> str:
    return kind + base64.b64encode(raw).decode()
