"""``/docs`` in a browser."""

# Of all operations and schemas one each: they are made alike.
PARTS = ("nav", "main > p", "#listConversations", "#createWebhook", "#schema-Conversation")


def test_docs_are_usable_by_all(page_in_look, axe, assert_quiet):
    page_in_look.goto("/docs")
    axe(page_in_look, within=PARTS)
