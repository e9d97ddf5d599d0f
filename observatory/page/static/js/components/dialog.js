// A dialog over the page: the browser keeps the focus in it and gives it back.
import { html, useEffect, useRef } from "../html.js";
import { Icon } from "./icon.js";

const GONE_MS = 10_000;

/** Give the focus back to what opened a dialog, and when that is removed thereupon, to what is around it. */
function giveBack(opener) {
  const main = document.getElementById("main");
  const isLost = () => document.activeElement === document.body;
  const observer = new MutationObserver(look);
  function look() {
    if (opener.isConnected) return;
    observer.disconnect();
    if (isLost()) main.focus({ preventScroll: true });
  }
  observer.observe(main, { childList: true, subtree: true });
  setTimeout(() => observer.disconnect(), GONE_MS);
  if (isLost()) opener.focus({ preventScroll: true });
  look();
}

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
    const opener = document.activeElement;
    dialog.showModal();
    return () => {
      // The browser tells of its end later, when another one may be open.
      isGone.current = true;
      dialog.close();
      // Behind the removal of the dialog, in which the focus may still be.
      if (opener !== document.body) setTimeout(() => giveBack(opener));
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
