from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

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
        (from_csv, ["uri,label\n", "\n", ",\n", ",Apple\n"], "line 4: expected a uri"),
        (from_csv, ["uri,label\n", "u,Apple\n", '"v,Pear\n', "w,Pear\n"], "line 3: expected comma-separated values"),
        (from_csv, ["uri\n", "u" * 200_000], "line 2: expected comma-separated values"),
        (from_json_lines, ['{"uri": "u"}', '{"uri": "cut off'], "line 2: expected a JSON object"),
        (from_json_lines, ["", "[" * 100_000], "line 2: expected a JSON object"),
        (from_json_lines, ['{"uri": "u", "label": NaN}'], "line 1: expected a label that is text, got nan"),
        (from_json_lines, ['{"uri": "u", "label": 3}'], "line 1: expected a label that is text, got 3"),
        (from_json_lines, ['{"uri": "", "empty": true}'], "line 1: expected a uri"),
        (from_json_lines, ["[]"], "line 1: expected a JSON object"),
        (from_json_lines, ['{"label": "x"}'], "line 1: expected a uri"),
    ],
)
def test_a_line_that_is_wrong_is_told_by_its_number(read: Any, lines: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(read(lines))


def _written(path: Path, text: bytes, encoding: str = "utf-8") -> IO[str]:
    path.write_bytes(text)
    return path.open(newline="", encoding=encoding)


@pytest.mark.parametrize(
    ("read", "lines"),
    [
        (from_urls, b"u\r\nv\r\n"),
        (from_csv, b"uri,label\r\nu,Apple\r\nv,Apple\r\n"),
        (from_csv, b" URI , Label \r\nu,Apple\r\nv,Apple\r\n,,\r\n"),
        (from_json_lines, b'{"uri": "u", "label": "Apple"}\r\n\r\n{"uri": "v", "label": "Apple"}'),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_files_are_read_as_windows_writes_them(read: Any, lines: bytes, mark: bytes, tmp_path: Path) -> None:
    with _written(tmp_path / "source", mark + lines) as file:
        found = list(read(file))
    assert [each.uri for each in found] == ["u", "v"]
    assert {each.label for each in found} == ({None} if read is from_urls else {"Apple"})


@pytest.mark.parametrize(
    ("read", "line"),
    [(from_urls, "http://example.com/{}"), (from_csv, "http://{},Apple"), (from_json_lines, '{{"uri": "http://{}"}}')],
)
def test_a_file_whose_encoding_changes_ends_there_by_an_error_that_says_so(
    read: Any, line: str, tmp_path: Path
) -> None:
    lines = ["uri,label"] * (read is from_csv) + [line.format(number) for number in range(1000)]
    text = "\n".join(lines).encode() + b"\n" + line.format("P\u00e4r").encode("latin-1")
    found = []
    with _written(tmp_path / "source", text) as file, pytest.raises(DatasetError, match="expected text in utf-8"):
        found.extend(read(file))
    with _written(tmp_path / "source", text, "latin-1") as file:
        assert len(list(read(file))) == 1001


@pytest.mark.parametrize("read", [from_csv, from_json_lines])
@pytest.mark.parametrize("file", ["uri\nhttp://example.com/", b"uri", Path("a.csv"), {"uri": "u"}, None], ids=repr)
def test_what_is_no_open_file_is_refused(read: Any, file: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected lines of text, as an open file has them"):
        read(file)


def test_a_table_that_is_opened_as_bytes_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="line: expected str"):
        from_csv([b"uri"])  # type: ignore[list-item]


@pytest.mark.parametrize("read", [from_csv, from_json_lines])
def test_a_line_that_is_no_text_is_refused(read: Any) -> None:
    with pytest.raises(InvalidTypeError, match="line: expected str"):
        list(read([3]))
