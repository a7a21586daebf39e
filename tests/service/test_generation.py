"""Text from a prompt: OpenAI's API with its client and with plain HTTP, and the generate extension."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import Service
from tests.support.harness import reference

BOOK = Path(__file__).parents[2] / "plugins" / "text_generator"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose model repeats the words of the prompt."""
    folder = tmp_path_factory.mktemp("words")
    with Service("serve", reference("generates:Generates"), "--port", "0", cwd=folder) as service:
        service.make_ready()
        yield service


def chat(service: Service, prompt: str, model: str = "generates", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
    return service.api.post(f"{service.url}/v1/chat/completions", json=body)


def generate(service: Service, prompt: str, how: str = "generate", **parameters: Any) -> httpx.Response:
    body = {"text_input": prompt, "parameters": parameters}
    return service.api.post(f"{service.url}/v2/models/generates/{how}", json=body)


def events(response: httpx.Response) -> list[Any]:
    """Return the events of a stream, decoded unless they are text."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    texts = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def test_openais_client_gets_text_at_once_and_as_a_stream(start: Start) -> None:
    import openai  # here, since every process that collects tests would load it

    service = start(model=f"{BOOK / 'model.py'}:TextGenerator")
    service.do("initialize", {})
    info = {"name": "alice", "kind": "MistkDataset"}
    service.do("loadData", {"train": {"objectInfo": info, "dataPath": str(BOOK / "data" / "alice.txt")}})
    service.do("buildModel")
    service.do("train")
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["text_generator"]
        assert client.models.retrieve("text_generator").owned_by == "mistk-service"
        asked: dict[str, Any] = {"model": "text_generator", "max_tokens": 40, "temperature": 0.5, "seed": 3}
        whole = client.completions.create(prompt="Alice was ", **asked)
        text = whole.choices[0].text
        assert len(text) == 40
        assert whole.choices[0].finish_reason == "length"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 40
        pieces = [each.choices[0].text for each in client.completions.create(prompt="Alice was ", stream=True, **asked)]
        assert "".join(pieces) == text
        assert len(pieces) > 40
        said = client.chat.completions.create(messages=[{"role": "user", "content": "Alice was "}], **asked)
        assert said.choices[0].message.content == text
        stream = client.chat.completions.create(
            messages=[{"role": "user", "content": [{"type": "text", "text": "Alice was "}]}],
            stream=True,
            stream_options={"include_usage": True},
            **asked,
        )
        *chunks, last = stream
        assert "".join(each.choices[0].delta.content or "" for each in chunks) == text
        assert chunks[-1].choices[0].finish_reason == "length"
        assert last.usage is not None
        assert last.usage.completion_tokens == 40
        with pytest.raises(openai.NotFoundError, match="'other'"):
            client.completions.create(model="other", prompt="")
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.completions.create(model="text_generator", prompt="", temperature=-1)
    body = {"text_input": "Alice was ", "parameters": {"max_tokens": 40, "temperature": 0.5, "seed": 3}}
    assert service.api.post(f"{service.url}/v2/models/text_generator/generate", json=body).json() == {
        "model_name": "text_generator", "model_version": "1", "text_output": text
    }  # fmt: skip


def test_the_hook_gets_the_conversation_and_the_parameters(words: Service) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "a b"}]
    more = {"temperature": 0.5, "top_p": None, "max_completion_tokens": 9, "stop": "zz", "mine": [1]}
    body = {"model": "generates", "messages": messages, **more}
    answer = words.api.post(f"{words.url}/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Be short. a b "}
    assert answer["choices"][0]["finish_reason"] == "stop"
    status = words.wait(lambda status: status["payload"].get("prompt") == "Be short.\na b", words.status())
    assert status["payload"]["parameters"] == {
        "messages": messages, "temperature": 0.5, "max_completion_tokens": 9, "max_tokens": 9, "stop": "zz", "mine": [1]
    }  # fmt: skip


def test_a_text_ends_before_a_stop_sequence_or_at_the_limit(words: Service) -> None:
    for prompt, more, text, reason in (
        ("a b c d", {"stop": ["b c"]}, "a ", "stop"),
        ("a b x d", {"stop": ["b c", "q"]}, "a b x d ", "stop"),
        ("a b c d", {"stop": "d", "max_tokens": 3}, "a b c ", "length"),
        ("a b forever", {"stop": "on on"}, "a b ", "stop"),
    ):
        choice = chat(words, prompt, **more).json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)
        streamed = events(chat(words, prompt, stream=True, **more))
        assert streamed.pop() == "[DONE]"
        assert "".join(each["choices"][0]["delta"].get("content", "") for each in streamed) == text
    assert generate(words, "a b c d", stop=["c"]).json()["text_output"] == "a b "
    pieces = events(generate(words, "a forever", "generate_stream", max_tokens=3))
    assert [each["text_output"] for each in pieces] == ["a ", "on ", "on "]


def test_an_error_before_the_first_piece_is_a_status_and_later_an_event(words: Service) -> None:
    for stream in (False, True):
        for prompt, status, kind, message in (
            ("raise", 500, "server_error", "failed in generate: ValueError: told to raise"),
            ("refuse", 400, "invalid_request_error", "told to refuse"),
        ):
            response = chat(words, prompt, stream=stream)
            assert response.status_code == status
            error = response.json()["error"]
            assert error["type"] == kind
            assert message in error["message"]
    assert "told to raise" in events(chat(words, "a raise", stream=True))[-1]["error"]["message"]
    assert "told to raise" in events(generate(words, "a raise", "generate_stream"))[-1]["error"]
    for stream in (False, True):
        for prompt, kind in (("number", "int"), ("bytes", "bytes")):
            response = chat(words, prompt, stream=stream)
            assert (response.status_code, f"expected text, got {kind}" in response.text) == (500, True)
    assert "expected text, got int" in events(chat(words, "a number", stream=True))[-1]["error"]["message"]
    assert "expected text, got int" in words.wait_for_line("generate failed: TypeError")
    words.wait_for_metric("mistk_stream_queue", 0)  # the last answer is withdrawn, and the model has yet to notice
    assert words.status()["state"] == "ready"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n"),
    ({"tools": [{}]}, "tools is not supported"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stop": 1}, "stop"),
    ({"model": None}, "model"),
]


def test_a_wrong_request_is_refused_in_the_form_of_the_api(words: Service) -> None:
    for more, message in WRONG:
        response = chat(words, "a", **more)
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert message in error["message"]
    assert chat(words, "a", model="other").status_code == 404
    for parameters in ({"max_tokens": "1"}, {"stop": [1]}):
        assert generate(words, "a", **parameters).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_generation(words: Service, stream: bool) -> None:
    prompt = f"left forever {stream}"
    body = {"model": "generates", "prompt": prompt, "stream": stream}
    url = f"{words.url}/v1/completions"
    if stream:
        with httpx.stream("POST", url, json=body, timeout=60) as response:
            next(response.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, timeout=httpx.Timeout(60, read=0.5))
    status = words.wait(lambda status: status["payload"].get("prompt") == prompt, words.status())
    assert status["payload"]["closed"]


def test_a_hook_that_is_not_a_generator_returns_the_whole_text(start: Start) -> None:
    service = start("--doors", "openai", model=reference("generates:Whole"))
    service.make_ready()
    assert service.api.get(f"{service.url}/v1/models").json()["data"][0]["id"] == "whole"
    assert chat(service, "abc", "whole").json()["choices"][0]["message"]["content"] == "ABC"
    assert events(chat(service, "abc", "whole", stream=True))[1]["choices"][0]["delta"] == {"content": "ABC"}
