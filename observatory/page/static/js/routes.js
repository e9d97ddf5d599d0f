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
  {
    path: "/projects",
    view: "projects",
    load: () => import("./views/projects.js"),
    nav: { label: "Projects", icon: "folder" },
    permission: "analytics:read",
  },
  {
    path: "/projects/{project_id}",
    view: "project",
    load: () => import("./views/project.js"),
    below: "/projects",
    permission: "analytics:read",
  },
  {
    path: "/tools",
    view: "tools",
    load: () => import("./views/tools.js"),
    nav: { label: "Tools", icon: "tool" },
    permission: "analytics:read",
  },
  {
    path: "/files",
    view: "files",
    load: () => import("./views/files.js"),
    nav: { label: "Files", icon: "file" },
    permission: "conversations:read",
  },
  {
    path: "/ingest",
    view: "ingest",
    load: () => import("./views/ingest.js"),
    nav: { label: "Ingest", icon: "ingest" },
    permission: "conversations:read",
  },
  {
    path: "/settings",
    view: "settings",
    load: () => import("./views/settings.js"),
    nav: { label: "Settings", icon: "settings" },
  },
  {
    path: "/settings/{section}",
    view: "settings",
    load: () => import("./views/settings.js"),
    below: "/settings",
  },
];
