/**
 * The plane of the end-to-end vector w: contours of the loss, the vector field of the end-to-end
 * rule, and the trajectories of all runs. Both axes have scales of their own.
 */

import { fieldOf, placeOf } from "./race.js";
import { numberText } from "./words.js";

const LEFT = 44;
const RIGHT = 14;
const TOP = 12;
const BOTTOM = 40;
/** Pixels between two arrows, and their length. */
const SPACING = 34;
const ARROW = 15;

/** The part of the plane that is shown: [least, most] of w_1 and of w_2. */
function windowOf(race) {
  return race.problem.optimum.map((best, i) => {
    const seen = race.lanes.filter(({ course }) => course.divergedAt === null)
      .flatMap(({ course }) => course.path.map((w) => w[i]));
    const least = Math.max(-0.9 * best, Math.min(-0.15 * best, ...seen));
    const most = Math.min(2.2 * best, Math.max(1.3 * best, ...seen));
    const margin = 0.06 * (most - least);
    return [least - margin, most + margin];
  });
}

/** Round numbers within an interval, at most seven. */
function ticks([least, most]) {
  const rough = (most - least) / 6;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((each) => each >= rough);
  const first = Math.ceil(least / step);
  const count = Math.floor(most / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/** The picture in a canvas; it follows the size of the element around it. */
export class Plane {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.step = 0;
    /** Contours and field, which do not change while a race runs. */
    this.ground = document.createElement("canvas");
    new ResizeObserver(() => this.#layOut()).observe(canvas.parentElement);
  }

  /** Show another race, or the same one in other colours. */
  show(race, theme) {
    this.race = race;
    this.theme = theme;
    this.window = windowOf(race);
    this.#layOut();
  }

  /** Show the trajectories up to a step. */
  moveTo(step) {
    this.step = step;
    this.#draw();
  }

  #layOut() {
    if (!this.race) return;
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    const ratio = devicePixelRatio;
    this.width = Math.max(200, Math.floor(width));
    this.height = Math.max(180, Math.floor(height));
    for (const canvas of [this.canvas, this.ground]) {
      canvas.width = this.width * ratio;
      canvas.height = this.height * ratio;
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.#drawGround();
    this.#draw();
  }

  /** Where a vector lies in the picture. */
  #place([first, second]) {
    const [[left, right], [low, high]] = this.window;
    return [
      LEFT + ((first - left) / (right - left)) * (this.width - LEFT - RIGHT),
      this.height - BOTTOM - ((second - low) / (high - low)) * (this.height - TOP - BOTTOM),
    ];
  }

  #clip(ctx) {
    ctx.beginPath();
    ctx.rect(LEFT, TOP, this.width - LEFT - RIGHT, this.height - TOP - BOTTOM);
    ctx.clip();
  }

  #drawGround() {
    const ctx = this.ground.getContext("2d");
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.save();
    this.#clip(ctx);
    this.#contours(ctx);
    this.#arrows(ctx);
    ctx.restore();
    this.#axes(ctx);
  }

  /** Contours |w_1 - w*_1|^p + |s (w_2 - w*_2)|^p = radius^p; the radius halves from one to the next. */
  #contours(ctx) {
    const { optimum, scale, p } = this.race.problem;
    ctx.strokeStyle = this.theme.line;
    ctx.fillStyle = this.theme.valley;
    for (let k = -2; k < 10; k++) {
      const radius = optimum[0] / 2 ** k;
      ctx.beginPath();
      for (let i = 0; i <= 240; i++) {
        const angle = (i / 120) * Math.PI;
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        const along = radius * Math.sign(c) * Math.abs(c) ** (2 / p);
        const across = (radius / scale[1]) * Math.sign(s) * Math.abs(s) ** (2 / p);
        ctx.lineTo(...this.#place([optimum[0] + along, optimum[1] + across]));
      }
      ctx.fill();
      ctx.stroke();
    }
  }

  /** Arrows along minus the field: all of one length, the paler the shorter the vector. */
  #arrows(ctx) {
    const F = fieldOf(this.race);
    const [[left, right], [low, high]] = this.window;
    const inner = [this.width - LEFT - RIGHT, this.height - TOP - BOTTOM];
    const counts = inner.map((length) => Math.max(4, Math.round(length / SPACING)));
    const arrows = [];
    for (let i = 0; i < counts[0]; i++) {
      for (let j = 0; j < counts[1]; j++) {
        const w = [
          left + ((i + 0.5) / counts[0]) * (right - left),
          low + ((j + 0.5) / counts[1]) * (high - low),
        ];
        const [first, second] = F(w);
        const move = [(-first * inner[0]) / (right - left), (second * inner[1]) / (high - low)];
        const size = Math.hypot(...move);
        if (size > 0) arrows.push({ at: this.#place(w), move: move.map((m) => m / size), size });
      }
    }
    const logs = arrows.map(({ size }) => Math.log(size));
    const [least, most] = [Math.min(...logs), Math.max(...logs)];
    ctx.strokeStyle = ctx.fillStyle = this.theme.ink(this.race.settings.field);
    ctx.lineWidth = 1.2;
    for (const { at: [x, y], move: [dx, dy], size } of arrows) {
      ctx.globalAlpha = 0.18 + (0.5 * (Math.log(size) - least)) / (most - least || 1);
      const tip = [x + (dx * ARROW) / 2, y + (dy * ARROW) / 2];
      ctx.beginPath();
      ctx.moveTo(x - (dx * ARROW) / 2, y - (dy * ARROW) / 2);
      ctx.lineTo(...tip);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(...tip);
      ctx.lineTo(tip[0] - 5 * dx - 2.5 * dy, tip[1] - 5 * dy + 2.5 * dx);
      ctx.lineTo(tip[0] - 5 * dx + 2.5 * dy, tip[1] - 5 * dy - 2.5 * dx);
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  }

  #axes(ctx) {
    const { theme, width, height } = this;
    ctx.strokeStyle = theme.line;
    ctx.strokeRect(LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM);
    ctx.fillStyle = theme.muted;
    ctx.font = theme.font;
    ctx.textAlign = "center";
    for (const tick of ticks(this.window[0])) {
      ctx.fillText(numberText(tick), this.#place([tick, 0])[0], height - BOTTOM + 16);
    }
    ctx.fillText("w₁", LEFT + (width - LEFT - RIGHT) / 2, height - 7);
    ctx.textAlign = "right";
    for (const tick of ticks(this.window[1])) {
      ctx.fillText(numberText(tick), LEFT - 6, this.#place([0, tick])[1] + 4);
    }
    ctx.textAlign = "left";
    ctx.fillText("w₂", 4, TOP + (height - TOP - BOTTOM) / 2 + 4);
  }

  #draw() {
    if (!this.race) return;
    const ctx = this.canvas.getContext("2d");
    const { race, theme } = this;
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.drawImage(this.ground, 0, 0, this.width, this.height);
    ctx.save();
    this.#clip(ctx);
    const place = placeOf(race, this.step);
    for (const lane of race.lanes) this.#trajectory(ctx, lane, place);
    this.#star(ctx, this.#place(race.problem.optimum));
    ctx.strokeStyle = theme.text;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(...this.#place(race.start), 7, 0, 2 * Math.PI);
    ctx.stroke();
    ctx.restore();
  }

  #trajectory(ctx, { depth, endToEnd, course }, place) {
    const { theme } = this;
    const path = course.path.slice(0, place + 1).map((w) => this.#place(w));
    const line = new Path2D();
    for (const point of path) line.lineTo(...point.map((x) => Math.max(-1e4, Math.min(1e4, x))));
    ctx.lineJoin = "round";
    if (endToEnd) {
      ctx.setLineDash([5, 5]);
      ctx.strokeStyle = theme.ink(depth);
      ctx.lineWidth = 2;
      ctx.stroke(line);
      ctx.setLineDash([]);
      return;
    }
    for (const [color, width] of [[theme.ink(depth), 3.5], [theme.depth(depth), 2]]) {
      ctx.strokeStyle = color;
      ctx.lineWidth = width;
      ctx.stroke(line);
    }
    if (course.divergedAt !== null && place >= course.path.length) return;
    ctx.fillStyle = theme.depth(depth);
    ctx.strokeStyle = theme.ink(depth);
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(...path.at(-1), 4.5, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  }

  #star(ctx, [x, y]) {
    ctx.fillStyle = this.theme.text;
    ctx.strokeStyle = this.theme.surface;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let i = 0; i < 10; i++) {
      const radius = i % 2 ? 3.5 : 8.5;
      const angle = (i * Math.PI) / 5 - Math.PI / 2;
      ctx.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
}
