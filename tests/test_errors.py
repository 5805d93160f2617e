from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from sqlalchemy_imageattach import errors
from sqlalchemy_imageattach.errors import ImageAttachError

#: what a caller catches who has never heard of this package
BUILTINS: dict[type[ImageAttachError], type[Exception]] = {
    errors.BlobExistsError: FileExistsError,
    errors.BlobNotFoundError: FileNotFoundError,
    errors.ConcurrentReplacementError: RuntimeError,
    errors.ContextError: LookupError,
    errors.DuplicateImageError: ValueError,
    errors.EmptyIndexError: LookupError,
    errors.DatasetError: ValueError,
    errors.DirectUploadNotSupportedError: OSError,
    errors.EngineUnavailableError: RuntimeError,
    errors.ExpiredTokenError: ValueError,
    errors.ImageIdentityError: ValueError,
    errors.InvalidTokenError: ValueError,
    errors.InvalidTypeError: TypeError,
    errors.InvalidValueError: ValueError,
    errors.ListingNotSupportedError: NotImplementedError,
    errors.MissingExtraError: ImportError,
    errors.MissingIndexError: LookupError,
    errors.NoEndpointError: LookupError,
    errors.NoFileError: ValueError,
    errors.NoOriginalError: OSError,
    errors.OutdatedIndexError: RuntimeError,
    errors.PolicyViolationError: ValueError,
    errors.QueueClosedError: RuntimeError,
    errors.RejectedImageError: ValueError,
    errors.RemoteAddressError: OSError,
    errors.RemoteAnswerError: OSError,
    errors.RemoteError: OSError,
    errors.RemoteStatusError: OSError,
    errors.RemoteTimeoutError: TimeoutError,
    errors.RemoteTooLongError: OSError,
    errors.StoreAccessDeniedError: PermissionError,
    errors.StoreError: OSError,
    errors.TooCostlyError: ValueError,
    errors.TryAgainError: RuntimeError,
    errors.TemporaryFileError: OSError,
    errors.UnknownHostError: RuntimeError,
    errors.UnknownJobError: LookupError,
    errors.UnreadableImageError: ValueError,
    errors.UploadError: ValueError,
    errors.UnsavedImageError: ValueError,
    errors.UnknownTokenError: ValueError,
    errors.UnknownVariantError: LookupError,
    errors.VariantConflictError: ValueError,
    errors.UnsupportedLayoutError: ValueError,
    errors.VectorDimensionError: ValueError,
    errors.VectorSearchUnavailableError: RuntimeError,
}
ALL: list[type[ImageAttachError]] = [ImageAttachError, *BUILTINS]

MESSAGE = "expected this, got that"

each_error = pytest.mark.parametrize("error", ALL)


def test_every_error_of_the_module_is_public_and_in_the_table_above() -> None:
    defined = [
        value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert sorted(error.__name__ for error in defined) == sorted(error.__name__ for error in ALL)
    assert set(errors.__all__) == {error.__name__ for error in ALL}


@each_error
def test_an_error_is_caught_as_an_error_of_this_package(error: type[ImageAttachError]) -> None:
    with pytest.raises(ImageAttachError, match=MESSAGE):
        raise error(MESSAGE)


@pytest.mark.parametrize(("error", "builtin"), BUILTINS.items())
def test_an_error_is_caught_as_its_builtin(error: type[ImageAttachError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match=MESSAGE):
        raise error(MESSAGE)


@pytest.mark.parametrize("error", [errors.UnreadableImageError, errors.PolicyViolationError])
def test_whatever_is_wrong_with_an_upload_is_a_rejected_image(error: type[ImageAttachError]) -> None:
    assert issubclass(error, errors.RejectedImageError)


@pytest.mark.parametrize("error", [errors.BlobExistsError, errors.BlobNotFoundError, errors.StoreAccessDeniedError])
def test_whatever_is_wrong_with_a_store_is_a_store_error(error: type[ImageAttachError]) -> None:
    assert issubclass(error, errors.StoreError)


def test_no_original_is_not_taken_for_a_failing_store() -> None:
    assert not issubclass(errors.NoOriginalError, errors.StoreError)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@each_error
def test_an_error_survives_pickling_with_its_message(error: type[ImageAttachError], protocol: int) -> None:
    original = error(MESSAGE)
    original.add_note("while attaching")
    again = pickle.loads(pickle.dumps(original, protocol))
    assert type(again) is error
    assert str(again) == MESSAGE
    assert again.args == original.args
    assert again.__notes__ == ["while attaching"]


@each_error
def test_an_error_can_be_copied(error: type[ImageAttachError]) -> None:
    again = copy.copy(error("message"))
    assert type(again) is error
    assert str(again) == "message"


def test_a_missing_blob_keeps_the_errno_of_the_filesystem() -> None:
    error = errors.BlobNotFoundError(2, "no such blob", "user-picture/1")
    again = pickle.loads(pickle.dumps(error))
    for each in (error, again):
        assert (each.errno, each.strerror, each.filename) == (2, "no such blob", "user-picture/1")
        assert type(each) is errors.BlobNotFoundError


@each_error
def test_an_error_says_in_its_docstring_when_it_is_raised(error: type[ImageAttachError]) -> None:
    assert error.__doc__ is not None
    assert error.__doc__.strip().endswith(".")
