// One's own account: name, address, password, sign-ins, and how the page looks here.
import { html, useState } from "../../html.js";
import { request, setCsrfToken } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useSession } from "../../session.js";
import { THEMES, useTheme } from "../../theming.js";
import { Card } from "../../components/card.js";
import { Choice } from "../../components/choice.js";
import { Confirm } from "../../components/confirm.js";
import { Field, Form, useForm } from "../../components/form.js";
import { DateTime } from "../../components/time.js";

function Account() {
  const { user, refresh } = useSession();
  const [isSaved, setIsSaved] = useState(false);
  const [isMoving, setIsMoving] = useState(false);
  const form = useForm(async (values) => {
    setIsSaved(false);
    const body = { name: values.get("name") };
    if (values.get("email") !== user.email) Object.assign(body, { email: values.get("email"), current_password: values.get("current_password") || null });
    if (body.current_password === null) delete body.current_password;
    await request("/api/auth/profile", { method: "PATCH", body });
    await refresh();
    setIsMoving(false);
    setIsSaved(true);
    announce("Saved.");
  });
  return html`<${Card} title="Account"><${Form} form=${form} names=${["name", "email", "current_password"]} action="Save">
    <div class="form-row"><${Field} label="Name" name="name" form=${form} value=${user.name} autocomplete="name" maxlength="100" />
      <${Field} label="Email" name="email" type="email" form=${form} value=${user.email} autocomplete="email" onInput=${(event) => setIsMoving(event.target.value !== user.email)} /></div>
    ${(isMoving || form.errorsOf("current_password").length > 0) && html`<${Field} label="Password, to change the address" name="current_password" type="password" form=${form} autocomplete="current-password" />`}
    <p class="small muted">${user.role}, since <${DateTime} at=${user.created_at} />${user.last_login_at && html`; last signed in <${DateTime} at=${user.last_login_at} />`}</p>
    ${isSaved && html`<p class="small good" role="status">Saved.</p>`}
  <//><//>`;
}

function Password() {
  const [isSaved, setIsSaved] = useState(false);
  const form = useForm(async (values, element) => {
    setIsSaved(false);
    const body = { current_password: values.get("current_password"), new_password: values.get("new_password") };
    const { csrf_token: token } = await request("/api/auth/password", { method: "POST", body });
    setCsrfToken(token);
    setIsSaved(true);
    element.reset();
  });
  return html`<${Card} title="Password"><${Form} form=${form} names=${["current_password", "new_password"]} action="Change password">
    <div class="form-row"><${Field} label="Password now" name="current_password" type="password" form=${form} autocomplete="current-password" />
      <${Field} label="New password" name="new_password" type="password" form=${form} autocomplete="new-password" hint="8 characters and more" /></div>
    <p class="small muted">All other sign-ins of this account end.</p>
    ${isSaved && html`<p class="small good" role="status">The password is another one now.</p>`}
  <//><//>`;
}

function SignIns() {
  const [isAsked, setIsAsked] = useState(false);
  async function leave() {
    await request("/api/auth/logout", { method: "POST", body: { everywhere: true } });
    location.assign("/");
  }
  return html`<${Card} title="Sign-ins"><div class="row"><p class="grow-line muted">Somebody else may be signed in with this account, or a device that is lost.</p>
      <button class="button button-danger" onClick=${() => setIsAsked(true)}>Sign out everywhere</button></div>
    ${isAsked && html`<${Confirm} title="Sign out everywhere?" action="Sign out everywhere" onConfirm=${leave} onClose=${() => setIsAsked(false)}>
      <p>All sign-ins of this account end at once, this one too. API keys go on; they are revoked by themselves.</p><//>`}<//>`;
}

function Appearance() {
  const [theme, choose] = useTheme();
  return html`<${Card} title="Appearance"><div class="row"><p class="grow-line muted">For this browser. Times are shown in ${format.TIMEZONE}.</p>
    <${Choice} label="Theme" value=${theme} options=${THEMES.map(([name, , label]) => [name, label])} onChange=${choose} /></div><//>`;
}

export function Profile() {
  const { user, permissions } = useSession();
  return html`${user
    ? html`<${Account} /><${Password} /><${SignIns} />`
    : html`<${Card} title="Account"><p>You are signed in by the link that the server printed: as who runs it, without an account.</p>
      <p class="muted">Accounts for people are made under <a href="/settings/users">People</a>; the link goes on working.</p><//>`}
    <${Appearance} />
    <${Card} title="What you may do"><ul class="chips">${permissions.map((one) => html`<li class="tag" key=${one}>${one}</li>`)}</ul><//>`;
}
