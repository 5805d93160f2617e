"""The guide's endpoint, with the real FastAPI and uvicorn, and its page of documentation in a real browser."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi_offline import FastAPIOffline
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.dataset import DatasetError, from_serpapi
from sqlalchemy_imageattach.remote import FetchPolicy
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.browser import Browser

from .web import Web

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "collector_app.py"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("collector_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "collector_app", module)
    spec.loader.exec_module(module)
    # its page of documentation comes from this machine, and not from a CDN
    monkeypatch.setattr(module, "FastAPI", FastAPIOffline)
    return module


@pytest.fixture
def address(example: Any, tmp_path: Path) -> Iterator[str]:
    engine = create_engine(f"sqlite:///{tmp_path}/dataset.db")
    example.Base.metadata.create_all(engine)
    with Web() as web:

        def search(query: str, api_key: str, **_: str) -> Any:
            if api_key != "good":
                msg = "SerpApi says: Invalid API key"
                raise DatasetError(msg)
            results = [{"original": web.url(number), "title": query} for number in range(12)]
            return from_serpapi({"images_results": results})

        app = example.create_app(
            sessionmaker(engine), MemoryStore(), search, FetchPolicy(allow_private=True, wait_seconds=20)
        )
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()
        listener.close()
    engine.dispose()


def when_done(url: str) -> dict[str, Any]:
    while (found := httpx.get(url, timeout=60).json())["status"] == "Running":
        time.sleep(0.05)
    return found


def test_a_query_is_collected_while_the_application_goes_on(address: str) -> None:
    query = {"google_domain": "google.com", "num": "100", "ijn": "0", "q": "Mango", "api_key": "good"}
    answer = httpx.post(f"{address}/add_to_db/", json=query, timeout=60)
    assert (answer.status_code, answer.json()["status"]) == (202, "Running")
    done = when_done(answer.json()["status_url"])
    assert done["status"] == "Complete"
    assert (done["added"], done["failed"]) == (11, 1)  # the first is missing, the tenth busy at first
    assert httpx.get(f"{address}/count/Mango", timeout=60).json() == {"count": 11}
    assert httpx.get(f"{address}/random/Mango", timeout=60).json()["mimetype"] == "image/png"
    assert httpx.get(f"{address}/random/Apple", timeout=60).status_code == 404
    again = httpx.post(f"{address}/add_to_db/", json=query, timeout=60)
    assert when_done(again.json()["status_url"])["present"] == 11


def test_what_cannot_be_collected_is_told(address: str) -> None:
    refused = httpx.post(f"{address}/add_to_db/", json={"q": "a/b", "api_key": "good"}, timeout=60)
    assert refused.status_code == 422
    assert "a name and no path" in refused.text
    assert httpx.post(f"{address}/add_to_db/", json={}, timeout=60).status_code == 422
    answer = httpx.post(f"{address}/add_to_db/", json={"q": "Mango", "api_key": "bad"}, timeout=60)
    done = when_done(answer.json()["status_url"])
    assert (done["status"], done["error"]) == ("Failed", "SerpApi says: Invalid API key")
    assert httpx.get(f"{address}/status/none", timeout=60).status_code == 404


def test_the_page_of_documentation_tries_it_out(address: str, window: Browser) -> None:
    window.open(f"{address}/docs")
    script = """
        const wait = selector => new Promise(resolve => {
            const look = () => {
                const found = document.querySelector(selector);
                found ? resolve(found) : setTimeout(look, 50);
            };
            look();
        });
        return (async () => {
            const block = await wait('[id$="add_to_db_add_to_db__post"]');
            block.querySelector('button').click();
            (await wait('.try-out__btn')).click();
            const text = await wait('textarea.body-param__text');
            const value = JSON.stringify({q: "Mango", api_key: "good"});
            Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(text, value);
            text.dispatchEvent(new Event('input', {bubbles: true}));
            text.dispatchEvent(new Event('change', {bubbles: true}));
            (await wait('.execute')).click();
            return (await wait('.live-responses-table tbody .response-col_status')).textContent;
        })();
    """
    assert window.run(script).startswith("202")
