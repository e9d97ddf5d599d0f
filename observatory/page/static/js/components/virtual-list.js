// Lists of any length: only what is seen is drawn. It scrolls with the window.
import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";

const OVERSCAN_PX = 600;

/** Heights of rows, of which sums are found and changed in logarithmic time (a Fenwick tree). */
export class Heights {
  constructor(estimate) {
    this.estimate = estimate;
    this.count = 0;
    this.sizes = new Float64Array(64);
    this.tree = new Float64Array(65);
  }

  /** Have so many rows; new ones have the estimated height. */
  resize(count) {
    if (count > this.sizes.length) {
      const room = Math.max(count, this.sizes.length * 2);
      const sizes = new Float64Array(room);
      sizes.set(this.sizes.subarray(0, this.count));
      this.sizes = sizes;
    }
    if (count < this.count) this.sizes.fill(0, count, this.count);
    for (let index = this.count; index < count; index++) this.sizes[index] = this.estimate;
    this.count = count;
    this.sum();
  }

  sum() {
    this.tree = new Float64Array(this.sizes.length + 1);
    for (let index = 1; index <= this.sizes.length; index++) {
      this.tree[index] += this.sizes[index - 1];
      const parent = index + (index & -index);
      if (parent <= this.sizes.length) this.tree[parent] += this.tree[index];
    }
  }

  /** Have rows of these heights. */
  fill(sizes) {
    this.resize(sizes.length);
    this.sizes.set(sizes);
    this.sum();
  }

  /** Note the height of a row, and return by how much it is another one. */
  set(index, size) {
    const difference = size - this.sizes[index];
    if (difference) {
      this.sizes[index] = size;
      for (let at = index + 1; at < this.tree.length; at += at & -at) this.tree[at] += difference;
    }
    return difference;
  }

  /** Where a row begins; that of the last one and one more is the height of all. */
  before(index) {
    let sum = 0;
    for (let at = index; at > 0; at -= at & -at) sum += this.tree[at];
    return sum;
  }

  /** The row that is at some height. */
  at(offset) {
    let index = 0;
    let rest = offset;
    let step = 1;
    while (step * 2 < this.tree.length) step *= 2;
    for (; step; step >>= 1) {
      if (index + step < this.tree.length && this.tree[index + step] <= rest) {
        index += step;
        rest -= this.tree[index];
      }
    }
    return Math.max(0, Math.min(index, this.count - 1));
  }
}

/**
 * A list. Rows may have any height: they are measured when they are drawn, and what is seen stays
 * where it is when others turn out to be higher than was thought.
 *
 * @param {number} count How many rows there are now.
 * @param {number} total How many there are in all, for who has it read; -1 when nobody knows.
 * @param {number} estimate The height of a row in pixels, as far as is known.
 * @param {Function} renderRow Draws the row of an index.
 * @param {Function} rowKey The key of an index, which it keeps when others come before it.
 * @param {Function} onRange Told the first and last index that are drawn, to fetch more in time.
 * @param {object} handle A ref that gets `scrollTo(index)`.
 */
export function VirtualList({ count, total = count, estimate, renderRow, rowKey = (index) => index, onRange, handle, label }) {
  const outer = useRef(null);
  const heights = useMemo(() => new Heights(estimate), []);
  const [, redraw] = useState(0);
  const range = useRef([0, Math.min(count - 1, 20)]);
  if (heights.count !== count) heights.resize(count);

  const look = useCallback(() => {
    const box = outer.current;
    if (!box || !heights.count) return;
    const top = -box.getBoundingClientRect().top;
    const first = heights.at(Math.max(0, top - OVERSCAN_PX));
    const last = heights.at(Math.max(0, top + window.innerHeight + OVERSCAN_PX));
    if (first !== range.current[0] || last !== range.current[1]) {
      range.current = [first, last];
      redraw((number) => number + 1);
    }
  }, []);

  const observer = useMemo(() => new ResizeObserver((entries) => {
    let above = 0;
    let hasChanged = false;
    if (!outer.current) return;
    const top = -outer.current.getBoundingClientRect().top;
    for (const { target, borderBoxSize } of entries) {
      const index = Number(target.dataset.index);
      if (!target.isConnected || index >= heights.count) continue;
      const begin = heights.before(index);
      const difference = heights.set(index, borderBoxSize[0].blockSize);
      if (difference) hasChanged = true;
      if (begin + heights.sizes[index] <= top) above += difference;
    }
    if (!hasChanged) return;
    if (above) window.scrollBy(0, above);
    look();
    redraw((number) => number + 1);
  }), []);
  const measure = useCallback((element) => {
    if (element) observer.observe(element);
  }, []);

  useEffect(() => {
    let frame = 0;
    const later = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(look);
    };
    window.addEventListener("scroll", later, { passive: true });
    window.addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      window.removeEventListener("scroll", later);
      window.removeEventListener("resize", later);
    };
  }, []);
  useLayoutEffect(look, [count]);
  const [first, last] = [Math.min(range.current[0], Math.max(0, count - 1)), Math.min(range.current[1], count - 1)];
  useEffect(() => {
    onRange?.(first, last);
  }, [first, last, count]);
  useEffect(() => {
    if (!handle) return;
    handle.current = {
      scrollTo(index, { block = "nearest" } = {}) {
        const box = outer.current.getBoundingClientRect();
        const begin = box.top + heights.before(index);
        const end = begin + heights.sizes[index];
        const edge = 72;
        if (block === "start" || begin < edge) window.scrollBy(0, begin - edge);
        else if (end > window.innerHeight - edge) window.scrollBy(0, end - window.innerHeight + edge);
        look();
      },
    };
  }, []);

  const rows = [];
  for (let index = first; index <= last; index++) {
    rows.push(html`<li key=${rowKey(index)} data-index=${index} ref=${measure} aria-setsize=${total} aria-posinset=${index + 1}>${renderRow(index)}</li>`);
  }
  return html`<ol class="virtual" role="list" aria-label=${label} ref=${outer} style=${{ height: `${heights.before(count)}px` }}>
    <div class="virtual-window" role="presentation" style=${{ transform: `translateY(${heights.before(first)}px)` }}>${rows}</div>
  </ol>`;
}
