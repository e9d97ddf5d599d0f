// A message in a line: what was said, or which tool was asked for what.
const TELLING = ["command", "file_path", "pattern", "path", "url", "query", "description", "prompt", "subject"];
const MOST = 200;

/** What a call is about, of its arguments as far as they are told. */
function describeArguments(preview) {
  // A preview may end anywhere, so it is no JSON any more.
  for (const name of TELLING) {
    const found = new RegExp(`"${name}":"((?:[^"\\\\]|\\\\.)*)`).exec(preview ?? "");
    if (found) return found[1].replace(/\\n/g, " ").replace(/\\(.)/g, "$1");
  }
  return "";
}

/** A message of an event as a line of text; null when it says nothing. */
export function describeMessage({ role, kind, content, tool_calls: calls }) {
  if (calls?.length) {
    const [{ name, arguments_preview: preview }] = calls;
    return `${name} ${describeArguments(preview)}`.trim().slice(0, MOST);
  }
  if (role === "user" && kind === "tool_result") return null;
  return content?.trim().split("\n")[0].slice(0, MOST) || null;
}
