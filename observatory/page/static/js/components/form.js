// Forms: fields with their errors beside them, and sending.
import { html, useEffect, useRef, useState } from "../html.js";
import { announce } from "../announcing.js";
import { Icon } from "./icon.js";

let made = 0;

/** Return all sentences below a place of `details.fields`, of what is inside it, too. */
function sentencesOf(errors) {
  if (!errors) return [];
  if (typeof errors === "string") return [errors];
  return Object.values(errors).flatMap(sentencesOf);
}

/**
 * Return what a form needs: `{onSubmit, isSending, error, errorsOf(name), rest(names)}`.
 *
 * @param {Function} send Takes the form's values (FormData), and the form, and sends them; what it throws is shown.
 */
export function useForm(send) {
  const [state, setState] = useState({ isSending: false, error: null });
  const element = useRef(null);
  const isThere = useRef(true);
  const isBusy = useRef(false);
  const focused = useRef(null);
  useEffect(() => () => {
    isThere.current = false;
  }, []);
  // What is disabled while the form is sent loses the focus.
  useEffect(() => {
    if (!state.isSending && document.activeElement === document.body) focused.current?.focus();
  }, [state.isSending]);
  useEffect(() => {
    if (state.error) element.current?.querySelector("[aria-invalid=true]")?.focus();
  }, [state.error]);
  const fields = state.error?.details?.fields ?? {};
  async function onSubmit(event) {
    event.preventDefault();
    // Known at once, while the state is only from the next drawing on.
    if (isBusy.current) return;
    isBusy.current = true;
    element.current = event.currentTarget;
    focused.current = document.activeElement;
    // Before the fields are disabled: FormData has none of those.
    const values = new FormData(event.currentTarget);
    setState({ isSending: true, error: null });
    try {
      await send(values, element.current);
      if (isThere.current) setState({ isSending: false, error: null });
    } catch (error) {
      if (isThere.current) setState({ isSending: false, error });
    }
    isBusy.current = false;
  }
  return { ...state, onSubmit, errorsOf: (name) => sentencesOf(fields[name]), fieldErrors: fields };
}

/**
 * A form: its fields are disabled while it is sent. What went wrong that belongs to none of `names`
 * stands above the buttons.
 */
export function Form({ form, names, action, isDanger = false, onCancel, children }) {
  const others = form.error ? Object.entries(form.fieldErrors).filter(([name]) => !names.includes(name)).flatMap(([, errors]) => sentencesOf(errors)) : [];
  const isOfFields = form.error && names.some((name) => form.errorsOf(name).length);
  const words = others.length ? others : form.error && !isOfFields ? [form.error.message] : [];
  return html`<form class="form" onSubmit=${form.onSubmit} noValidate aria-busy=${form.isSending}>
    <fieldset class="form-fields" disabled=${form.isSending}>${children}
      ${words.length > 0 && html`<div class="notice notice-bad" role="alert">${words.map((one) => html`<p key=${one}>${one}</p>`)}</div>`}
      <div class="form-end">${onCancel && html`<button type="button" class="button" onClick=${onCancel}>Cancel</button>`}
        <button class=${`button ${isDanger ? "button-danger-full" : "button-primary"}`}>${form.isSending ? "One moment…" : action}</button></div>
    </fieldset></form>`;
}

/**
 * A field with its label, a hint and its errors. `options` (`[value, label]`) make it a choice, `lines` a
 * field of several lines; all else goes to the element.
 */
export function Field({ label, name, hint, form, options, lines, value, ...others }) {
  const id = useRef(`field-${(made += 1)}`).current;
  const errors = form?.errorsOf(name) ?? [];
  const told = [hint && `${id}-hint`, errors.length && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const common = { id, name, "aria-describedby": told, "aria-invalid": errors.length ? "true" : undefined, ...others };
  let control;
  if (options) {
    control = html`<select class="input" ...${common}>${options.map(([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`)}</select>`;
  } else if (lines) {
    control = html`<textarea rows=${lines} ...${common}>${value}</textarea>`;
  } else {
    control = html`<input class="input" type="text" autocomplete="off" ...${common} defaultValue=${value ?? ""} />`;
  }
  return html`<div class="field"><label for=${id}>${label}</label>${control}
    ${hint && html`<p class="tiny faint" id=${`${id}-hint`}>${hint}</p>`}
    ${errors.length > 0 && html`<p class="small bad" id=${`${id}-error`}>${errors.join(" ")}</p>`}</div>`;
}

/** Boxes to tick: `options` are `[value, label, hint]`, `chosen` those that are ticked at first. */
export function Checks({ label, name, hint, form, options, chosen = [] }) {
  const id = useRef(`checks-${(made += 1)}`).current;
  const errors = form?.errorsOf(name) ?? [];
  return html`<fieldset class="field" aria-describedby=${errors.length ? `${id}-error` : undefined}><legend class="label">${label}</legend>
    ${hint && html`<p class="tiny faint">${hint}</p>`}
    <div class="checks">${options.map(([value, text, more]) => html`<label class="check" key=${value}>
      <input type="checkbox" name=${name} value=${value} defaultChecked=${chosen.includes(value)} />
      <span>${text}${more && html`<span class="tiny faint">${more}</span>`}</span></label>`)}</div>
    ${errors.length > 0 && html`<p class="small bad" id=${`${id}-error`} role="alert">${errors.join(" ")}</p>`}</fieldset>`;
}

/** A text that is there to be copied, and shown this once. */
export function CopyField({ label, value }) {
  const [isCopied, setIsCopied] = useState(false);
  const field = useRef(null);
  const id = useRef(`copy-${(made += 1)}`).current;
  async function copy() {
    field.current.select();
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      // Without TLS there is no clipboard for pages: it is selected, and Ctrl+C takes it.
      return announce("Selected. Copy it with the keyboard.");
    }
    setIsCopied(true);
    return announce("Copied.");
  }
  return html`<div class="field"><label for=${id}>${label}</label><div class="copy">
    <input class="input mono" id=${id} ref=${field} readOnly value=${value} onFocus=${(event) => event.target.select()} />
    <button type="button" class="button" onClick=${copy}><${Icon} name=${isCopied ? "check" : "copy"} />${isCopied ? "Copied" : "Copy"}</button></div></div>`;
}
