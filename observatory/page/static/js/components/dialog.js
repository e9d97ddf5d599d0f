// A dialog over the page: the browser keeps the focus in it and gives it back.
import { html, useEffect, useRef } from "../html.js";
import { Icon } from "./icon.js";

/** A dialog, open as long as it is drawn. */
export function Dialog({ title, onClose, isWide = false, children }) {
  const element = useRef(null);
  const isGone = useRef(false);
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    return () => {
      // The browser tells of its end later, when another one may be open.
      isGone.current = true;
      dialog.close();
    };
  }, []);
  return html`<dialog class=${`dialog ${isWide ? "dialog-wide" : ""}`} ref=${element} aria-label=${title} onClose=${() => isGone.current || onClose()}
    onMouseDown=${(event) => event.target === element.current && onClose()}>
    <div class="dialog-head"><h2>${title}</h2>
      <button class="button button-quiet button-icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}
