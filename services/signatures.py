"""Signatures in addresses that browsers and other programs open without a token; they expire."""

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer


class SignatureError(ValueError):
    """The signature is missing, wrong or expired."""


class Signatures:
    """Signs values of one kind and checks their signatures, as often as they are shown until they expire."""

    def __init__(self, key: str, lifetime_s: int, *, salt: str, what: str, signed: str, renewal: str) -> None:
        """Make a signer.

        Args:
            key: The key.
            lifetime_s: Seconds until a signature expires.
            salt: Of this kind; signatures of other kinds are not accepted.
            what: What the addresses lead to, for errors: "tile", for instance.
            signed: What is signed: "scene", for instance.
            renewal: How people get a new address, for the error.
        """
        self.lifetime_s = lifetime_s
        self._what, self._signed, self._renewal = what, signed, renewal
        self._serializer = URLSafeTimedSerializer(key, salt=salt)

    def sign(self, value: object) -> str:
        """Return the signature of a value, of which JSON knows the kind."""
        return str(self._serializer.dumps(value))

    def check(self, value: object, signature: str) -> None:
        """Check that a signature belongs to a value and has not expired.

        Raises:
            SignatureError: It does not, or it has.
        """
        try:
            signed = self._serializer.loads(signature, max_age=self.lifetime_s)
        except SignatureExpired as error:
            raise SignatureError(f"the address of this {self._what} has expired; {self._renewal}") from error
        except (BadSignature, UnicodeEncodeError) as error:
            raise SignatureError(f"the address of this {self._what} carries no valid signature") from error
        if signed != value:
            raise SignatureError(f"the signature belongs to another {self._signed}")
