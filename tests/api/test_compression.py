"""Bodies are compressed as Accept-Encoding asks, and only then."""

from __future__ import annotations

import gzip
import re

import pytest
import zstandard
from webob import Request

from observatory.api.compression import MIN_BYTES, NOTHING, compress_pieces, negotiate
from tests.api.keyed import ENVIRON
from tests.api.sessions import SESSION
from tests.transcripts_for_tests import Transcript

BIG = f"/api/conversations/{SESSION}/messages"
EXPORT = f"/api/conversations/{SESSION}/export"


@pytest.fixture
def long_session(write, ingest) -> str:
    transcript = Transcript(SESSION)
    for number in range(20):
        transcript.prompt(f"question {number} " * 20)
        transcript.answer(f"answer {number} " * 20)
    write(transcript)
    ingest()
    return SESSION


def unpack(body: bytes, coding: str | None) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert coding is None
    return body


def get(client, path, accepted, method="GET"):
    """Return an answer as it is: WebTest would unpack it."""
    headers = {"X-Request-ID": "same"} | ({"Accept-Encoding": accepted} if accepted else {})
    asked = Request.blank(path, environ=ENVIRON, headers=headers, method=method)
    return asked.get_response(client.app)


@pytest.mark.parametrize(
    ("header", "coding", "takes_plain"),
    [
        (None, None, True), ("", None, True), ("gzip", "gzip", True), ("zstd", "zstd", True),
        ("gzip, deflate, br, zstd", "zstd", True), ("GZIP", "gzip", True), ("x-gzip", "gzip", True),
        ("br, deflate", None, True), ("identity", None, True), ("*", "gzip", True),
        ("zstd;q=0.5, gzip", "gzip", True), ("zstd; q=0.5 , gzip;q=0.4", "zstd", True),
        ("gzip;q=0", None, True), ("gzip;q=0.000, *", None, True), ("*;q=0", None, True),
        ("gzip;q=0.5, identity", None, True), ("gzip;q=0.5, identity;q=0.5", "gzip", True),
        ("gzip, identity;q=0", "gzip", False), ("gzip, *;q=0", "gzip", False),
        ("identity;q=0", None, True), ("br, identity;q=0", None, True),
        ("gzip;q=2, zstd;q=x, br", None, True),
        (",,;;,q=1,", None, True), ("gzip;level=9", None, True),
        ("gzip," * 200, None, True), ("é\x00", None, True),
    ],
)  # fmt: skip
def test_what_a_header_asks_for(header, coding, takes_plain):
    assert negotiate(header) == (coding, takes_plain)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("path", [BIG, EXPORT, f"{EXPORT}?format=html", "/metrics"])
def test_a_body_is_the_same_in_every_coding(client, long_session, path, coding):
    plain, packed = get(client, path, None), get(client, path, coding)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == coding
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert packed.content_type == plain.content_type
    assert len(packed.body) < len(plain.body) / 2
    said = [unpack(packed.body, coding), plain.body]
    if path == "/metrics":
        said = [text.split(b"\n")[0] for text in said]
    said = [re.sub(rb'"timestamp":"[^"]*","request_id"', b"", text) for text in said]
    assert said[0] == said[1]


@pytest.mark.parametrize("coding", [None, "gzip", "zstd", "gzip, identity;q=0"])
@pytest.mark.parametrize("path", [BIG, EXPORT, "/health", "/", "/nothing"])
def test_head_agrees_with_get(client, long_session, path, coding):
    got, head = (get(client, path, coding, method) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (got.status, b"")
    if path == EXPORT:
        assert "Content-Length" not in head.headers
    else:
        assert int(got.headers["Content-Length"]) == len(got.body)
    # The time of an answer may make its compressed form a byte longer.
    changing = {"x-response-time"} | ({"content-length"} if coding else set())
    for name in {*map(str.lower, got.headers), *map(str.lower, head.headers)} - changing:
        assert head.headers[name] == got.headers[name]


def test_small_bodies_stay_plain(client):
    answer = get(client, "/health", "gzip, zstd")
    assert len(answer.body) < MIN_BYTES
    assert "Content-Encoding" not in answer.headers


def test_small_bodies_are_compressed_for_who_refuses_plain_ones(client):
    for path in ("/health", "/nothing"):
        answer = get(client, path, "gzip, identity;q=0")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b'"success"' in gzip.decompress(answer.body)


def test_who_refuses_all_gets_plain_ones(client, long_session):
    answer = get(client, BIG, "br, identity;q=0")
    assert (answer.status_int, "Content-Encoding" in answer.headers) == (200, False)


def test_not_modified_has_no_coding(client, long_session):
    tag = get(client, BIG, "zstd").headers["ETag"]
    headers = {"If-None-Match": tag, "Accept-Encoding": "zstd"}
    answer = client.get(BIG, headers=headers)
    assert (answer.status_int, answer.body) == (304, b"")
    assert "Content-Encoding" not in answer.headers
    assert client.get(BIG, headers={"If-None-Match": tag}).status_int == 200


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"abc" * 100_000] * 5, [b"x", b"", b"y"]])
def test_a_stream_is_compressed_piece_by_piece(pieces, coding):
    packed = b"".join(compress_pieces(iter(pieces), coding))
    assert unpack(packed, coding) == b"".join(pieces)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_closing_a_compressed_stream_closes_what_it_reads(coding):
    ended = []

    def pieces():
        try:
            while True:
                yield bytes(range(256)) * 4096
        finally:
            ended.append(True)

    stream = compress_pieces(pieces(), coding)
    assert next(stream)
    stream.close()
    assert ended == [True]


def test_nothing_is_plain():
    assert NOTHING == (None, True)
