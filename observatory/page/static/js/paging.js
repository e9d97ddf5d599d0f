// Lists that are read page by page, each behind the one before (`cursor`), as one scrolls.
import { useCallback, useEffect, useMemo, useReducer } from "./html.js";

const KEPT = 12;
const kept = new Map();
const idOf = (row) => row.conversation?.id ?? row.id;

class Pages {
  constructor(key, fetchPage) {
    Object.assign(this, { key, fetchPage, rows: [], total: null, relation: "exact", cursor: null, extra: {}, isLoading: false, isDone: false, error: null, missed: 0 });
    this.controller = new AbortController();
    this.listeners = new Set();
  }

  async more() {
    if (this.isLoading || this.isDone) return;
    this.isLoading = true;
    this.error = null;
    this.tell();
    try {
      const { rows, pagination, ...extra } = await this.fetchPage(this.cursor, this.controller.signal);
      this.rows = [...this.rows, ...rows];
      if (this.cursor === null) this.extra = extra;
      this.total = pagination.total;
      this.relation = pagination.total_relation ?? "exact";
      this.cursor = pagination.next_cursor;
      this.isDone = !pagination.has_more || !pagination.next_cursor;
    } catch (error) {
      if (this.controller.signal.aborted) return;
      this.error = error;
    }
    this.isLoading = false;
    this.tell();
  }

  /**
   * Read the beginning of a list that was kept anew. Who comes back to a place in it finds it there: rows
   * change where they are, and `missed` says how many others there are. Else it is another list.
   */
  async renew({ isAtPlace }) {
    const fresh = new Pages(this.key, this.fetchPage);
    await fresh.more();
    if (fresh.error || this.isLoading) return;
    if (isAtPlace) {
      const found = new Map(fresh.rows.map((row) => [idOf(row), row]));
      const known = new Set(this.rows.map(idOf));
      this.rows = this.rows.map((row) => found.get(idOf(row)) ?? row);
      this.missed = [...found.keys()].filter((id) => !known.has(id)).length;
    } else this.become(fresh);
    this.tell();
  }

  become(fresh) {
    Object.assign(this, { ...fresh, listeners: this.listeners, controller: this.controller });
  }

  tell() {
    for (const listener of this.listeners) listener();
  }
}

/**
 * Return `{rows, total, relation, extra, missed, isLoading, isDone, error, more, change, reload}` of a list.
 * What was read is kept for going back, and read anew then; `extra` is what the first page told beside its rows.
 *
 * @param {string} key Names the list: another key is another list.
 * @param {Function} fetchPage Takes a cursor (null for the first page) and a signal, and returns
 *   `{rows, pagination, ...}`.
 */
export function usePages(key, fetchPage) {
  const [, redraw] = useReducer((number) => number + 1, 0);
  const pages = useMemo(() => {
    const known = kept.get(key) ?? new Pages(key, fetchPage);
    kept.delete(key);
    kept.set(key, known);
    for (const old of [...kept.keys()].slice(0, -KEPT)) kept.delete(old);
    return known;
  }, [key]);
  useEffect(() => {
    pages.listeners.add(redraw);
    if (!pages.rows.length) pages.more();
    else pages.renew({ isAtPlace: (history.state?.scroll ?? 0) > 0 });
    return () => {
      pages.listeners.delete(redraw);
      // What nobody waits for any more is not asked for.
      if (pages.isLoading && !pages.rows.length) {
        pages.controller.abort();
        kept.delete(key);
      }
    };
  }, [pages]);
  const change = useCallback((transform) => {
    pages.rows = transform(pages.rows);
    redraw();
  }, [pages]);
  const reload = useCallback(async () => {
    const fresh = new Pages(key, fetchPage);
    await fresh.more();
    if (!fresh.error) pages.become(fresh);
    else pages.error = fresh.error;
    redraw();
  }, [pages]);
  return { ...pages, more: () => pages.more(), change, reload };
}

/** Return the rows that were read of the list that was shown last and begins so, or none. */
export function findShown(prefix) {
  const key = [...kept.keys()].reverse().find((one) => one.startsWith(prefix));
  return key ? kept.get(key).rows : [];
}

/** Forget all lists, so that each is read anew. */
export const forgetPages = () => kept.clear();
