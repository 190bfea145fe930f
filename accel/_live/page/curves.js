/** The loss curves of a race, by uPlot: distance from the optimum, logarithmic, against steps. */

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { placeOf } from "./race.js";
import { countText, powerOfTen } from "./words.js";

/** Distances smaller than this part of the first one are rounding, and are not shown. */
const FLOOR = 1e-14;

/** Where step 0 stands on a logarithmic axis. */
const FIRST = 0.5;

/** The least and the largest distance that the axis has to show: whole powers of ten. */
function bounds(race) {
  const seen = race.lanes.flatMap(({ course }) => course.losses)
    .filter((loss) => loss > FLOOR * race.startLoss);
  const least = Math.min(race.target / 3, ...seen);
  const most = race.startLoss * (race.lanes.some(({ course }) => course.divergedAt) ? 1e3 : 2);
  return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most))];
}

/** Powers of ten between two of them, at most nine. */
function decades(least, most) {
  const [first, last] = [least, most].map((bound) => Math.round(Math.log10(bound)));
  const gap = Math.ceil((last - first) / 8);
  const count = Math.floor((last - first) / gap) + 1;
  return Array.from({ length: count }, (_, i) => 10 ** (last - gap * (count - 1 - i)));
}

/** How a lane is drawn: a line of its depth's colour on a wider one of its shade; or dashes. */
function seriesOf(lane, theme) {
  const label = `${lane.endToEnd ? "rule, " : ""}depth ${lane.depth}`;
  const common = { label, points: { show: false }, spanGaps: false };
  if (lane.endToEnd) {
    return [{ ...common, stroke: theme.ink(lane.depth), width: 2, dash: [5, 5] }];
  }
  return [
    { ...common, label: `${label}, edge`, stroke: theme.ink(lane.depth), width: 4 },
    { ...common, stroke: theme.depth(lane.depth), width: 2.5 },
  ];
}

/** The chart in an element; it follows the element's size. */
export class Curves {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.plot = null;
    this.step = 0;
    new ResizeObserver(() => this.plot?.setSize(this.#size())).observe(element);
  }

  #size() {
    const { width, height } = this.element.getBoundingClientRect();
    return { width: Math.max(200, Math.floor(width)), height: Math.max(180, Math.floor(height)) };
  }

  /** Show another race, or the same one in other colours. */
  show(race, theme) {
    this.plot?.destroy();
    this.race = race;
    this.theme = theme;
    const [least, most] = bounds(race);
    const { logSteps, steps } = race.settings;
    const everyDecade = { splits: () => decades(1, 10 ** Math.floor(Math.log10(steps))) };
    const axis = {
      stroke: theme.muted, font: theme.font, labelFont: theme.font, labelSize: 20,
      grid: { stroke: theme.line, width: 1 }, ticks: { stroke: theme.line, width: 1 },
    };
    const options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { show: false },
      padding: [12, 16, 0, 0],
      scales: {
        x: { time: false, distr: logSteps ? 3 : 1, range: [logSteps ? FIRST : 0, steps] },
        y: { distr: 3, range: [least, most] },
      },
      axes: [
        {
          ...axis, size: 34, label: "steps", labelGap: -4, filter: (_, values) => values,
          values: (_, values) => values.map(countText), ...(logSteps ? everyDecade : {}),
        },
        {
          ...axis, size: 48, splits: () => decades(least, most), filter: (_, values) => values,
          values: (_, values) => values.map((value) => powerOfTen(Math.round(Math.log10(value)))),
        },
      ],
      series: [{}, ...race.lanes.flatMap((lane) => seriesOf(lane, theme))],
      hooks: { draw: [(plot) => this.#mark(plot)] },
    };
    this.plot = new uPlot(options, this.#upTo(this.step), this.element);
  }

  /** Show the curves up to a step. */
  moveTo(step) {
    this.step = step;
    this.plot?.setData(this.#upTo(step), false);
    this.plot?.redraw();
  }

  #upTo(step) {
    const place = placeOf(this.race, step);
    const columns = this.race.lanes.flatMap(({ endToEnd, course }) => {
      const shown = course.losses.map((loss, i) => (i <= place && loss > 0 ? loss : null));
      return endToEnd ? [shown] : [shown, shown];
    });
    const first = this.race.settings.logSteps ? FIRST : 0;
    return [this.race.at.map((at) => Math.max(at, first)), ...columns];
  }

  /** The target, the ends of the curves so far, and crosses where runs have diverged. */
  #mark(plot) {
    const { ctx, bbox } = plot;
    const { race, theme, step } = this;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - 8 * ratio, bbox.width + 8 * ratio, bbox.height + 16 * ratio);
    ctx.clip();
    const y = plot.valToPos(race.target, "y", true);
    ctx.strokeStyle = theme.muted;
    ctx.lineWidth = ratio;
    ctx.setLineDash([6 * ratio, 5 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = theme.muted;
    ctx.font = theme.font.replace("12px", `${12 * ratio}px`);
    ctx.textAlign = "left";
    ctx.fillText("target", bbox.left + 4 * ratio, y - 5 * ratio);
    const place = placeOf(race, step);
    for (const { depth, endToEnd, course } of race.lanes) {
      if (endToEnd) continue;
      const last = Math.min(place, course.path.length - 1);
      const loss = course.losses[last];
      if (loss < plot.scales.y.min) continue;
      const at = plot.valToPos(Math.max(race.at[last], plot.scales.x.min), "x", true);
      const height = Math.max(bbox.top, plot.valToPos(loss, "y", true));
      ctx.fillStyle = theme.depth(depth);
      ctx.strokeStyle = theme.ink(depth);
      ctx.lineWidth = 1.5 * ratio;
      ctx.beginPath();
      if (course.divergedAt !== null && place >= course.path.length) {
        const arm = 6 * ratio;
        ctx.lineWidth = 3 * ratio;
        ctx.moveTo(at - arm, height - arm);
        ctx.lineTo(at + arm, height + arm);
        ctx.moveTo(at - arm, height + arm);
        ctx.lineTo(at + arm, height - arm);
      } else {
        ctx.arc(at, height, 4.5 * ratio, 0, 2 * Math.PI);
        ctx.fill();
      }
      ctx.stroke();
    }
    ctx.restore();
  }
}
