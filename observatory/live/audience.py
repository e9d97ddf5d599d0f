"""Who listens to a stream, and to what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from observatory.store.events import Event, EventFilter
from observatory.store.scopes import Scope


class Viewer(Protocol):
    """Somebody who was let in."""

    @property
    def name(self) -> str:
        """Who it is: one name for all their streams."""

    @property
    def scope(self) -> Scope:
        """What is there for them."""

    @property
    def expires_at(self) -> float:
        """When their credentials end, in Unix time."""


@dataclass(frozen=True, slots=True)
class Audience:
    """What decides which events a stream gets: equal ones get the same.

    Attributes:
        scope: What is there for who listens.
        wanted: An event is told when one of these takes it.
    """

    scope: Scope
    wanted: tuple[EventFilter, ...]

    def takes(self, event: Event) -> bool:
        """Tell whether an event is for it."""
        return any(each.takes(event) for each in self.wanted) and event.is_there(self.scope)

    def seen_with(self, scope: Scope) -> Audience:
        """Return the same for whom other things are there."""
        return replace(self, scope=scope)

    def listening_to(self, wanted: tuple[EventFilter, ...]) -> Audience:
        """Return the same that wants something else."""
        return replace(self, wanted=wanted)
