// The times that reports are asked of, and the bars that they are drawn as.
import * as format from "./format.js";

export const PERIODS = {
  "7d": { label: "7 days", days: 7, unit: "day" },
  "30d": { label: "30 days", days: 30, unit: "day" },
  "90d": { label: "90 days", days: 90, unit: "day" },
  "1y": { label: "Year", days: 365, unit: "week" },
  all: { label: "All", days: null, unit: "month" },
};
export const USUAL_PERIOD = "30d";
/** Before anything that is in an archive. */
export const LONG_AGO = "2023-01-01";

const dayOf = (date) =>
  `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

/** Return `{name, label, days, unit, period}` of what the address says; `period` is what reports take. */
export function readPeriod(query) {
  const name = Object.hasOwn(PERIODS, query.period) ? query.period : USUAL_PERIOD;
  const { days } = PERIODS[name];
  const now = new Date();
  const from = days ? dayOf(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1)) : LONG_AGO;
  return { name, ...PERIODS[name], period: { from, to: dayOf(now), timezone: format.TIMEZONE } };
}

/** Return the beginnings of all days, weeks or months between two, which no bar may be missing of. */
export function binsBetween(first, last, unit) {
  const bins = [];
  const [year, month, day = 1] = first.split("-").map(Number);
  const at = new Date(year, month - 1, day);
  if (unit === "week") at.setDate(at.getDate() - ((at.getDay() + 6) % 7));
  if (unit === "month") at.setDate(1);
  for (; bins.length < 2000; ) {
    const name = unit === "month" ? dayOf(at).slice(0, 7) : dayOf(at);
    if (name > last) break;
    bins.push({ name, start: at.getTime() / 1000 });
    if (unit === "month") at.setMonth(at.getMonth() + 1);
    else at.setDate(at.getDate() + (unit === "week" ? 7 : 1));
  }
  return bins;
}

/** Return the names of bars. */
export const nameBins = (bins, unit) =>
  bins.map(({ name }) => (unit === "week" ? `Week of ${format.reportDate(name)}` : format.reportDate(name)));

/**
 * Return what a chart is drawn from: `{starts, labels, parts}`, or null when there is nothing.
 *
 * @param {object[]} rows Of a report over time.
 * @param {object} when What `readPeriod` told.
 * @param {[string, Function][]} wanted The name of each part, and what it is of a row.
 */
export function pileRows(rows, { unit, days, period: { from, to } }, wanted) {
  if (!rows.length) return null;
  const last = unit === "month" ? to.slice(0, 7) : to;
  const bins = binsBetween(days ? from : rows[0].date, days ? last : rows.at(-1).date, unit);
  const byDate = new Map(rows.map((row) => [row.date, row]));
  const parts = wanted.map(([name, value]) => ({ name, values: bins.map((bin) => (byDate.has(bin.name) ? value(byDate.get(bin.name)) ?? 0 : 0)) }));
  if (!parts.some(({ values }) => values.some(Boolean))) return null;
  return { starts: bins.map(({ start }) => start), labels: nameBins(bins, unit), parts };
}
