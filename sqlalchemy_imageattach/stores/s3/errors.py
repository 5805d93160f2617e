"""What S3 answers when it does not do as it was asked, and what that means to who asked."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import BlobNotFoundError, StoreAccessDeniedError, StoreError

__all__ = ["AuthMechanismError", "S3Object", "s3_errors", "status_of", "was_refused"]


class AuthMechanismError(StoreAccessDeniedError):
    """The bucket's region takes signatures of version 4 only, and the request had another one.

    Stores sign by version 4, so it takes a ``client`` of one's own, made with ``signature_version="s3"``.
    """


@dataclass(frozen=True, slots=True)
class S3Object:
    """What was asked for, for messages.

    :param bucket: the name of the bucket
    :param endpoint: the URL of the service, where it is not AWS
    :param name: the name of the object, where it is about one
    """

    bucket: str
    endpoint: str | None
    name: str | None = None

    def __str__(self) -> str:
        if self.name is not None:
            return f"{self.name} in the bucket {self.bucket!r}"
        return f"the bucket {self.bucket!r}" if self.bucket else self.service

    @property
    def service(self) -> str:
        return self.endpoint or "AWS S3"


# By the codes of S3's answers.  {s3_object} has the bucket and the service.
_DENIED = {
    "InvalidAccessKeyId": "the access key is not known to {service}: check access_key, or which credentials are in use",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: check secret_key",
    "ExpiredToken": "the temporary credentials have expired: get new ones",
    "ExpiredTokenException": "the temporary credentials have expired: get new ones",
    "InvalidToken": "the session token is not valid: get new temporary credentials",
    "RequestTimeTooSkewed": "this machine's clock differs too much from that of {service}: set the clock",
    "AllAccessDisabled": "the bucket is disabled",
}
_DENIED_OTHERWISE = (
    "access denied: the credentials in use may not do that, or, without s3:ListBucket, there is no such object; check"
    " the policies of the user and of the bucket {bucket!r}"
)
_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}
_FRAMING = {"MissingContentLength", "NotImplemented", "411", "501"}
_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"}
_MISSING = {"NoSuchKey", "404"}


@contextmanager
def s3_errors(doing: str, s3_object: S3Object) -> Iterator[None]:
    """Within, what boto3 raises becomes the :exc:`StoreError` that says it best.

    The reading of a source must not be within: what it raises is the caller's.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        translated = _translate(doing, s3_object, error)
        if translated is None:
            raise
        raise translated from error


def was_refused(error: BaseException) -> bool:
    """Whether it is certain that nothing was stored: S3 said so, before or instead of storing."""
    return 400 <= status_of(error) < 500


def status_of(error: BaseException) -> int:
    """What S3 answered by, as an HTTP status; 500 if it is not known that it did."""
    response = getattr(error.__cause__, "response", None)
    if not isinstance(response, Mapping):
        return 500
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return status


def _translate(doing: str, s3_object: S3Object, error: Exception) -> StoreError | None:
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        return _answered(doing, s3_object, error)
    if isinstance(error, BotoCoreError):
        return _unanswered(doing, s3_object, error)
    if isinstance(error, OSError):  # a certificate's file that is not there, a socket
        return StoreError(error.errno or errno.EIO, f"cannot {doing} {s3_object}: {error.strerror or error}")
    return None


def _answered(doing: str, s3_object: S3Object, error: Any) -> StoreError:
    """What a service's answer means."""
    answer: Mapping[str, Any] = error.response.get("Error", {})
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    code, status = str(answer.get("Code", "")), metadata.get("HTTPStatusCode")
    cannot = f"cannot {doing} {s3_object}: "
    if code in _MISSING and doing == "read":
        return BlobNotFoundError(errno.ENOENT, f"no such blob: {s3_object}")
    if code == "NoSuchBucket":
        missing = f"{s3_object.service} has no bucket {s3_object.bucket!r}"
        hint = f"{missing}; create it, or check bucket, region and endpoint_url"
        return StoreError(errno.ENOENT, cannot + hint)
    if code in _REGION:
        return StoreError(errno.EREMOTE, cannot + _region_hint(s3_object, metadata.get("HTTPHeaders", {}), answer))
    if code in _FULL:
        return StoreError(errno.ENOSPC, f"{cannot}there is no space left at {s3_object.service} ({code})")
    if "aws4-hmac-sha256" in str(answer.get("Message", "")).lower():
        hint = "the region wants signatures of version 4; make the client with signature_version='s3v4'"
        return AuthMechanismError(errno.EACCES, cannot + hint)
    if code in _DENIED or status in {401, 403}:
        hint = _DENIED.get(code, _DENIED_OTHERWISE).format(bucket=s3_object.bucket, service=s3_object.service)
        return StoreAccessDeniedError(errno.EACCES, cannot + hint)
    said = f"{s3_object.service} answered {code or status}: {answer.get('Message', '')}".rstrip(": ")
    if code in _FRAMING:
        said += "; if it does not know checksums, request_checksum_calculation='when_required' is needed"
    elif code in _BUSY or (isinstance(status, int) and status >= 500):
        attempts = metadata.get("RetryAttempts", 0) + 1
        said += f" ({attempts} attempts); try again later, and raise max_retry if that happens often"
    return StoreError(errno.EIO, cannot + said)


def _region_hint(s3_object: S3Object, headers: Mapping[str, str], answer: Mapping[str, Any]) -> str:
    region = headers.get("x-amz-bucket-region") or answer.get("Region")
    known = f"it is in {region!r}: give region={region!r}" if region else "give region= as it was created with"
    return f"the bucket {s3_object.bucket!r} is in another region than the one asked; {known}, or check endpoint_url"


def _unanswered(doing: str, s3_object: S3Object, error: Exception) -> StoreError:
    """What it means that no answer came, or only a part of one."""
    from botocore import exceptions as boto

    cannot = f"cannot {doing} {s3_object}: "
    service = s3_object.service
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        hint = (
            "there are no credentials; give access_key and secret_key, or a session, or set up a role, a profile"
            " (AWS_PROFILE) or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        return StoreAccessDeniedError(errno.EACCES, cannot + hint)
    if isinstance(error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError):
        return StoreAccessDeniedError(errno.EACCES, f"{cannot}the credentials cannot be had: {error}; log in again")
    if isinstance(error, boto.ReadTimeoutError | boto.ConnectTimeoutError):
        hint = f"{service} did not answer in time; check the network, or raise connect_timeout and read_timeout"
        return StoreError(errno.ETIMEDOUT, cannot + hint)
    if isinstance(error, boto.SSLError):
        hint = f"the certificate of {service} is not trusted; give ca_bundle= the authority's, or set AWS_CA_BUNDLE"
        return StoreError(errno.EPROTO, f"{cannot}{hint} ({error})")
    if isinstance(error, boto.IncompleteReadError | boto.ResponseStreamingError | boto.ConnectionClosedError):
        return StoreError(errno.ECONNRESET, f"{cannot}the connection to {service} broke ({error}); try again")
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        hint = f"{service} cannot be reached ({error}); check endpoint_url, region and the network"
        return StoreError(errno.ECONNREFUSED, cannot + hint)
    return StoreError(errno.EIO, f"{cannot}{error}")
