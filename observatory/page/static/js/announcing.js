// What a screen reader is told of changes that others see.
let region = null;

/** Have a text read out when there is time. */
export function announce(text) {
  if (!region) {
    region = document.createElement("div");
    region.setAttribute("aria-live", "polite");
    region.className = "visually-hidden";
    document.body.append(region);
  }
  region.textContent = "";
  setTimeout(() => {
    region.textContent = text;
  }, 50);
}
