"""``/api/budgets``: what may be spent in a day, week or month, and how far that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon

from observatory import timestamps
from observatory.api import budget_schemas as schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import actor_of, scope_of
from observatory.api.bodies import read_json
from observatory.api.params import NoParams, read_key, read_params
from observatory.store import audit
from observatory.store import budgets as store
from observatory.store.budget_states import read_states
from observatory.store.database import writing
from observatory.store.pages import Page
from observatory.store.scopes import Scope


def _documents(found: Sequence[store.Budget], scope: Scope) -> list[dict[str, Any]]:
    """Return budgets with their state as it is now."""
    states = read_states(found, moment=timestamps.present(), scope=scope)
    return [
        {**budget.document(), "state": state.document()}
        for budget, state in zip(found, states, strict=True)
    ]


class Budgets:
    """``/api/budgets``: in the order of their making."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of budgets, each with its state."""
        params, scope = read_params(req, schemas.BudgetParams), scope_of(req)
        found = store.list_budgets(**params, scope=scope)
        total = store.count_budgets(scope=scope)
        page = Page(
            rows=_documents(found, scope),
            total=total,
            **params,
            has_more=params["offset"] + len(found) < total,
            next_cursor=None,
        )
        answer_page(req, resp, "budgets", page)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a budget."""
        read_params(req, NoParams)
        scope = scope_of(req)
        _, body = read_json(req, schemas.CreateBudget)
        with writing(moves=None):
            limits = {name: body.pop(name, None) for name in ("limit_microdollars", "limit_tokens")}
            budget = store.insert_budget(**body, **limits, scope=scope)
            audit.note(actor_of(req), "budget.create", target=f"budget:{budget.key}")
            [document] = _documents([budget], scope)
        resp.status = falcon.HTTP_201
        answer(req, resp, document)


class Budget:
    """``/api/budgets/{id}``: one budget."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, budget_id: str) -> None:
        """Answer with the budget and its state."""
        read_params(req, NoParams)
        scope = scope_of(req)
        [document] = _documents([store.get_budget(read_key(budget_id), scope=scope)], scope)
        answer(req, resp, document)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, budget_id: str) -> None:
        """Change it."""
        read_params(req, NoParams)
        key, scope = read_key(budget_id), scope_of(req)
        _, changes = read_json(req, schemas.ChangeBudget)
        with writing(moves=None):
            budget = store.update_budget(key, changes, scope=scope)
            target = f"budget:{key}"
            audit.note(actor_of(req), "budget.update", target=target, changed=sorted(changes))
            [document] = _documents([budget], scope)
        answer(req, resp, document)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, budget_id: str) -> None:
        """Delete it with its events."""
        read_params(req, NoParams)
        key = read_key(budget_id)
        with writing(moves=None):
            store.delete_budget(key, scope=scope_of(req))
            audit.note(actor_of(req), "budget.delete", target=f"budget:{key}")
        answer(req, resp, {"id": key})
