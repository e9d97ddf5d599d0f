// Returns what a hostile text has become in this document: markup, a listener, an address, a style.
() => {
  const found = [];
  const note = (what, node) => found.push(`${what}: ${node.outerHTML.slice(0, 200)}`);
  const addresses = /^(href|src|action|formaction|data|xlink:href|poster|background)$/i;
  const bad = /^(javascript|vbscript|data:(?!image\/(png|jpeg|gif|webp)[;,])|(https?:)?\/\/hostile)/i;
  for (const node of document.querySelectorAll("[MARK], [MARK] *")) note("markup", node);
  for (const node of document.querySelectorAll("*")) {
    for (const { name, value } of node.attributes) {
      const text = value.replace(/[\u0000-\u0020]/g, "");
      if (/^on/i.test(name) || name === "srcdoc") note("listener", node);
      else if (addresses.test(name) && bad.test(text)) note("address", node);
    }
  }
  if (getComputedStyle(document.body).outlineWidth === "9px") note("style", document.body);
  return found;
}
