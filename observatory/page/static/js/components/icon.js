// Icons: strokes of 16 by 16, drawn here, never read out.
import { html } from "../html.js";

const PATHS = {
  chart: "M2.5 13.5h11M4 11V8M7 11V4.5M10 11V6.5M13 11V3",
  list: "M2.5 4h7M2.5 8h11M2.5 12h9",
  tool: "M9.8 6.2 4 12a1.4 1.4 0 0 1-2-2l5.8-5.8A3.4 3.4 0 0 1 12.2 2L10 4.2 11.8 6 14 3.8a3.4 3.4 0 0 1-4.2 2.4Z",
  file: "M4 1.8h5l3.2 3.2v9.2H4ZM8.8 2v3.2H12",
  folder: "M1.8 12.8V3.2h4.4l1.6 2h6.4v7.6Z",
  copy: "M5.5 5.5h8v8h-8ZM10.5 5.5v-3h-8v8h3",
  plus: "M8 3v10M3 8h10",
  trash: "M2.5 4.2h11M6 4V2.2h4V4M4 4.2l.6 9.6h6.8l.6-9.6M6.7 6.8v4.4M9.3 6.8v4.4",
  check: "m3 8.5 3.2 3.2L13 4.8",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13.2 2v3h-3",
  upload: "M8 10.5V3M4.8 5.7 8 2.5l3.2 3.2M2.5 11v2.5h11V11",
  ingest: "M8 2v7.5M4.8 6.5 8 9.7l3.2-3.2M2.5 11v2.5h11V11",
  settings: "M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 3v3M5.5 10v3",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.8 10.8 14 14",
  close: "m4 4 8 8M12 4l-8 8",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M13.5 9.6A6 6 0 0 1 6.4 2.5a6 6 0 1 0 7.1 7.1Z",
  screen: "M2 3h12v8H2ZM6 13.5h4",
  help: "M8 14.3A6.3 6.3 0 1 0 8 1.7a6.3 6.3 0 0 0 0 12.6ZM6.3 6.2a1.8 1.8 0 1 1 2.5 1.7c-.5.2-.8.6-.8 1.2v.2M8 11.4v.1",
  out: "M6.5 2.5h-4v11h4M10.5 5 13.5 8l-3 3M13.2 8H6",
  filter: "M2 3.5h12M4.5 8h7M6.8 12.5h2.4",
  error: "M8 14.3A6.3 6.3 0 1 0 8 1.7a6.3 6.3 0 0 0 0 12.6ZM8 4.8V8.5M8 11v.1",
  user: "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8ZM2.8 14c.5-2.6 2.6-4 5.2-4s4.7 1.4 5.2 4",
  back: "M9.5 3 4.5 8l5 5",
};

/** An icon by name. */
export function Icon({ name, size = 16 }) {
  return html`<svg width=${size} height=${size} viewBox="0 0 16 16" fill="none" stroke="currentColor"
    stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
