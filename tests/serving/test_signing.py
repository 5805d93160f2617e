"""Tokens, and all that somebody who does not know the secret may try with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import ExpiredTokenError, InvalidTokenError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.serving.signing import Signer

SECRET = "the secret of these tests, which all may know"
OTHER = b"another one, as bytes, of more than 32 bytes"
URL_SAFE = set(string.ascii_letters + string.digits + "-_.")


@pytest.fixture
def signer() -> Signer:
    return Signer(SECRET, purpose="render")


@given(st.binary(), st.none() | st.integers(2_000_000_000, 10**15 - 1))
def test_a_token_gives_back_what_was_signed(payload: bytes, expires_at: int | None) -> None:
    signer = Signer(SECRET, purpose="render")
    token = signer.sign(payload, expires_at=expires_at)
    assert signer.unsign(token) == payload
    assert signer.expiry_of(token) == expires_at
    assert set(token) <= URL_SAFE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_a_value_survives(value: object) -> None:
    signer = Signer(SECRET, purpose="render")
    assert signer.loads(signer.dumps(value)) == value


def test_one_value_has_one_token(signer: Signer) -> None:
    assert signer.dumps({"a": 1, "b": 2}) == signer.dumps({"b": 2, "a": 1})


def test_what_json_cannot_say_is_no_value(signer: Signer) -> None:
    for value in (b"bytes", float("nan"), {1, 2}):
        with pytest.raises(InvalidTypeError, match="value: expected what JSON can say"):
            signer.dumps(value)


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_token_is_valid_until_its_second(signer: Signer) -> None:
    token = signer.sign(b"payload", expires_at=1000.9)
    assert signer.unsign(token, now=999.99) == b"payload"
    with pytest.raises(ExpiredTokenError, match="has expired; ask for a new one"):
        signer.unsign(token, now=1000)


def test_by_the_clock_a_token_of_the_past_has_expired(signer: Signer) -> None:
    with pytest.raises(ExpiredTokenError):
        signer.unsign(signer.sign(b"payload", expires_at=1_000_000_000))


def test_a_forged_token_is_never_called_expired(signer: Signer) -> None:
    payload, _, signature = signer.sign(b"payload", expires_at=2_000_000_000).split(".")
    with pytest.raises(InvalidTokenError) as caught:
        signer.unsign(f"{payload}.1.{signature}")
    assert not isinstance(caught.value, ExpiredTokenError)


@pytest.mark.parametrize("expires_at", [-1, float("nan"), float("inf"), 10**15])
def test_what_is_no_time_is_refused(signer: Signer, expires_at: float) -> None:
    with pytest.raises(InvalidValueError, match="expires_at: expected seconds since 1970"):
        signer.sign(b"payload", expires_at=expires_at)


# --- attacks ---------------------------------------------------------------------------------------------------------


def test_no_character_of_a_token_can_be_another_one(signer: Signer) -> None:
    token = signer.sign(b'["ProductPhoto",[1],{"width":300}]', expires_at=2_000_000_000)
    for index, character in enumerate(token):
        for other in URL_SAFE - {character}:
            with pytest.raises(InvalidTokenError):
                signer.unsign(token[:index] + other + token[index + 1 :])


def test_a_token_has_no_second_spelling(signer: Signer) -> None:
    token = signer.sign(b"payload", expires_at=2_000_000_000)
    payload, expires_at, signature = token.split(".")
    spellings = [
        f"{token}=",
        f"{token}\n",
        f" {token}",
        f"{token}.",
        f".{token}",
        f"{payload}=.{expires_at}.{signature}",
        f"{payload}.0{expires_at}.{signature}",
        f"{payload}.+{expires_at}.{signature}",
        f"{payload}. {expires_at}.{signature}",
        f"{payload}.2_000_000_000.{signature}",
        f"{payload}.２０００００００００.{signature}",
        f"{payload}.{expires_at}.{signature}{signature}",
        f"{payload}.{expires_at}.{expires_at}.{signature}",
        token.replace(".", "%2E"),
        token.replace(".", "．"),
        token.upper(),
    ]
    for spelling in spellings:
        with pytest.raises(InvalidTokenError):
            signer.unsign(spelling)


def test_the_parts_of_two_tokens_make_no_third(signer: Signer) -> None:
    one, two = (signer.sign(payload, expires_at=time).split(".") for payload, time in ((b"a", None), (b"b", 2**31)))
    for mixed in ([one[0], two[1], one[2]], [one[0], two[1], two[2]], [two[0], one[1], two[2]], [*two[:2], one[2]]):
        with pytest.raises(InvalidTokenError):
            signer.unsign(".".join(mixed))


def test_the_border_between_payload_and_time_cannot_be_moved() -> None:
    signer = Signer(SECRET, purpose="render")
    signature = signer.sign(b"payload").rpartition(".")[2]
    for moved in (f".cGF5bG9hZA.{signature}", f"cGF5bG9hZA..{signature}x", f"cGF5bG9h.ZA.{signature}"):
        with pytest.raises(InvalidTokenError):
            signer.unsign(moved)


@pytest.mark.parametrize("purpose", ["upload", "render2", "rende", "Render", "render\0", "rеnder"])
def test_a_token_for_one_purpose_is_none_for_another(signer: Signer, purpose: str) -> None:
    with pytest.raises(InvalidTokenError):
        signer.unsign(Signer(SECRET, purpose=purpose).sign(b"payload"))


def test_digests_that_only_look_like_signatures_are_none(signer: Signer) -> None:
    secret, signed = SECRET.encode(), b"cGF5bG9hZA.."
    digests = [
        hashlib.sha256(secret + signed).digest(),  # to which more can be appended
        hashlib.sha256(signed).digest(),
        hmac.digest(secret, signed, "sha256"),  # the secret itself is no key
        hmac.digest(secret, b"payload", "sha256"),
        hmac.digest(b"", signed, "sha256"),
        b"",
    ]
    for digest in digests:
        with pytest.raises(InvalidTokenError):
            signer.unsign((signed + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode())


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "x", "a" * 100_000, "ä..b", "\ud800..x", "a\0..b", None, b"a..b"]
)
def test_what_is_no_token_is_none(signer: Signer, token: str) -> None:
    for method in (signer.unsign, signer.loads):
        with pytest.raises(InvalidTokenError, match="expected a token signed for 'render', got another one"):
            method(token)


def test_signed_bytes_that_are_no_json_are_no_value(signer: Signer) -> None:
    for payload in (b"\xff", b"{", b""):
        with pytest.raises(InvalidTokenError):
            signer.loads(signer.sign(payload))


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_after_a_rotation_both_secrets_are_taken_and_the_first_one_signs() -> None:
    old, new = Signer(SECRET, purpose="render"), Signer(OTHER, purpose="render")
    rotated = Signer([OTHER, SECRET], purpose="render")
    assert rotated.unsign(old.sign(b"payload")) == rotated.unsign(new.sign(b"payload")) == b"payload"
    assert rotated.sign(b"payload") == new.sign(b"payload")
    with pytest.raises(InvalidTokenError):
        new.unsign(old.sign(b"payload"))


@pytest.mark.parametrize("secret", [None, "", b"", [], "x" * 31, [SECRET, "short"], "ä" * 15])
def test_a_secret_that_is_missing_or_short_is_refused(secret: str) -> None:
    with pytest.raises(InvalidValueError, match=r"secret: expected 32 bytes or more, got .*; make one by: python -c"):
        Signer(secret, purpose="render")


@pytest.mark.parametrize("secret", [1234, [None], [1234], object()])
def test_a_secret_of_another_type_is_refused(secret: str) -> None:
    with pytest.raises(InvalidTypeError, match="secret: expected str, bytes or several of them, got"):
        Signer(secret, purpose="render")


def test_a_short_secret_is_not_told() -> None:
    with pytest.raises(InvalidValueError) as caught:
        Signer("hunter2", purpose="render")
    assert "hunter2" not in str(caught.value)
    assert "got one of 7" in str(caught.value)


def test_a_signer_does_not_show_its_secret(signer: Signer) -> None:
    assert repr(signer) == "Signer(purpose='render')"


def test_a_purpose_is_needed() -> None:
    with pytest.raises(InvalidValueError, match="purpose: expected what the tokens are for"):
        Signer(SECRET, purpose="")


def test_signers_are_equal_by_what_they_take() -> None:
    assert Signer(SECRET, purpose="a") == Signer(SECRET.encode(), purpose="a")
    assert len({Signer(SECRET, purpose="a"), Signer(SECRET, purpose="b"), Signer(OTHER, purpose="a")}) == 3
