"""Signatures hold for what was signed, with the secret and the time, and for nothing else."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from observatory.webhooks.signing import MIN_SECRET_BYTES, make_secret, sign

bodies = st.binary(max_size=200)
secrets = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
times = st.integers(0, 2**40)


@given(body=bodies, secret=secrets, timestamp=times)
def test_a_signature_is_what_the_page_says(body, secret, timestamp):
    given_at, _, signature = sign(body, secret=secret, timestamp=timestamp).partition(",")
    assert given_at == f"t={timestamp}"
    signed = str(timestamp).encode() + b"." + body
    assert signature == "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


@given(one=st.tuples(bodies, secrets, times), other=st.tuples(bodies, secrets, times))
def test_another_body_secret_or_time_has_another_signature(one, other):
    # HMAC fills short keys up with zeros.
    keys = [secret.rstrip("\0") for _, secret, _ in (one, other)]
    is_same = (one[0], keys[0], one[2]) == (other[0], keys[1], other[2])
    values = [
        sign(body, secret=secret, timestamp=time).partition(",")[2]
        for body, secret, time in (one, other)
    ]
    assert (values[0] == values[1]) == is_same


def test_a_secret_of_ours_is_long_and_new():
    made = {make_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(secret) > 2 * MIN_SECRET_BYTES for secret in made)
