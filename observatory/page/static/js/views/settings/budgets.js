// Budgets: what may be spent in a while, and how far that is.
import { html, useState } from "../../html.js";
import { request, useApi } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useLive } from "../../live.js";
import { LONG_AGO } from "../../periods.js";
import { useProjects } from "../../projects.js";
import { Budget } from "../../components/budget.js";
import { Card } from "../../components/card.js";
import { Confirm } from "../../components/confirm.js";
import { Dialog } from "../../components/dialog.js";
import { Field, Form, useForm } from "../../components/form.js";
import { Icon } from "../../components/icon.js";
import { Empty, Loaded } from "../../components/states.js";

const PERIODS = [["day", "a day"], ["week", "a week"], ["month", "a month"]];
const UNITS = [["limit_microdollars", "dollars"], ["limit_tokens", "tokens"]];

/** Return a choice of some values that has the present one in any case. */
function choices(all, value, none, show) {
  const others = value && !all.includes(value) ? [value, ...all] : all;
  return [["", none], ...others.map((one) => [one, show(one)])];
}

/** Return what was typed as a number, written as here (1,000.50) or with a comma for cents; NaN when it is none. */
function readAmount(text, { isWhole }) {
  const typed = text.replace(/[\s$_']/g, "");
  if (isWhole) return /^\d+([.,]\d{3})*$/.test(typed) ? Number(typed.replace(/[.,]/g, "")) : Number.NaN;
  const plain = /^\d{1,3}(,\d{3})+(\.\d*)?$/.test(typed) ? typed.replaceAll(",", "") : typed.replace(",", ".");
  return /^(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : Number.NaN;
}

function Edit({ budget, onClose, onDone }) {
  const projects = (useProjects() ?? []).map(({ path }) => path);
  const models = useApi("/api/analytics/models", { from: LONG_AGO }).data?.rows.map(({ model }) => model) ?? [];
  const isTokens = budget ? budget.limit_microdollars === null : false;
  const form = useForm(async (values) => {
    const unit = values.get("unit");
    const isWhole = unit === "limit_tokens";
    const amount = readAmount(values.get("amount"), { isWhole });
    const body = {
      name: values.get("name"), period: values.get("period"), timezone: budget?.timezone ?? format.TIMEZONE,
      project_path: values.get("project_path") || null, model: values.get("model") || null,
      // What is no number is the server's to refuse.
      [unit]: Number.isFinite(amount) ? Math.round(isWhole ? amount : amount * 1e6) : 0,
    };
    await request(budget ? `/api/budgets/${budget.id}` : "/api/budgets", { method: budget ? "PATCH" : "POST", body });
    announce("Saved.");
    await onDone();
    onClose();
  });
  // Either limit is the one field here.
  const amount = { ...form, errorsOf: () => UNITS.flatMap(([name]) => (form.errorsOf(name).length ? ["Takes a number above 0; tokens are whole."] : [])) };
  return html`<${Dialog} title=${budget ? "Change the budget" : "New budget"} onClose=${onClose}><${Form} form=${form} names=${["name", "period", "project_path", "model", "limit_microdollars", "limit_tokens"]} action=${budget ? "Save" : "Add"} onCancel=${onClose}>
    <${Field} label="Name" name="name" form=${form} value=${budget?.name} maxlength="100" autofocus />
    <div class="form-row"><${Field} label="At most" name="amount" inputmode="decimal" form=${amount} value=${budget && String(isTokens ? budget.limit_tokens : budget.limit_microdollars / 1e6)} />
      <${Field} label="Of" name="unit" options=${UNITS} value=${isTokens ? "limit_tokens" : "limit_microdollars"} />
      <${Field} label="In" name="period" form=${form} options=${PERIODS} value=${budget?.period ?? "month"} /></div>
    <div class="form-row"><${Field} label="Project" name="project_path" form=${form} value=${budget?.project_path ?? ""} options=${choices(projects, budget?.project_path, "all projects", format.projectName)} key=${`projects ${projects.length}`} />
      <${Field} label="Model" name="model" form=${form} value=${budget?.model ?? ""} options=${choices(models, budget?.model, "all models", format.modelName)} key=${`models ${models.length}`} /></div>
    <p class="tiny faint">Periods are those of ${budget?.timezone ?? format.TIMEZONE}. At 50, 80 and 100% there is an event, which webhooks can tell of; nothing is held back.</p>
  <//><//>`;
}

export function Budgets() {
  const budgets = useApi("/api/budgets", { limit: 100 });
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  useLive(["budget_threshold"], () => budgets.reload());
  async function remove() {
    await request(`/api/budgets/${open.budget.id}`, { method: "DELETE" });
    announce("The budget is removed.");
    await budgets.reload();
  }
  return html`<${Card} title="Budgets" isFlush actions=${html`<button class="button button-primary" onClick=${() => setOpen({ kind: "edit" })}><${Icon} name="plus" />New budget</button>`}>
    <${Loaded} of=${budgets} lines=${4}>${({ budgets: rows }) => (rows.length
      ? html`<ul class="lines">${rows.map((budget) => html`<li key=${budget.id}><${Budget} budget=${budget} />
          <div class="row"><span class="small faint grow-line clip">${budget.project_path ? format.projectName(budget.project_path) : "all projects"}, ${budget.model ? format.modelName(budget.model) : "all models"}</span>
            <button class="button button-small" aria-label=${`Change ${budget.name}`} onClick=${() => setOpen({ kind: "edit", budget })}>Change</button>
            <button class="button button-small button-danger" aria-label=${`Remove ${budget.name}`} onClick=${() => setOpen({ kind: "remove", budget })}>Remove</button></div></li>`)}</ul>`
      : html`<${Empty} title="No budgets">One says what may be spent in a day, week or month, and tells when that is near.<//>`)}<//><//>
    ${open?.kind === "edit" && html`<${Edit} budget=${open.budget} onClose=${close} onDone=${budgets.reload} />`}
    ${open?.kind === "remove" && html`<${Confirm} title=${`Remove ${open.budget.name}?`} action="Remove the budget" onConfirm=${remove} onClose=${close}>
      <p>It is counted no more, and nobody is told when it is reached; its events go with it. What was spent stays in all reports.</p><//>`}`;
}
