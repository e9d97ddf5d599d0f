// Stacked bars over time, with a tooltip: uPlot, loaded with the first chart.
import uPlot from "../../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { colourOf } from "./legend.js";

const STYLE = new URL("../../vendor/uplot.css", import.meta.url).href;

function loadStyle() {
  const known = document.querySelector(`link[href="${STYLE}"]`);
  if (known) return known.isLoaded ?? Promise.resolve();
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = STYLE;
  link.isLoaded = new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
  });
  document.head.append(link);
  return link.isLoaded;
}

const property = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Return the sums from the first part on: the last one is the height of the whole. */
function pile(parts, length) {
  const sums = new Array(length).fill(0);
  return parts.map(({ values }) => values.map((value, index) => (sums[index] += value ?? 0)));
}

const MONTH_SECONDS = 27 * 86_400;
const TICK_PX = 64;

/** Return the bars that are named: as many as there is room for, in even steps. */
function chooseTicks(starts, width) {
  const every = Math.max(1, Math.ceil((starts.length * TICK_PX) / Math.max(width, 1)));
  return starts.filter((_, index) => index % every === 0);
}

function nameTicks(ticks, step) {
  const language = navigator.language || "en";
  const isMonths = step >= MONTH_SECONDS;
  const usual = new Intl.DateTimeFormat(language, isMonths ? { month: "short" } : { day: "numeric", month: "short" });
  const ofYear = new Intl.DateTimeFormat(language, { month: "short", year: "numeric" });
  let year = null;
  return ticks.map((tick) => {
    const moment = new Date(tick * 1000);
    const isNew = moment.getFullYear() !== year;
    year = moment.getFullYear();
    return (isMonths && isNew ? ofYear : usual).format(moment);
  });
}

function makeOptions({ element, parts, starts, formatAxis, onCursor, syncKey }) {
  const grid = property("--line");
  const text = property("--text-3");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const step = starts.length > 1 ? starts[1] - starts[0] : 86400;
  // The highest sum is drawn first, and what is below stands before it.
  const series = parts.map((_, index) => ({
    fill: property(`--chart-${colourOf(index)}`), width: 0, points: { show: false },
    paths: uPlot.paths.bars({ size: [0.76, 40], radius: 0 }),
  })).reverse();
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: syncKey } },
    scales: {
      x: { time: true, range: () => [starts[0] - step * 0.6, starts.at(-1) + step * 0.6] },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] },
    },
    axes: [
      {
        stroke: text, font, grid: { show: false }, ticks: { show: false }, size: 26, gap: 6, space: 64,
        splits: (plot) => chooseTicks(starts, plot.bbox.width / devicePixelRatio),
        values: (_, ticks) => nameTicks(ticks, step),
      },
      {
        stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 6, space: 36,
        size: (_, values) => 14 + 6.4 * Math.max(3, ...(values ?? []).map((value) => String(value).length)),
        values: (_, ticks) => ticks.map((tick) => formatAxis(tick)),
      },
    ],
    series: [{}, ...series],
    hooks: { setCursor: [onCursor] },
  };
}

/**
 * A chart of bars.
 *
 * @param {number[]} starts When each bar begins, in Unix seconds.
 * @param {{name: string, values: number[]}[]} parts What each is piled up of, from below.
 * @param {string[]} labels The name of each bar.
 * @param {Function} format A value as text; `formatAxis` as short text.
 * @param {string} description What the chart shows, for who does not see it.
 * @param {string} syncKey Charts with the same one show the same bar.
 */
export function Bars({ starts, parts, labels, format, formatAxis, description, syncKey, className = "" }) {
  const element = useRef(null);
  const [hovered, setHovered] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const redraw = () => setTurn((number) => number + 1);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    window.addEventListener("themechange", redraw);
    scheme.addEventListener("change", redraw);
    return () => {
      window.removeEventListener("themechange", redraw);
      scheme.removeEventListener("change", redraw);
    };
  }, []);
  useEffect(() => {
    let chart = null;
    let isGone = false;
    const box = element.current;
    const onCursor = (plot) => {
      const { left, idx } = plot.cursor;
      setHovered(left >= 0 && idx !== null && idx !== undefined ? { index: idx, x: plot.valToPos(starts[idx], "x") + plot.over.offsetLeft } : null);
    };
    const observer = new ResizeObserver(() => chart?.setSize({ width: box.clientWidth, height: box.clientHeight }));
    loadStyle().then(() => {
      if (isGone) return;
      chart = new uPlot(
        makeOptions({ element: box, parts, starts, formatAxis, onCursor, syncKey }),
        [starts, ...pile(parts, starts.length).reverse()],
        box,
      );
      observer.observe(box);
    });
    return () => {
      isGone = true;
      observer.disconnect();
      chart?.destroy();
    };
  }, [starts, parts, turn]);
  return html`<div class=${`chart ${className}`}>
    <div ref=${element} role="img" aria-label=${description} style=${{ height: "100%" }}></div>
    ${hovered && html`<${Tip} ...${{ hovered, parts, labels, format, box: element.current }} />`}
  </div>`;
}

function Tip({ hovered: { index, x }, parts, labels, format, box }) {
  const isRight = x > box.clientWidth / 2;
  const shown = parts.map(({ name, values }, number) => ({ name, number, value: values[index] ?? 0 })).filter(({ value }) => value);
  const sum = shown.reduce((total, { value }) => total + value, 0);
  return html`<div class="tip" aria-hidden="true" style=${{ transform: `translate(${isRight ? "calc(-100% - 12px)" : "28px"}, 0)`, left: `${x}px` }}>
    <div class="tip-row tip-sum"><span>${labels[index]}</span><span class="number">${format(sum)}</span></div>
    ${shown.sort((a, b) => b.value - a.value).map(({ name, number, value }) => html`<div class="tip-row" key=${name}>
      <span class=${`swatch swatch-${colourOf(number)}`}></span><span class="clip">${name}</span><span class="number">${format(value)}</span></div>`)}
  </div>`;
}
