"""Forms for uploads to Google Cloud Storage: as its own library signs them, and limited as they say."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud.storage import Client
from google.oauth2.service_account import Credentials

from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.objectstore import ObjectStore, google_bucket

KEY = ImageKey(".imageattach-uploads", 0, 5, 7, "image/png")


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def account(private_key: rsa.RSAPrivateKey) -> dict[str, Any]:
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": "pictures",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "pictures@example.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def presigned(store: ObjectStore, **options: Any) -> Any:
    given: dict[str, Any] = {"max_bytes": 1000, "lifetime": 600, "mimetype": "image/jpeg"}
    return store.presign_upload(KEY, **given | options)


def test_a_form_is_signed_and_says_what_it_takes(account: dict[str, Any], private_key: rsa.RSAPrivateKey) -> None:
    store = ObjectStore(google_bucket("pictures", service_account_key=json.dumps(account)), prefix="images")
    target = presigned(store, redirect="https://www.example.com/{token}")
    assert (target.method, target.url) == ("POST", "https://storage.googleapis.com/pictures/")
    assert target.limits_size
    assert target.limits_type
    policy = target.fields["policy"].encode()
    private_key.public_key().verify(bytes.fromhex(target.fields["x-goog-signature"]), policy, PKCS1v15(), SHA256())
    document = json.loads(base64.b64decode(policy))
    assert ["content-length-range", 1, 1000] in document["conditions"]
    for exact in (
        {"bucket": "pictures"},
        {"key": "images/.imageattach-uploads/0/5x7.png"},
        {"Content-Type": "image/jpeg"},
        {"Content-Disposition": "attachment"},
        {"success_action_redirect": "https://www.example.com/{token}"},
    ):
        assert exact in document["conditions"]
    # each field is bound by the policy, or it could be changed
    bound = {name for condition in document["conditions"] if isinstance(condition, dict) for name in condition}
    assert target.fields.keys() - bound == {"policy", "x-goog-signature"}


def test_it_is_what_googles_own_library_signs(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000
    monkeypatch.setattr(time, "time", lambda: now)
    ours = presigned(ObjectStore(google_bucket("pictures", service_account_key=json.dumps(account))))
    credentials = Credentials.from_service_account_info(account)
    monkeypatch.setattr(
        "google.cloud.storage.client.get_v4_now_dtstamps", lambda: ("20270115T080000Z", "20270115"), raising=True
    )
    client = Client("pictures", credentials)
    fields = {name: value for name, value in ours.fields.items() if not name.startswith(("x-goog", "policy", "key"))}
    found = client.generate_signed_post_policy_v4(
        "pictures", KEY.object_name(), 600, [["content-length-range", 1, 1000]], fields
    )
    assert found["url"] == ours.url
    assert set(found["fields"]) == set(ours.fields)
    for name in ("x-goog-date", "x-goog-credential", "x-goog-algorithm", "key", "Content-Type"):
        assert found["fields"][name] == ours.fields[name]
    policies = [json.loads(base64.b64decode(each["policy"])) for each in (found["fields"], ours.fields)]
    as_sets = [{json.dumps(condition) for condition in policy["conditions"]} for policy in policies]
    assert as_sets[0] == as_sets[1]
    client.close()


def test_a_key_can_be_in_a_file(account: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(json.dumps(account))
    store = ObjectStore(google_bucket("pictures", service_account=str(tmp_path / "account.json")))
    assert presigned(store).method == "POST"
    (tmp_path / "account.json").unlink()
    with pytest.raises(StoreError, match="the key of the service account cannot be read"):
        presigned(store)
