"""Whether an upload may be read: for somebody for whom some projects are not there.

A transcript says itself where it belongs: by the working directory, by the session that it names,
and by ids of messages and model responses that the archive may know from elsewhere. Each of these
could add to a conversation that its sender may not see, or show it as a copy of their own. So it is
read once before it is kept, by the same parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from observatory.errors import Forbidden
from observatory.ingest.discover import find_files
from observatory.ingest.reading import Chunk, read_chunks
from observatory.store.hidden import is_any_hidden, is_any_unplaced
from observatory.store.projects import find_project
from observatory.store.scopes import Scope
from observatory.transcripts.layout import normalise_project_path
from observatory.transcripts.records import Message, Summary


def check_transcript(location: str, *, name: str, scope: Scope) -> None:
    """Return quietly when all that a transcript would make or change is there for its sender.

    Args:
        location: Its file.
        name: The name that it will have, without its ending.
        scope: What is there.

    Raises:
        Forbidden: Something is not.
    """
    if scope.is_whole:
        return
    claims = _Claims(name)
    for file in find_files([location]):
        for chunk in read_chunks(file, None, is_whole=True):
            claims.add(chunk)
            if not _is_there(claims, scope):
                _refuse()
            claims.forget_ids()
    if scope.only is not None and not claims.folders:
        _refuse()


@dataclass(slots=True)
class _Claims:
    """The ids and folders that the records of a transcript with a name speak of.

    A session belongs to the first folder that it names; its sidechains may lie elsewhere. The later
    ones count where the archive has begun of it already, without a folder.
    """

    name: str
    conversations: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    api_calls: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    later_folders: set[str] = field(default_factory=set)
    has_main_folder: bool = False

    def add(self, chunk: Chunk) -> None:
        """Add what some records speak of."""
        self.conversations.add(self.name)
        for *_, item in chunk.items:
            if isinstance(item, Summary):
                self.messages.add(item.leaf_uuid)
            elif isinstance(item, Message):
                self._add_message(item)

    def forget_ids(self) -> None:
        """Forget the ids, which were looked at."""
        for ids in (self.conversations, self.messages, self.api_calls):
            ids.clear()

    def _add_message(self, message: Message) -> None:
        self.messages.update(uuid for uuid in (message.uuid, message.parent_uuid) if uuid)
        if message.api_call is not None:
            self.api_calls.add(message.api_call.id)
        if message.session_id:
            self.conversations.add(message.session_id)
        if message.cwd:
            is_later = self.has_main_folder and not message.is_sidechain
            folders = self.later_folders if is_later else self.folders
            folders.add(normalise_project_path(message.cwd))
            self.has_main_folder |= not message.is_sidechain


def _is_there(claims: _Claims, scope: Scope) -> bool:
    folders = claims.folders
    if claims.later_folders and is_any_unplaced(claims.conversations):
        folders = folders | claims.later_folders
    # A folder that is new is allowed as is what belongs to no project.
    if not all(scope.allows(find_project(folder)) for folder in folders):
        return False
    return not is_any_hidden(
        conversations=claims.conversations,
        messages=claims.messages,
        api_calls=claims.api_calls,
        scope=scope,
    )


def _refuse() -> None:
    raise Forbidden(
        "This transcript belongs to a project that you may not write into, or goes on with"
        " something there: ask an administrator for that project."
    )
