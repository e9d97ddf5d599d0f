// Rows of any height, any number and in any order of coming: only those in sight are in the document.
// They scroll with the window, and what is in sight stays where it is when rows above it change.
import { html, useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef } from "../html.js";
import { Heights } from "../components/virtual-list.js";

const BEYOND_PX = 500;
const SETTLE_MS = 1500;
const NEAR_END_PX = 60;
const FAR_FROM_END_PX = 120;
const MOVING_MS = 1000;

const belowSight = () => document.documentElement.scrollHeight - window.innerHeight - window.scrollY;

/** Where rows are: made anew when they are others, with the heights that are known of them. */
class Layout {
  constructor(rows, known) {
    this.rows = rows;
    this.known = known;
    this.heights = new Heights(0);
    this.heights.fill(rows.map((row) => known.get(row.key) ?? row.height));
    this.places = new Map(rows.map((row, index) => [row.key, index]));
  }

  get height() {
    return this.heights.before(this.rows.length);
  }

  top(index) {
    return this.heights.before(index);
  }

  /** The row at a height, and how far below its top that is. */
  at(offset) {
    const index = this.heights.at(Math.max(0, offset));
    return { index, row: this.rows[index], below: offset - this.top(index) };
  }

  measure(key, height) {
    const index = this.places.get(key);
    if (index === undefined) return [0, 0];
    this.known.set(key, height);
    return [this.heights.set(index, height), index];
  }

  /** The height at which a place of another layout is in this one. */
  find({ row, below }, old) {
    const index = this.places.get(row.key);
    if (index !== undefined) return this.top(index) + below;
    // It was a part that is rows now, or rows that are a part again: go by the messages.
    const share = row.count ? below / Math.max(1, old) : 0;
    const at = row.at + Math.floor(share * (row.count ?? 0));
    const next = this.rows.findIndex((one) => one.at + (one.count ?? 1) > at);
    if (next < 0) return null;
    const inside = this.rows[next].count ? ((at - this.rows[next].at) / this.rows[next].count) * this.heights.sizes[next] : 0;
    return this.top(next) + inside;
  }
}

/**
 * @param {object[]} rows `{key, at, height}`: `at` is a number that grows, `height` what is thought;
 *   a row with a `count` stands for so many that are not known yet.
 * @param {Function} renderRow Draws a row; called once for each, as long as it is the same object.
 * @param {Function} onRange Told the first and the last row in the document.
 * @param {Function} onTop Told the row at the top of what is in sight.
 * @param {boolean} isFollowing Whether the end is to be kept in sight; `onLeaveEnd` is called when somebody goes away from it.
 * @param {number} inset What covers the top of the window, in pixels.
 * @param {object} handle A ref that gets `scrollTo(key)`, `release()` and `isAtEnd()`.
 */
export function Scroller({ rows, total, label, renderRow, onRange, onTop, onLeaveEnd, isFollowing, inset, handle }) {
  const outer = useRef(null);
  const known = useRef(new Map());
  const drawn = useRef(new Map());
  const layout = useMemo(() => new Layout(rows, known.current), [rows]);
  const current = useRef(layout);
  const previous = current.current;
  const range = useRef([0, -1]);
  const target = useRef(null);
  const following = useRef(isFollowing);
  following.current = isFollowing;
  const [, redraw] = useReducer((number) => number + 1, 0);
  const anchor = useRef(null);

  // Before the document changes: what is at the top now.
  if (previous !== layout && outer.current) {
    const top = inset - outer.current.getBoundingClientRect().top;
    const place = top > 0 && previous.rows.length ? previous.at(top) : null;
    anchor.current = place && { place, height: previous.heights.sizes[place.index], top };
  }
  current.current = layout;

  const settle = useCallback(() => {
    if (following.current) {
      window.scrollTo(0, document.documentElement.scrollHeight);
    } else if (target.current) {
      const index = current.current.places.get(target.current.key);
      if (index === undefined) return;
      const wanted = outer.current.getBoundingClientRect().top + current.current.top(index) - target.current.margin;
      if (Math.abs(wanted) >= 1) window.scrollBy(0, wanted);
    }
  }, []);

  const look = useCallback(() => {
    const box = outer.current;
    const { rows: all } = current.current;
    if (!box || !all.length) return;
    const top = -box.getBoundingClientRect().top;
    const first = current.current.at(top - BEYOND_PX).index;
    const last = current.current.at(top + window.innerHeight + BEYOND_PX).index;
    if (first !== range.current[0] || last !== range.current[1]) {
      range.current = [first, last];
      redraw();
    }
    onTop(current.current.at(top + inset + 18).row);
  }, [onTop, inset]);

  const observer = useMemo(() => new ResizeObserver((entries) => {
    if (!outer.current) return;
    let above = 0;
    let hasChanged = false;
    const top = inset - outer.current.getBoundingClientRect().top;
    for (const { target: element, borderBoxSize } of entries) {
      if (!element.isConnected) continue;
      const [difference, index] = current.current.measure(element.dataset.key, borderBoxSize[0].blockSize);
      if (!difference) continue;
      hasChanged = true;
      if (current.current.top(index + 1) - difference <= top) above += difference;
    }
    if (!hasChanged) return;
    // At once, so that nothing is drawn out of its place.
    place();
    if (above && !following.current && !target.current) window.scrollBy(0, above);
    settle();
    look();
  }), [inset]);
  const measure = useCallback((element) => {
    if (element) observer.observe(element);
  }, [observer]);
  useEffect(() => () => observer.disconnect(), [observer]);

  const inner = useRef(null);
  const place = useCallback(() => {
    outer.current.style.height = `${current.current.height}px`;
    inner.current.style.top = `${current.current.top(Math.max(0, range.current[0]))}px`;
  }, []);

  useEffect(() => {
    let frame = 0;
    const later = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(look);
    };
    let movedAt = -MOVING_MS;
    let wasAt = window.scrollY;
    const release = () => {
      target.current = null;
      movedAt = performance.now();
    };
    // Who goes away from the end does not follow it any more; what comes does not lead away from it.
    const leave = () => {
      const isMovedUp = performance.now() - movedAt < MOVING_MS && window.scrollY < wasAt;
      wasAt = window.scrollY;
      if (following.current && isMovedUp && belowSight() > FAR_FROM_END_PX) onLeaveEnd();
      later();
    };
    window.addEventListener("scroll", leave, { passive: true });
    window.addEventListener("resize", later);
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) window.addEventListener(type, release, { passive: true });
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", leave);
      window.removeEventListener("resize", later);
      for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) window.removeEventListener(type, release);
    };
  }, [look, onLeaveEnd]);

  useLayoutEffect(() => {
    place();
    if (anchor.current && !following.current && !target.current) {
      const { place: was, height, top } = anchor.current;
      const now = layout.find(was, height);
      if (now !== null && Math.abs(now - top) >= 1) window.scrollBy(0, now - top);
    }
    anchor.current = null;
    settle();
    look();
  }, [layout]);
  useLayoutEffect(place);
  useLayoutEffect(() => {
    settle();
    if (!isFollowing) return undefined;
    // What is above or below the rows may become higher, too.
    const whole = new ResizeObserver(settle);
    whole.observe(document.body);
    return () => whole.disconnect();
  }, [isFollowing]);

  useEffect(() => {
    handle.current = {
      /** Bring a row to the top of what is in sight, and keep it there until all around it is drawn. */
      scrollTo(key, { margin = inset + 12 } = {}) {
        const mine = { key, margin };
        target.current = mine;
        settle();
        look();
        setTimeout(() => {
          if (target.current === mine) target.current = null;
        }, SETTLE_MS);
      },
      /** Let go of the row that was brought there. */
      release() {
        target.current = null;
      },
      isAtEnd: () => belowSight() < NEAR_END_PX,
    };
  }, [inset, look]);

  const last = Math.min(range.current[1], rows.length - 1);
  const first = Math.min(Math.max(0, range.current[0]), Math.max(0, last));
  useEffect(() => {
    if (last >= 0) onRange(rows[first], rows[last]);
  }, [rows[first], rows[last]]);
  const shown = [];
  const kept = new Map();
  for (let index = first; index <= last; index++) {
    const row = rows[index];
    const was = drawn.current.get(row.key);
    const vnode = was?.row === row ? was.vnode : html`<article key=${row.key} class=${`said said-${row.type}`} data-key=${row.key} ref=${measure}
      aria-setsize=${total} aria-posinset=${row.at + 1} aria-label=${row.label}>${renderRow(row)}</article>`;
    kept.set(row.key, { row, vnode });
    shown.push(vnode);
  }
  drawn.current = kept;
  return html`<div class="scroller" role="feed" aria-label=${label} ref=${outer}><div class="scroller-window" role="presentation" ref=${inner}>${shown}</div></div>`;
}
