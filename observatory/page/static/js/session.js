// Who is signed in, and what they may do; known before a view is drawn.
import { createContext, useContext } from "./html.js";
import { request, setCsrfToken } from "./api.js";
import { allowLive } from "./live.js";

export const SessionContext = createContext(null);

/** Return `{user, identity, permissions, label, may(permission), refresh()}`. */
export const useSession = () => useContext(SessionContext);

/** Ask who is signed in. */
export async function readSession() {
  const profile = await request("/api/auth/profile");
  setCsrfToken(profile.csrf_token, profile.identity);
  const allowed = new Set(profile.permissions);
  const may = (permission) => !permission || allowed.has(permission) || allowed.has("admin");
  allowLive(may("conversations:read"));
  return { ...profile, label: profile.user?.name || profile.user?.email || profile.identity, may };
}
