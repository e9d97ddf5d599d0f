// A dialog over the page: the browser keeps the focus in it and gives it back.
import { html, useEffect, useRef } from "../html.js";
import { Icon } from "./icon.js";

/**
 * A dialog, open as long as it is drawn. A press beside it closes it unless something was typed; nothing does while
 * a form of it is sent, as nobody would see how that ends. One that `isKept` is closed by its buttons alone.
 */
export function Dialog({ title, onClose, isWide = false, isKept = false, children }) {
  const element = useRef(null);
  const hasChanges = useRef(false);
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
  const isSending = () => element.current.querySelector("form[aria-busy=true]") !== null;
  const leave = () => isSending() || onClose();
  const onCancel = (event) => {
    if (event.target === element.current && (isKept || isSending())) event.preventDefault();
  };
  const onBeside = (event) => {
    if (event.target === element.current && !isKept && !hasChanges.current) leave();
  };
  return html`<dialog class=${`dialog ${isWide ? "dialog-wide" : ""}`} ref=${element} aria-label=${title} onClose=${() => isGone.current || onClose()}
    onCancel=${onCancel} onMouseDown=${onBeside} onInput=${(event) => { hasChanges.current ||= Boolean(event.target.form); }}>
    <div class="dialog-head"><h2>${title}</h2>
      <button class="button button-quiet button-icon" aria-label="Close" onClick=${leave}><${Icon} name="close" /></button></div>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}
