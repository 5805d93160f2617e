from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.dataset import (
    DatasetError,
    from_csv,
    from_folder,
    from_json_lines,
    from_serpapi,
    from_urls,
    search_serpapi,
)
from sqlalchemy_imageattach.errors import ImageAttachError, InvalidTypeError
from tests.test_paths import put_in_place

ANSWER = {
    "search_metadata": {"status": "Success"},
    "images_results": [
        {
            "position": 1,
            "thumbnail": "https://serpapi.example/t1.jpeg",
            "source": "example.com",
            "title": "An apple",
            "link": "https://example.com/apple",
            "original": "https://example.com/apple.jpg",
            "license": "CC BY 4.0",
        },
        {"position": 2, "thumbnail": "data:image/png;base64,AA", "original": "https://example.com/2.jpg"},
        {"position": 3, "title": "without an original"},
        "no object",
    ],
}


def test_an_answer_of_serpapi_gives_its_originals() -> None:
    first, second = from_serpapi(ANSWER)
    assert first.uri == "https://example.com/apple.jpg"
    assert first.alternatives == ("https://serpapi.example/t1.jpeg",)
    assert (first.provenance.page, first.provenance.title) == ("https://example.com/apple", "An apple")
    assert first.provenance.licence == "CC BY 4.0"
    assert (second.uri, second.alternatives) == ("https://example.com/2.jpg", ())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": "Invalid API key"}, "SerpApi says: Invalid API key"),
        ({}, "expected images_results in the answer of SerpApi, got only nothing"),
        ({"organic_results": []}, "got only organic_results"),
        ({"images_results": None}, "expected images_results"),
    ],
)
def test_an_answer_without_results_is_told(answer: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        from_serpapi(answer)


def test_an_answer_that_is_still_text_is_told() -> None:
    with pytest.raises(InvalidTypeError, match=r"json.loads\(\) a saved one first"):
        from_serpapi(json.dumps(ANSWER))  # type: ignore[arg-type]


def test_asking_serpapi_never_tells_the_key() -> None:
    with pytest.raises(ImageAttachError) as caught:  # its client is not installed, or cannot reach it here
        search_serpapi("apple", "secret-key")
    assert "secret-key" not in str(caught.value)


def test_urls_are_the_lines_of_a_file() -> None:
    lines = ["https://example.com/1.png\n", "\n", "# a comment\n", "  https://example.com/2.png  \n"]
    assert [each.uri for each in from_urls(lines)] == ["https://example.com/1.png", "https://example.com/2.png"]
    with pytest.raises(InvalidTypeError, match="an iterable of URLs"):
        from_urls("https://example.com/1.png")


def test_a_folder_gives_its_files_and_the_folders_in_it_the_labels(tmp_path: Path) -> None:
    for name in ("Apple/1.png", "Apple/deep/2.png", "Pear/3.png", "loose.png", "Apple/.hidden"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "Apple" / "link.png").symlink_to("/etc/passwd")
    found = list(from_folder(tmp_path, labels=True))
    assert [(each.label, each.uri) for each in found] == [
        ("Apple", "Apple/1.png"),
        ("Apple", "Apple/deep/2.png"),
        ("Pear", "Pear/3.png"),
    ]
    assert found[0].open is not None
    with found[0].open() as file:
        assert file.read() == b"Apple/1.png"
    assert [each.label for each in from_folder(tmp_path)] == [None] * 4
    with pytest.raises(DatasetError, match="there is none at"):
        from_folder(tmp_path / "none")


def test_a_named_pipe_in_a_folder_does_not_hang_who_reads_it(tmp_path: Path) -> None:
    put_in_place(tmp_path / "1.png", "named pipe")
    [found] = from_folder(tmp_path)
    assert found.open is not None
    with pytest.raises(OSError, match="no file"):
        found.open()


def test_tables_give_labels_and_provenance() -> None:
    lines = ["uri,label,licence,other", "https://example.com/1.png,Apple,CC0,x", "https://example.com/2.png,,,"]
    first, second = from_csv(lines)
    assert (first.uri, first.label, first.provenance.licence) == ("https://example.com/1.png", "Apple", "CC0")
    assert (second.label, second.provenance.licence) == (None, None)
    rows = ['{"uri": "https://example.com/1.png", "label": "Apple", "title": "t"}', "", '{"uri": "u"}']
    assert [(each.uri, each.label) for each in from_json_lines(rows)] == [
        ("https://example.com/1.png", "Apple"),
        ("u", None),
    ]


@pytest.mark.parametrize(
    ("read", "lines", "message"),
    [
        (from_csv, [], "with the column uri, got nothing"),
        (from_csv, ["url,label"], "with the column uri, got url, label"),
        (from_csv, ["uri,label", ",Apple"], "line 2: expected a uri"),
        (from_json_lines, ['{"uri": "u"}', '{"uri": "cut off'], "line 2: expected a JSON object"),
        (from_json_lines, ["[]"], "line 1: expected a JSON object"),
        (from_json_lines, ['{"label": "x"}'], "line 1: expected a uri"),
    ],
)
def test_a_line_that_is_wrong_is_told_by_its_number(read: Any, lines: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(read(lines))
