// The page's addresses, in one place. A view that is not here does not exist; one with a `nav` is
// linked in the navigation, for whom `permission` (or nobody's) allows it.
//
// To add one: a line here, views/<view>.js, the address in observatory/page/shell.py (VIEWS).
export const ROUTES = [
  {
    path: "/",
    view: "overview",
    load: () => import("./views/overview.js"),
    nav: { label: "Overview", icon: "chart" },
    permission: "analytics:read",
  },
  {
    path: "/conversations",
    view: "conversations",
    load: () => import("./views/conversations.js"),
    nav: { label: "Conversations", icon: "list" },
    permission: "conversations:read",
  },
  {
    path: "/conversations/{conversation_id}",
    view: "conversation",
    load: () => import("./views/conversation.js"),
    below: "/conversations",
    permission: "conversations:read",
  },
];
