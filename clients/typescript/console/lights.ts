/** Status lights. Owns: from when on something is yellow and red, and that no light stands without words. */

import { element } from "../page/dom.js";
import { say } from "./dom.js";

export type Light = "green" | "yellow" | "red" | "grey";

/** In step for less than this, behind for less than that; else it needs somebody. In seconds. */
export const GREEN_S = 60;
export const YELLOW_S = 300;

/** By the age of what was heard last; nothing was ever heard: grey. */
export function lightOf(ageS: number | undefined): Light {
  if (ageS === undefined) return "grey";
  if (ageS < GREEN_S) return "green";
  return ageS < YELLOW_S ? "yellow" : "red";
}

/** A light with its words. */
export function lamp(light: Light, words: string): HTMLSpanElement {
  const made = element("span", { className: `lamp ${light}` }, words);
  made.dataset.light = light;
  return made;
}

export function relight(target: HTMLElement, light: Light, words: string): void {
  if (target.dataset.light !== light) {
    target.dataset.light = light;
    target.className = `lamp ${light}`;
  }
  say(target, words);
}
