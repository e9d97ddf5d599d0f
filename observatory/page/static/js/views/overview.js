export const title = "Overview";
import { html } from "../html.js";
export default function Overview() { return html`<h1>Overview</h1>`; }
