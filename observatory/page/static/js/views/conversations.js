export const title = "Conversations";
import { html } from "../html.js";
export default function Conversations() { return html`<h1>Conversations</h1>`; }
