// Where things are shown. A conversation is shown by its view, and by its export where there is none.
import { toQuery } from "./api.js";
import { match } from "./router.js";

/** The address of a conversation, at one of its messages when that is given. */
export function conversationAddress(id, messageId = null) {
  const path = `/conversations/${encodeURIComponent(id)}`;
  if (match(path)) return path + toQuery({ message: messageId });
  return `/api${path}/export?format=html`;
}

/** The address of conversations that some filters leave. */
export const conversationsAddress = (filters) => `/conversations${toQuery(filters)}`;
