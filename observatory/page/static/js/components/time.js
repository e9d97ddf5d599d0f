// Times: machine-readable, exact when pointed at, and true as time goes by.
import { html, useEffect, useState } from "../html.js";
import * as format from "../format.js";

const tickers = new Set();
setInterval(() => {
  if (!document.hidden) for (const tick of tickers) tick(Date.now());
}, 30_000);

/** A time as “5 min ago”. */
export function Ago({ at }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    tickers.add(setNow);
    return () => tickers.delete(setNow);
  }, []);
  return at ? html`<time datetime=${at} title=${format.exactTime(at)}>${format.ago(at, now)}</time>` : format.NOTHING;
}

/** A time as day and clock. */
export function DateTime({ at }) {
  return at ? html`<time datetime=${at} title=${format.exactTime(at)}>${format.dateTime(at)}</time>` : format.NOTHING;
}
