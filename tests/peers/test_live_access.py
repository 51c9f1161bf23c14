"""Who may see the live page, and what a page may send: everybody else gets a sentence and nothing more."""

import contextlib
import json
import socket
import struct

import pytest
from live_page import Address, Live
from node_process import ROOT
from waiting import PATIENCE_SECS, until
from websockets.exceptions import ConnectionClosed, InvalidStatus

JPEG = min((ROOT / "data" / "room-walk" / "rgb").iterdir()).read_bytes()


@pytest.fixture(scope="module")
def live():
    with Live(model=("--model", "random:tiny", "--size", "64x64")) as live:
        yield live


@pytest.fixture(scope="module")
def address(live) -> Address:
    return live.address


def test_the_printed_address_opens_the_page_and_its_cookie_the_rest(address):
    status, headers, page = address.get(f"/?token={address.token}")
    assert status == 200 and page.lower().startswith("<!doctype html>")
    assert headers["set-cookie"] == f"{address.cookie}; Path=/; HttpOnly; SameSite=Strict"
    for path in ("/", "/live.css", "/scripts/main.js"):
        assert address.get(path, Cookie=address.cookie)[0] == 200, path
    assert address.get("/nothing", Cookie=address.cookie)[0] == 404


PATHS = ["/", "/live.css", "/scripts/main.js", "/socket", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.:{port}",
        "",
        "[::1]:{port}",
    ],
)
def test_another_name_for_this_machine_gets_nothing(live, address, path, host):
    status, headers, text = address.get(
        f"{path}?token={address.token}", Host=host.format(port=live.port), Cookie=address.cookie
    )
    assert status == 421 and "set-cookie" not in headers, text
    assert "the address that the node printed" in text


@pytest.mark.parametrize("path", PATHS[:4])
@pytest.mark.parametrize(
    "cookie", [None, "{name}=", "{name}=0123456789abcdef0123456789abcdef", "other={token}"]
)
def test_without_the_token_there_is_nothing_to_see(live, address, path, cookie):
    headers = {"Cookie": cookie.format(name=f"pixio_{live.port}", token=address.token)} if cookie else {}
    status, headers, text = address.get(path, **headers)
    assert status == 403 and "set-cookie" not in headers
    assert "Open the address that the node printed" in text
    assert address.get(f"/?token={address.token[:-1]}")[0] == 403


def test_every_answer_keeps_the_browser_on_the_page(address):
    answers = [address.get(path, Cookie=address.cookie) for path in PATHS] + [
        address.get("/"),
        address.get("/x", Host="x"),
    ]
    for _, headers, _ in answers:
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http:" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer" and "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "https://{host}", "http://{host}.evil.example", "http://localhost"],
)
def test_a_script_of_another_page_opens_no_socket(address, origin):
    with pytest.raises(InvalidStatus) as refusal:
        address.open(origin=origin and origin.format(host=address.host))
    assert refusal.value.response.status_code == 403
    assert b"Only the live page itself" in refusal.value.response.body


def test_a_socket_needs_the_cookie(address):
    with pytest.raises(InvalidStatus) as refusal:
        address.open(cookie=None)
    assert refusal.value.response.status_code == 403


def framed(about, file: bytes = b"") -> bytes:
    head = json.dumps(about).encode()
    return struct.pack("<I", len(head)) + head + file


MALFORMED = [
    "",
    "hello",
    "[]",
    '{"type": "look"}',
    '{"type": "look", "camera": 0, "panels": ["points"]}',
    '{"type": "look", "camera": 1, "panels": ["pca"]}',
    '{"type": "source", "kind": "none"}',
    '{"type": "query", "x": "1", "y": 2}',
    '{"type": "query", "x": NaN, "y": 2}',
    '{"type": "drawn", "more": ' + "[" * 1000 + "]" * 1000 + "}",
    b"",
    b"\x01",
    b"\xff\xff\xff\xff",
    struct.pack("<I", 2) + b"{}",
    framed({"stamp": [1]}),
    framed({"stamp": [1, -2]}),
    framed({"stamp": [1 << 40, 0]}),
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message[:40]))
def test_what_the_protocol_does_not_know_ends_the_connection_with_a_reason(address, message):
    with address.open() as page:
        page.text("hello")
        page.peer.send(message)
        code, reason = page.ended()
        assert code == 1008 and reason


def test_a_message_that_is_too_large_ends_the_connection(address):
    with address.open() as page:
        most = page.text("hello")["max_image_bytes"]
        page.peer.send('{"type": "drawn", "more": ' + "[" * 100_000 + "]" * 100_000 + "}")
        assert page.ended()[0] == 1009
    with address.open() as page:
        page.peer.send(framed({"stamp": [1, 2]}, bytes(most + 5000)))
        code, reason = page.ended()
        assert code == 1009 and "too large" in reason
    with address.open() as page:
        with contextlib.suppress(ConnectionClosed):
            page.peer.send(framed({"stamp": [1, 2]}, bytes(4 * most)))
        with pytest.raises(ConnectionClosed):
            page.frame()


def test_an_image_that_is_none_is_counted_and_the_next_one_shown(address):
    with address.open() as page:
        page.look("image", "tokens")
        page.say("source", kind="page")
        page.text("next")
        page.image(b"\xff\xd8 no image")
        status = until(
            lambda: (told := page.text("status"))["counts"]["refused"] and told, "the refusal in the counts"
        )
        assert sum(status["counts"]["reasons"].values()) == status["counts"]["refused"]
        stamp = page.image(JPEG)
        frame = until(lambda: (f := page.frame()).about["stamp"] == stamp and f, "the frame")
        assert frame.about["size"] == [320, 240] and set(frame.blobs) == {"tokens"}


def test_a_hundred_connections_take_nothing_from_who_looks_on(live, address):
    with address.open() as page, contextlib.ExitStack() as stack:
        page.look("image", "tokens")
        page.say("source", kind="folder")
        page.frame()
        crowd = []
        for _ in range(100):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", live.port), PATIENCE_SECS))
            one.settimeout(PATIENCE_SECS)
            crowd.append(one)
        assert crowd[-1].recv(100).startswith(b"HTTP/1.1 503")
        before = page.frame().about["stamp"]
        assert page.frame().about["stamp"] > before
    until(lambda: address.get("/", Cookie=address.cookie)[0] == 200, "the page after the crowd")


def test_places_for_pages_are_few_and_free_again(address):
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(address.open()) for _ in range(8)]
        assert all(page.text("hello") for page in pages)
        with address.open() as one_more:
            code, reason = one_more.ended()
            assert code == 1013 and "8 pages" in reason
        pages[0].close()

        def opens() -> bool:
            with address.open() as page, contextlib.suppress(Exception):
                return bool(page.text("hello"))
            return False

        until(opens, "a place that is free again")
