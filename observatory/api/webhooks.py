"""``/api/webhooks``: addresses that are told of events, for admins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon

from observatory.api import webhook_schemas as schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import actor_of, scope_of
from observatory.api.bodies import read_json
from observatory.api.params import NoParams, read_key, read_params
from observatory.errors import InvalidParameter
from observatory.store import audit, webhook_deliveries
from observatory.store import webhooks as hooks
from observatory.store.database import writing
from observatory.webhooks.addresses import Network, UrlRefused, check_literal, parse_url
from observatory.webhooks.signing import make_secret


def _check_url(url: str, allowed: Sequence[Network]) -> None:
    try:
        check_literal(parse_url(url), allowed=allowed)
    except UrlRefused as refused:
        raise InvalidParameter("url", str(refused)) from None


def _origin(webhook: hooks.Webhook) -> str:
    """Return what the audit log may hold of a URL: the rest of it may be secret."""
    return parse_url(webhook.url).origin


class Webhooks:
    """``/api/webhooks``: in the order of their making.

    Args:
        allowed: Networks that may be sent to though they are not public.
    """

    is_cached = False

    def __init__(self, *, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of webhooks, without their secrets."""
        params = read_params(req, schemas.WebhookParams)
        answer_page(req, resp, "webhooks", hooks.list_webhooks(**params, scope=scope_of(req)))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a webhook; this answer is the only one that shows a secret that we made."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.CreateWebhook)
        _check_url(body["url"], self._allowed)
        given = body.pop("secret")
        secret = given or make_secret()
        with writing(moves=None):
            webhook = hooks.insert_webhook(**body, secret=secret, scope=scope_of(req))
            target = f"webhook:{webhook.key}"
            audit.note(actor_of(req), "webhook.create", target=target, address=_origin(webhook))
        resp.status = falcon.HTTP_201
        answer(req, resp, {**webhook.document(), "secret": None if given else secret})


class Webhook:
    """``/api/webhooks/{id}``: one webhook.

    Args:
        allowed: Networks that may be sent to though they are not public.
    """

    is_cached = False

    def __init__(self, *, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def on_get(self, req: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        """Answer with the webhook and how it goes, without its secret."""
        read_params(req, NoParams)
        webhook = hooks.get_webhook(read_key(webhook_id), scope=scope_of(req))
        answer(req, resp, webhook.document())

    def on_patch(self, req: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        """Change it; a secret that we make instead of the last is shown this once."""
        read_params(req, NoParams)
        key = read_key(webhook_id)
        _, changes = read_json(req, schemas.ChangeWebhook)
        if "url" in changes:
            _check_url(changes["url"], self._allowed)
        made: str | None = None
        if changes.pop("rotate_secret", False):
            made = changes["secret"] = make_secret()
        with writing(moves=None):
            webhook = hooks.update_webhook(key, changes, scope=scope_of(req))
            facts: dict[str, Any] = {"changed": sorted(changes), "address": _origin(webhook)}
            audit.note(actor_of(req), "webhook.update", target=f"webhook:{key}", **facts)
        answer(req, resp, {**webhook.document(), "secret": made})

    def on_delete(self, req: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        """Delete it with its deliveries."""
        read_params(req, NoParams)
        key = read_key(webhook_id)
        with writing(moves=None):
            webhook = hooks.delete_webhook(key, scope=scope_of(req))
            target = f"webhook:{key}"
            audit.note(actor_of(req), "webhook.delete", target=target, address=_origin(webhook))
        answer(req, resp, {"id": key})


class WebhookTest:
    """``/api/webhooks/{id}/test``: something to send, to see whether it comes."""

    is_cached = False

    def on_post(self, req: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        """Make a delivery of a test, which the watcher sends, and answer with it."""
        read_params(req, NoParams)
        key = read_key(webhook_id)
        with writing(moves=None):
            webhook = hooks.get_webhook(key, scope=scope_of(req))
            delivery = webhook_deliveries.insert_test(webhook)
            target = f"webhook:{key}"
            audit.note(actor_of(req), "webhook.test", target=target, delivery=delivery.id)
        resp.status = falcon.HTTP_202
        answer(req, resp, delivery.document())


class WebhookDeliveries:
    """``/api/webhooks/{id}/deliveries``: what was sent, waits or was given up."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, webhook_id: str) -> None:
        """Answer with a page of deliveries, the latest first."""
        params = read_params(req, schemas.DeliveryParams)
        page = webhook_deliveries.list_deliveries(
            read_key(webhook_id), **params, scope=scope_of(req)
        )
        answer_page(req, resp, "deliveries", page)


class RepeatedDelivery:
    """``/api/webhooks/{id}/deliveries/{id}/redeliver``: once more, from the first attempt on."""

    is_cached = False

    def on_post(
        self, req: falcon.Request, resp: falcon.Response, webhook_id: str, delivery_id: str
    ) -> None:
        """Have a delivery sent again that is over, and answer with it."""
        read_params(req, NoParams)
        key = read_key(webhook_id)
        with writing(moves=None):
            webhook = hooks.get_webhook(key, scope=scope_of(req))
            delivery = webhook_deliveries.send_again(webhook, delivery_id)
            target = f"webhook:{key}"
            audit.note(actor_of(req), "webhook.redeliver", target=target, delivery=delivery.id)
        resp.status = falcon.HTTP_202
        answer(req, resp, delivery.document())
