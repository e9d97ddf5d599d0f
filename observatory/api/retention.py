"""``/api/projects/{id}/retention``: for how long a project's conversations are kept."""

from __future__ import annotations

import falcon

from observatory.api.answers import answer
from observatory.api.auth import actor_of, scope_of
from observatory.api.bodies import read_json
from observatory.api.params import NoParams, read_key, read_params
from observatory.api.retention_schemas import SetRetention
from observatory.store import audit
from observatory.store import retention as store
from observatory.store.database import writing
from observatory.store.retention import Policy


class ProjectRetention:
    """The rule of one project, or the server's where it has none of its own."""

    is_cached = False

    def __init__(self, *, days: int) -> None:
        self._default = Policy(days or None)

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Answer with the rule that holds."""
        read_params(req, NoParams)
        key = read_key(project_id)
        self._answer(req, resp, key, store.get_policy(key, scope=scope_of(req)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Give it a rule of its own."""
        read_params(req, NoParams)
        key = read_key(project_id)
        _, body = read_json(req, SetRetention)
        with writing():
            policy = store.set_policy(key, **body, scope=scope_of(req))
            facts = {"days": policy.days, "then": policy.action}
            audit.note(actor_of(req), "project.retention", target=f"project:{key}", **facts)
        self._answer(req, resp, key, policy)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Have it follow the server's rule."""
        read_params(req, NoParams)
        key = read_key(project_id)
        with writing():
            store.delete_policy(key, scope=scope_of(req))
            audit.note(actor_of(req), "project.retention", target=f"project:{key}", is_default=True)
        self._answer(req, resp, key, None)

    def _answer(
        self, req: falcon.Request, resp: falcon.Response, key: int, policy: Policy | None
    ) -> None:
        holds = policy or self._default
        answer(
            req,
            resp,
            {
                "project_id": key,
                "days": holds.days,
                "action": holds.action,
                "is_default": policy is None,
                "updated_at": holds.updated_at,
            },
        )
