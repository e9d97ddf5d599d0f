// The projects there are, and how they are told apart.
import { useApi } from "./api.js";
import { learnProjects } from "./format.js";
import { useLive } from "./live.js";

/** Return `{id, path}` of the projects that one may see, the latest active first; null until it is known. */
export function useProjects() {
  const projects = useApi("/api/projects", { limit: 100, fields: "id,path" });
  useLive(["project_discovered"], () => projects.reload());
  const found = projects.data?.projects ?? (projects.error ? [] : null);
  if (found) learnProjects(found.map(({ path }) => path));
  return found;
}
