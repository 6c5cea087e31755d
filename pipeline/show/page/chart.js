// Charts over steps: uPlot with the colours of the page, and what is drawn over it.

import uPlot from "./vendor/uPlot.js";
import { plain, short } from "./dom.js";

/** The colour that a variable of the style sheet has now. */
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.setProperty("color", `var(--${name})`);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** `x` and `values` where each value holds over its column: a step reaches half to either side. */
export function stepped(columns, ...values) {
  const xs = columns.map((one) => one.first_step - 0.5);
  xs.push(columns.at(-1).last_step + 0.5);
  return [xs, ...values.map((list) => [...list, list.at(-1)])];
}

const holds = uPlot.paths.stepped({ align: 1 });

/** A series that holds its value, filled down to 0 if it has `fill`. */
export const series = (options) => ({ width: 1, points: { show: false }, paths: holds, ...options });

/**
 * A chart of steps in `holder`, which fills its width. `draw(plot)` paints over it.
 * onZoom(first, last), onStep(step) and onHover(column | null) are called with whole steps.
 */
export function makeChart(
  holder,
  { data, height, series: list, bands, range, format, axisX = true, draw, onZoom, onStep, onHover, sync },
) {
  const ink = colour("ink-soft");
  const line = colour("line");
  const axis = {
    stroke: ink,
    font: "12px system-ui, sans-serif",
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 4 },
  };
  const xs = data[0];
  const plot = new uPlot(
    {
      width: Math.max(holder.clientWidth, 200),
      height,
      padding: [draw ? 18 : 8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { show: false },
        sync: sync && { key: sync, setSeries: false },
        drag: { x: Boolean(onZoom), y: false, setScale: false },
        bind: { dblclick: () => null },
      },
      select: { show: Boolean(onZoom) },
      scales: {
        x: { time: false, range: [xs[0], xs.at(-1)] },
        y: { range: range ?? ((_, low, high) => [0, high > 0 ? high * 1.05 : 1]) },
      },
      axes: [
        {
          ...axis,
          size: axisX ? 30 : 6,
          values: axisX
            ? (_, ticks) => ticks.map((one) => (Number.isInteger(one) ? short(one) : ""))
            : () => [],
        },
        { ...axis, size: 54, gap: 4, space: 28, values: (_, ticks) => ticks.map(format) },
      ],
      series: [{}, ...list],
      bands,
      hooks: {
        draw: draw ? [draw] : [],
        setSelect: [
          (self) => {
            const [low, high] = [
              self.posToVal(self.select.left, "x"),
              self.posToVal(self.select.left + self.select.width, "x"),
            ];
            self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            if (onZoom && self.dragged > 4)
              onZoom(Math.round(low), Math.max(Math.round(low), Math.round(high)));
          },
        ],
        setCursor: [(self) => onHover?.(columnAt(self, xs))],
      },
    },
    data,
    holder,
  );
  const stop = new AbortController();
  watchMouse(plot, xs, onStep, stop.signal);
  const observer = new ResizeObserver(() =>
    plot.setSize({ width: Math.max(holder.clientWidth, 200), height }),
  );
  observer.observe(holder);
  return {
    plot,
    destroy() {
      stop.abort();
      observer.disconnect();
      plot.destroy();
    },
  };
}

function columnAt(plot, xs) {
  if (plot.cursor.left == null || plot.cursor.left < 0) return null;
  const step = plot.posToVal(plot.cursor.left, "x");
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= step) low = middle;
    else high = middle;
  }
  return low;
}

/** Tell a click from a drag by how far the pointer went, on the chart where it began. */
function watchMouse(plot, xs, onStep, signal) {
  let start = null;
  plot.dragged = 0;
  plot.over.addEventListener("mousedown", (event) => {
    start = event.clientX;
  });
  addEventListener(
    "mouseup",
    (event) => {
      plot.dragged = start === null ? 0 : Math.abs(event.clientX - start);
      start = null;
    },
    { capture: true, signal },
  );
  plot.over.addEventListener("click", (event) => {
    if (plot.dragged > 4 || !onStep) return;
    const step = Math.round(plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x"));
    onStep(Math.min(Math.max(step, xs[0] + 0.5), xs.at(-1) - 0.5));
  });
}

/** Paint ticks with the names of checkpoints; a name that has no room is left out. */
export function drawCheckpoints(plot, checkpoints) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("ink");
  ctx.fillStyle = colour("ink");
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  let end = -Infinity;
  for (const one of checkpoints) {
    const x = Math.round(plot.valToPos(one.last_step + 0.5, "x", true)) - 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - 3 * ratio);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.globalAlpha = 0.55;
    ctx.stroke();
    ctx.globalAlpha = 1;
    const name = plain(one.name);
    const width = ctx.measureText(name).width;
    const left = Math.max(bbox.left, Math.min(x - width / 2, bbox.left + bbox.width - width));
    if (left < end + 8 * ratio) continue;
    ctx.fillText(name, left, bbox.top - 6 * ratio);
    end = left + width;
  }
  ctx.restore();
}

/** Paint marks under the columns that are listed. */
export function drawMarks(plot, xs, columns, name) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour(name);
  for (const column of columns) {
    const left = plot.valToPos(xs[column], "x", true);
    const right = plot.valToPos(xs[column + 1], "x", true);
    ctx.fillRect(
      left,
      bbox.top + bbox.height - 5 * devicePixelRatio,
      Math.max(right - left, 2 * devicePixelRatio),
      5 * devicePixelRatio,
    );
  }
  ctx.restore();
}
