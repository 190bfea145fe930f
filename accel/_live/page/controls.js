/** The sliders and buttons: native elements, so that the keyboard and screen readers know them. */

import { positionOf, PRESETS, SLIDERS, valueAt } from "./settings.js";
import { countText, numberText } from "./words.js";

/** Make an element with attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The value of a slider as the page writes it. */
function valueText(slider, settings) {
  const value = settings[slider.key];
  if (slider.key === "depths") return value === 1 ? "1" : `1 to ${value}`;
  if (slider.key === "rate" && settings.rates === "own") return "each its own";
  if (slider.key === "share" && settings.rates === "same") return "off";
  return slider.whole ? countText(value) : numberText(value, 3);
}

/** All controls in an element; `change` is called with what a user changes. */
export class Controls {
  /**
   * @param {{sliders: HTMLElement, presets: HTMLElement, field: HTMLElement,
   *   boxes: HTMLInputElement[]}} places boxes have the names of the settings that they switch
   * @param {(change: object) => void} change
   */
  constructor({ sliders, presets, field, boxes }, change) {
    this.inputs = new Map();
    for (const slider of SLIDERS) sliders.append(this.#slider(slider, change));
    for (const { key, label, settings } of PRESETS) {
      const button = make("button", { type: "button", "data-preset": key }, label);
      button.addEventListener("click", () => change({ preset: settings }));
      presets.append(button);
    }
    this.fields = [1, 2, 3, 4].map((depth) => {
      const input = make("input", { type: "radio", name: "field", value: depth });
      input.addEventListener("change", () => change({ field: depth }));
      field.append(make("label", { style: `--color: var(--depth-${depth})` }, input, `${depth}`));
      return input;
    });
    this.boxes = boxes;
    for (const box of boxes) box.addEventListener("change", () => change({ [box.id]: box.checked }));
  }

  #slider(slider, change) {
    const { key, label, help, step } = slider;
    const id = `slider-${key}`;
    const input = make("input", {
      type: "range", id, step, "aria-describedby": `${id}-help`,
      min: positionOf(slider, slider.least), max: positionOf(slider, slider.most),
    });
    // Not read out by itself: a screen reader reads aria-valuetext, which is the same.
    const output = make("output", { for: id, "aria-live": "off" });
    input.addEventListener("input", () => {
      const changed = { [key]: valueAt(slider, Number(input.value)) };
      if (key === "rate") changed.rates = "same";
      if (key === "share") changed.rates = "own";
      change(changed);
    });
    this.inputs.set(key, { slider, input, output });
    return make(
      "div", { class: "slider" },
      make("label", { for: id }, label), output, input,
      make("p", { id: `${id}-help`, class: "help" }, help),
    );
  }

  /** Show settings. */
  show(settings) {
    for (const { slider, input, output } of this.inputs.values()) {
      const position = positionOf(slider, settings[slider.key]);
      // A slider that stands near enough is left alone: it would jump to its own steps otherwise.
      if (Math.abs(Number(input.value) - position) > 0.75 * slider.step) input.value = position;
      const text = valueText(slider, settings);
      output.value = text;
      input.setAttribute("aria-valuetext", text);
      const idle = slider.key === (settings.rates === "own" ? "rate" : "share");
      input.parentElement.classList.toggle("idle", idle);
    }
    for (const [i, input] of this.fields.entries()) input.checked = settings.field === i + 1;
    for (const box of this.boxes) box.checked = settings[box.id];
  }
}
