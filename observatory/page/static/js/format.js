// Numbers, money and times as people read them, in the viewer's language and zone.
const LOCALE = navigator.language || "en";
export const TIMEZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
/** What stands where nothing is known. */
export const NOTHING = "–";

const whole = new Intl.NumberFormat(LOCALE);
const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 3 });
const dollars = new Intl.NumberFormat(LOCALE, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });
const shortDollars = new Intl.NumberFormat(LOCALE, {
  style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", notation: "compact",
  minimumFractionDigits: 0, maximumFractionDigits: 1,
});
const shares = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 1 });
const changes = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero" });
const tenths = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto", style: "short" });
const dateTimes = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });
const exactTimes = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(LOCALE, { timeStyle: "short" });
const days = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });
const daysOfYear = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const utcDays = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeZone: "UTC" });
const utcMonths = new Intl.DateTimeFormat(LOCALE, { month: "long", year: "numeric", timeZone: "UTC" });

const isKnown = (value) => value !== null && value !== undefined;

/** 12,876,455 */
export const count = (value) => (isKnown(value) ? whole.format(value) : NOTHING);
// English has several ways to shorten: here it is 12.3k, 167M and 2.1B everywhere.
const SUFFIXES = { K: "k", m: "M", bn: "B", b: "B", tn: "T", t: "T" };
const shorten = (format, value) =>
  LOCALE.startsWith("en")
    ? format.formatToParts(value).map(({ type, value: part }) => (type === "compact" ? SUFFIXES[part] ?? part : part)).join("")
    : format.format(value);

/** 9.6 */
export const tenth = (value) => tenths.format(value);
/** 12.9M */
export const compact = (value) => (isKnown(value) ? shorten(short, value) : NOTHING);
/** 94.3% of a share from 0 to 1 */
export const percent = (share) => (isKnown(share) ? shares.format(share) : NOTHING);
/** +12% of a share; nothing when there is none */
export const change = (share) => (isKnown(share) ? changes.format(share) : "");

/**
 * $1.23 of microdollars; `isComplete` false says that there is more, whose price is not known. What
 * is less than a cent is not nothing.
 */
export function money(microdollars, isComplete = true) {
  if (!isKnown(microdollars)) return NOTHING;
  const value = microdollars / 1e6;
  if (!isComplete) return `≥\u00a0${dollars.format(Math.floor(value * 100) / 100)}`;
  return value > 0 && value < 0.005 ? `<\u00a0${dollars.format(0.01)}` : dollars.format(value);
}

/** $1.2k of microdollars, for axes. */
export const compactMoney = (microdollars) => shorten(shortDollars, microdollars / 1e6);

/** 1.8 s, 4 min, 2 h 5 min of milliseconds. */
export function duration(ms) {
  if (!isKnown(ms)) return NOTHING;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? tenths.format(seconds) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

/** 1.4 MB of bytes. */
export function size(bytes) {
  if (!isKnown(bytes)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 100 ? tenths.format(value) : Math.round(value)} ${units[unit]}`;
}

const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 7]];

/** “5 min ago”, and from a week on the day. */
export function ago(time, now = Date.now()) {
  const moment = new Date(time);
  let past = (moment.getTime() - now) / 1000;
  if (Math.abs(past) < 45) return "just now";
  for (const [unit, most] of STEPS) {
    if (Math.abs(past) < most) return relative.format(Math.round(past), unit);
    past /= most;
  }
  return day(moment, now);
}

/** The day of a time; its year when that is another one. */
export function day(time, now = Date.now()) {
  const moment = new Date(time);
  const isThisYear = moment.getFullYear() === new Date(now).getFullYear();
  return (isThisYear ? daysOfYear : days).format(moment);
}

export const dateTime = (time) => dateTimes.format(new Date(time));
export const exactTime = (time) => exactTimes.format(new Date(time));
export const timeOfDay = (time) => clock.format(new Date(time));

/** A row's `date` of a report: a day, or a month. */
export const reportDate = (date) =>
  (date.length === 7 ? utcMonths : utcDays).format(new Date(`${date.length === 7 ? `${date}-01` : date.slice(0, 10)}T00:00:00Z`));

/** The names of the days of the week, from Monday on. */
export function weekdays(style = "short") {
  const names = new Intl.DateTimeFormat(LOCALE, { weekday: style, timeZone: "UTC" });
  return Array.from({ length: 7 }, (_, index) => names.format(Date.UTC(2024, 0, 1 + index)));
}

/** An hour of the day, such as “3 PM” or “15:00”. */
export function hour(number) {
  return new Intl.DateTimeFormat(LOCALE, { hour: "numeric", timeZone: "UTC" }).format(Date.UTC(2024, 0, 1, number));
}

/** The same where it stands alone: “15:00” and not “15”. */
export const hourOfDay = (number) => (/^\d+$/.test(hour(number)) ? `${hour(number)}:00` : hour(number));

/** A model without its maker's name and day, as one would say it. */
export function modelName(model) {
  return model.replace(/^claude-/, "").replace(/-\d{8}$/, "");
}

const partsOf = (path) => path.split(/[\\/]/).filter(Boolean);
const sameNames = new Set();

/** Note which projects there are: of the same name several are told apart by their parent folder. */
export function learnProjects(paths) {
  const seen = new Map();
  for (const path of paths) {
    const name = partsOf(path).pop();
    if (seen.has(name) && seen.get(name) !== path) sameNames.add(name);
    seen.set(name, path);
  }
}

/** What a project is called: the last part of its path, with the one before where that is needed. */
export function projectName(path) {
  if (!path) return "no project";
  const parts = partsOf(path);
  const name = parts.at(-1) ?? path;
  return sameNames.has(name) && parts.length > 1 ? `${parts.at(-2)}/${name}` : name;
}

/** A path as its last part and all before that. */
export function splitPath(path) {
  const end = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1;
  return [path.slice(end) || path, end < path.length ? path.slice(0, end) : ""];
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
