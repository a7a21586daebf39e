"""Inputs and outputs that are texts, JSON, CSV or images: hooks receive Python values."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image

from tests.service.conftest import Start
from tests.service.harness import Service, run
from tests.support.harness import reference

PHOTO = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
VALUES: dict[str, Any] = {"caption": "a cat", "about": {"tags": ["x", None]}, "table": 'a,b\n1,"2,3"\n'}
TOLD = {**VALUES, "table": [["a", "b"], ["1", "2,3"]], "photo": PHOTO.tolist()}


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(
        "serve", reference("encoded:Described"), "--port", "0", cwd=tmp_path_factory.mktemp("codecs")
    ) as service:
        service.make_ready()
        yield service


def predict(service: Service, name: str, *instances: Any) -> Any:
    return service.api.post(f"{service.url}/v1/models/{name}:predict", json={"instances": instances})


def test_rows_of_json_become_what_the_codecs_say_and_the_answers_too(service: Service) -> None:
    for photo in (b64(png(PHOTO)), {"b64": b64(png(PHOTO))}):
        (answer,) = predict(service, "described", {**VALUES, "photo": photo}).json()["predictions"]
        assert answer["told"] == TOLD
        assert answer["upper"] == "A CAT"
        assert answer["rows"] == 'a,b\n1,"2,3"\n'
        with Image.open(io.BytesIO(base64.b64decode(answer["negative"]["b64"]))) as negative:
            assert np.asarray(negative).tolist() == (255 - PHOTO).tolist()


def test_tritons_client_sends_the_records_as_byte_strings(service: Service) -> None:
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    described = {each["name"]: each for each in client.get_model_metadata("described")["inputs"]}
    assert described["photo"] == {
        "name": "photo", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "image"}
    }  # fmt: skip
    sent = {
        "caption": b"a cat",
        "about": b'{"tags":["x",null]}',
        "table": VALUES["table"].encode(),
        "photo": png(PHOTO),
    }
    inputs = []
    for name, data in sent.items():
        tensor = triton.InferInput(name, [2], "BYTES")
        tensor.set_data_from_numpy(np.array([data, data], dtype=object))
        inputs.append(tensor)
    result = client.infer("described", inputs)
    client.close()
    assert result.as_numpy("upper").tolist() == [b"A CAT", b"A CAT"]
    assert result.as_numpy("negative")[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("table", 'a,"b', "csv"),
        ("photo", b64(b"no image"), "image"),
        ("photo", "%%", "b64"),
        ("photo", b64(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 2\n%%EndComments\n"), "image"),
        ("photo", b64(png(PHOTO[:1])), "[1, 3]; expected [2, 3]"),
        ("photo", b64(png(PHOTO))[:-40], "image"),
        ("caption", {"b64": b64(b"\xff")}, "text"),
        ("about", {"b64": b64(b"{")}, "json"),
        ("caption", 1, "text"),
    ],
)
def test_a_record_that_cannot_be_decoded_is_refused_and_named(
    service: Service, field: str, value: Any, message: str
) -> None:
    answer = predict(service, "described", {**VALUES, "photo": b64(png(PHOTO)), field: value})
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]
    assert message in answer.json()["error"]
    assert service.status()["state"] == "ready"


def test_small_files_of_huge_images_are_refused_before_they_are_decoded(start: Start) -> None:
    service = start(model=reference("encoded:Grey"))
    service.make_ready()
    huge = b64(png(np.zeros((7000, 7000), np.uint8)))
    answer = predict(service, "grey", huge, huge)
    assert answer.status_code == 400
    assert "expected at most 67108864 in all images" in answer.json()["error"]


def test_any_json_is_a_row_of_the_only_input(start: Start) -> None:
    service = start(model=reference("encoded:AnyJson"))
    service.make_ready()
    answer = predict(service, "any_json", {"a": 1}, {"b": 2}, [1], "x", 1.5, None)
    assert answer.json()["predictions"] == ["dict", "dict", "list", "str", "float", "NoneType"]
    assert predict(service, "any_json", {"question": [1]}).json()["predictions"] == ["list"]


def test_images_of_any_size_are_arrays_of_their_own(start: Start) -> None:
    service = start(model=reference("encoded:Grey"))
    service.make_ready()
    sizes = [(2, 3), (5, 1)]
    answer = predict(service, "grey", *(b64(png(np.zeros(size))) for size in sizes))
    assert answer.json()["predictions"] == [list(size) for size in sizes]


def test_a_description_names_the_codecs_and_a_wrong_one_says_what_is_possible(tmp_path: Path) -> None:
    code, out, _ = run("describe", reference("encoded:Described"), cwd=tmp_path)
    assert code == 0
    assert "photo    image  [-1, 2, 3, 3]" in out
    code, _, err = run("describe", reference("encoded:Coloured"), cwd=tmp_path)
    assert (code, "[-1, HEIGHT, WIDTH, 3]" in err) == (1, True), err
