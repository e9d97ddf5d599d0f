// A dialog over the page: the browser keeps the focus in it and gives it back.
import { html, useEffect, useRef } from "../html.js";
import { Icon } from "./icon.js";

/** A dialog, open as long as it is drawn. */
export function Dialog({ title, onClose, children }) {
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return html`<dialog class="dialog" ref=${element} aria-label=${title} onClose=${onClose}
    onClick=${(event) => event.target === element.current && onClose()}>
    <div class="dialog-head"><h2>${title}</h2>
      <button class="button button-quiet button-icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}
