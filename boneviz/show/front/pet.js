/** What the PET measures, SUVbw or counts, and the words and numbers that go with it. Pure but for `showPet`. */

import { el } from "./chrome.js";

/** @typedef {{unit: "SUVbw" | "counts", origin: string[], scale: number, range: [number, number] | null}} PetInfo scale: what the page's values are multiplied by; range: first and last colour of counts */

export const NO_SUV = "no SUV: PET in counts";

/** A value of the PET as a text: two decimals of an SUV, four digits of counts, which are not known any better here. @param {number} value as it lies in the page @param {PetInfo} pet */
export function petText(value, { unit, scale }) {
  if (unit === "SUVbw") return value.toFixed(2);
  return String(Number((value * scale).toPrecision(4)) || 0);
}

/** An end of the range as it stands in its control. @param {number} value in the unit of the case @param {PetInfo | undefined} pet */
export function petNumber(value, pet) {
  return String(pet?.unit === "counts" ? Number(value.toPrecision(6)) : Math.round(value * 100) / 100);
}

/** The range shown, in the unit of the case. @param {PetInfo | undefined} pet @param {[number, number]} suv @param {[number, number]} counts @returns {[number, number]} */
export function rangeOf(pet, suv, counts) {
  return pet?.unit === "counts" ? counts : suv;
}

/** A range after one of its ends was set: the other end gives no way. @param {[number, number]} range @param {0 | 1} end @param {number} value @returns {[number, number]} */
export function movedRange([low, high], end, value) {
  const least = Math.max(Math.abs(low), Math.abs(high)) / 1000 || 1;
  return end ? [low, Math.max(value, low + least)] : [Math.min(value, high - least), high];
}

/** What is said of the PET beside its values, in one line; empty where there is nothing to say. @param {PetInfo} pet */
export function petHeadline({ unit, origin }) {
  if (unit === "counts") return `There is ${NO_SUV}`;
  return origin.length ? "Where these SUV come from" : "";
}

/**
 * Name the unit on the controls, and say where the values come from. Texts of files stay texts.
 *
 * @param {Record<string, any>} chrome @param {PetInfo} pet
 */
export function showPet(chrome, pet) {
  const suv = pet.unit === "SUVbw";
  const what = suv ? "SUV" : "counts";
  chrome.petUnit.textContent = suv ? "SUV" : "Counts";
  chrome.petReading.textContent = pet.unit;
  for (const [input, words] of [[chrome.suvMin, `Lowest ${what} shown`], [chrome.suvMax, `Highest ${what} shown`]]) {
    input.setAttribute("aria-label", words);
    input.parentElement.title = words;
    input.step = suv ? "0.5" : "any";
    input.classList.toggle("bv-wide", !suv);
  }
  const headline = petHeadline(pet);
  chrome.origin.hidden = !headline;
  chrome.origin.open = false;
  chrome.originHead.textContent = headline;
  chrome.originList.replaceChildren(...pet.origin.map((line) => el("li", {}, line)));
}
