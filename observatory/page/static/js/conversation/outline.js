// The outline: all turns with their first words and what each cost, the one in sight marked.
import { html, useEffect, useLayoutEffect, useMemo, useReducer, useRef } from "../html.js";
import * as format from "../format.js";
import { headline } from "./text.js";

const ROW_PX = 44;
const BEYOND = 6;

const titles = new WeakMap();

function nameTurn({ text, kind }) {
  if (kind.endsWith("prompt")) return headline(text, kind) || "A prompt without words";
  // The client's own words on what people did before they asked for anything.
  return (!text.startsWith("Caveat:") && headline(text, kind)) || "Before the first prompt";
}

/** What a turn is called. */
export function titleOf(turn) {
  if (!titles.has(turn)) titles.set(turn, nameTurn(turn));
  return titles.get(turn);
}

export function Outline({ turns, current, go }) {
  const box = useRef(null);
  const [, redraw] = useReducer((number) => number + 1, 0);
  // In a dialog it has no height before that is open.
  useLayoutEffect(() => {
    const observer = new ResizeObserver(redraw);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = box.current;
    const begin = current * ROW_PX;
    const isHidden = begin < element.scrollTop + ROW_PX || begin + 2 * ROW_PX > element.scrollTop + element.clientHeight;
    if (isHidden && !element.matches(":hover")) element.scrollTop = begin - element.clientHeight / 2;
  }, [current]);
  const most = useMemo(() => turns.reduce((highest, turn) => Math.max(highest, weightOf(turn)), 1), [turns]);
  const top = box.current?.scrollTop ?? 0;
  const room = box.current?.clientHeight ?? 600;
  const first = Math.max(0, Math.floor(top / ROW_PX) - BEYOND);
  const shown = turns.slice(first, Math.ceil((top + room) / ROW_PX) + BEYOND);
  return html`<nav class="outline-list" aria-label="Turns" ref=${box} onScroll=${redraw}>
    <ol style=${{ height: `${turns.length * ROW_PX}px` }} role="list">${shown.map((turn, index) => {
      const number = first + index;
      return html`<li key=${turn.message_id} style=${{ top: `${number * ROW_PX}px` }} aria-setsize=${turns.length} aria-posinset=${number + 1}>
        <button type="button" class="outline-turn" aria-current=${number === current ? "true" : undefined} onClick=${() => go(number)} title=${titleOf(turn).slice(0, 300)}>
          <span class="outline-number number faint">${number + 1}</span><span class=${`clip ${turn.is_on_main_branch ? "" : "faint"}`}>${!turn.is_on_main_branch && html`<span class="visually-hidden">On another branch: </span>`}${titleOf(turn)}</span>
          <span class="outline-facts"><span class="outline-bar" aria-hidden="true"><span style=${{ width: `${(weightOf(turn) / most) * 100}%` }}></span></span>
            ${turn.error_count > 0 && html`<span class="bad">${format.count(turn.error_count)}<span class="visually-hidden"> failed</span></span>`}
            <span>${turn.total_tokens ? format.money(turn.cost_microdollars, turn.cost_complete) : format.plural(turn.message_count, "message")}</span></span>
        </button></li>`;
    })}</ol></nav>`;
}

/** What the bar of a turn says: its cost, or its tokens where no price is known. */
const weightOf = ({ cost_microdollars: cost, total_tokens: tokens }) => cost ?? tokens * 3;
