"""No hot request reads or sorts a large table: the statements are those that it really runs.

Reports are looked at in ``tests/store/analytics/test_plans.py``.
"""

from __future__ import annotations

from tests.guards.asking import QUESTIONS, Asker
from tests.guards.counting import list_statements
from tests.guards.plans import find_faults, pretend_growth

# Parts of statements that sort, or read, what is few by itself; and what that is.
FEW = {
    "c.parent_key = ": "the subagents of one conversation",
    "FROM conversation_tags t": "tags, each with how many conversations have it",
    "FROM projects p WHERE": "projects, each with its sums",
    "json_each(": "rows that a page, or a change, names",
}
# What does cost more in a larger archive. Each is a debt: once it is paid, its line has to go.
DEBTS = {
    "SELECT count(*) FROM transcript_files f": "all files are counted, in an index",
    "WHERE title_search MATCH ": "all titles that match are sorted",
}


def test_hot_requests_read_and_sort_no_large_table(either: Asker) -> None:
    if either.is_analyzed:
        pretend_growth(1000)
    faults: list[str] = []
    owed = set()
    for name, question in QUESTIONS.items():
        for sql in list_statements(lambda question=question: either.ask(question)):
            found = list(find_faults(sql))
            text = " ".join(sql.split())
            parts = {part for part in DEBTS if part in text}
            if found and parts:
                owed |= parts
            elif not any(part in text for part in FEW):
                faults += [f"{name}: {step}: {text[:1000]}" for step in found]
    assert not faults, "\n".join(faults)
    assert owed == set(DEBTS)
