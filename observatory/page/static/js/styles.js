// Style sheets of single views and components, loaded with them.

/** Have a style sheet; resolves when it is there, or can not be. */
export function loadStyle(href) {
  const known = document.querySelector(`link[rel="stylesheet"][href="${new URL(href).pathname}"]`);
  if (known) return known.isLoaded ?? Promise.resolve();
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL(href).pathname;
  link.isLoaded = new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
  });
  document.head.append(link);
  return link.isLoaded;
}
