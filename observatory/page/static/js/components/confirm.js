// Asking before something is done that can not be taken back.
import { html } from "../html.js";
import { Dialog } from "./dialog.js";
import { Form, useForm } from "./form.js";

/** A question; `children` say what happens then. */
export function Confirm({ title, action, onConfirm, onClose, children }) {
  const form = useForm(async () => {
    await onConfirm();
    onClose();
  });
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Form} form=${form} names=${[]} action=${action} isDanger onCancel=${onClose}>${children}<//>
  <//>`;
}
