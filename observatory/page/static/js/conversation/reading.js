// What is read of a conversation, and what of it is open: the whole one, a part at a time, in any
// order; or one that is shown inside of another.
import { createContext, useContext, useLayoutEffect, useReducer } from "../html.js";
import { request } from "../api.js";
import { SHOWN_CHARACTERS, findRow, isOpenable, makeRows } from "./rows.js";

/** How many messages are read together. */
const PART = 60;
const KEPT_PARTS = 40;
const EMPTY_ROW_HEIGHT = 38;
const WAIT_MS = 70;

export const ReadingContext = createContext(null);
/** The reading that a row belongs to. */
export const useReading = () => useContext(ReadingContext);

/** Whether a row is open, and how to change that. */
export function useOpen(row) {
  const reading = useReading();
  const [, redraw] = useReducer((number) => number + 1, 0);
  // At once: it may be opened before what is drawn is painted.
  useLayoutEffect(() => reading.watch(redraw), [reading]);
  return [reading.isOpen(row), () => reading.setOpen([row], !reading.isOpen(row))];
}

const pathOf = (id) => `/api/conversations/${encodeURIComponent(id)}`;
const askMessages = (id, params, signal) =>
  request(`${pathOf(id)}/messages`, { params: { max_characters: SHOWN_CHARACTERS, ...params }, signal });

/** What all readings have: rows that are open, and messages read whole. */
class Reading {
  constructor(id) {
    this.id = id;
    this.open = new Map();
    this.watchers = new Set();
    this.listeners = new Set();
    this.whole = new Map();
    /** Words that are looked for: a text that has them is shown so far. */
    this.sought = [];
    this.controller = new AbortController();
  }

  watch(watcher) {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** Have a listener called when rows are others. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  isOpen(row) {
    return this.open.get(row.key) ?? false;
  }

  setOpen(rows, isOpen) {
    for (const row of rows) this.open.set(row.key, isOpen);
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Read all of a message whose texts were cut; its rows are drawn anew. */
  async readWhole(messageId) {
    const message = await request(`/api/messages/${encodeURIComponent(messageId)}`, { signal: this.controller.signal });
    // By itself a message has blocks also where text and kind tell all.
    this.whole.set(messageId, message);
    this.exchange(messageId);
  }

  withWhole(messages) {
    return messages.map((message) => {
      const whole = this.whole.get(message.id);
      return whole ? { ...whole, isWhole: true, blocks: message.blocks && whole.blocks } : message;
    });
  }

  stop() {
    this.controller.abort();
  }
}

/** The whole conversation: parts of `PART` messages are read when they come into sight. */
export class WholeReading extends Reading {
  constructor(id) {
    super(id);
    this.parts = new Map();
    this.pending = new Map();
    this.failures = new Map();
    this.heights = new Map();
    this.total = 0;
    this.turns = [];
    this.turnAt = new Map();
    this.wanted = [];
    this.timer = 0;
    this.cache = null;
  }

  /** Take the turns, which say how many messages there are. */
  setTurns(turns) {
    this.turns = turns;
    this.turnAt = new Map(turns.map((turn, index) => [turn.offset, { ...turn, number: index + 1 }]));
    const last = turns.at(-1);
    this.total = Math.max(this.total, last ? last.offset + last.message_count : 0);
    for (const part of this.parts.values()) part.rows = null;
    this.change();
  }

  async readTurns(since = null) {
    const known = since ? this.turns.filter(({ offset }) => offset < since.offset) : [];
    const read = [];
    for (let more = true; more; ) {
      const data = await request(`${pathOf(this.id)}/turns`, {
        params: { since: since?.message_id, limit: 1000, offset: read.length || null }, signal: this.controller.signal,
      });
      read.push(...data.turns);
      more = data.pagination.has_more;
    }
    this.setTurns([...known, ...read]);
  }

  /** The turn (an index) that a message is in. */
  turnOf(at) {
    let [low, high] = [0, this.turns.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.turns[middle].offset <= at) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** Say which messages are in sight: their parts, and those beside them, are read; others are not any more. */
  want(first, last) {
    const parts = [];
    for (let part = Math.floor(first / PART); part <= Math.floor(last / PART); part++) parts.push(part);
    const around = [...parts, parts.at(-1) + 1, parts[0] - 1].filter((part) => part >= 0 && part * PART < this.total);
    this.wanted = around;
    for (const [part, controller] of this.pending) {
      if (!around.includes(part)) controller.abort();
    }
    clearTimeout(this.timer);
    if (around.some((part) => !this.parts.has(part) && !this.pending.has(part) && !this.failures.has(part))) {
      this.timer = setTimeout(() => this.readWanted(), WAIT_MS);
    }
  }

  readWanted() {
    for (const part of this.wanted) {
      if (!this.parts.has(part) && !this.failures.has(part)) this.read(part);
    }
  }

  /** Read a part, or read it anew. */
  async read(part) {
    if (this.pending.has(part)) return;
    const controller = new AbortController();
    this.pending.set(part, controller);
    const signal = AbortSignal.any([controller.signal, this.controller.signal]);
    try {
      const data = await askMessages(this.id, { offset: part * PART || null, limit: PART }, signal);
      this.take(part, data);
    } catch (error) {
      if (!signal.aborted) {
        this.failures.set(part, error);
        this.change();
      }
    } finally {
      this.pending.delete(part);
    }
  }

  retry(part) {
    this.failures.delete(part);
    this.change();
    this.read(part);
  }

  take(part, { messages, pagination }) {
    this.parts.delete(part);
    this.parts.set(part, { messages, rows: null });
    this.failures.delete(part);
    this.total = pagination.total;
    for (const old of [...this.parts.keys()]) {
      if (this.parts.size <= KEPT_PARTS) break;
      if (!this.wanted.includes(old)) this.parts.delete(old);
    }
    this.change();
  }

  /** Read the part that a message is in, and return its row as `{row, inside}`; null when it is not there. */
  async find(messageId) {
    const known = findRow(this.rows(), messageId);
    if (known) return known;
    const { signal } = this.controller;
    const data = await askMessages(this.id, { around: messageId, limit: PART }, signal);
    const part = data.pagination.offset / PART;
    this.wanted = [part];
    this.take(part, data);
    const { kind } = data.messages.find(({ id }) => id === messageId) ?? {};
    const found = findRow(this.rows(), messageId);
    if (found || kind !== "tool_result") return found ?? this.nearest(messageId);
    // A result is shown with the use, which may be in the part before.
    const { blocks } = await request(`/api/messages/${encodeURIComponent(messageId)}`, { params: { fields: "blocks" }, signal });
    const toolUseId = blocks?.find(({ type }) => type === "tool_result")?.tool_use_id;
    if (toolUseId && part && !findRow(this.rows(), null, toolUseId)) {
      this.wanted = [part - 1, part];
      await this.read(part - 1);
    }
    return (toolUseId && findRow(this.rows(), null, toolUseId)) || this.nearest(messageId);
  }

  /** A message that has no row of its own is shown by what stands before it. */
  nearest(messageId) {
    for (const [part, { messages }] of this.parts) {
      const index = messages.findIndex(({ id }) => id === messageId);
      if (index < 0) continue;
      const at = part * PART + index;
      const row = this.rows().findLast((one) => one.type !== "part" && one.at <= at);
      return row ? { row, inside: null } : null;
    }
    return null;
  }

  /** Read anew what came to be at the end. */
  async readEnd() {
    const last = this.turns.at(-1);
    await this.readTurns(last ?? null);
    const parts = new Set([Math.floor(Math.max(0, this.total - 1) / PART)]);
    for (const [part, { messages }] of this.parts) {
      if (messages.length < PART) parts.add(part);
    }
    await Promise.all([...parts].map((part) => (this.parts.has(part) || this.wanted.includes(part) ? this.read(part) : null)));
  }

  /** Read a message's part anew, if it is there. */
  readAgain(messageId) {
    for (const [part, { messages }] of this.parts) {
      if (messages.some(({ id }) => id === messageId)) {
        this.whole.delete(messageId);
        return this.read(part);
      }
    }
    return null;
  }

  /** Forget all, and read it anew: the transcript was written anew. */
  async readAllAgain() {
    this.parts.clear();
    this.whole.clear();
    this.turns = [];
    this.total = 0;
    await this.readTurns();
    this.readWanted();
  }

  exchange(messageId) {
    for (const part of this.parts.values()) {
      if (part.messages.some(({ id }) => id === messageId)) part.rows = null;
    }
    this.change();
  }

  change() {
    this.cache = null;
    this.tell();
  }

  /** All rows; what is not read yet is a row of the type `part`. */
  rows() {
    this.cache ??= Array.from({ length: Math.ceil(this.total / PART) }, (_, part) => this.rowsOf(part)).flat();
    return this.cache;
  }

  rowsOf(part) {
    const read = this.parts.get(part);
    const at = part * PART;
    if (!read) {
      const count = Math.min(PART, this.total - at);
      const height = this.heights.get(part) ?? count * EMPTY_ROW_HEIGHT;
      return [{ key: `part-${part}`, type: "part", part, at, count, height, error: this.failures.get(part) ?? null }];
    }
    read.rows ??= makeRows(this.withWhole(read.messages), at, (offset) => this.turnAt.get(offset) ?? null);
    return read.rows;
  }

  /** Rows of a turn that are read. */
  rowsOfTurn(index) {
    const from = this.turns[index]?.offset ?? 0;
    const to = this.turns[index + 1]?.offset ?? this.total;
    return this.rows().filter((row) => row.type !== "part" && row.at >= from && row.at < to);
  }

  /** Open or close all that can be in a turn. */
  toggleTurn(index) {
    const rows = this.rowsOfTurn(index).filter((row) => isOpenable(row) && row.type !== "branch");
    this.setOpen(rows, rows.some((row) => !this.isOpen(row)));
  }
}

/** A conversation inside another: from its beginning on, as far as one wants. */
export class InnerReading extends Reading {
  constructor(id) {
    super(id);
    this.messages = [];
    this.cursor = null;
    this.total = null;
    this.isReading = false;
    this.error = null;
  }

  async more() {
    if (this.isReading) return;
    this.isReading = true;
    this.error = null;
    this.tell();
    try {
      const data = await askMessages(this.id, { cursor: this.cursor, limit: PART }, this.controller.signal);
      this.messages = [...this.messages, ...data.messages];
      this.cursor = data.pagination.next_cursor;
      this.total = data.pagination.total;
    } catch (error) {
      if (this.controller.signal.aborted) return;
      this.error = error;
    }
    this.isReading = false;
    this.tell();
  }

  exchange() {
    this.tell();
  }

  rows() {
    return makeRows(this.withWhole(this.messages), 0, () => null);
  }
}
